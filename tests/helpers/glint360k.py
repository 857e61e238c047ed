"""Archives as those of Glint360K."""

import hashlib
import io
import os
import tarfile

from partial_fc.data.tools.glint360k import Release

REC, INDEX = os.urandom(300000), b"0\t0\n" * 100


FILES = {"train.rec": REC, "train.idx": INDEX, "property": b"3,112,112\n"}


def md5(content):
    return hashlib.md5(content).hexdigest()


def archive(members=(), folder="glint360k/"):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        if folder:
            info = tarfile.TarInfo(folder)
            info.type = tarfile.DIRTYPE
            tar.addfile(info)
        for name, content in FILES.items():
            info = tarfile.TarInfo(folder + name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in members:
            tar.addfile(info, io.BytesIO(bytes(info.size)))
    return file.getvalue()


def split(folder, content, name="glint360k_", cuts=(0, 1, 700, 70001, 70002, 150000, 250000)):
    edges = [*cuts, len(content)]
    parts = [content[start:end] for start, end in zip(edges, edges[1:])]
    for number, part in enumerate(parts):
        (folder / f"{name}{number:02d}").write_bytes(part)
    return Release("release under test", md5(REC), md5(INDEX), tuple(map(md5, parts)))
