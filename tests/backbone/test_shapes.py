import mxnet as mx
import pytest

from partial_fc.backbone.shapes import check_elements, infer_shapes
from partial_fc.errors import InputError
from partial_fc.symbol import get_symbol


def test_images_of_the_wrong_size_are_one_error_and_nothing_else(capfd):
    with pytest.raises(InputError, match="^faces: cannot take images of 48x48 pixels: .*conv_6dw7_7"):
        infer_shapes(get_symbol("mobilefacenet", 512), (2, 3, 48, 48), "faces")
    assert capfd.readouterr() == ("", "")


def test_other_inputs_are_an_error():
    symbol = mx.sym.Group([mx.sym.Variable("data"), mx.sym.Variable("x")])
    for infer in (infer_shapes, check_elements):
        with pytest.raises(InputError, match="^faces: shapes do not follow from images of 8x8 pixels"):
            infer(symbol, (1, 3, 8, 8), "faces")


def test_an_image_may_not_ask_for_all_memory():
    big = mx.sym.UpSampling(mx.sym.Variable("data"), scale=500, sample_type="nearest")
    message = "^big: its outputs have 9,408,037,632 elements for one image of 112x112 pixels"
    with pytest.raises(InputError, match=message):
        check_elements(big, (64, 3, 112, 112), "big")
