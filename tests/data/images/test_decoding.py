import io
import os
import resource
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from partial_fc.data.images.decoders import decode_by_opencv
from partial_fc.data.images.decoding import decode_image, decode_into, encode_jpeg
from partial_fc.data.images.fit import decode_any
from partial_fc.errors import InputError

from helpers.paths import ROOT


def red_left_blue_right(height=20, width=32):
    rgb = np.zeros((height, width, 3), dtype=np.uint8)
    rgb[:, : width // 2, 0] = 250
    rgb[:, width // 2 :, 2] = 250
    return rgb


def test_jpeg_round_trip_keeps_channels_and_orientation():
    rgb = red_left_blue_right()
    decoded = decode_image(encode_jpeg(rgb, 95), (20, 32))
    assert decoded.dtype == np.uint8 and decoded.shape == (20, 32, 3)
    assert np.abs(decoded.astype(int) - rgb).mean() < 8


def test_png_is_exact_and_gray_and_16_bits_become_8_bit_rgb():
    rgb = np.random.RandomState(0).randint(0, 256, (5, 7, 3)).astype(np.uint8)
    png = cv2.imencode(".png", rgb[:, :, ::-1])[1].tobytes()
    np.testing.assert_array_equal(decode_image(png, (5, 7)), rgb)
    gray = cv2.imencode(".png", rgb[:, :, 0])[1].tobytes()
    np.testing.assert_array_equal(decode_image(gray, (5, 7)), np.repeat(rgb[:, :, :1], 3, axis=2))
    deep = cv2.imencode(".png", rgb[:, :, ::-1].astype(np.uint16) * 256)[1].tobytes()
    np.testing.assert_array_equal(decode_image(deep, (5, 7)), rgb)


def test_quality_is_used():
    rgb = np.random.RandomState(0).randint(0, 256, (32, 32, 3)).astype(np.uint8)
    assert len(encode_jpeg(rgb, 30)) < len(encode_jpeg(rgb, 95)) == len(encode_jpeg(rgb))


def test_another_size_is_an_error_with_name_and_sizes():
    with pytest.raises(ValueError, match="pairs.bin: image 3: 20x32 .* 32x20"):
        decode_image(encode_jpeg(red_left_blue_right()), (32, 20), "pairs.bin: image 3")


@pytest.mark.parametrize("buffer", [b"", b"not an image", b"\xff\xd8\xff"])
def test_undecodable_bytes_are_an_error_with_name(buffer):
    with pytest.raises(ValueError, match="record 7"):
        decode_image(buffer, (20, 32), "record 7")


@pytest.mark.parametrize(
    "rgb, quality",
    [
        (np.zeros((4, 4, 3)), 95),
        (np.zeros((4, 4), np.uint8), 95),
        (np.zeros((4, 4, 4), np.uint8), 95),
        (np.zeros((0, 4, 3), np.uint8), 95),
        (np.zeros((4, 4, 3), np.uint8), 0),
        (np.zeros((4, 4, 3), np.uint8), 101),
    ],
)
def test_unfit_arrays_and_qualities_are_refused(rgb, quality):
    with pytest.raises(ValueError):
        encode_jpeg(rgb, quality)


def opencv_rgb(content):
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def encoded_by_pil(mode, **options):
    file = io.BytesIO()
    Image.fromarray(red_left_blue_right()).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        encode_jpeg(red_left_blue_right()),
        encode_jpeg(red_left_blue_right(), 30),
        encoded_by_pil("L"),
        encoded_by_pil("CMYK"),
        encoded_by_pil("RGB", progressive=True),
        encoded_by_pil("RGB", subsampling=0),
    ],
    ids=["fine", "coarse", "gray", "cmyk", "progressive", "444"],
)
def test_pixels_of_a_jpeg_are_those_of_opencv(content):
    out = np.empty((20, 32, 3), np.uint8)
    decode_into(out, content)
    assert np.array_equal(out, opencv_rgb(content)) and np.array_equal(out, decode_image(content, (20, 32)))


def test_orientation_of_the_camera_is_respected():
    content = encoded_by_pil("RGB", exif=exif(6))  # to be turned by a quarter
    turned = decode_image(content, (32, 20))
    assert np.array_equal(turned, opencv_rgb(content)) and turned[:10].mean(axis=(0, 1))[0] > 200
    with pytest.raises(InputError, match="32x20 pixels"):
        decode_image(content, (20, 32))


