"""The table of the configuration's keys: type, range or choices, unit and meaning of each.

`--set`, the checks of presets, `partial-fc train --help` and docs/configuration.md follow from it. A new key is one
line in `Config`.
"""

import dataclasses
from typing import Any, Dict, Literal, Tuple, get_args, get_origin, get_type_hints

from .config_entry import Key, Span, Value


def _preset(meaning: str, unit: str = "", **more: Any) -> Any:
    """A field of the table, whose value each preset gives; `more` are other fields of `Key`."""
    return dataclasses.field(metadata=dict(more, meaning=meaning, unit=unit))


def _key(default: Value, meaning: str, unit: str = "", **more: Any) -> Any:
    """A field of the table with the value `default`, unless a preset gives another."""
    return _preset(meaning, unit, **more, default=default)


@dataclasses.dataclass(frozen=True)
class Config:
    """The configuration of a run, frozen; made and checked by `config.make_config`.

    A `Literal` lists the choices; a Span is a number of updates or epochs, a tuple of them ascends; a tuple of str
    holds names of files, or patterns.
    """

    # Preset
    loss: str = _preset("margin softmax: a key of LOSSES in default.py")
    dataset: str = _preset("data set with its schedule: a key of DATASETS in default.py")
    network: str = _preset(
        "backbone: one of NETWORKS in default.py, or PREFIX of your own network in PREFIX-symbol.json"
    )
    presets: str = _preset(
        "FILE of presets to use instead of default.py, in the form of ours or of the published one", start=True
    )
    # Loss: s * (cos(m1 * theta + m2) - m3) for a sample's own class, s * cos(theta) for all others
    loss_s: float = _preset("scale s of the logits", above=0)
    loss_m1: float = _preset("factor m1 of the angle to the own class", above=0)
    loss_m2: float = _preset("margin m2 added to that angle", "radians", at_least=0)
    loss_m3: float = _preset("margin m3 subtracted from its cosine", at_least=0)
    margin_warmup: int = _key(0, "updates in which all margins grow linearly from 0", "updates", at_least=0)
    sub_centers: int = _key(
        1,
        "centers per class (K of Sub-center ArcFace); the closest one gives the logit",
        "centers",
        at_least=1,
        at_most=255,
    )
    interclass_filtering: float = _key(
        0.0,
        "leave other classes out of a sample's softmax if their cosine to the sample is above this; 0: none",
        at_least=0,
        at_most=1,
    )
    interclass_filtering_mode: Literal["exact", "zero"] = _key(
        "exact", "for filtered logits: exact leaves them out of the softmax; zero sets them to 0, as arcface_torch does"
    )
    sampling_correction: bool = _key(
        False,
        "true: add the logarithm of the inverse sampling rate to the logits of sampled classes; for sample_ratio < 1",
    )
    adaface_m: float = _key(
        0.0, "margin m of AdaFace in place of m1, m2 and m3, which must be 1, 0 and 0; 0: none", at_least=0
    )
    adaface_h: float = _key(
        0.333, "h of AdaFace: z = h (length - mean) / std of an embedding, clipped to [-1, 1]", above=0
    )
    adaface_t_alpha: float = _key(
        0.01, "weight of an update's batch in the running mean and std of the embeddings' lengths", above=0, at_most=1
    )
    # Model
    embedding_size: int = _preset("size of an embedding", "numbers", at_least=1)
    net_output: Literal["FC", "E", "F", "G", "H", "I", "J", "SFC", "GAP", "GNAP", "GDC"] = _preset(
        "output of the backbone: FC is BN-FC-BN; E is the same with dropout; the others: docs/networks.md"
    )
    net_name: Literal["", "resnet", "fresnext", "mobilefacenet", "small", "demo"] = _preset(
        "kind of the backbone: resnet and fresnext (ResNeXt) have num_layers; empty: the key network decides"
    )
    num_layers: int = _preset(
        "layers of a resnet or fresnext: docs/networks.md; 0: the key network decides", at_least=0
    )
    net_unit: int = _preset("residual unit: docs/networks.md", at_least=1, at_most=3)
    net_se: int = _preset("1: squeeze and excitation in every residual unit", at_least=0, at_most=1)
    net_act: Literal["prelu", "relu"] = _preset("activation of the backbone")
    net_input: int = _preset("first layers of a residual network: docs/networks.md", at_least=0, at_most=2)
    bn_mom: float = _preset("share of the old value in a statistic of batch normalization", at_least=0, at_most=1)
    workspace: int = _preset("memory for temporary results of a convolution on a GPU", "MiB", at_least=1)
    image_size: int = _preset("height and width of the images", "pixels", at_least=1)
    pretrained: str = _key("", "PREFIX[,EPOCH] of a model of the same network to start from", start=True, option=True)
    initializer: Literal["normal", "xavier"] = _key(
        "normal", "initial weights of the backbone: normal has a standard deviation of 0.1, as published"
    )
    centers: str = _key(
        "",
        "folder of class centers to start from: a checkpoint, or made by `partial-fc centers`",
        start=True,
        option=True,
    )
    # Optimization
    batch_size: int = _preset("images in a batch", "images per rank", at_least=1, option=True)
    accumulate: int = _key(
        1,
        "batches of batch_size images whose gradients are summed for one update; needs hardly more memory than one of "
        "these batches",
        "batches per update",
        at_least=1,
    )
    memonger: bool = _key(
        False, "true: recompute activations in the backward pass instead of keeping them: less memory, more time"
    )
    backbone_lr: float = _preset("initial learning rate of the backbone", at_least=0)
    memory_bank_lr: float = _preset("initial learning rate of the class centers", at_least=0)
    lr_schedule: Literal["multistep", "poly", "cosine"] = _key(
        "multistep",
        "how both learning rates fall: multistep: by lr_factor at lr_steps; poly and cosine: to 0 at the end",
    )
    warmup_updates: Span = _key(
        0, "length of the warm-up, in which both learning rates rise from 0", "updates, or epochs: 2e", at_least=0
    )
    lr_steps: Tuple[Span, ...] = _preset(
        "when both learning rates are multiplied by lr_factor; for multistep", "updates, or epochs: 20e"
    )
    lr_power: float = _key(
        1.0, "exponent of poly; arcface_torch: 1 in PolynomialLRWarmup, 2 in the older PolyScheduler", above=0
    )
    lr_unit: Literal["updates", "images"] = _key(
        "updates",
        "what a schedule counts if a run continues with another number of images per update; see docs/training.md",
    )
    lr_factor: float = _key(0.1, "factor of both learning rates at each of lr_steps", at_least=0)
    optimizer: Literal["sgd", "adamw", "lars"] = _key(
        "sgd",
        "optimizer of the backbone: sgd with momentum; adamw, Adam with decoupled weight decay, arXiv 1711.05101; "
        "lars, sgd with a learning rate for each layer, arXiv 1708.03888",
    )
    center_optimizer: Literal["sgd", "adamw"] = _key(
        "sgd", "optimizer of the class centers; adamw keeps two arrays of the size of the centers, sgd one"
    )
    momentum: float = _key(0.9, "momentum of sgd and lars", at_least=0)
    wd: float = _key(0.0005, "weight decay", at_least=0)
    bias_decay: bool = _key(True, "true: wd acts on all parameters, as published; false: not on biases and betas")
    clip_gradient_norm: float = _key(
        0.0,
        "largest norm of the backbone's gradients, after their sum over all ranks; gradients with a larger norm are "
        "scaled down; 0: no limit. Gradients of the class centers are not clipped",
        at_least=0,
    )
    freeze: Tuple[str, ...] = _key(
        [],
        "regular expressions for names of the backbone's parameters and batch statistics that do not change, such as "
        "stage1.*,conv0_weight",
    )
    freeze_bn: bool = _key(False, "true: parameters and statistics of all batch normalizations do not change")
    freeze_centers: bool = _key(False, "true: the class centers do not change")
    lr_mult: Tuple[str, ...] = _key(
        [], "PATTERN:FACTOR for the backbone's learning rate, such as pre_fc1.*:10,stage1.*:0.1; the last match is used"
    )
    wd_mult: Tuple[str, ...] = _key(
        [], "PATTERN:FACTOR for the backbone's weight decay; the last match is used, and it overrides bias_decay"
    )
    max_update: int = _preset("length of the training; 0: max_epochs gives it", "updates", at_least=0)
    max_epochs: int = _key(0, "length of the training; above 0, it replaces max_update", "epochs", at_least=0)
    precision: Literal["float32", "bfloat16", "float16", "auto"] = _key(
        "float32",
        "number format of convolutions and matrix products; auto: float16 on a GPU, bfloat16 on a CPU if it is "
        "faster there, else float32",
        option=True,
    )
    sample_ratio: float = _preset("share of the class centers in an update", above=0, at_most=1, option=True)
    # Data
    source: Literal["records", "demo", "synthetic"] = _key(
        "records",
        "records reads images from rec; demo draws rec where it is missing; synthetic is noise with random labels",
    )
    rec: str = _preset(
        "record file PATH/train.rec, with train.idx beside it; a preset's is in $PARTIAL_FC_DATA if that is set, "
        "otherwise in data/",
        option=True,
    )
    num_classes: int = _preset("number of identities; 0: as many as the record file lists", "identities", at_least=0)
    val_targets: Tuple[str, ...] = _preset("verification sets: NAME.bin beside the record file")
    num_workers: int = _key(2, "decoding threads", "threads per rank", at_least=1)
    last_batch: Literal["drop", "pad"] = _key(
        "drop", "last batch of an epoch, if images do not fill it: drop it, or pad it with the epoch's first images"
    )
    on_bad_record: Literal["error", "skip"] = _key(
        "error",
        "on an unusable record: error stops; skip takes the next record, up to bad_record_share of them",
        option=True,
    )
    bad_record_share: float = _key(0.001, "maximum share of bad records to skip before failing", at_least=0, at_most=1)
    # Augmentation
    flip: bool = _key(True, "mirror half of the images, chosen at random")
    color_jitter: float = _key(
        0.0, "change brightness, contrast and saturation by up to this share; InsightFace: 0.125", at_least=0, at_most=1
    )
    low_resolution: float = _key(0.0, "share of images that are shrunk and enlarged again", at_least=0, at_most=1)
    jpeg_compression: float = _key(
        0.0, "share of images that are compressed to low JPEG quality; InsightFace: 0.5", at_least=0, at_most=1
    )
    cutout: int = _key(
        0, "side of a gray square in half of the images, chosen at random; 0: none", "pixels", at_least=0
    )
    # Run
    seed: int = _key(0, "seed of all random choices", option=True)
    device: Literal["auto", "cpu", "gpu"] = _key("auto", "device that computes; auto: GPUs if MXNet sees any")
    bank: Literal["device", "host"] = _key(
        "device",
        "where the class centers are: on the device, or on the host, which sends each update's rows to the device",
        option=True,
    )
    bank_dir: str = _key(
        "", "folder for files that hold the class centers, if they do not fit into the host's memory", option=True
    )
    models_root: str = _key(
        "",
        "folder for model, checkpoints and logs; empty: models/DATASET-NETWORK-LOSS, with -2, -3 ... if taken",
        start=True,
        option=True,
    )
    published_files: bool = _key(
        False,
        "true: also leave model_average, RANK_centers.param, RANK_centers_mom.param and RANK_hist.log, as published",
    )
    frequent: int = _preset("interval between two lines of the log", "updates", at_least=1)
    verbose: int = _preset("interval between two verifications", "updates", at_least=1)
    keep_best: str = _key(
        "", "verification set (or mean: of all sets) by which the best model is kept as model-best; empty: none"
    )
    keep_best_centers: bool = _key(False, "keep a whole checkpoint of the best model, with its class centers, in best/")
    patience: int = _key(
        0,
        "stop after this many verifications in a row without a better model for keep_best; 0: never",
        "verifications",
        at_least=0,
    )
    save_interval: int = _key(10000, "interval between two checkpoints; the end saves one, too", "updates", at_least=1)
    save_minutes: float = _key(0.0, "maximum time between two checkpoints; 0: no limit", "minutes", at_least=0)
    keep_checkpoints: int = _key(2, "checkpoints to keep", "checkpoints", at_least=1)
    on_save_error: Literal["continue", "stop"] = _key(
        "continue", "if a checkpoint cannot be written, such as on a full disk: continue training, or stop"
    )
    resume: str = _key(
        "no",
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


def _keys() -> Dict[str, Key]:
    hints, found = get_type_hints(Config), {}
    for field in dataclasses.fields(Config):
        hint = hints[field.name]
        choices = get_args(hint) if get_origin(hint) is Literal else ()
        found[field.name] = Key(field.name, str if choices else hint, choices=choices, **field.metadata)
    return found


KEYS = _keys()


def defaults() -> Dict[str, Value]:
    """The values of keys where presets give none, fresh at every call."""
    found = {name: entry.default for name, entry in KEYS.items() if entry.default is not None}
    return {name: list(value) if isinstance(value, list) else value for name, value in found.items()}
