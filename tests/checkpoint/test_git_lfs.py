"""What Git LFS leaves in place of a file it has not downloaded is recognized wherever a binary file is opened."""

import pytest

from partial_fc.checkpoint.convert_centers import import_numpy, import_original
from partial_fc.checkpoint.model_files import load_arrays, read_parameters
from partial_fc.data.images.decoding import decode_image
from partial_fc.data.images.folder import ImageFolder
from partial_fc.data.records.record_file import RecordFile
from partial_fc.data.tools.check import check
from partial_fc.data.tools.glint360k import prepare
from partial_fc.data.verification_set import load_verification_set
from partial_fc.errors import InputError
from partial_fc.eval.features import read_features
from partial_fc.eval.image_source import FileImages
from partial_fc.eval.model import load_model
from partial_fc.eval.protocols.megaface_files import read_feature

from helpers.faces import write_faces
from helpers.models import write_linear_model

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


def records_beside(folder, pointer):
    """Open records of which one file becomes a pointer."""
    path = write_faces(folder, 2, 2)
    pointer.write_bytes(POINTER)
    return RecordFile(path)


def model_with(folder, pointer):
    write_linear_model(folder / "m")
    pointer.write_bytes(POINTER)
    return load_model(str(folder / "m"))


OPENERS = {
    "train.rec": lambda folder, path: records_beside(folder, path),
    "train.idx": lambda folder, path: records_beside(folder, path),
    "m-symbol.json": lambda folder, path: model_with(folder, path),
    "m-0000.params": lambda folder, path: model_with(folder, path),
    "lfw.bin": lambda folder, path: load_verification_set(str(path)),
    "w.params": lambda folder, path: read_parameters(str(path)),
    "backbone.safetensors": lambda folder, path: load_arrays(str(path), {}),
    "features.npy": lambda folder, path: read_features(str(path)),
    "centers.npy": lambda folder, path: import_numpy(str(path), str(folder / "out")),
    "0_centers.param": lambda folder, path: import_original(str(folder), str(folder / "out"), 10),
    "feature.bin": lambda folder, path: read_feature(str(path)),
    "glint360k_00": lambda folder, path: prepare_parts(folder),
    "face.jpg": lambda folder, path: decode_image(path.read_bytes(), (112, 112), str(path)),
    "first.jpg": lambda folder, path: FileImages(str(folder), ["first.jpg"]),
}


def prepare_parts(folder):
    for number in range(1, 7):
        (folder / f"glint360k_0{number}").write_bytes(POINTER)
    return prepare(str(folder), None)


@pytest.mark.parametrize("name", OPENERS)
def test_pointer_is_named(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(POINTER)
    with pytest.raises(InputError, match=rf"{name}: .*Git LFS pointer, .*git lfs pull"):
        OPENERS[name](tmp_path, path)


def test_pointers_among_images_to_pack(tmp_path):
    (tmp_path / "Ada").mkdir()
    (tmp_path / "Ada" / "1.jpg").write_bytes(POINTER)
    images, skipped = ImageFolder(str(tmp_path), 112).images_of("Ada")
    assert not images and skipped[0][0] == "Ada/1.jpg" and "git lfs pull" in skipped[0][1]


def test_check_names_the_pointer(tmp_path):
    path = tmp_path / "train.rec"
    write_faces(tmp_path, 2, 2)
    path.write_bytes(POINTER)
    assert "git lfs pull" in check(str(tmp_path))["findings"][0]["examples"][0]["message"]


def test_md5_sums_of_pointers_are_not_looked_up(tmp_path):
    for name in ("train.rec", "train.idx"):
        (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(InputError, match=r"train\.idx: a Git LFS pointer"):
        prepare(str(tmp_path), None)
