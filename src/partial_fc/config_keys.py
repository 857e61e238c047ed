"""The table of the configuration's keys: type, range or choices, unit and meaning of each.

`--set`, the checks of presets, `partial-fc train --help` and docs/configuration.md follow from it. A new key is one
line in `Config` and one in `common()` of default.py, which gives its value.
"""

import dataclasses
import re
from typing import Any, Dict, List, Literal, Optional, Tuple, Union, get_args, get_origin, get_type_hints

# A number of updates, 20000, or of epochs, `20e`.
Span = Union[int, str]
Value = Union[bool, int, float, str, List[Span], List[str]]

_EPOCHS = re.compile(r"\d+(\.\d+)?e")


def parse_span(text: str) -> Span:
    """The span in a text; raises ValueError that says what was expected."""
    if text.isdecimal():
        return int(text)
    if not _EPOCHS.fullmatch(text):
        raise ValueError(f"expected updates, such as 1000, or epochs, such as 20e, not {text!r}")
    return text


def is_span(value: object) -> bool:
    """Whether a value is a number of updates, which may be negative, or of epochs."""
    return type(value) is int or isinstance(value, str) and bool(_EPOCHS.fullmatch(value))


def size(span: Union[Span, float]) -> float:
    """The number of a span, whatever the unit."""
    return float(span[:-1]) if isinstance(span, str) else span


def in_updates(span: Span, updates_per_epoch: int) -> int:
    """Updates in a span, rounded."""
    return round(size(span) * updates_per_epoch) if isinstance(span, str) else span


def _key(meaning: str, unit: str = "", **more: Any) -> Any:
    """A field of the table; `more` are other fields of `Key`."""
    return dataclasses.field(metadata=dict(more, meaning=meaning, unit=unit))