def noise(file_format="JPEG", mode="RGB", **options):
    """64 x 64 pixels."""
    file, pixels = io.BytesIO(), np.random.RandomState(0).randint(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(file, file_format, **options)
    return file.getvalue()


def exif(orientation):
    note = Image.Exif()
    note[0x0112] = orientation
    return note


@pytest.mark.parametrize(
    "content",
    [
        noise(),
        noise(exif=exif(1)),
        noise(exif=exif(6)),
        noise(mode="CMYK"),
        noise("PNG"),
        noise("WEBP"),
        noise("BMP"),
        noise("GIF"),
    ],
    ids=["jpeg", "upright", "turned", "cmyk", "png", "webp", "bmp", "gif"],
)
def test_image_that_breaks_off_is_an_error(content):
    decode_image(content, (64, 64))
    for length in (len(content) // 2, len(content) - 20):
        with pytest.raises(InputError, match="^record 9: "):
            decode_image(content[:length], (64, 64), "record 9")


@pytest.mark.parametrize(
    "file_format, mode, options",
    [
        ("PNG", "RGB", {}),
        ("PNG", "P", {}),
        ("PNG", "L", {}),
        ("PNG", "1", {}),
        ("PNG", "RGBA", {}),
        ("BMP", "P", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("TIFF", "CMYK", {}),
        ("JPEG", "CMYK", {"quality": 100}),
        ("GIF", "P", {}),
        ("GIF", "L", {}),
        ("GIF", "1", {}),
        ("GIF", "P", {"transparency": 3}),
        ("GIF", "P", {"save_all": True, "append_images": [Image.new("P", (64, 64))]}),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),  # the keys of options
)
def test_kinds_that_are_promised_are_read_as_by_pil(file_format, mode, options):
    content = noise(file_format, mode, **options)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    assert np.abs(decode_image(content, (64, 64)) - expected).max() <= (mode == "CMYK")
    assert np.array_equal(decode_any(content)[..., ::-1], decode_image(content, (64, 64)))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF"])
def test_other_kinds_are_turned_upright_too(file_format):
    pixels = np.zeros((20, 32, 3), np.uint8)
    pixels[:6] = 250  # above; a camera held otherwise means the right side
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, file_format, exif=exif(6))
    image = decode_image(file.getvalue(), (32, 20))
    assert image[:, 16:].min() > 200 and image[:, :12].max() < 50


def test_overwritten_jpeg_is_an_error_whatever_a_camera_noted():
    for content in (noise(), noise(exif=exif(1)), noise(exif=exif(6))):
        damaged = bytearray(content)
        damaged[len(content) // 2 : len(content) // 2 + 40] = b"\xff\x13" * 20
        with pytest.raises(InputError, match="damaged JPEG"):
            decode_image(bytes(damaged), (64, 64))


def memory_and_message(content):
    """MiB that decoding by both ways takes in a process of its own, and its error."""
    program = """if True:
        import resource, sys
        from partial_fc.data.images.fit import decode_any
        from partial_fc.data.images.decoding import decode_image
        content = sys.stdin.buffer.read()
        most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        before, message = most(), ""
        for decode in (lambda: decode_image(content, (64, 64)), lambda: decode_any(content)):
            try:
                decode()
            except ValueError as error:
                message = str(error)
        print(most() - before, message)"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        input=content,
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": os.path.join(ROOT, "src")},
    )
    memory, message = run.stdout.decode().split(" ", 1)
    return int(memory), message


def test_length_in_a_damaged_png_is_not_believed():
    content = noise("PNG")
    place = content.index(b"IDAT") - 4
    damaged = content[:place] + struct.pack(">I", 2**31 - 1) + content[place + 4 :]
    memory, message = memory_and_message(damaged)
    assert memory < 50 and "a chunk whose length is given as 2147483647 bytes" in message


def test_second_header_of_a_png():
    """Of which the decoder may believe another than was looked at."""
    content = noise("PNG")
    header = content[8:33]
    for damaged in (content[:33] + header + content[33:], content[:8] + content[33:]):
        with pytest.raises(InputError, match="damaged PNG|not an image"):
            decode_image(damaged, (64, 64))


def test_animation_is_refused():
    """OpenCV writes beyond its memory where a frame is larger than the picture."""
    content, frame = noise("PNG"), struct.pack(">IIIIIHHBB", 0, 9000, 9000, 0, 0, 1, 10, 0, 0)
    place = content.index(b"IDAT") - 4
    for kind, part in ((b"acTL", struct.pack(">II", 2, 0)), (b"fcTL", frame)):
        chunk = struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
        with pytest.raises(ValueError, match="an animated PNG"):
            decode_by_opencv(content[:place] + chunk + content[place:])


def test_nothing_is_no_image():
    for decode in (lambda: decode_image(b"", (8, 8)), lambda: decode_any(b"")):
        with pytest.raises(InputError, match="0 bytes that are not an image"):
            decode()


def test_size_in_a_damaged_header_is_not_believed():
    jpeg = bytearray(encode_jpeg(red_left_blue_right()))
    place = jpeg.index(b"\xff\xc0") + 5
    jpeg[place : place + 4] = b"\xff\xdc\xff\xdc"  # 65500 x 65500
    png = bytearray(cv2.imencode(".png", red_left_blue_right())[1].tobytes())
    png[16:24] = struct.pack(">II", 2**30, 2**30)
    png[29:33] = struct.pack(">I", zlib.crc32(bytes(png[12:29])))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for content in (jpeg, png):
        with pytest.raises(InputError, match=r"\d+x\d+ pixels|too large"):
            decode_image(bytes(content), (20, 32))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024
