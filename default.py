"""Presets: `get_config(loss, dataset, network)` puts one loss, one data set and one network together.

Edit this file, or override a key for one run with `--set key=value`. A key that is not here is an error.
"""

from easydict import EasyDict


def common():
    """What every preset starts from: the hyper-parameters of the paper (arXiv 2010.05222, section 4)."""
    return EasyDict(
        # model
        embedding_size=512,
        net_output="FC",  # FC: BN-FC-BN; E: the same with dropout; others: docs/networks.md
        image_size=112,
        pretrained="",  # PREFIX,EPOCH of a model to start from: PREFIX-EPOCH.params
        initializer="normal",  # of the backbone's weights: normal, sigma 0.1, as published; or xavier
        centers="",  # folder of class centers to start from: of a checkpoint, or made by `partial-fc centers`
        # optimization
        batch_size=64,  # images per rank
        backbone_lr=0.1,
        memory_bank_lr=0.1,  # of the class centers
        lr_steps=[],  # updates at which both learning rates are multiplied by lr_factor
        lr_factor=0.1,
        momentum=0.9,
        wd=5e-4,
        bias_decay=True,  # wd acts on every parameter, as published; false: biases and betas are spared
        max_update=0,  # updates to train for
        sample_ratio=1.0,  # share of the class centers that takes part in an update
        # data
        source="records",  # records; demo: drawn where they are missing; synthetic: noise, random labels, no files
        rec="",  # train.rec, with train.idx beside it; a preset's is in the folder $PARTIAL_FC_DATA, or else in data/
        num_classes=0,  # identities; 0: as many as the record file lists
        val_targets=[],  # verification sets: NAME.bin beside train.rec
        num_workers=2,  # decoding threads per rank
        last_batch="drop",  # of an epoch, if the images do not fill it: drop, or pad with the epoch's first ones
        on_bad_record="error",  # error: stop; skip: take the next one instead, as long as no more are bad than
        bad_record_share=0.001,  # this share of the images
        # what is done to an image at random, see src/partial_fc/data/augmentation.py; 0: never
        flip=True,  # one in two is mirrored
        color_jitter=0.0,  # brightness, contrast and saturation change by up to this share; InsightFace: 0.125
        low_resolution=0.0,  # share of the images that are shrunk and enlarged again
        jpeg_compression=0.0,  # share that is compressed strongly; InsightFace: 0.5
        cutout=0,  # side in pixels of a grey square in one image of two
        # the run
        seed=0,
        device="auto",  # cpu, gpu, or auto: GPUs if MXNet sees any
        bank="device",  # where the class centers are: device, or host, from which a step's rows travel
        bank_dir="",  # folder for files that hold them, if there are more than the host's memory can hold
        models_root="",  # where model, checkpoints and logs go; empty: models/DATASET-NETWORK-LOSS, or ...-2, ...-3
        frequent=20,  # updates between two lines of the log
        verbose=2000,  # updates between two verifications
        save_interval=10000,  # updates between two checkpoints; there is one at the end, too
        save_minutes=0.0,  # and minutes between two, whatever comes first; 0: updates only
        keep_checkpoints=2,  # checkpoints to keep
        on_save_error="continue",  # a checkpoint that cannot be written (full disk): continue without, or stop
        resume="no",  # no; auto: go on from the newest checkpoint of models_root, if there is one; or the path of one
    )


# logit = s * (cos(m1 * theta + m2) - m3) for the sample's own class, s * cos(theta) for all others
LOSSES = {
    "arcface": dict(loss_s=64.0, loss_m1=1.0, loss_m2=0.5, loss_m3=0.0),
    "cosface": dict(loss_s=64.0, loss_m1=1.0, loss_m2=0.0, loss_m3=0.4),
    "softmax": dict(loss_s=64.0, loss_m1=1.0, loss_m2=0.0, loss_m3=0.0),
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

_DEPTHS = 18, 34, 49, 50, 74, 90, 98, 99, 100, 101, 122, 124, 134, 136, 140, 152, 160, 200, 269
NETWORKS = {
    "demo": {},
    "mobilefacenet": dict(net_output="GDC"),
    **{f"r{depth}": {} for depth in _DEPTHS},
    **{f"rx{depth}": {} for depth in (50, 101)},
}


def get_config(loss, dataset, network):
    """A fresh configuration; what stands further right overrides: common values, loss, data set, network.

    Raises:
        KeyError: there is no such loss, data set or network.
    """
    config = common()
    config.update(LOSSES[loss], **DATASETS[dataset], **NETWORKS[network])
    config.update(loss=loss, dataset=dataset, network=network)
    return config
