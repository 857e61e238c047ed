"""A preset file of the published form, for tests: the same keys and mechanism, for small data.

Tests copy it, as a user copies a default.py that was edited for own data; `$FACES` is where these are.
"""

import os

from easydict import EasyDict

config = EasyDict()
config.embedding_size = 16
config.image_size = 32
config.net_name = "resnet"
config.net_input = 1
config.net_unit = 3
config.net_se = 0
config.net_act = "prelu"
config.net_output = "FC"
config.bn_mom = 0.9
config.workspace = 256
config.memonger = False
config.fp16 = False
config.debug = 0
config.batch_size = 64
config.sample_ratio = 1.0
config.backbone_lr = 0.1
config.memory_bank_lr = config.backbone_lr
config.frequent = 2
config.verbose = 1000


def generate_config(loss_name, dataset, network):
    config.loss_s, config.loss_m1, config.loss_m2, config.loss_m3 = 64.0, 1.0, 0.0, 0.0
    if loss_name == "cosface":
        config.loss_m3 = 0.4
    elif loss_name == "arcface":
        config.loss_m2 = 0.5
    else:
        del config.loss_s

    if dataset == "faces":
        config.rec = os.environ.get("FACES", "faces/train.rec")
        config.num_classes = 20
        config.val_targets = ["val"]
        config.lr_steps = "4,5"
        config.max_update = 6
        config.batch_size = 8
    elif dataset in ("noise", "1w"):
        config.debug = 1
        config.num_classes = 10000
        config.lr_steps = "100000,160000"
        config.max_update = 180000

    if network == "r18":
        config.num_layers = 18
    elif network == "r100":
        config.num_layers = 100
    elif network == "rx50":
        config.net_name, config.num_layers = "fresnext", 50
