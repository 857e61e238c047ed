"""Cartoon faces drawn by a seeded procedure: identities to train on and to verify without a download.

An identity is a set of left-right symmetric attributes (head, skin, hair, eyes, nose, mouth ...); an image
adds what does not depend on the identity: pose, expression, light, background, occlusion, blur, noise. Every
number is a function of (seed, identity, image) alone: images may be drawn in any order, by any process.

Lengths are in face units: half the height of a head is 1, x points right, y down, depth towards the viewer.
Colors are RGB in 0..255.
"""

import math
from types import SimpleNamespace

import cv2
import numpy as np

_SUPERSAMPLE = 2  # the canvas is this many times larger than the image, and averaged: smoother than anti-aliasing alone
_SHIFT = 4  # fractional bits of the coordinates that OpenCV receives

# Ranges of uniform draws. A size or strength whose range begins below zero is absent when drawn negative.
_IDENTITY = {
    "head_width": (0.68, 0.92),
    "jaw_taper": (0.05, 0.50),
    "jaw_square": (-0.06, 0.14),
    "chin": (0.88, 1.12),
    "skin_tone": (0, 1),
    "skin_red": (-16, 16),
    "blush": (-0.5, 0.5),
    "freckles": (-1, 1),
    "hair_tone": (0, 1),
    "hair_light": (-25, 25),
    "hair_top": (0.03, 0.30),
    "hair_side": (0.02, 0.26),
    "hair_length": (-0.6, 1.5),
    "hairline": (0.25, 0.90),
    "hair_arch": (0.0, 0.7),
    "hair_peak": (-0.15, 0.3),
    "bun": (-0.7, 0.36),
    "bunches": (-0.9, 0.36),
    "bunches_y": (-0.6, 0.7),
    "beard": (-1, 0.6),
    "moustache": (-0.25, 0.12),
    "ear_size": (0.12, 0.26),
    "ear_y": (-0.10, 0.22),
    "eye_x": (0.36, 0.52),
    "eye_y": (-0.20, 0.08),
    "eye_width": (0.17, 0.28),
    "eye_height": (0.09, 0.18),
    "eye_slant": (-0.3, 0.3),
    "eye_tone": (0, 1),
    "iris": (0.08, 0.13),
    "brow_gap": (0.08, 0.20),
    "brow_width": (0.18, 0.32),
    "brow_height": (0.02, 0.08),
    "brow_slant": (-0.35, 0.35),
    "nose_y": (0.22, 0.38),
    "nose_width": (0.07, 0.20),
    "nose_shade": (0.15, 0.45),
    "mouth_y": (0.56, 0.70),
    "mouth_width": (0.18, 0.36),
    "upper_lip": (0.02, 0.09),
    "lower_lip": (0.03, 0.11),
    "lip_tone": (0, 1),
}
_NUISANCE = {
    "yaw": (-0.42, 0.42),
    "pitch": (-0.28, 0.28),
    "roll": (-0.28, 0.28),
    "scale": (0.64, 0.80),
    "shift_x": (-0.12, 0.12),
    "shift_y": (-0.09, 0.14),
    "gaze_x": (-0.4, 0.4),
    "gaze_y": (-0.2, 0.2),
    "smile": (-0.6, 1),
    "mouth_open": (-0.12, 0.2),
    "brow_raise": (-0.03, 0.08),
    "eye_open": (0.5, 1.15),
    "gain": (0.65, 1.2),
    "gamma": (0.75, 1.3),
    "red": (0.85, 1.15),
    "blue": (0.8, 1.2),
    "light_angle": (0, 2 * math.pi),
    "light_slope": (0, 0.45),
    "blur": (-0.8, 0.4),
    "noise": (4, 20),
    "glasses": (-5, 1),
    "mask": (-20, 1),
    "hand": (-14, 1),
    "hand_x": (-0.8, 0.8),
    "hand_y": (-0.8, 1),
}
_SKIN = ((255, 224, 196), (241, 194, 155), (222, 168, 120), (186, 124, 80), (134, 84, 54), (84, 52, 38))
_HAIR = (
    (26, 22, 24),
    (74, 46, 30),
    (128, 76, 40),
    (196, 142, 70),
    (236, 206, 130),
    (206, 200, 196),
    (120, 124, 134),
    (70, 82, 150),
    (136, 74, 150),
    (206, 90, 130),
    (190, 70, 40),
    (100, 30, 26),
)
_EYES = ((44, 26, 18), (110, 66, 30), (150, 116, 40), (70, 130, 70), (60, 120, 180), (130, 150, 170))
_LIPS = ((150, 70, 60), (200, 100, 96), (214, 60, 80), (130, 40, 70))
_BLACK, _WHITE = (20, 16, 18), (246, 244, 240)