@dataclasses.dataclass(frozen=True)
class Config:
    """The configuration of a run, frozen; made and checked by `config.make_config`.

    A `Literal` lists the choices; a Span is a number of updates or epochs, a tuple of them ascends; a tuple of str
    holds names of files, or patterns.
    """

    # Preset
    loss: str = _key("margin softmax: a key of LOSSES in default.py")
    dataset: str = _key("data set with its schedule: a key of DATASETS in default.py")
    network: str = _key("backbone: one of NETWORKS in default.py, or PREFIX of your own network in PREFIX-symbol.json")
    presets: str = _key(
        "FILE of presets that takes the place of default.py, of our form or of the published one", start=True
    )
    # Loss: s * (cos(m1 * theta + m2) - m3) for a sample's own class, s * cos(theta) for all others
    loss_s: float = _key("scale s of the logits", above=0)
    loss_m1: float = _key("factor m1 of the angle to the own class", above=0)
    loss_m2: float = _key("margin m2 added to that angle", "radians", at_least=0)
    loss_m3: float = _key("margin m3 subtracted from its cosine", at_least=0)
    margin_warmup: int = _key("updates in which all margins grow linearly from 0", "updates", at_least=0)
    sub_centers: int = _key(
        "centers per class, of which the closest counts: Sub-center ArcFace, K", "centers", at_least=1, at_most=255
    )
    adaface_m: float = _key(
        "margin m of AdaFace in place of m1, m2 and m3, which must be 1, 0 and 0; 0: none", at_least=0
    )
    adaface_h: float = _key("h of AdaFace: the lengths of embeddings up to std / h from their mean matter", above=0)
    adaface_t_alpha: float = _key(
        "share of an update's batch in the running mean and deviation of these lengths", above=0, at_most=1
    )
    # Model
    embedding_size: int = _key("size of an embedding", "numbers", at_least=1)
    net_output: Literal["FC", "E", "F", "G", "H", "I", "J", "SFC", "GAP", "GNAP", "GDC"] = _key(
        "output of the backbone: FC is BN-FC-BN; E is the same with dropout; the others: docs/networks.md"
    )
    net_name: Literal["", "resnet", "fresnext", "mobilefacenet", "small", "demo"] = _key(
        "kind of the backbone: resnet and fresnext (ResNeXt) have num_layers; empty: network names it"
    )
    num_layers: int = _key("layers of a resnet or fresnext: docs/networks.md; 0: as network says", at_least=0)
    net_unit: int = _key("residual unit: docs/networks.md", at_least=1, at_most=3)
    net_se: int = _key("1: squeeze and excitation in every residual unit", at_least=0, at_most=1)
    net_act: Literal["prelu", "relu"] = _key("activation of the backbone")
    net_input: int = _key("first layers of a residual network: docs/networks.md", at_least=0, at_most=2)
    bn_mom: float = _key("share of the old value in a statistic of batch normalization", at_least=0, at_most=1)
    workspace: int = _key("memory for temporary results of a convolution on a GPU", "MiB", at_least=1)
    image_size: int = _key("height and width of the images", "pixels", at_least=1)
    pretrained: str = _key("PREFIX[,EPOCH] of a model of the same network to start from", start=True, option=True)
    initializer: Literal["normal", "xavier"] = _key(
        "initial weights of the backbone: normal has a standard deviation of 0.1, as published"
    )
    centers: str = _key(
        "folder of class centers to start from: a checkpoint, or made by `partial-fc centers`", start=True, option=True
    )
    # Optimization
    batch_size: int = _key("images in a batch", "images per rank", at_least=1, option=True)
    backbone_lr: float = _key("initial learning rate of the backbone", at_least=0)
    memory_bank_lr: float = _key("initial learning rate of the class centers", at_least=0)
    lr_schedule: Literal["multistep", "poly", "cosine"] = _key(
        "how both learning rates fall: by lr_factor at lr_steps, or along a curve to 0 at the end of the training"
    )
    warmup_updates: Span = _key("time in which both learning rates rise from 0", "updates, or epochs: 2e", at_least=0)
    lr_steps: Tuple[Span, ...] = _key(
        "when both learning rates are multiplied by lr_factor; for multistep", "updates, or epochs: 20e"
    )
    lr_power: float = _key(
        "exponent of poly; arcface_torch: 1 in PolynomialLRWarmup, 2 in the older PolyScheduler", above=0
    )
    lr_unit: Literal["updates", "images"] = _key(
        "what the schedule counts if a run continues with another number of images per update: images keeps it in place"
    )
    lr_factor: float = _key("factor of both learning rates at each of lr_steps", at_least=0)
    optimizer: Literal["sgd", "adamw"] = _key(
        "of the backbone: sgd has momentum; adamw is Adam with decoupled weight decay, arXiv 1711.05101"
    )
    center_optimizer: Literal["sgd", "adamw"] = _key(
        "of the class centers, likewise; adamw keeps two arrays of the size of the centers, sgd one"
    )
    momentum: float = _key("momentum of sgd", at_least=0)
    wd: float = _key("weight decay", at_least=0)
    bias_decay: bool = _key("true: wd acts on all parameters, as published; false: not on biases and betas")
    clip_gradient_norm: float = _key(
        "largest norm of the backbone's gradients, summed over all ranks; larger ones are scaled down; 0: no limit. "
        "The class centers take no part",
        at_least=0,
    )
    freeze: Tuple[str, ...] = _key(
        "patterns (regular expressions) of names of the backbone's parameters and batch statistics that stay as they "
        "are, as stage1.*,conv0_weight"
    )
    freeze_bn: bool = _key("true: all batch normalizations stay as they are, parameters and statistics")
    freeze_centers: bool = _key("true: the class centers stay as they are")
    lr_mult: Tuple[str, ...] = _key(
        "PATTERN:FACTOR of the backbone's learning rate, as pre_fc1.*:10,stage1.*:0.1; of several that fit, the last"
    )
    wd_mult: Tuple[str, ...] = _key(
        "PATTERN:FACTOR of the backbone's weight decay, likewise; where a pattern fits, bias_decay does not count"
    )
    max_update: int = _key("length of the training", "updates", at_least=1)
    max_epochs: int = _key("length of the training, in place of max_update; 0: max_update", "epochs", at_least=0)
    precision: Literal["float32", "bfloat16", "float16", "auto"] = _key(
        "of convolutions and products; auto: float16 on a GPU, bfloat16 on a CPU that computes it fast, else float32",
        option=True,
    )
    sample_ratio: float = _key("share of the class centers in an update", above=0, at_most=1, option=True)
    # Data
    source: Literal["records", "demo", "synthetic"] = _key(
        "images: records reads rec; demo draws rec where it is missing; synthetic is noise with random labels, no files"
    )
    rec: str = _key(
        "record file PATH/train.rec, with train.idx beside it; a preset's is in $PARTIAL_FC_DATA, or data/", option=True
    )
    num_classes: int = _key("number of identities; 0: as many as the record file lists", "identities", at_least=0)
    val_targets: Tuple[str, ...] = _key("verification sets: NAME.bin beside the record file")
    num_workers: int = _key("decoding threads", "threads per rank", at_least=1)
    last_batch: Literal["drop", "pad"] = _key(
        "last batch of an epoch, if images do not fill it: drop it, or pad it with the epoch's first images"
    )
    on_bad_record: Literal["error", "skip"] = _key(
        "on an unusable record: error stops; skip takes the next record, up to bad_record_share of them", option=True
    )
    bad_record_share: float = _key("maximum share of bad records to skip before failing", at_least=0, at_most=1)
    # Augmentation
    flip: bool = _key("mirror one image in two")
    color_jitter: float = _key(
        "change brightness, contrast and saturation by up to this share; InsightFace: 0.125", at_least=0, at_most=1
    )
    low_resolution: float = _key("share of images that are shrunk and enlarged again", at_least=0, at_most=1)
    jpeg_compression: float = _key(
        "share of images that are compressed to low JPEG quality; InsightFace: 0.5", at_least=0, at_most=1
    )
    cutout: int = _key("side of a gray square in one image in two; 0: none", "pixels", at_least=0)
    # Run
    seed: int = _key("seed of everything random", option=True)
    device: Literal["auto", "cpu", "gpu"] = _key("device that computes; auto: GPUs if MXNet sees any")
    bank: Literal["device", "host"] = _key(
        "where the class centers are: on the device, or on the host, which sends each update's rows to the device",
        option=True,
    )
    bank_dir: str = _key("folder for files that hold the class centers, if the host's memory cannot", option=True)
    models_root: str = _key(
        "folder for model, checkpoints and logs; empty: models/DATASET-NETWORK-LOSS, with -2, -3 ... if taken",
        start=True,
        option=True,
    )
    published_files: bool = _key(
        "true: also leave model_average, RANK_centers.param, RANK_centers_mom.param and RANK_hist.log, as published"
    )
    frequent: int = _key("interval between two lines of the log", "updates", at_least=1)
    verbose: int = _key("interval between two verifications", "updates", at_least=1)
    keep_best: str = _key(
        "verification set whose best model is kept as model-best beside the last one, or mean of all sets; empty: none"
    )
    keep_best_centers: bool = _key("keep a whole checkpoint of the best model, with its class centers, in best/")
    patience: int = _key(
        "end once so many verifications in a row were no better than the model of keep_best; 0: never",
        "verifications",
        at_least=0,
    )
    save_interval: int = _key("interval between two checkpoints; the end saves one, too", "updates", at_least=1)
    save_minutes: float = _key("maximum time between two checkpoints; 0: no limit", "minutes", at_least=0)
    keep_checkpoints: int = _key("checkpoints to keep", "checkpoints", at_least=1)
    on_save_error: Literal["continue", "stop"] = _key(
        "if a checkpoint cannot be written, such as on a full disk: continue training, or stop"
    )
    resume: str = _key(
        "no; auto: continue from the newest checkpoint in the models root, if there is one; or PATH of a checkpoint",
        start=True,
        option=True,
    )

    def to_dict(self) -> Dict[str, Value]:
        """Values by key, tuples as lists: what a checkpoint's manifest and the log have."""
        values = {name: getattr(self, name) for name in KEYS}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


