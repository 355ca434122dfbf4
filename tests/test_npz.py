"""The reader of ``.npz`` files reads what NumPy writes, and believes no header."""

from __future__ import annotations

import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mole.control.episode import Segment
from mole.control.stages import load_segments, save_segments
from mole.files.npz import array_names, read_npz

ARRAYS = {
    "floats": np.linspace(0.0, 1.0, 12).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "single": np.float32([1.5, np.nan]),
    "whole": np.arange(5),
    "truth": np.array([True, False]),
    "text": np.array("héllo"),
    "empty": np.zeros((0, 4)),
    "big-endian": np.arange(3, dtype=">i4"),
}


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read(tmp_path: Path, write) -> None:
    write(tmp_path / "a.npz", **ARRAYS)
    found = read_npz(tmp_path / "a.npz")
    assert list(found) == array_names(tmp_path / "a.npz") == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    assert set(read_npz(tmp_path / "a.npz", ("text", "none"))) == {"text"}


def npy(descr: str, shape: str, data: bytes, *, order: str = "False", version: int = 1) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + data


def archive(path: Path, kind: int = zipfile.ZIP_DEFLATED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", kind) as file:
        for name, content in members.items():
            file.writestr(name + ".npy", content)
    return path


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (npy("'<f8'", "(99999999999,)", b""), "declares 799,999,999,992 bytes, and 0 follow"),
        (npy("'<f8'", "(1,)", bytes(16)), "declares 8 bytes, and 16 follow"),
        (npy("'|O'", "(1,)", bytes(8)), "expected that of numbers, truth values or text"),
        (npy("[('a', '<f8')]", "(1,)", bytes(8)), "expected that of numbers"),
        (npy("'<f8'", "(1,)", bytes(8), order="__import__('os')"), "expected that of numbers"),
        (npy("'<U0'", "(10**9,)", b""), "expected that of numbers"),
        (npy("'<f8'", "(" + "1," * 9 + ")", bytes(8)), "it has 9 axes, expected at most 8"),
        (npy("'<f8'", "(1,)", bytes(8), version=3), "expected .* version 1 or 2"),
        (npy("'<f9'", "(1,)", bytes(9)), "numbers have the type '<f9', which NumPy does not have"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "header has 4,294,967,295 bytes, expected at most 4,096"),
        (b"PK no array", "it starts with"),
    ],
)
def test_a_header_is_not_believed(tmp_path: Path, content: bytes, text: str) -> None:
    with pytest.raises(ValueError, match=f"a.npz is damaged in its array 'x' .*{text}"):
        read_npz(archive(tmp_path / "a.npz", x=content))


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", x=npy("'<f8'", "(2097152,)", bytes(1 << 24)))
    assert path.stat().st_size < 20_000
    with pytest.raises(ValueError, match=r"declares arrays of 16,777,.* bytes, expected at most 1,000,000"):
        read_npz(path, most_bytes=10**6)
    raw = bytearray(path.read_bytes())
    at = raw.rindex(b"PK\x01\x02")  # the directory claims a member of four gigabytes
    raw[at + 24 : at + 28] = struct.pack("<I", 2**32 - 2)
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"of 4,294,967,294 bytes made of .*, expected at most 1032 times"):
        read_npz(path)


def test_archives_that_are_none_of_ours_are_refused(tmp_path: Path) -> None:
    good = npy("'<f8'", "(1,)", bytes(8))
    with pytest.raises(ValueError, match="encrypted or compressed unlike NumPy's"):
        read_npz(archive(tmp_path / "a.npz", zipfile.ZIP_LZMA, x=good))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(tmp_path / "twice.npz", "w") as file:
            file.writestr("x.npy", good)
            file.writestr("x.npy", good)
    with pytest.raises(ValueError, match="two members of the same name"):
        read_npz(tmp_path / "twice.npz")
    many = archive(tmp_path / "many.npz", **{f"a{i}": b"" for i in range(1001)})
    with pytest.raises(ValueError, match="1001 members, expected at most 1000"):
        array_names(many)
    (tmp_path / "text.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"text.npz is not a readable .npz archive"):
        read_npz(tmp_path / "text.npz")
    with pytest.raises(FileNotFoundError):
        read_npz(tmp_path / "none.npz")


def test_a_damaged_array_is_found_by_its_checksum(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", zipfile.ZIP_STORED, x=npy("'<f8'", "(8,)", bytes(64)))
    raw = bytearray(path.read_bytes())
    raw[raw.index(bytes(64)) + 5] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="Bad CRC-32"):
        read_npz(path)


def test_segments_must_fit_each_other(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    made = [Segment(np.full((n + 1, 3), n, np.float32), np.full((n, 2), n, np.float32)) for n in (2, 4)]
    save_segments(path, made)
    for one, other in zip(load_segments(path), made, strict=True):
        np.testing.assert_array_equal(one.obs, other.obs)
        np.testing.assert_array_equal(one.actions, other.actions)
    good = read_npz(path)
    wrong: list[dict[str, np.ndarray]] = [
        {"lengths": np.array([2, 5])},
        {"lengths": np.array([-2, 8])},
        {"lengths": np.array([2.0, 4.0])},
        {"lengths": np.zeros(0, int)},
        {"obs": good["obs"][:-1]},
        {"actions": good["actions"].astype(int)},
        {"actions": good["actions"][:, 0]},
    ]
    for change in wrong:
        np.savez(path, **{**good, **change}, allow_pickle=False)
        with pytest.raises(ValueError, match="which do not fit each other: record it again"):
            load_segments(path)
    np.savez(path, obs=good["obs"], allow_pickle=False)
    with pytest.raises(ValueError, match=r"has the arrays \['obs'\], expected actions, lengths and obs"):
        load_segments(path)
