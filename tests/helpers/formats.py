"""Every format that is read from files of unknown origin: undamaged files, and all that is done with such files.

`FORMATS` has by name a Format. Its `seeds` makes variants, each a dictionary of contents by name of the file; `use`
gets the folder that they, or damaged ones, lie in.
"""

import gzip
import hashlib
import io
import json
import os
import pickle
import struct
import tarfile
from contextlib import nullcontext
from typing import Callable, NamedTuple

import cv2
import mxnet as mx
import numpy as np
from PIL import Image

from partial_fc.backbone.shapes import check_elements
from partial_fc.checkpoint import checkpoints as checkpoint
from partial_fc.checkpoint.center_files import CenterFiles, write_centers
from partial_fc.checkpoint.convert_centers import import_numpy, import_original
from partial_fc.checkpoint.label_map import match_identities, read_label_map
from partial_fc.checkpoint.model_files import load_arrays, save_arrays, save_model
from partial_fc.curation.clusters import read_different
from partial_fc.data.images.align import Landmarks
from partial_fc.data.images.decoding import decode_image, encode_jpeg, image_kind
from partial_fc.data.images.fit import decode_any
from partial_fc.data.records.data_set import Grouped
from partial_fc.data.records.identity_ranges import empty_identities
from partial_fc.data.records.index import rebuild_index
from partial_fc.data.records.record_file import RecordFile, read_property
from partial_fc.data.records.record_writer import record_files, write_records
from partial_fc.data.tools.check import check
from partial_fc.data.tools.glint360k import Release, prepare
from partial_fc.data.tools.identity_lists import read_joined
from partial_fc.data.tools.info import info
from partial_fc.data.tools.pack_state import UnfinishedPack
from partial_fc.data.tools.pairs import read_pairs
from partial_fc.data.verification_set import load_verification_set
from partial_fc.distributed.hosts import parse_hosts, read_host_file
from partial_fc.errors import InputError
from partial_fc.eval.features import read_features
from partial_fc.eval.model import load_model
from partial_fc.eval.protocols.ijb_lists import read_faces
from partial_fc.eval.protocols.ijb_lists import read_pairs as read_template_pairs
from partial_fc.eval.protocols.megaface_files import open_template_list, read_feature
from partial_fc.eval.protocols.noise_lists import read_noises
from partial_fc.eval.unfinished_features import UnfinishedFeatures
from partial_fc.symbol import get_symbol
from partial_fc.training.run_state import check_about

from helpers.faces import face
from helpers.report_formats import conflicts_seeds, evaluation_seeds, pairs_seeds, run_seeds, use_report

SIZE = 16
MAGIC = b"\x0a\x23\xd7\xce"


class Format(NamedTuple):
    """`seeds` (function of a scratch folder), `use` (function of a folder), whether files hold JSON of a checksum."""

    seeds: Callable
    use: Callable
    json: bool = False


class Tally:
    """How often something gave data and how often one of our errors."""

    def __init__(self):
        self.data = self.errors = 0

    def attempt(self, function, *arguments):
        """What a function gives, or None where it raises InputError; anything else it raises is a finding."""
        try:
            result = function(*arguments)
        except InputError:
            self.errors += 1
            return None
        self.data += 1
        return result


def jpegs():
    return [encode_jpeg(face(0, number, SIZE)) for number in range(6)]


def picture(kind, **options):
    file = io.BytesIO()
    Image.fromarray(face(1, 0, SIZE)).save(file, kind, **options)
    return file.getvalue()


def record_seeds(folder):
    images, png = jpegs(), cv2.imencode(".png", face(1, 0, SIZE))[1].tobytes()
    write_records(f"{folder}/faces.rec", [images[:3], [images[3], png], [images[4] + MAGIC * 3, images[5]]])
    with record_files(f"{folder}/plain.rec") as writer:
        for number, jpeg in enumerate(images):
            writer.write_image(jpeg, 2**24 + number if number == 4 else number)
    files = [{f"train.{end}": read(f"{folder}/{name}.{end}") for end in ("rec", "idx")} for name in ("faces", "plain")]
    swapped = {"train.rec": files[0]["train.rec"], "train.idx": files[1]["train.idx"]}
    return [{**each, "property": b"3,16,16\n"} for each in (*files, swapped)]


