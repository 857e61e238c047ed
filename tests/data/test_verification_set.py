import base64
import os
import pickle
import stat

import numpy as np
import pytest

from partial_fc.data.verification_set import load_verification_set, save_verification_set

from helpers.cases import for_each

IMAGES = [b"\xff\xd8\x00first", b"\xff\xd8second", b"\xff\xd8third", b"\xff\xd8'\nfourth"]


def write(path, data):
    path.write_bytes(data)
    return str(path)


def check(path):
    images, issame = load_verification_set(path)
    assert images == IMAGES and all(type(image) is bytes for image in images)
    assert issame.dtype == bool and issame.tolist() == [True, False]


@pytest.mark.parametrize("issame", [[True, False], np.array([1, 0]), [np.bool_(1), np.bool_(0)], (1, 0)])
def test_what_is_saved_is_loaded_by_us_and_by_pickle(tmp_path, issame):
    path = str(tmp_path / "pairs.bin")
    save_verification_set(path, IMAGES, issame)
    check(path)
    with open(path, "rb") as file:
        bins, issame_list = pickle.load(file, encoding="bytes")
    assert bins == IMAGES and issame_list == [True, False] and type(issame_list[0]) is bool
    assert os.listdir(tmp_path) == ["pairs.bin"]
    assert stat.S_IMODE(os.stat(path).st_mode) & 0o400


@for_each("protocol", range(6))
@for_each(
    "image_type",
    [
        bytes,
        *(lambda image, shape=shape: np.frombuffer(image, np.uint8).reshape(shape) for shape in (-1, (-1, 1), (1, -1))),
    ],
)
@for_each(
    "issame",
    [[True, False], (True, False), [np.bool_(True), np.bool_(False)], np.array([True, False]), np.array([1, 0])],
)
def test_every_form_python_3_writes(tmp_path, protocol, image_type, issame):
    content = ([image_type(image) for image in IMAGES], issame)
    check(write(tmp_path / "pairs.bin", pickle.dumps(content, protocol)))


def test_python_2_files(tmp_path):
    strings = b"".join(b"U" + bytes([len(image)]) + image + b"q\x02" for image in IMAGES)
    check(write(tmp_path / "protocol2.bin", b"\x80\x02]q\x01(" + strings + b"e]q\x06(\x88\x89e\x86q\x07."))
    text = b"".join(b"S" + repr(image)[1:].encode() + b"\na" for image in IMAGES)
    check(write(tmp_path / "protocol0.bin", b"((lp1\n" + text + b"(lp2\nI01\naI00\natp3\n."))


