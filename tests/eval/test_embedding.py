import itertools

import mxnet as mx
import numpy as np
import pytest

from partial_fc.checkpoint.model_files import save_model
from partial_fc.errors import InputError
from partial_fc.eval.embedding import Embedder, image_batches
from partial_fc.eval.model import load_model
from partial_fc.symbol import get_symbol

from helpers.models import mobilefacenet, write_linear_model, write_random_model

SIZE = 16


def images(count, size=SIZE):
    return np.random.RandomState(count).randint(0, 256, (count, size, size, 3)).astype(np.uint8)


def embedder(tmp_path, scales_input=True, layer=None, **arguments):
    """An Embedder, and what it has to compute."""
    expected = write_linear_model(tmp_path / "m", SIZE, scales_input=scales_input)
    return Embedder(load_model(str(tmp_path / "m"), layer), **arguments), expected


def close(embeddings, expected):
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(embeddings, expected, atol=1e-4)


@pytest.mark.parametrize("scales_input, count", itertools.product((True, False), (1, 4, 11)))
def test_embeds_any_number_of_images(tmp_path, scales_input, count):
    tested, expected = embedder(tmp_path, scales_input, batch_size=4)
    close(tested.embed(images(count)), expected(images(count)))


def test_no_images(tmp_path):
    assert embedder(tmp_path)[0].embed(images(0)).shape == (0, 6)


def test_mirror_and_colors(tmp_path):
    tested, expected = embedder(tmp_path)
    close(tested.embed(images(3), mirror=True), expected(images(3)[:, :, ::-1]))
    close(tested.embed_with_mirror(images(3)), expected(images(3)) + expected(images(3)[:, :, ::-1]))
    model = load_model(str(tmp_path / "m"))
    blue_first = Embedder(model, bgr=True)
    close(blue_first.embed(images(3)), expected(images(3)[..., ::-1]))
    assert blue_first.checksum != Embedder(model).checksum == tested.checksum


@pytest.mark.parametrize("scales_input", [True, False])
def test_scaling_that_is_given(tmp_path, scales_input):
    """A model without scaling of its own is linear in what it is given."""
    tested, _ = embedder(tmp_path, scales_input, scaling=(100.0, 0.25))
    expected = write_linear_model(tmp_path / "m", SIZE, scales_input=scales_input)
    pixels = (images(3) - 100.0) * 0.25
    close(tested.embed(images(3)), expected(pixels if scales_input else pixels * 128 + 127.5))
    assert tested.settings == {"mean": 100, "scale": 0.25, "scaling": "given"}
    model = load_model(str(tmp_path / "m"))
    guessed, same = Embedder(model), Embedder(model, scaling=(0.0, 1.0) if scales_input else (127.5, 0.0078125))
    assert guessed.settings["scaling"] == "guessed" and len({tested.checksum, guessed.checksum}) == 2
    assert same.checksum == guessed.checksum and same.settings["scaling"] == "given"


def test_unit_vectors_are_added(tmp_path):
    tested, expected = embedder(tmp_path)
    both = expected(images(3)), expected(images(3)[:, :, ::-1])
    unit = sum(each / np.linalg.norm(each, axis=1, keepdims=True) for each in both)
    close(tested.embed_with_mirror(images(3), unit=True), unit)


def test_an_image_has_the_same_embedding_in_every_batch(tmp_path):
    tested, _ = embedder(tmp_path, batch_size=4)
    whole = tested.embed(images(11))
    assert all(np.array_equal(tested.embed(images(11)[index : index + 1])[0], whole[index]) for index in range(11))


@pytest.mark.parametrize("batch_size, count", [(4, 12), (1, 3), (3, 8)])
def test_a_convolution_may_go_straight_into_the_fully_connected_layer(tmp_path, batch_size, count):
    """oneDNN's fused layers fail at the second batch of such a network where the machine has AVX-512."""
    write_random_model(tmp_path / "m", mobilefacenet())
    tested = Embedder(load_model(str(tmp_path / "m")), batch_size=batch_size)
    embeddings = tested.embed(images(count, 112))
    assert embeddings.shape == (count, 128) and np.ptp(embeddings, axis=0).min() > 0
    # in the first batch of a network of its own, nothing is fused yet that could fail
    alone = Embedder(load_model(str(tmp_path / "m")), batch_size=1).embed(images(count, 112)[-1:])
    np.testing.assert_allclose(embeddings[-1:], alone, rtol=1e-3, atol=1e-4)


def test_inner_layer_is_flattened(tmp_path):
    tested, _ = embedder(tmp_path, layer="id", batch_size=2)
    close(tested.embed(images(3)), images(3).transpose(0, 3, 1, 2).reshape(3, -1))


def test_other_sizes_are_refused_or_taken(tmp_path):
    tested, expected = embedder(tmp_path)
    with pytest.raises(InputError, match=r"fc1_weight has shape \(6, 768\), images of 8x8 pixels .* \(6, 192\)"):
        tested.embed(images(2, 8))
    close(tested.embed(images(2)), expected(images(2)))
    any_size, _ = embedder(tmp_path, layer="id")
    assert any_size.embedding_size((8, 8)) == 192 and any_size.embedding_size((16, 8)) == 384


@pytest.mark.parametrize("wrong", [images(2).astype(np.float32), images(2)[..., :2], images(2)[0]])
def test_wrong_images(tmp_path, wrong):
    with pytest.raises(InputError, match="expected uint8 images"):
        embedder(tmp_path)[0].embed(wrong)


@pytest.mark.parametrize(
    "operator, message",
    [
        (
            lambda data: mx.sym.sum(data, axis=0, name="fc1"),
            r"its output \(3, 16, 16\) has no row for each of 5 images",
        ),
        (
            lambda data: mx.sym.Pooling(data, kernel=(20, 20), name="fc1"),
            "cannot take images of 16x16 pixels: .*kernel",
        ),
    ],
)
def test_symbols_that_do_not_embed_images(tmp_path, operator, message):
    save_model(str(tmp_path / "m"), operator(mx.sym.Variable("data")), {"unused": mx.nd.ones(1)}, {})
    with pytest.raises(InputError, match=message):
        Embedder(load_model(str(tmp_path / "m")), batch_size=5).embed(images(2))


@pytest.mark.parametrize("num_workers", [1, 3])
def test_batches_are_in_order(num_workers):
    source = images(11)
    batches = list(image_batches(source.__getitem__, 11, 4, num_workers))
    assert [start for start, _ in batches] == [0, 4, 8]
    assert np.array_equal(np.concatenate([batch for _, batch in batches]), source)


def test_an_unreadable_image_ends_the_batches():
    def read(index):
        if index == 5:
            raise InputError("image 5")
        return images(11)[index]

    batches = image_batches(read, 11, 4, 2)
    next(batches)
    with pytest.raises(InputError, match="image 5"):
        next(batches)


def test_precision_changes_the_embeddings_little_and_the_checksum(tmp_path):
    write_random_model(tmp_path / "r", get_symbol("r18", 32), size=32)
    model = load_model(str(tmp_path / "r"))
    exact, low = Embedder(model), Embedder(model, precision="bfloat16")
    expected, embeddings = (each.embed(images(3, 32)) for each in (exact, low))
    cosines = (expected * embeddings).sum(1) / np.linalg.norm(expected, axis=1) / np.linalg.norm(embeddings, axis=1)
    assert embeddings.dtype == np.float32 and 0.999 < cosines.min() and (embeddings != expected).any()
    # features that were computed in one precision are not continued in another
    assert exact.checksum != low.checksum