def read(path):
    with open(path, "rb") as file:
        return file.read()


def use_records(folder, tally):
    path = f"{folder}/train.rec"
    records = tally.attempt(RecordFile, path)
    tally.attempt(read_property, folder)
    if not records:
        return
    labels = tally.attempt(records.labels)
    assert labels is None or labels.min() >= 0 and len(labels) == len(records.keys)
    tally.attempt(empty_identities, records)
    for index, key in enumerate(records.keys.tolist()):
        found = tally.attempt(records.read, key)
        if found:
            assert type(found[1]) is int and found[1] >= 0
            assert labels is None or labels[index] == found[1]
            use_image(found[0], tally)


def use_all_of_a_record_file(folder, tally):
    path = f"{folder}/train.rec"
    tally.attempt(check, path)
    tally.attempt(info, path)
    tally.attempt(rebuild_index, path, lambda *_: nullcontext(lambda _: None), True)


def use_image(content, tally):
    decoded = tally.attempt(decode_image, content, (SIZE, SIZE))
    assert decoded is None or decoded.shape == (SIZE, SIZE, 3)


def image_seeds(folder):
    kinds = "JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "JPEG2000"
    contents = [picture(kind) for kind in kinds]
    contents += [picture("TIFF", compression="tiff_lzw"), cv2.imencode(".jpg", face(1, 1, SIZE)[..., 0])[1].tobytes()]
    return [{"image": content} for content in contents]


def use_any_image(folder, tally):
    content = read(f"{folder}/image")
    use_image(content, tally)
    decoded = tally.attempt(decode_any, content)
    assert decoded is None or decoded.ndim == 3
    try:
        image_kind(content)
    except ValueError:
        tally.errors += 1


def bin_seeds(folder):
    images, issame = jpegs(), [True, False, True]
    arrays = [np.frombuffer(jpeg, np.uint8) for jpeg in images], np.array(issame)
    pickles = [pickle.dumps((images, issame), protocol) for protocol in (0, 2, 4)]
    return [{"a.bin": content} for content in (*pickles, pickle.dumps(arrays, 2))]


def use_bin(folder, tally):
    loaded = tally.attempt(load_verification_set, f"{folder}/a.bin")
    assert not loaded or len(loaded.images) == 2 * len(loaded.issame)
    for image in loaded.images if loaded else ():
        use_image(image, tally)


def model_seeds(folder):
    symbol = get_symbol("demo", 4)
    shapes, _, states = symbol.infer_shape(data=(1, 3, SIZE, SIZE))
    arguments = {name: mx.nd.ones(shape) for name, shape in zip(symbol.list_arguments(), shapes) if name != "data"}
    save_model(f"{folder}/m", symbol, arguments, dict(zip(symbol.list_auxiliary_states(), map(mx.nd.ones, states))))
    small = mx.sym.FullyConnected(mx.sym.Variable("data") - 127.5, num_hidden=4, name="fc1")
    save_model(f"{folder}/s", small, {"fc1_weight": mx.nd.ones((4, 768)), "fc1_bias": mx.nd.ones(4)}, {})
    ends = "-symbol.json", "-0000.params"
    return [{"m" + end: read(f"{folder}/{name}{end}") for end in ends} for name in "ms"]


def use_model(folder, tally):
    model = tally.attempt(load_model, f"{folder}/m")
    if model:
        try:
            check_elements(model.symbol, (1, 3, SIZE, SIZE), "model")
        except InputError:
            tally.errors += 1


def params_seeds(folder):
    mx.nd.save(f"{folder}/a", mx.nd.ones((4, 3)))
    with mx.util.np_shape(True):
        mx.nd.save(f"{folder}/b", [mx.nd.ones((4, 3))])
    legacy = struct.pack("<4Q", 0x112, 0, 1, 0)[:24] + struct.pack("<3I3i", 2, 4, 3, 1, 0, 0) + bytes(48 + 8)
    return [{"0_centers.param": content} for content in (read(f"{folder}/a"), read(f"{folder}/b"), legacy)]


def use_params(folder, tally):
    tally.attempt(import_original, folder, f"{folder}/out", 4)


