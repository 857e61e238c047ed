"""Cards as data: what a device computes, moves and exchanges per second, and where each figure comes from.

A user adds a card as a JSON file of the fields of `Card`: `--gpu FILE`. `partial-fc plan --measure` writes such a file
for this machine, with one card for each number of ranks: `--gpu here`.
"""

import dataclasses
import json
import math
import os
from typing import Any, Iterator, List, Mapping, Sequence

from ..errors import InputError
from ..files import read_json

_GIGA, _TERA = 1e9, 1e12
# The same for all GPUs: shares of the figures of a data sheet that programs reach. Products: cuBLAS on large matrices.
# Convolutions: in float32, Winograd's algorithm needs 2.25 times fewer multiplications (Lavin and Gray 2016, arXiv
# 1509.09308). Memory: elementwise kernels of the backbone reach 0.8 of the bandwidth, those of the published heads half
# of that. 0.65 and 0.41 are fitted to the two rows of V100.
_OF_PRODUCTS = {"float32": 0.9, "float16": 0.6}
_OF_CONVOLUTIONS = {"float32": 0.6 * 2.25, "float16": 0.65}
_OF_LAYERS, _OF_HEAD, _OF_LINKS = 0.8, 0.41, 0.75
_NARROW = 128  # channels at which tensor cores reach half of their rate
_LATENCY, _LAUNCH = 10e-6, 20e-6  # seconds, of NCCL on one host, and of starting an operator of MXNet
_CONTEXT = 1500  # MiB, between the fitted ones of V100 and RTX2080Ti
_KINDS = ("all_gather", "reduce_scatter", "all_reduce")
HERE = "here"


@dataclasses.dataclass(frozen=True)
class Card:
    """A device, or a core of this machine's CPU.

    Attributes:
        name: as `--gpu` takes it.
        source: where the figures come from.
        device: `gpu` or `cpu`.
        memory: MiB on the card, as nvidia-smi shows them; 0: the free memory of this host counts.
        context: MiB that nvidia-smi counts beyond the arrays of training: the CUDA context, the code and workspace of
            cuDNN and cuBLAS, buffers of NCCL. Of a CPU, what a rank takes that has loaded the libraries, for which the
            trainer allows more, see `memory_parts`.
        products: FLOP/s of matrix products by precision.
        convolutions: FLOP/s by precision, and by pixels in a row of the output where layers differ.
        bandwidth: bytes per second that elementwise operators of the head move, block by block.
        layers: bytes per second that elementwise operators of the backbone move, by precision.
        stream: bytes per second of what no cache holds: parameters, and centers that are chosen and stored.
        links: by collective, `all_gather`, `reduce_scatter` and `all_reduce`, the seconds of a message from rank to
            rank of a host, and bytes per second.
        host_link: bytes per second between the device and host memory, 0 where they are the same.
        launch: seconds of starting an operator.
        narrow: channels at which a convolution in low precision reaches half of its rate; 0: all reach it.
        overlaps: whether collectives run beside the computation, instead of on the same cores.
        ranks: of a host on which this was measured, 0 for any number.
        calibrated: rows of published tables that figures were fitted to.
    """

    name: str
    source: str
    device: str
    memory: float
    context: float
    products: Mapping[str, float]
    convolutions: Mapping[str, Mapping[str, float]]
    bandwidth: float
    layers: Mapping[str, float]
    stream: float
    links: Mapping[str, Sequence[float]]
    host_link: float
    launch: float = 0.0
    narrow: float = 0.0
    overlaps: bool = True
    ranks: int = 0
    calibrated: str = ""

    def convolution(self, precision: str, width: int, channels: int) -> float:
        """FLOP/s of a convolution with `width` pixels in a row of its output: those of the nearest in the table."""
        rates = self.convolutions[precision]
        nearest = min(rates, key=lambda each: abs(math.log(int(each) / width)))
        return rates[nearest] * (1 if precision == "float32" else channels / (channels + self.narrow))


def _gpu(
    name: str,
    source: str,
    memory: float,
    float32: float,
    float16: float,
    gigabytes: float,
    link: float,
    host_link: float,
    context: float = _CONTEXT,
    fitted: float = 1.0,
    calibrated: str = "",
) -> Card:
    """A GPU by its data sheet: MiB, TFLOP/s, and GB/s of its memory, its link and its host's, in one direction."""
    peaks = {"float32": float32 * _TERA, "float16": float16 * _TERA}
    return Card(
        name,
        source,
        "gpu",
        memory,
        context,
        {key: peak * _OF_PRODUCTS[key] for key, peak in peaks.items()},
        {key: {"28": peak * _OF_CONVOLUTIONS[key] * fitted} for key, peak in peaks.items()},
        gigabytes * _GIGA * _OF_HEAD,
        dict.fromkeys(peaks, gigabytes * _GIGA * _OF_LAYERS),
        gigabytes * _GIGA * _OF_HEAD,
        dict.fromkeys(_KINDS, (_LATENCY, link * _GIGA * _OF_LINKS)),
        host_link * _GIGA * _OF_LINKS,
        _LAUNCH,
        _NARROW,
        calibrated=calibrated,
    )