# Title of each section of the documentation, and its first key.
SECTIONS = {
    "Preset": "loss",
    "Loss": "loss_s",
    "Model": "embedding_size",
    "Optimization": "batch_size",
    "Data": "source",
    "Augmentation": "flip",
    "Run": "seed",
}


@dataclasses.dataclass(frozen=True)
class Key:
    """An entry of the table.

    Attributes:
        kind: bool, int, float, str, Span, Tuple[Span, ...] (ascending) or Tuple[str, ...] (names of files, patterns).
        choices: the only values of a str; empty if there is no such list.
        at_least, above, at_most: limits of a number; None where there is none.
        start: whether it belongs to one start of a run: a run that continues, or is repeated, may have another value.
        option: whether `partial-fc train` has an option of its own for it, see `flag`.
    """

    name: str
    kind: Any
    meaning: str
    unit: str = ""
    choices: Tuple[str, ...] = ()
    at_least: Optional[float] = None
    above: Optional[float] = None
    at_most: Optional[float] = None
    start: bool = False
    option: bool = False

    @property
    def flag(self) -> str:
        """The option: `--batch-size`."""
        return "--" + self.name.replace("_", "-")

    @property
    def is_list(self) -> bool:
        """Whether the value is a list: spans or names."""
        return self.kind in (Tuple[Span, ...], Tuple[str, ...])

    @property
    def range(self) -> str:
        """The range of a number, as it follows `must` in an error; empty if there is none."""
        if self.at_most is not None:
            low = f"[{self.at_least:g}" if self.above is None else f"({self.above:g}"
            return f"lie in {low}, {self.at_most:g}]"
        if self.above is not None:
            return "be positive" if not self.above else f"be above {self.above:g}"
        if self.at_least is None:
            return ""
        return f"be at least {self.at_least:g}" if self.at_least else "not be negative"

    def allows(self, value: Union[Span, float]) -> bool:
        """Whether a number, or that of a span, is in the range."""
        number = size(value)
        if self.above is not None and not number > self.above:
            return False
        if self.at_least is not None and not number >= self.at_least:
            return False
        return self.at_most is None or number <= self.at_most

    @property
    def values(self) -> str:
        """Description of its values: `whole number, at least 1`."""
        kinds: Dict[Any, str] = {bool: "true or false", int: "whole number", float: "number", str: "text"}
        kinds.update({Span: "whole number, or as 2e", Tuple[Span, ...]: "ascending list, as 1000,1500 or 20e,28e"})
        kinds[Tuple[str, ...]] = "list, separated by commas"
        text = ", ".join(choice or "empty" for choice in self.choices) or kinds[self.kind]
        limits = self.range.replace("not be negative", "at least 0").replace("be ", "").replace("lie ", "")
        return f"{text}, {limits}" if limits else text


def _keys() -> Dict[str, Key]:
    hints, found = get_type_hints(Config), {}
    for field in dataclasses.fields(Config):
        hint = hints[field.name]
        choices = get_args(hint) if get_origin(hint) is Literal else ()
        found[field.name] = Key(field.name, str if choices else hint, choices=choices, **field.metadata)
    return found


KEYS = _keys()
