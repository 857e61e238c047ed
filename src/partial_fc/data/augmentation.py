"""Random changes of training images, each a function of (seed, epoch, image).

The published experiments use flips; the other changes are those of InsightFace's image iterator.
"""

from typing import List, NamedTuple, Sequence

import cv2
import numpy as np
import simplejpeg

from ..randomness import uniforms

# Each change has random numbers of its own: to enable one does not alter the others.
_FLIP, _COLOR, _LOW_RESOLUTION, _JPEG, _CUTOUT = 0, slice(1, 4), slice(4, 6), slice(6, 8), slice(8, 11)
_NUMBERS = 11

_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green, blue: ITU-R BT.601
_WORST_QUALITY, _BEST_QUALITY = 2, 20
_SMALLEST_SHARE = 0.25
_GRAY = 128


class Augmentation(NamedTuple):
    """Changes that may be made to an image, in this order.

    Attributes:
        flip: whether half of the images are mirrored, left to right.
        color_jitter: brightness, contrast and saturation are multiplied by factors between 1 - color_jitter and
            1 + color_jitter. InsightFace: 0.125.
        low_resolution: share of the images that are shrunk, to between a quarter and all of their height and width, and
            enlarged again.
        jpeg_compression: share of the images that are compressed as JPEG of quality 2 to 20. InsightFace: 0.5.
        cutout: side, in pixels, of a square at a random place that is made gray in half of the images; 0: none.
    """

    flip: bool = True
    color_jitter: float = 0.0
    low_resolution: float = 0.0
    jpeg_compression: float = 0.0
    cutout: int = 0

    def draw(self, seed: int, epoch: int, images: np.ndarray) -> List[List[float]]:
        """Random numbers for images, given by number, (n,): for each 11 floats in [0, 1), to pass to `apply`."""
        return uniforms(seed, "augmentation", epoch, images, _NUMBERS).tolist()

    def apply(self, image: np.ndarray, numbers: Sequence[float]) -> None:
        """Change an image, uint8 (H, W, 3), in place, according to random numbers of `draw`."""
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
    brightness, contrast, saturation = (1 - strength + 2 * strength * np.array(numbers)).astype(np.float32)
    luminance = image @ _LUMINANCE
    # The factors scale distances from black, from the mean luminance, and from each pixel's own luminance.
    grays = contrast * (1 - saturation) * luminance + (1 - contrast) * luminance.mean()
    changed = brightness * (contrast * saturation * image + grays[..., None])
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
    image[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = _GRAY