_V100 = (15.7, 125, 900, 150, 12, 1357)
_V100_ROWS = "arcface_torch on 8 V100-32GB: r=0.1 with 4 million classes, model parallel with 5.5 million"
_TABLE = [
    _gpu(
        "2080ti",
        "NVIDIA Turing GPU architecture whitepaper, RTX 2080 Ti: float16 with float32 sums; PCIe 3.0",
        11019,
        *(13.45, 53.8, 616, 12, 12, 1862, 0.9),
        calibrated="PFC on 8 RTX2080Ti: r=0.1 with 1 million classes; on 64: model parallel with 10 million",
    ),
    _gpu("v100-16", "NVIDIA V100 data sheet, SXM2; NVLink", 16160, *_V100, calibrated=_V100_ROWS),
    _gpu("v100-32", "NVIDIA V100 data sheet, SXM2; NVLink", 32510, *_V100, calibrated=_V100_ROWS),
    _gpu("a100-40", "NVIDIA A100 data sheet, SXM 40GB; NVLink", 40536, 19.5, 312, 1555, 300, 25),
    _gpu("a100-80", "NVIDIA A100 data sheet, SXM 80GB; NVLink", 81251, 19.5, 312, 2039, 300, 25),
    _gpu(
        "3090",
        "NVIDIA Ampere GA102 whitepaper, RTX 3090: float16 with float32 sums; PCIe 4.0",
        24268,
        35.6,
        71,
        936,
        25,
        25,
    ),
    _gpu("t4", "NVIDIA T4 data sheet; PCIe 3.0", 15109, 8.1, 65, 300, 12, 12),
    Card(
        "cpu",
        "docs/performance.md: a rank on one core of an AMD EPYC (Zen 4); `--measure` measures another machine",
        "cpu",
        0,
        0,
        {"float32": 105e9, "bfloat16": 205e9},
        {"float32": {"28": 145e9}, "bfloat16": {"28": 300e9}},
        14e9,
        {"float32": 14e9, "bfloat16": 14e9},
        14e9,
        dict.fromkeys(_KINDS, (0.5e-3, 1e9)),
        0,
        overlaps=False,
    ),
]
CARDS = {card.name: card for card in _TABLE}


def measured_path() -> str:
    """Where `--measure` stores this machine's card: $PARTIAL_FC_MACHINE, or ~/.cache/partial-fc/machine.json."""
    return os.environ.get("PARTIAL_FC_MACHINE") or os.path.expanduser("~/.cache/partial-fc/machine.json")


def find_card(name: str, local_ranks: int) -> Card:
    """The card that `--gpu` names: one of `CARDS`, `here`, or the path of a JSON file with one card or a list of them.

    Args:
        name: as `--gpu` has it.
        local_ranks: ranks of a host, for which this machine must have been measured.

    Raises:
        InputError: no such card or file; a field that is missing, unknown or of another type; another number of ranks.
    """
    if name in CARDS:
        return CARDS[name]
    path = measured_path() if name == HERE else name
    if not os.path.isfile(path):
        known = f"one of {', '.join(CARDS)}, {HERE}, or the path of a JSON file of a card"
        raise InputError(f"--gpu {name}: {f'{path}: first run partial-fc plan --measure' if name == HERE else known}")
    cards = cards_in(path)
    found = [card for card in cards if card.ranks in (0, local_ranks)]
    if not found:
        measured = ", ".join(str(card.ranks) for card in cards)
        raise InputError(
            f"{path}: measured on {measured} ranks, not on {local_ranks} per host: run partial-fc plan --measure "
            f"{local_ranks}"
        )
    return found[0]


def cards_in(path: str) -> List[Card]:
    """The cards of a JSON file of one card or a list of them; raises InputError as `find_card`."""
    value = read_json(path)
    return [_card(path, each) for each in (value if isinstance(value, list) else [value])]


def _card(path: str, values: Any) -> Card:
    """A card from JSON; raises InputError naming file and field."""
    fields = {field.name: field for field in dataclasses.fields(Card)}
    if not isinstance(values, dict):
        raise InputError(f"{path}: a card is an object of the fields {', '.join(fields)}")
    for key in values:
        if key not in fields:
            raise InputError(f"{path}: {key}: a card has no such field; it has {', '.join(fields)}")
    needed = [name for name, field in fields.items() if field.default is dataclasses.MISSING]
    missing = [name for name in needed if name not in values]
    if missing:
        raise InputError(f"{path}: the card lacks {', '.join(missing)}")
    for key, value in values.items():
        _check(path, key, value)
    for key in ("convolutions", "layers"):
        if set(values[key]) != set(values["products"]):
            raise InputError(f"{path}: {key}: expected the precisions of products, {', '.join(values['products'])}")
    return Card(**values)


def _check(path: str, key: str, value: Any) -> None:
    """Raise InputError unless a field has the form of that of the other cards, and rates are above 0."""
    example = getattr(CARDS["v100-32"], key)
    wrong = not _is_like(value, example)
    if key == "links":
        wrong = wrong or set(value) != set(_KINDS)
    if key == "convolutions":
        wrong = wrong or not all(width.isdecimal() and int(width) for rates in value.values() for width in rates)
    if wrong:
        raise InputError(f"{path}: {key}: not of the form of {json.dumps(example)}")
    if key in ("products", "convolutions", "bandwidth", "layers", "stream", "links") and 0 in _rates(value):
        raise InputError(f"{path}: {key}: must be above 0")


def _rates(value: Any) -> Iterator[float]:
    """The numbers in a field; of a link, all but its latency."""
    if isinstance(value, dict):
        for each in value.values():
            yield from _rates(each)
    else:
        yield value[1] if isinstance(value, list) else value


def _is_like(value: Any, example: Any) -> bool:
    """Whether a JSON value has the form of another one; numbers must not be negative."""
    if isinstance(example, dict):
        like = next(iter(example.values()))
        return isinstance(value, dict) and bool(value) and all(_is_like(each, like) for each in value.values())
    if isinstance(example, (list, tuple)):
        return isinstance(value, list) and len(value) == len(example) and all(map(_is_like, value, example))
    if isinstance(example, (bool, str)):
        return isinstance(value, type(example))
    return type(value) in (int, float) and value >= 0