_ANGLES = np.linspace(0, 2 * math.pi, 28, endpoint=False)  # outlines start at the right, go down first
_COS, _SIN = np.cos(_ANGLES), np.sin(_ANGLES)
_HALF = slice(0, 15)  # the half of an outline from its right end along the bottom to its left end
_ACROSS = np.linspace(-1, 1, 9)  # from the left end of a feature to its right end
_THERE_AND_BACK = np.append(_ACROSS, -_ACROSS)
_ARCH = 1 - _ACROSS**2


def render_face(seed: int, identity: int, image: int, size: int) -> np.ndarray:
    """Draw one picture of one identity.

    Args:
        seed: integer in [0, 2**64); another seed is another population.
        identity: integer in [0, 2**64), the number of the person.
        image: integer in [0, 2**64), the number of the picture of that person.
        size: height and width in pixels, an integer of at least 16.

    Returns:
        RGB image, uint8, (size, size, 3): a function of the four arguments alone.

    Raises:
        ValueError: an argument is not an integer in its range; the message names it.
    """
    for name, value in (("seed", seed), ("identity", identity), ("image", image)):
        _check_integer(name, value, 0, 2**64)
    _check_integer("size", size, 16, 4097)
    who = _draw_values(_IDENTITY, _stream(seed, 0, identity, 0))
    stream = _stream(seed, 1, identity, image)
    how = _draw_values(_NUISANCE, stream)
    sketch = _Sketch()
    _add_background(sketch, stream)
    _add_head(sketch, who)
    _add_nose_and_mouth(sketch, who, how)
    _add_eyes(sketch, who, how)
    _add_fringe(sketch, who)
    _add_occlusion(sketch, who, how, stream)
    return _photograph(sketch.paint(size * _SUPERSAMPLE, how), size, how, stream)


def _check_integer(name, value, low, high):
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= value < high:
        raise ValueError(f"{name} must be an integer in [{low}, {high}), got {value!r}")


def _stream(seed, purpose, identity, image):
    """A generator for each tuple: Philox encrypts a counter, which starts at the tuple.

    Draw uniform doubles only: their stream is the same in every NumPy version, those of other distributions are not.
    """
    counter = np.array([0, image, identity, purpose], np.uint64)  # the first word counts the draws
    return np.random.Generator(np.random.Philox(counter=counter, key=np.array([seed, 0], np.uint64)))


def _draw_values(ranges, stream):
    draws = stream.random(len(ranges)).tolist()
    return SimpleNamespace(
        **{name: low + (high - low) * draw for (name, (low, high)), draw in zip(ranges.items(), draws)}
    )


def _mix(first, second, share):
    return tuple(a + (b - a) * share for a, b in zip(first, second))


def _pick(palette, tone, light=0.0):
    """The color at `tone` in [0, 1] along a palette, interpolated between two of its colors."""
    place = tone * (len(palette) - 1)
    index = min(int(place), len(palette) - 2)
    return tuple(channel + light for channel in _mix(palette[index], palette[index + 1], place - index))


class _Sketch:
    """Outlines in face units, from the farthest to the nearest."""

    def __init__(self):
        self._x, self._y, self._depths, self._colors = [], [], [], []

    def fill(self, x, y, color, depth=None):
        """Add the polygon through x, y (n,) at a depth, a number or (n,); None: on the face's surface."""
        self._x.append(x)
        self._y.append(y)
        self._depths.append(depth)
        self._colors.append(color)

    def pair(self, x, y, color, depth=None):
        """Add the polygon and its mirror image."""
        self.fill(x, y, color, depth)
        self.fill(-x, y, color, depth)

    def ellipse(self, x, y, width, height, color, depth=None):
        self.fill(x + width * _COS, y + height * _SIN, color, depth)

    def paint(self, pixels, how):
        """Draw the filled outlines in the pose `how`, uint8, (pixels, pixels, 3)."""
        ends = np.cumsum([len(x) for x in self._x]).tolist()
        outlines = [slice(start, end) for start, end in zip([0] + ends, ends)]
        points = self._project(outlines, pixels, how)
        canvas = np.empty((pixels, pixels, 3), np.uint8)
        for outline, color in zip(outlines, self._colors):
            cv2.fillPoly(canvas, [points[outline]], color, cv2.LINE_AA, _SHIFT)
        return canvas

    def _project(self, outlines, pixels, how):
        """Points in fixed-point pixels, int32, (points, 2): turning the head moves nearer points further."""
        x, y = np.concatenate(self._x), np.concatenate(self._y)
        depth = 0.6 - 0.5 * x * x - 0.2 * y * y
        for outline, given in zip(outlines, self._depths):
            if given is not None:
                depth[outline] = given
        x = x * math.cos(how.yaw) + depth * math.sin(how.yaw)
        y = y * math.cos(how.pitch) + depth * math.sin(how.pitch)
        cos, sin = how.scale * math.cos(how.roll), how.scale * math.sin(how.roll)
        points = np.stack([how.shift_x + x * cos - y * sin, how.shift_y + x * sin + y * cos], axis=1)
        points = (points + 1) * (pixels / 2) - 0.5  # OpenCV has the centers of pixels at integers
        return np.rint(points * (1 << _SHIFT)).astype(np.int32)


