"""Damage to files, as chance and attackers do it: a function of a random state alone."""

import copy
import json
import struct

MAGIC = b"\x0a\x23\xd7\xce"
_TEXTS = (
    b"99999999999",
    b"-1\t",
    b"18446744073709551616",
    b"\n",
    b"\t",
    b"1e999",
    b"nan",
    b" ",
    b"\r\n",
    b",",
    b"\0",
    b"#",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"/../",
    b"[" * 60,
    b'"',
    b"{",
    b"-oProxyCommand=x",
)
_WORDS = (0, 1, 2**32 - 1, 2**31 - 1, 2**31, 2**29 - 1, 0x7FC00000, 0x7F800000, 65535)
_VALUES = (
    10**12,
    -1,
    0,
    1.5,
    1e308,
    True,
    None,
    "",
    "x",
    "-1",
    "(0,0)",
    "(65536,65536)",
    "1e30",
    "../x",
    [],
    {},
    [[]],
    "9" * 50,
    "_Native",
    "null",
    "Convolution",
)
_NUMBERS = (-1, 10**12, 2**63, 1e18, 1e308, -1e308, float("inf"), float("-inf"), float("nan"), 0.5, True)
_KEYS = "", " ", "a b"


def damage(content, random, is_json=False):
    """One to three damages to a file's content (bytes); half of those to JSON change values and keep it JSON."""
    if is_json and random.randint(2):
        try:
            value = json.loads(content)
        except ValueError:  # a journal's lines, or another file beside those of JSON
            return _damaged_bytes(content, random)
        return json.dumps(_damaged_value(value, random)).encode()
    return _damaged_bytes(content, random)


def _damaged_value(value, random):
    value = copy.deepcopy(value)
    for _ in range(random.randint(1, 4)):
        holders = list(_holders(value))
        if not holders:
            return _VALUES[random.randint(len(_VALUES))]
        holder = holders[random.randint(len(holders))]
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key, kind = keys[random.randint(len(keys))], random.randint(6)
        if kind == 0:
            del holder[key]
        elif kind == 1:
            other = holders[random.randint(len(holders))]
            holder[key] = copy.deepcopy(other)
        elif kind == 2 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif kind == 3 and isinstance(holder, dict):
            holder[_KEYS[random.randint(len(_KEYS))]] = holder.pop(key)
        elif type(holder[key]) is int and random.randint(2):
            holder[key] += int(random.choice([-1, 1, 2**31, -(2**31)]))
        elif type(holder[key]) in (int, float) and random.randint(2):
            holder[key] = _NUMBERS[random.randint(len(_NUMBERS))]
        else:
            holder[key] = _VALUES[random.randint(len(_VALUES))]
    return value


def _holders(value):
    """The lists and dictionaries in a value that hold something."""
    if isinstance(value, (list, dict)) and value:
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _holders(inner)


def _damaged_bytes(content, random):
    data = bytearray(content)
    for _ in range(random.randint(1, 4)):
        start = random.randint(len(data) + 1)
        length = int(2 ** random.uniform(0, 9))
        noise = random.bytes(length)
        kind = random.randint(12)
        if kind == 0 and data:
            data[start % len(data)] ^= 1 << random.randint(8)
        elif kind == 1:
            data[start : start + length] = noise[: len(data) - start]
        elif kind == 2:
            del data[start:]
        elif kind == 3:
            data[start:start] = noise
        elif kind == 4:
            del data[start : start + length]
        elif kind == 5:
            data[start:start] = data[start : start + length]
        elif kind == 6:  # huge numbers and marks, as text
            data[start:start] = _TEXTS[random.randint(len(_TEXTS))]
        elif kind == 7:  # and in binary, at the places where they stand
            order = "<>"[random.randint(2)]
            start -= start % 4 * random.randint(2)
            data[start : start + 4] = struct.pack(order + "I", _WORDS[random.randint(len(_WORDS))])
        elif kind == 8:  # in eight bytes
            data[start : start + 8] = struct.pack("<q", [-1, 2**62, 2**40, 2**31][random.randint(4)])
        elif kind == 9:  # the length of a PNG's pixels
            place = data.find(b"IDAT") - 4
            if place >= 0:
                data[place : place + 4] = struct.pack(">I", [2**31 - 1, 2**30, 2**26][random.randint(3)])
        elif kind == 10 and data:  # a byte to a small number
            data[start % len(data)] = random.randint(6)
        else:  # the word behind a magic number: kind and length of a part
            place = data.find(MAGIC, start)
            if place >= 0:
                data[place + 4 : place + 8] = random.bytes(4)
    return bytes(data)