def tensor_seeds(folder):
    save_arrays(f"{folder}/arrays", {"a": mx.nd.ones((2, 3)), "b": mx.nd.ones(4)})
    rows = [(0, np.ones((3, 4), np.float32), np.zeros((3, 4), np.float32))]
    write_centers(f"{folder}/centers", 0, 3, 3, 4, rows)
    return [{"arrays": read(f"{folder}/arrays"), "centers-00000-of-00001.safetensors": read(f"{folder}/centers")}]


def use_tensors(folder, tally):
    tally.attempt(load_arrays, f"{folder}/arrays", {"a": mx.nd.zeros((2, 3)), "b": mx.nd.zeros(4)})
    centers = tally.attempt(CenterFiles, folder)
    if centers:
        tally.attempt(lambda: list(centers.blocks(0, centers.num_classes)))


def manifest_seeds(folder):
    report = {"num_update": 5, "loss": 1.0, "seconds": 2.5, "waited": 0.0, "position": 7, "notes": 0}
    progress = {"first": report, "last": report, "history": [[5, {"lfw": 0.9}]], "best": {"lfw": [0.9, 5]}}
    content = {
        "num_update": 5,
        "world_size": 2,
        "files": {"a": [3, "b" * 64]},
        "configuration": {"batch_size": 4},
        "versions": {"mxnet": "1.9.1"},
        "progress": progress,
        "format": 1,
    }
    return [{checkpoint.MANIFEST: json.dumps(content).encode()}]


def use_manifest(folder, tally):
    path = f"{folder}/{checkpoint.MANIFEST}"
    try:  # with a checksum that is right, which anyone can make
        content = json.loads(read(path))
        content.pop("checksum", None)
        bare = {name: value for name, value in content.items() if name != "format"}
        with open(path, "w") as file:
            json.dump({**content, "checksum": checkpoint.manifest_checksum(bare)}, file)
    except (ValueError, AttributeError, TypeError, RecursionError):
        pass
    manifest = tally.attempt(checkpoint.verified_manifest, folder, lambda _: [])
    if manifest:
        tally.attempt(check_about, manifest)


def numpy_seeds(folder):
    found = []
    for array in (np.ones((5, 4), np.float32), np.asfortranarray(np.ones((5, 4))), np.ones((3, 2), ">f2")):
        np.save(f"{folder}/f.npy", array)
        found.append({"f.npy": read(f"{folder}/f.npy")})
    return found


def use_numpy(folder, tally):
    features = tally.attempt(read_features, f"{folder}/f.npy")
    assert features is None or np.asarray(features).ndim == 2
    tally.attempt(import_numpy, f"{folder}/f.npy", f"{folder}/out")


def kit_seeds(folder):
    features = [struct.pack("<4i", 4, 1, size, kind) + bytes(4 * size) for size, kind in ((4, 5), (8, 6))]
    lists = {"path": ["a/b.jpg", "c\\d.jpg"]}, {"path": ["a/b.jpg", "c.jpg"], "id": ["a", 3]}
    return [{"f.bin": feature, "l.json": json.dumps(each).encode()} for feature, each in zip(features, lists)]


def use_kit(folder, tally):
    tally.attempt(read_feature, f"{folder}/f.bin")
    tally.attempt(open_template_list, f"{folder}/l.json")


def list_seeds(folder):
    points = " ".join(str(number) for number in range(10))
    return [
        {
            "pairs": b"2\t1\nAnn\t1\t2\nAnn\t1\tBob\t1\n",
            "paths": b"a.jpg,b.jpg,1\na.jpg,c.jpg,0\n",
            "landmarks": f"a/b.jpg {points}\nc/d.jpg\t".encode() + points.replace(" ", "\t").encode(),
            "map": b"0 1\n1 0\n",
            "old": "Ann\nBob\n".encode("utf-16"),
            "new": "Bob\nÅsa\n".encode(),
            "noises": b"a.jpg\nb\n",
            "hosts": b"worker1 slots=8\nuser@worker2:4 # two\n\nworker3\n",
        }
    ]


