"""Published results of Partial FC and of the models it was compared with.

Sources: the tables in the README of InsightFace's `recognition/partial_fc` (github.com/deepinsight/insightface), which
belong to An et al., arXiv 2010.05222; for verification, those of its `model_zoo`, where mirror images are added.
"""

from typing import Dict, NamedTuple, Optional, Tuple

_GROUPS = ("African", "Caucasian", "Indian", "Asian", "ALL")


class Published(NamedTuple):
    """A published result.

    Attributes:
        protocol: name of the command for the same protocol.
        data: name of the data set as in `output.Result`; None: the only one of the protocol.
        model: network, training data, sample ratio.
        figures: fractions of 1, by the names of `output.Result.columns`.
    """

    protocol: str
    data: Optional[str]
    model: str
    figures: Dict[str, float]

    @property
    def groups(self) -> Dict[str, Dict[str, float]]:
        """As `output.Result.groups`. The script behind the figures of IJB-C adds normalized embeddings."""
        if self.protocol == "ijb":
            return {"normalized": self.figures}
        if self.protocol == "verification":
            return {"added": {"accuracy": self.figures["accuracy_flip"]}}
        if self.protocol != "ifrt":
            return {}
        groups: Dict[str, Dict[str, float]] = {}
        for name, value in self.figures.items():
            group, far = name.split()
            groups.setdefault(group, {})[f"tar {far}"] = value
        return groups


def _ifrt(model: str, *percents: float) -> Published:
    return Published("ifrt", None, model, {f"{group} 1e-6": value / 100 for group, value in zip(_GROUPS, percents)})


def _verification(model: str, *percents: float) -> Tuple[Published, ...]:
    sets = zip(("lfw", "cfp_fp", "agedb_30"), percents)
    return tuple(Published("verification", data, model, {"accuracy_flip": each / 100}) for data, each in sets)


PUBLISHED = (
    _ifrt("R100, Glint360K, r=0.1", 90.45, 94.60, 93.96, 63.91, 88.23),
    _ifrt("R100, Glint360K, r=1.0", 89.50, 94.23, 93.54, 65.07, 88.67),
    _ifrt("R50, MS1M-V3", 76.24, 86.21, 84.44, 37.43, 71.02),
    _ifrt("R124, MS1M-V3", 81.08, 89.06, 87.53, 38.40, 74.76),
    Published("ijb", "IJBC", "R100, Glint360K, CosFace", {"tar 1e-4": 0.973}),
    Published("ijb", "IJBC", "R100, MS1MV2, CosFace", {"tar 1e-4": 0.964}),
    Published("megaface", None, "R100, Glint360K, CosFace", {"rank1": 0.991, "tar 1e-6": 0.991}),
    Published("megaface", None, "R100, MS1MV2, CosFace", {"rank1": 0.983, "tar 1e-6": 0.986}),
    *_verification("R50, Glint360K, r=0.1", 99.817, 99.143, 98.45),
    *_verification("R50, MS1MV3, r=0.1", 99.8, 98.443, 98.167),
    *_verification("R50, MS1MV3, r=1.0", 99.8, 98.529, 98.267),
    *_verification("R100, MS1MV2, ArcFace", 99.77, 98.27, 98.28),
)


def published(protocol: str, data: str) -> Tuple[Published, ...]:
    """The published results of a protocol on a data set."""
    return tuple(each for each in PUBLISHED if each.protocol == protocol and each.data in (None, data))