def _add_background(sketch, stream):
    colors = (40 + 190 * stream.random((5, 3))).tolist()
    sketch.fill(8 * _COS, 8 * _SIN, colors[0], 0)
    for color, (x, y, width, height) in zip(colors[1:4], stream.random((3, 4)).tolist()):
        sketch.ellipse(4 * x - 2, 4 * y - 2, 0.3 + width, 0.3 + height, color, 0)
    sketch.ellipse(0, 2.0, 1.15, 0.85, colors[4], -0.3)  # shoulders


def _skin(who):
    red, green, blue = _pick(_SKIN, who.skin_tone)
    return red + who.skin_red / 2, green, blue - who.skin_red


def _hair(who):
    return _pick(_HAIR, who.hair_tone, who.hair_light)


def _add_head(sketch, who):
    skin, hair, width = _skin(who), _hair(who), who.head_width
    if who.bun > 0:
        sketch.ellipse(0, -1.1 - who.hair_top, who.bun + 0.1, who.bun + 0.05, _mix(hair, _BLACK, 0.15), -0.1)
    if who.bunches > 0:
        x = width + 0.15 + who.bunches * (1 + _COS)
        sketch.pair(x, who.bunches_y + (who.bunches + 0.15) * _SIN, hair, -0.1)
    if who.hair_length > 0:
        x = (width + who.hair_side) * np.append(_COS[_HALF], [-1.08, -0.8, 0.8, 1.08])
        y = np.append(-(1 + who.hair_top) * _SIN[_HALF], who.hair_length - np.array([0.15, 0, 0, 0.15]))
        sketch.fill(x, y, _mix(hair, _BLACK, 0.25), -0.2)
    shade = _mix(skin, (60, 20, 20), 0.25)
    sketch.ellipse(0, 1.1, 0.4 * width + 0.05, 0.5, shade, -0.15)  # neck
    sketch.pair(width + 0.02 + 0.5 * who.ear_size * _COS, who.ear_y + who.ear_size * _SIN, shade, -0.1)
    low = np.maximum(_SIN, 0)
    x = width * _COS * (1 - who.jaw_taper * low**2 + who.jaw_square * (2 * _SIN * _COS) ** 2)
    y = np.where(_SIN > 0, who.chin * _SIN, _SIN)
    sketch.fill(x, y, skin, 0)
    if who.beard > 0:
        x = np.append(x[_HALF], 0.75 * width * _ACROSS)
        y = np.append(y[_HALF], 0.5 + 0.5 * (0.6 - who.beard) * _ARCH)
        sketch.fill(x, y, _mix(skin, hair, 0.8), np.append(np.zeros(15), 0.3 * _ARCH))
    if who.blush > 0:
        color = _mix(skin, (230, 70, 80), who.blush)
        sketch.pair(0.55 * width + 0.16 * _COS, 0.34 + 0.12 * _SIN, color)
    if who.freckles > 0:
        color = _mix(skin, (110, 50, 30), who.freckles)
        for across, down in ((0.41, 0.2), (0.6, 0.26), (0.5, 0.34), (0.29, 0.3)):
            sketch.pair(across * width + 0.03 * _COS, down + 0.03 * _SIN, color)


def _add_nose_and_mouth(sketch, who, how):
    skin, lips, width = _skin(who), _pick(_LIPS, who.lip_tone), who.nose_width
    shade = _mix(skin, (70, 20, 20), who.nose_shade)
    x, y = np.array([-0.3, 0.3, 0.9, -0.9]) * width, np.array([who.eye_y, who.eye_y, who.nose_y, who.nose_y])
    sketch.fill(x, y, _mix(skin, shade, 0.45), np.array([0.6, 0.6, 0.8, 0.8]))
    sketch.ellipse(0, who.nose_y, width, 0.06 + 0.2 * width, shade, 0.8)
    if who.moustache > 0:
        y = who.mouth_y - who.upper_lip - 0.05
        y = np.append(y - who.moustache * (0.4 + 0.6 * _ARCH), y + 0.08 - 0.06 * _ARCH)
        sketch.fill(_THERE_AND_BACK * (who.mouth_width + 0.08), y, _hair(who))
    x = _THERE_AND_BACK * (who.mouth_width + 0.05 * how.smile)
    gap = max(how.mouth_open, 0.012) * _ARCH
    top = who.mouth_y - 0.12 * how.smile * _ACROSS**2 - 0.3 * gap
    bottom = top + 1.3 * gap
    sketch.fill(x, np.append(top - who.upper_lip * _ARCH, bottom + who.lower_lip * _ARCH), lips)
    sketch.fill(x, np.append(top, bottom), _mix(lips, _BLACK, 0.8))
    if how.mouth_open > 0:
        sketch.fill(0.8 * x, np.append(top, top + 0.45 * gap), _WHITE)