# `pickle.dump(([array of each image ...], [np.bool_(True), np.bool_(False)]), file, protocol)`, in base 85
WRITTEN_ELSEWHERE = {
    "Python 2.7, NumPy 1.16, protocol 0, (n, 1)": r"C@5@jFbZRCb!~8YE@N+UWiD-XY;<X1a&lpL3SV+%V{dMAbaHiLbP8}W3MgZ4b!~8Y3T|X!a&lpL3UD$CC`m91bZ|2YQzv343UD+EbZ|8"  # noqa: E501
    r"aQgAj3C`mC2C`mX9Nihm^a5oBLZgp*Nc?x87d2nS4a5xGmQzvyXCkk*m3P~^uNihm^a4|3nQgAUb3Mff43R5S1Ckk*eG73&kPDw2>3P~"
    r"+73P~^ubZ{{<3SvnxFbY#ATzF<?TzF(STzD`rW@&PBbSDaMF*FKva4|IsVqs@73MgkX3Mff13UqKWHVS7n3UqKWHwsd4F*ph+Nihm2Nj"
    r"M5gF$#2WF*yonF)<2BFfa;JCtP@DW?Xn=ICEuVZ*F8K3UD$o3UqKXF$!W~XE6#WXEF*XNiYg@a56FqXEX|Qa56IrQgAXf3Mff23Mff83"
    r"P~{vbZ{~?3TH7f3P~_93R5RscxGl?cw{(qXlZg}Ckk*fHVSlbGB*lhVP`Q4C}%PXC`m91bZ{~_3THG5bZ{~`3Q}-0FbXJ1F$yS2F)#{A"
    r"F$#2WGcgKhF)<2BFfa;JB3yW8W?Xn=I44|gW^Z+JbZ8<9a5FLrbZ|2>3Swa>Y;ZF)3S(|{ZE$%mV{dY0E^T#ebZKF7a$$K2b7Ns_VR8y"
    r"^Gc^h*XE+KdQzv3ECkk*gHVR2F3P~{vbZ|2_3Q}-0I0`69GYV5Dd?yNUGdT)QPEJWJF$zg7F$zgA3UqKZFbZN*CtP?iF((ReG%*Tva5O"
    r"RsQgAdg3Snn6H3}$aGdK!UCtP?iFeeIdG&Blya5OavQgAdj3So3`G&c$^",
    "Python 2.7, NumPy 1.16, protocol 2, (n, 1)": r"fC61{04QT_b!~8YE@N+UWiD-XY;<X1a&lpL3SV+%V{dMAbaHiLbP90+V{UbAaCr)DWMOi0VR;I10!sjeaRXHWVsQkAaRpLw1}IAbO9)E"  # noqa: E501
    r"=hH(dDZgp*Nc?x87d2nS4aR^lcbun=XO8`p&hj9v0aSJF*162WhaSTpQPD=m(|Nlz=|Ns9>0CaH;Vu@7<|JVR#X>xOPaSn8G4`OHmXaY"
    r"+Bg>evQ1cz}EQgIR}O94v=O96&)6KD&GRS5ssb7f<1Ze(#3ba548XaQ&fO8|v&7H9;AaTii?7${2tO9x8<hH)8a3yD<+|JZbBX>w$78g"
    r"y|RVrT(q0!sjeaU5s_hjATJaULj30ZR%?0fuoOXbXu|3jf$A3TAJ0a&%~MAarpdVr5-%A}C{Sb!~8YE@N+UWiD-XY;<X1a&lpL3Ugy&Y"
    r"+-T=aU*C5RRUr$aU@FsO96**B~o!FC`$uX0eo>MPEJlr|NsC0O8@`=|4RULaVTO{0ReF-hH)xVaVuyeXeLzw0C6maaV=7DE@g&sFD?",
    "Python 3.13, NumPy 2.5, protocol 2, (1, n)": r"fC61{04QT_b!~8YE?;ABa%C=Ub!>ELVRCX|c?w^0Wn*t{b98cbV{{5}0b_1;ZE$%CZe(F{a$$K2aRN&Kg>eI8Ut@1%Wn*&+Wo~0{WMv9"  # noqa: E501
    r"*1Xuw8003ff1y}|E003-ZbZKreaR!EQ2U2kehj9r~aSA9)0ZRc(2!?SBV{UbAaCr)3ba`-P3ULfr0ssI2bun=biHL`B4pMOsC`$ua0RR"
    r"91d~py?PEJby|Ns9=|NsC0O8|6n5n_pG1Xv0H006_k!<YbOX>xOPaS~_-hH(>8aTIiM6=G-sXaY+Bg>e>W2#0YOQgIk4O94v(O9+N>8E"
    r"6lQXaraa0002Pzr&bwWn*t{WN{j328MAPQgIw~aUEi40cZkC0EKZLXb6XKA5w83C`$oL0ZRvlaUp0AiD(2^2><{9!@t9rbZBXEWN{*B2"
    r"8MAXQgI}7aV27C0cZkC0EKZTXb6XKCsJ`JC`$oL0ZR&oaVcmIiD(2^3;+NC!@t9rCkke7b#ioQaVlsAhH)!WaV&IkEn;O|aV{uhZgp*N"
    r"c`jdLZ*pZWZFOvPX<>45VR;I3V_|Gzatd)TXbe~a0001DF>x@7h=*}8QgJdUO9N;SPEJlr|NsC0O8@`=|4RULaWi6Q1Xuw80004TG-w8"
    r"faWztLHimIGQgJwFFK9Ao1Xuw80001SIcNrkaXM0QJBD#QQgJ<HhH*YF",
    "Python 3.13, NumPy 2.5, protocol 5, (n, 1)": r"fCZIK0RR9100018lqif7Zgp*Nc`jdLZ*pZWZgp*Ca%p3fj0<08a&K*7b!KK|a+H&lD3%BS000000095k0A^`&b99u91#We1aCwxB1!Q!"  # noqa: E501
    r"2aAlN}l#Bv(F_ejjhm=y3C`$v30eqBBPEJby|Ns9=|NsC0O8|6~VoL~10fv-}0Yj8@lv0#v11OdV0000000030*mGrLZ*F9iXbMXRO96"
    r"(IXbyCgQj}-|D3%8R000000095kbZBXEWRz$MO9x8<hLmUybd*w*Xagvg3IG5A00000|JWxAW^Z+JbZC@l3QG!00fv-l4s?`Klx1C%D2"
    r"x_vb!~8YE?;ABa%C=Ub!>ELVRCX|d6bL>b7Ns_VRDp{lxPQx0%9?giHL`kQj{o51856QPEJby|Ns9=|NsC0O8|6~VnYD|l!la2lxQGmB"
    r"SQfIl!la2lx2pLE&",
}


