"""The releases of Glint360K."""

from typing import NamedTuple, Tuple


class Release(NamedTuple):
    """A release of Glint360K, with the MD5 sums that its page publishes.

    Attributes:
        name: for messages.
        rec: MD5 of `train.rec`.
        idx: MD5 of `train.idx`.
        parts: MD5 of each part of the archive.
    """

    name: str
    rec: str
    idx: str
    parts: Tuple[str, ...]


RELEASES = (
    Release(
        "first release (parts glint360k00 to 06, not compressed)",
        "2a74c71c4d20e770273f103eda97e878",
        "f7a3e98d3533ac481bdf3dc03a5416e8",
        (
            "8b469dabd959b51f5ae63f1113fa9a7e",
            "25449911e03766bf773b12abcc5789cd",
            "bbd236acb4b561def6071f94b423d85e",
            "bd392b1506dddc5cead1b9de1e7b6e52",
            "163aec95c3e258a79df7f1cb563fd5ef",
            "41bbf8314e24f98405ecbad8e9c89dfd",
            "dcc2f021aa2a9463ff1b2a8021ef87b6",
        ),
    ),
    Release(
        "second release (parts glint360k_00 to 06, gzip)",
        "8483be5af6f9906e19f85dee49132f8e",
        "5d9cd9f262ec87a5ca2eac5e703f7cdf",
        (
            "cf7433cbb915ac422230ba33176f4625",
            "589a5ea3ab59f283d2b5dd3242bc027a",
            "8d54fdd5b1e4cd55e1b9a714d76d1075",
            "cd7f008579dbed9c5af4d1275915d95e",
            "64666b324911b47334cc824f5f836d4c",
            "a318e4d32493dd5be6b94dd48f9943ac",
            "c3ae1dcbecea360d2ec2a43a7b6f1d94",
        ),
    ),
)