def _add_eyes(sketch, who, how):
    x, y, width = who.eye_x * who.head_width, who.eye_y, who.eye_width * who.head_width
    height = who.eye_height * how.eye_open
    iris = min(who.iris, height)
    tilt = y - who.eye_slant * width * _COS
    sketch.pair(x + 1.12 * width * _COS, tilt + (height + 0.03) * _SIN - 0.03, _BLACK)  # lashes
    sketch.pair(x + width * _COS, tilt + height * _SIN, _WHITE)
    for side in (-x, x):  # both eyes look in the same direction, so they are not mirror images
        gaze_x, gaze_y = side + how.gaze_x * (width - iris), y + how.gaze_y * (height - iris)
        sketch.ellipse(gaze_x, gaze_y, who.iris, iris, _pick(_EYES, who.eye_tone))
        sketch.ellipse(gaze_x, gaze_y, 0.45 * who.iris, 0.45 * iris, _BLACK)
        sketch.ellipse(gaze_x + 0.03, gaze_y - 0.4 * iris, 0.025, 0.025, _WHITE)
    brow = y - who.eye_height - who.brow_gap - how.brow_raise - 0.05 * _ARCH
    brow = brow - who.brow_slant * who.brow_width * _ACROSS
    brow = np.append(brow - who.brow_height * (0.3 + _ARCH), (brow + 0.5 * who.brow_height)[::-1])
    sketch.pair(x + who.brow_width * _THERE_AND_BACK, brow, _mix(_hair(who), _BLACK, 0.35))


def _add_fringe(sketch, who):
    """Hair in front: from the right temple over the top to the left one, and back along the hairline."""
    peak = who.hair_peak * np.maximum(1 - 3 * np.abs(_ACROSS), 0)
    line = -who.hairline + who.hair_arch * _ACROSS**2 + peak
    x = np.append((who.head_width + 0.6 * who.hair_side) * _COS[_HALF], 0.97 * who.head_width * _ACROSS)
    y = np.append(-(1 + who.hair_top) * _SIN[_HALF] - 0.05, line)
    sketch.fill(x, y, _hair(who), np.append(np.zeros(15), 0.35 * _ARCH))


def _add_occlusion(sketch, who, how, stream):
    color = (stream.random(3) * 255).tolist()
    if how.glasses > 0:
        dark, x, y = _mix(color, _BLACK, 0.75), who.eye_x * who.head_width, who.eye_y
        sketch.pair(x + 0.27 * _COS, y + 0.21 * _SIN, dark, 0.6)
        sketch.fill(np.array([-x, x, x, -x]), y + np.array([-0.05, -0.05, 0.03, 0.03]), dark, 0.65)
    if how.mask > 0:
        x = np.array([-0.9, -0.4, 0, 0.4, 0.9, 0.6, -0.6]) * who.head_width
        sketch.fill(x, np.array([0.28, 0.2, 0.14, 0.2, 0.28, 0.95, 0.95]), color)
    if how.hand > 0:
        for finger in range(4):
            x = how.hand_x + 0.2 * finger - 0.3
            sketch.ellipse(x, how.hand_y, 0.1, 0.35, _mix(color, (222, 168, 120), 0.7), 0.9)


def _photograph(canvas, size, how, stream):
    """Apply optics, light and sensor: the canvas as an image, uint8, (size, size, 3)."""
    image = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    if how.blur > 0:
        image = cv2.GaussianBlur(image, (0, 0), 0.3 + how.blur * size / 48)
    levels = 255 * how.gain * (np.arange(256) / 255) ** how.gamma
    image = cv2.LUT(image, np.outer(levels, [how.red, 1, how.blue])[None])  # float64; the table: (1, 256, 3)
    slope = how.light_slope * (np.arange(size) * (2 / (size - 1)) - 1)
    light = 1 + slope * math.cos(how.light_angle) + (slope * math.sin(how.light_angle))[:, None]
    noise = how.noise * (stream.random(image.shape) - 0.5)
    return np.clip(np.rint(image * light[..., None] + noise), 0, 255).astype(np.uint8)