@pytest.mark.parametrize("content", WRITTEN_ELSEWHERE.values(), ids=WRITTEN_ELSEWHERE)
def test_files_of_other_pythons_and_numpys(tmp_path, content):
    """InsightFace's own sets are like this: cv2.imencode returned (n, 1) before OpenCV 4.5."""
    check(write(tmp_path / "pairs.bin", base64.b85decode(content)))


@pytest.mark.parametrize(
    "content, message",
    [
        ((IMAGES, [True]), "4 images for 1 pairs"),
        ((IMAGES[:3], [True, False]), "3 images for 2 pairs"),
        (([], []), "0 images for 0 pairs"),
        ((IMAGES[:3] + [b""], [True, False]), "image 3 is empty"),
        ((IMAGES[:3] + ["text"], [True, False]), "image 3 is empty or not bytes"),
        ((IMAGES[:3] + [np.zeros(3, dtype=np.int32)], [True, False]), "another type than uint8"),
        ((IMAGES, [True, 2]), "pair 1"),
        ((IMAGES, [True, None]), "pair 1"),
        ((IMAGES, None), "not a list"),
        ((b"".join(IMAGES), [True, False]), "not a list"),
        ((IMAGES, [True, False], 3), "does not hold"),
        ([IMAGES], "does not hold"),
        (None, "does not hold"),
        ((np.array(IMAGES, dtype=object), [True, False]), "'O8'"),
    ],
)
def test_other_contents_are_refused_with_the_file_name(tmp_path, content, message):
    path = write(tmp_path / "pairs.bin", pickle.dumps(content))
    with pytest.raises(ValueError) as error:
        load_verification_set(path)
    assert path in str(error.value) and message in str(error.value)


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("made-by-a-pickle",)


def test_hostile_file_is_refused_with_file_and_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "pairs.bin", pickle.dumps((IMAGES, [True, Hostile()])))
    with pytest.raises(ValueError, match=r"pairs\.bin.*\.mkdir"):
        load_verification_set(path)
    assert os.listdir(tmp_path) == ["pairs.bin"]


def test_truncated_file_is_refused(tmp_path):
    data = pickle.dumps((IMAGES, [True, False]), 4)
    for length in range(len(data)):
        with pytest.raises(ValueError, match=r"pairs\.bin"):
            load_verification_set(write(tmp_path / "pairs.bin", data[:length]))


def test_many_references_to_one_array_are_not_copied(tmp_path):
    image = np.zeros(10**6, dtype=np.uint8)
    path = write(tmp_path / "pairs.bin", pickle.dumps(([image] * 10000, [True] * 5000)))
    images, _ = load_verification_set(path)
    assert len(images) == 10000 and len({id(data) for data in images}) == 1


@pytest.mark.parametrize(
    "images, issame",
    [(IMAGES, [True]), ([], []), (IMAGES[:3] + [""], [True, False]), (IMAGES, [True, 2]), (IMAGES, True)],
)
def test_nothing_unfit_is_written(tmp_path, images, issame):
    with pytest.raises(ValueError, match=r"pairs\.bin"):
        save_verification_set(str(tmp_path / "pairs.bin"), images, issame)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch, function):
    path = str(tmp_path / "pairs.bin")
    save_verification_set(path, IMAGES, [True, False])

    def fail(*args):
        assert len(os.listdir(tmp_path)) == 2  # the new file is beside the old one, in the same folder
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, function, fail)
        with pytest.raises(OSError, match="disk full"):
            save_verification_set(path, IMAGES[:2], [True])
    assert os.listdir(tmp_path) == ["pairs.bin"]
    check(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        load_verification_set(str(tmp_path / "missing.bin"))
