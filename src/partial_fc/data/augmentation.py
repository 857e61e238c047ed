"""Random changes of training images, each a function of (seed, epoch, image).

Flips are what the published experiments use; the others are those of InsightFace's image iterator.
"""

from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg

from ..randomness import uniforms

# Each change has its own numbers, so that one that is switched on does not change what the others do.
_FLIP, _COLOR, _LOW_RESOLUTION, _JPEG, _CUTOUT = 0, slice(1, 4), slice(4, 6), slice(6, 8), slice(8, 11)
_NUMBERS = 11

_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green, blue: ITU-R BT.601
_WORST_QUALITY, _BEST_QUALITY = 2, 20
_SMALLEST_SHARE = 0.25
_GREY = 128


class Augmentation(NamedTuple):
    """What may happen to an image, in this order.

    Attributes:
        flip: whether one in two is mirrored, left to right.
        color_jitter: brightness, contrast and saturation are multiplied by numbers between 1 minus this and 1 plus
            this. InsightFace: 0.125.
        low_resolution: share of the images that are shrunk, to between a quarter and all of their height and width, and
            enlarged again.
        jpeg_compression: share that is stored as JPEG of quality 2 to 20. InsightFace: 0.5.
        cutout: side, in pixels, of a square around a random place that is made grey in one image of two.
    """

    flip: bool = True
    color_jitter: float = 0.0
    low_resolution: float = 0.0
    jpeg_compression: float = 0.0
    cutout: int = 0

    def draw(self, seed, epoch, images):
        """Random numbers for images (n,), by number: n lists of 11 floats in [0, 1), each for an `apply`."""
        return uniforms(seed, "augmentation", epoch, images, _NUMBERS).tolist()

    def apply(self, image, numbers):
        """Change an image, uint8 (H, W, 3), in place, as a list of random numbers says."""
        if self.flip and numbers[_FLIP] < 0.5:
            cv2.flip(image, 1, image)
        if self.color_jitter:
            _change_colors(image, self.color_jitter, numbers[_COLOR])
        if self.low_resolution:
            _lower_resolution(image, self.low_resolution, *numbers[_LOW_RESOLUTION])
        if self.jpeg_compression:
            _compress(image, self.jpeg_compression, *numbers[_JPEG])
        if self.cutout:
            _cut_out(image, self.cutout, *numbers[_CUTOUT])


def _change_colors(image, strength, numbers):
    brightness, contrast, saturation = np.float32(1 - strength + 2 * strength * np.array(numbers))
    luminance = image @ _LUMINANCE
    # Each factor moves away from something: from black, the mean luminance, each pixel's own. Their order is no matter.
    greys = contrast * (1 - saturation) * luminance + (1 - contrast) * luminance.mean()
    changed = brightness * (contrast * saturation * image + greys[..., None])
    image[:] = np.clip(np.rint(changed), 0, 255)


def _lower_resolution(image, probability, chance, number):
    if chance >= probability:
        return
    height, width = image.shape[:2]
    share = _SMALLEST_SHARE + (1 - _SMALLEST_SHARE) * number
    small = (max(1, round(share * width)), max(1, round(share * height)))
    cv2.resize(cv2.resize(image, small, interpolation=cv2.INTER_AREA), (width, height), dst=image)


def _compress(image, probability, chance, number):
    if chance >= probability:
        return
    quality = _WORST_QUALITY + int((_BEST_QUALITY - _WORST_QUALITY + 1) * number)
    encoded = simplejpeg.encode_jpeg(image, quality, "RGB", "420", fastdct=False)
    simplejpeg.decode_jpeg(encoded, "RGB", fastdct=False, fastupsample=False, buffer=image)


def _cut_out(image, side, chance, y, x):
    if chance >= 0.5:
        return
    height, width = image.shape[:2]
    top, left = int(y * height) - side // 2, int(x * width) - side // 2
    image[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = _GREY
