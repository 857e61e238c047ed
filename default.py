"""Presets: `get_config(loss, dataset, network)` puts one loss, one data set and one network together.

Edit this file, or override a key for one run with `--set key=value`. A preset may give any key a value. All keys, with
their meanings, units, ranges and defaults, are in docs/configuration.md and in `partial-fc train --help`.
"""

from easydict import EasyDict


def common() -> EasyDict:
    """Values of every preset, unless it has its own: those of the paper (arXiv 2010.05222, section 4)."""
    return EasyDict(
        # model
        embedding_size=512,
        net_name="",  # network names it
        num_layers=0,
        net_unit=3,
        net_se=0,
        net_act="prelu",
        net_input=1,
        net_output="FC",
        bn_mom=0.9,
        workspace=256,
        image_size=112,
        # optimization
        batch_size=64,  # images per rank
        backbone_lr=0.1,
        memory_bank_lr=0.1,
        lr_steps=[],
        max_update=0,  # each data set has its own
        sample_ratio=1.0,
        # data
        rec="",  # below $PARTIAL_FC_DATA, or data/
        num_classes=0,
        val_targets=[],
        # run
        frequent=20,
        verbose=2000,
    )


# logit = s * (cos(m1 * theta + m2) - m3) for the sample's own class, s * cos(theta) for all others; AdaFace has another
# formula for the own class, see docs/training.md
LOSSES = {
    "arcface": dict(loss_s=64.0, loss_m1=1.0, loss_m2=0.5, loss_m3=0.0),
    "cosface": dict(loss_s=64.0, loss_m1=1.0, loss_m2=0.0, loss_m3=0.4),
    "softmax": dict(loss_s=64.0, loss_m1=1.0, loss_m2=0.0, loss_m3=0.0),
    "combined": dict(loss_s=64.0, loss_m1=1.0, loss_m2=0.3, loss_m3=0.2),
    "adaface": dict(loss_s=64.0, loss_m1=1.0, loss_m2=0.0, loss_m3=0.0, adaface_m=0.4),
}


def _records(name, num_classes, lr_steps, max_update, val_targets=("lfw", "cfp_fp", "agedb_30")):
    """Faces in a record file, with their published schedule."""
    return dict(
        rec=f"{name}/train.rec",
        num_classes=num_classes,
        lr_steps=list(lr_steps),
        max_update=max_update,
        val_targets=list(val_targets),
    )


def _synthetic(num_classes):
    """As many identities without any data: measures computing, and what fits into memory."""
    return dict(source="synthetic", num_classes=num_classes, lr_steps=[20000, 28000], max_update=32000)


# The schedules are for 8 ranks of 64 images, that of glint360k_16GPU for 16.
DATASETS = {
    # Cartoon faces of 350 people, drawn on the spot; on two cores under two minutes, about 94 % on 250 other people.
    "demo": dict(
        source="demo",
        rec="demo/train.rec",
        val_targets=["demo"],
        image_size=48,
        embedding_size=128,
        loss_s=32.0,  # 64 is for tens of thousands of identities
        wd=1e-3,
        lr_steps=[480, 680],
        max_update=800,
        verbose=200,
        frequent=50,
    ),
    # Labeled Faces in the Wild on a laptop, for mobilefacenet or small on two ranks. RECORDS: how to make its records.
    "lfw": dict(
        rec="lfw/train.rec",
        val_targets=["heldout"],
        embedding_size=128,
        loss_s=32.0,
        wd=1e-3,
        batch_size=32,
        lr_steps=[500, 700],
        max_update=800,
        verbose=200,
    ),
    "webface": _records("webface", 10575, [20000, 28000], 32000),
    "emore": _records("faces_emore", 85742, [100000, 160000], 180000),
    "ms1m-v3": _records("ms1m-retinaface-t1", 93431, [100000, 160000], 180000),
    "glint360k_8GPU": _records(
        "glint360k",
        360232,
        [200000, 400000, 500000, 550000],
        600000,
        ("lfw", "cfp_fp", "agedb_30", "calfw", "cfp_ff", "cplfw", "vgg2_fp"),
    ),
    "glint360k_16GPU": _records("glint360k", 360232, [200000, 280000, 360000], 400000),
    # w: ten thousand
    "100w": _synthetic(1000000),
    "1000w": _synthetic(10000000),
    "2000w": _synthetic(20000000),
    "3000w": _synthetic(30000000),
    "10000w": _synthetic(100000000),
}

# How to make the records of public data sets; {folder} is the folder where the trainer looks for them.
RECORDS = {
    "lfw": "nothing is downloaded: get the images of Labeled Faces in the Wild, aligned to 112x112 pixels, in one "
    "folder per person, and make the records with `partial-fc data pack IMAGES {folder}-all --min-images 2` and "
    "`partial-fc data pairs {folder}-all {folder} --share 0.2 --random-pairs 1000`; see docs/your-own-data.md"
}

_DEPTHS = 18, 34, 49, 50, 74, 90, 98, 99, 100, 101, 122, 124, 134, 136, 140, 152, 160, 200, 269
NETWORKS = {
    "demo": {},
    "small": {},
    "mobilefacenet": dict(net_output="GDC"),
    **{f"r{depth}": {} for depth in _DEPTHS},
    **{f"rx{depth}": {} for depth in (50, 101)},
}


def get_config(loss: str, dataset: str, network: str) -> EasyDict:
    """The values of a preset, fresh at every call: a data set overrides the loss, and the loss the common values.

    `network` is one of NETWORKS, or PREFIX of a network of your own in PREFIX-symbol.json.

    Raises:
        KeyError: there is no such loss or data set.
    """
    config = common()
    config.update(LOSSES[loss], **DATASETS[dataset], **NETWORKS.get(network, {}))
    config.update(loss=loss, dataset=dataset, network=network)
    return config
