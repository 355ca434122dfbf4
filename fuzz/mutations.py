"""From a valid file to a hostile one: wrong bytes, and wrong headers under checksums that are right."""

from __future__ import annotations

import hashlib
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["Mutator", "mutate_archive", "mutate_bytes", "mutate_checkpoint", "mutate_json", "mutate_text"]

Mutator = Callable[[bytes, random.Random], bytes]

_PREAMBLE = struct.Struct("<8sIQ")
_START = _PREAMBLE.size + 32

_NUMBERS = (
    0, 1, -1, 2, 255, 256, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, 10**12, 10**18, 10**30, -(2**63),
    1.5, -0.0, 1e-320, 1e308, float("inf"), float("-inf"), float("nan"),
)  # fmt: skip
_TEXTS = (
    "", "\0", "nan", "1e999999", "-inf", "__class__", "../../etc/passwd", "/dev/zero", "<script>alert(1)</script>",
    "os.system", "cos\nsystem\n(S'id'\ntR.", "!!python/object/apply:os.system ['id']", "__import__('os').system('id')",
    "\ud800", "\u202e", "a" * 3000, "O", "|O", "<f8", "<f4", "V1000000000", "S2000000000", "U500000000", "i4,(99,99)f8",
    "float32", "bool", "array", "key", "int", "threefry2x32", "rbg", "unsafe_rbg", "relu", "mixture", "readout",
    "stream", "plain", "classification", "regression", "number", "category", "time", "empty",
)  # fmt: skip


def hostile(rng: random.Random, depth: int = 0) -> Any:
    """A value that has no business where it is put."""
    kind = rng.randrange(9 if depth < 3 else 6)
    if kind < 3:
        return rng.choice(_NUMBERS)
    if kind < 5:
        return rng.choice(_TEXTS)
    if kind == 5:
        return rng.choice((None, True, False))
    if kind == 6:
        return [hostile(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 7:
        return {rng.choice(_TEXTS): hostile(rng, depth + 1) for _ in range(rng.randrange(4))}
    nested: Any = 0
    for _ in range(rng.choice((3, 50, 900))):
        nested = [nested]
    return nested


def mutate_json(value: Any, rng: random.Random) -> Any:
    """The same document with one entry, anywhere in it, replaced, removed, doubled, renamed or exchanged."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.1:
        if isinstance(value, int | float) and rng.random() < 0.5:
            return value + rng.choice((-1, 1, 2, 1000, -value, value))
        return hostile(rng)
    copy: Any = value.copy()
    place = rng.choice(list(copy)) if isinstance(copy, dict) else rng.randrange(len(copy))
    action = rng.randrange(12)
    if action < 8:
        copy[place] = mutate_json(copy[place], rng)
    elif action == 8:
        del copy[place]
    elif action == 9 and isinstance(copy, list):
        copy.insert(place, copy[place])
    elif action == 9:
        copy[rng.choice(_TEXTS)] = copy[place]
    elif action == 10:
        other = rng.choice(list(copy)) if isinstance(copy, dict) else rng.randrange(len(copy))
        copy[place], copy[other] = copy[other], copy[place]
    else:
        copy[place] = hostile(rng)
    return copy


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Bits flipped, bytes set, pieces cut, doubled, moved or filled; some headers' favourite numbers."""
    raw = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(raw) + 1)
        action = rng.randrange(8)
        if action == 0 and raw:
            raw[at % len(raw)] ^= 1 << rng.randrange(8)
        elif action == 1 and raw:
            raw[at % len(raw)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, 10, 34, 44))
        elif action == 2:
            raw[at : at + rng.choice((1, 4, 8, 64))] = b""
        elif action == 3:
            raw[at:at] = raw[at : at + rng.choice((1, 8, 64))]
        elif action == 4:
            raw[at : at + 4] = struct.pack("<I", rng.choice((0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1)))
        elif action == 5:
            raw[at : at + 8] = struct.pack("<Q", rng.choice((0, 2**32, 2**40, 2**63 - 1, 2**64 - 1)))
        elif action == 6:
            del raw[at:]
        else:
            raw[at:at] = rng.randbytes(rng.choice((1, 3, 17)))
    return bytes(raw)


def _dumped(value: Any) -> bytes:
    try:
        return json.dumps(value).encode("utf-8", "surrogatepass")
    except RecursionError:
        return b"[" * 5000