def use_lists(folder, tally):
    for name in ("pairs", "paths"):
        tally.attempt(read_pairs, f"{folder}/{name}", folder)
    for function, name in (
        (Landmarks, "landmarks"),
        (read_label_map, "map"),
        (read_noises, "noises"),
        (read_host_file, "hosts"),
    ):
        tally.attempt(function, f"{folder}/{name}")
    tally.attempt(match_identities, f"{folder}/old", f"{folder}/new")
    two = np.arange(3)
    tally.attempt(read_joined, f"{folder}/map", [Grouped(two[:2], two, two[1:])])
    tally.attempt(read_different, f"{folder}/map")
    tally.attempt(parse_hosts, read(f"{folder}/hosts").decode("latin-1"))


def ijb_seeds(folder):
    points = " ".join(str(number) for number in range(10))
    return [
        {
            "meta/ijbc_face_tid_mid.txt": b"1.jpg 1 7\n2.jpg 2 8\n",
            "meta/ijbc_name_5pts_score.txt": f"1.jpg {points} 0.9\n2.jpg {points} 0.8\n".encode(),
            "meta/ijbc_template_pair_label.txt": b"1 2 0\n1 1 1\n",
        }
    ]


def use_ijb(folder, tally):
    tally.attempt(read_faces, folder, "IJBC")
    tally.attempt(read_template_pairs, folder, "IJBC", np.array([1, 2]))


def journal_seeds(folder):
    lines = {"a": 1}, ["Ann", 1, 60, 8, []], ["Bob", 2, 160, 16, [["Bob/1.jpg", "damaged"]]]
    text = "".join(json.dumps(line) + "\n" for line in lines).encode()
    features = io.BytesIO()
    np.save(features, np.ones((5, 3), np.float32))
    return [
        {
            ".pack/journal": text,
            ".pack/train.rec": bytes(200),
            ".pack/train.idx": bytes(20),
            ".f.npy.unfinished/journal-0": b'{"a": 1}\n[0, {"3": "damaged"}]\n',
            ".f.npy.unfinished/features.npy": features.getvalue(),
        }
    ]


def use_journals(folder, tally):
    def pack():
        with UnfinishedPack(folder, {"a": 1}, ["Ann", "Bob", "Cy"], False) as unfinished:
            return unfinished.done

    def embed():
        unfinished = UnfinishedFeatures(f"{folder}/f.npy", (5, 3))
        unfinished.prepare({"a": 1}, False)
        unfinished.open()
        unfinished.close()
        return unfinished.skipped()

    tally.attempt(pack)
    tally.attempt(embed)


def archive_seeds(folder):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, size in (("glint360k/train.rec", 700), ("glint360k/train.idx", 50), ("ä" * 120, 10)):
            member = tarfile.TarInfo(name)
            member.size = size
            archive.addfile(member, io.BytesIO(bytes(size)))
    content = file.getvalue()
    return [{"glint360k.tar": content}, {"glint360k.tar": gzip.compress(content)}]


def use_archive(folder, tally):
    rec, index = (hashlib.md5(bytes(size)).hexdigest() for size in (700, 50))
    tally.attempt(prepare, folder, lambda *_: nullcontext(lambda _: None), (Release("under test", rec, index, ()),))
    assert not [name for name in os.listdir(folder) if name not in ("glint360k.tar", "glint360k")]


FORMATS = {
    "records": Format(record_seeds, use_records),
    "index": Format(record_seeds, use_all_of_a_record_file),
    "images": Format(image_seeds, use_any_image),
    "bin": Format(bin_seeds, use_bin),
    "model": Format(model_seeds, use_model, json=True),
    "params": Format(params_seeds, use_params),
    "safetensors": Format(tensor_seeds, use_tensors),
    "manifest": Format(manifest_seeds, use_manifest, json=True),
    "npy": Format(numpy_seeds, use_numpy),
    "kit": Format(kit_seeds, use_kit, json=True),
    "lists": Format(list_seeds, use_lists),
    "ijb": Format(ijb_seeds, use_ijb),
    "journals": Format(journal_seeds, use_journals, json=True),
    "archive": Format(archive_seeds, use_archive),
    "run": Format(run_seeds, use_report, json=True),
    "evaluation": Format(evaluation_seeds, use_report, json=True),
    "conflicts": Format(conflicts_seeds, use_report, json=True),
    "pairs": Format(pairs_seeds, use_report, json=True),
}