def mutate_checkpoint(data: bytes, rng: random.Random) -> bytes:
    """A ``.mole`` file whose header lies under a checksum that is right; a tenth have other damage."""
    if len(data) < _START or rng.random() < 0.1:
        return mutate_bytes(data, rng)
    magic, version, length = _PREAMBLE.unpack(data[: _PREAMBLE.size])
    try:
        header: Any = json.loads(data[_START : _START + length])
    except ValueError:
        return mutate_bytes(data, rng)
    arrays = data[_START + length :]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if isinstance(header, dict) and isinstance(header.get("config"), dict) and rng.random() < 0.6:
            header["config"] = mutate_json(header["config"], rng)
        else:
            header = mutate_json(header, rng)
    if rng.random() < 0.2:
        arrays = mutate_bytes(arrays, rng)
    if isinstance(header, dict) and rng.random() < 0.8:
        header["arrays_sha256"] = hashlib.sha256(arrays).hexdigest()
        if rng.random() < 0.3:
            header["arrays_nbytes"] = len(arrays)
    raw = _dumped(header)
    if rng.random() < 0.03:
        raw = mutate_bytes(raw, rng)
    start = _PREAMBLE.pack(magic, version, len(raw))
    return start + hashlib.sha256(start + raw).digest() + raw + arrays


def mutate_archive(data: bytes, rng: random.Random) -> bytes:
    """An ``.npz`` file whose members are damaged before they are packed, or whose packing is."""
    if rng.random() < 0.3:
        return mutate_bytes(data, rng)
    packed = io.BytesIO()
    kind = rng.choice(
        (zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)
    )
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as old:
            members = [(member.filename, old.read(member)) for member in old.infolist()]
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return mutate_bytes(data, rng)
    chosen = rng.randrange(len(members)) if members else -1
    with zipfile.ZipFile(packed, "w", kind, compresslevel=1) as new:
        for place, (name, content) in enumerate(members):
            if place == chosen:
                action = rng.randrange(6)
                if action == 0:
                    continue
                if action == 1:
                    name = rng.choice((name + "x", "../" + name, "/" + name, "meta.npy", "reward.npy", "\0"))
                elif action == 2 and name == "meta.npy":
                    content = _meta(content, rng)
                else:
                    content = _array(content, rng)
            if name not in new.namelist():
                new.writestr(name, content)
    made = packed.getvalue()
    return mutate_bytes(made, rng) if rng.random() < 0.1 else made


def _meta(content: bytes, rng: random.Random) -> bytes:
    header = json.loads(str(np.load(io.BytesIO(content), allow_pickle=False)))
    text, out = _dumped(mutate_json(header, rng)).decode("utf-8", "replace"), io.BytesIO()
    np.save(out, np.array(text), allow_pickle=False)
    return out.getvalue()


def _array(content: bytes, rng: random.Random) -> bytes:
    """The header of an NPY file rewritten, or its bytes damaged."""
    if rng.random() < 0.3:
        return mutate_bytes(content, rng)
    dtype = rng.choice(
        ("<f8", "<f4", "<i8", "|b1", "<U4", "|O", "|V8", "<c16", "<M8[s]", "[('a', '<f8')]", "<f1000000000")
    )
    shape = rng.choice(
        ("(7,)", "()", "(0,)", "(99999999999,)", "(3, 2)", "(2, 3)", "(-1,)", "(1,)*9", "7", "(" * 200)
    )
    order = rng.choice(("False", "True", "__import__('os')"))
    text = f"{{'descr': {dtype if dtype[0] == '[' else repr(dtype)}, 'fortran_order': {order}, 'shape': {shape}, }}"
    data = content[128:] if rng.random() < 0.7 else bytes(rng.choice((0, 8, 56, 4096)))
    if rng.random() < 0.3:
        return (
            b"\x93NUMPY\x02\x00"
            + struct.pack("<I", rng.choice((len(text), 2**32 - 1)))
            + text.encode()
            + data
        )
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + data


_CELLS = (
    b"", b"1", b"-0", b"1e999999", b"-1e308", b"NaN", b"inf", b"\0", b"\xff", b'"', b'""', b'"a\nb"', b",", b";", b"\n",
    b"\r", b"\r\n", b"\xef\xbb\xbf", b"9" * 5000, b"0x10", b"1_000", b"true", b"2024-01-31", b"2024-02-30",
    b"9999-12-31T23:59:59+00:00", b"0001-01-01T00:00:00+23:59", b"x" * 3000, b"[" * 2000, b'{"a":' * 300,
    b"{}", b"[]", b"null", b'{"y": 1e999}',
    b"=cmd|'/c'!A1", b"<script>", b'{"a": NaN}', b'{"a": [1]}', b'{"y": "\\ud800"}', b"Infinity", b"-", b"+",
    b"1e", b".", b"5" * 400, "٣".encode(),
)  # fmt: skip


def mutate_text(data: bytes, rng: random.Random) -> bytes:
    """Rows with hostile cells, and lines cut, doubled and joined."""
    if rng.random() < 0.2:
        return mutate_bytes(data, rng)
    raw = data
    for _ in range(rng.choice((1, 2, 3, 6))):
        breaks = [place for place, byte in enumerate(raw) if byte in b',:;"\n'] or [0]
        at = rng.choice(breaks) + rng.choice((0, 1))
        end = rng.choice([place for place in breaks if place >= at][:3] or [at])
        raw = raw[:at] + rng.choice(_CELLS) + raw[end:]
    return raw
