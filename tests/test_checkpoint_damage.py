"""A damaged, foreign or forged file is a CheckpointError, or it is harmless."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkpoint_trees import bits, forge, make_tree, rewrite_header, stored_leaves
from mole.files.checkpoint import CheckpointError, load, read_header, save


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tree.mole"
    save(path, make_tree(), kind="test", config={"width": 2, "layers": (1, 2), "name": "θ"})
    return path


@pytest.mark.parametrize("content", [b"", b"\x89mol", b"PK\x03\x04 a zip file", b"\x80\x04\x95 a pickle"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(CheckpointError, match="f is not a mole checkpoint: it starts with"):
        read_header(tmp_path / "f")


def test_a_newer_format_is_refused(file: Path) -> None:
    raw = file.read_bytes()
    file.write_bytes(raw[:8] + struct.pack("<I", 2) + raw[12:])
    with pytest.raises(CheckpointError, match="has format version 2, expected at most 1; update mole"):
        read_header(file)


def test_truncated_and_too_long_files_are_refused(file: Path) -> None:
    raw = file.read_bytes()
    (length,) = struct.unpack_from("<Q", raw, 12)
    for size, text in [
        (30, "is truncated: 30 bytes, expected at least 52"),
        (60, f"is truncated: its header needs {length} bytes, 8 are left"),
        (len(raw) - 1, "is truncated: [0-9]+ bytes of arrays"),
    ]:
        file.write_bytes(raw[:size])
        with pytest.raises(CheckpointError, match=text):
            load(file, make_tree(), kind="test")
    file.write_bytes(raw + b"x")
    with pytest.raises(CheckpointError, match=r"is altered \(too long\)"):
        load(file, make_tree(), kind="test")


@pytest.mark.parametrize(("at", "part"), [(100, "header"), (-1, "arrays")])
def test_altered_files_are_refused(file: Path, at: int, part: str) -> None:
    raw = bytearray(file.read_bytes())
    raw[at] ^= 1
    file.write_bytes(raw)
    with pytest.raises(CheckpointError, match=f"was altered: the checksum of its {part} does not match"):
        load(file, make_tree(), kind="test")


@given(st.data())
def test_any_damage_is_an_error_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.mole"
    save(path, make_tree(), kind="test", config={})
    raw = bytearray(path.read_bytes())
    for at, new in data.draw(
        st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)), max_size=4)
    ):
        raw[at] = new
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)) | st.just(len(raw)))])
    try:
        tree = load(path, make_tree(seed=1), kind="test")
    except CheckpointError:
        return
    assert bits(tree) == bits(make_tree())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_forged_headers_give_no_other_exception(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """The checksum is no protection against malice: each field is checked by itself."""
    path = tmp_path_factory.getbasetemp() / "forged.mole"
    save(path, make_tree(), kind="test", config={})
    leaves = stored_leaves(path)
    leaf = data.draw(st.sampled_from(leaves))
    leaf[data.draw(st.sampled_from(sorted(leaf)))] = data.draw(json_values)
    changes = data.draw(
        st.dictionaries(st.sampled_from(["kind", "config", "arrays_nbytes", "extra"]), json_values)
    )
    rewrite_header(path, leaves=leaves, **changes)
    try:
        load(path, make_tree(seed=1), kind="test")
    except CheckpointError as error:
        assert str(error)


@pytest.mark.parametrize(
    "header", [b"[" * 100_000, b"null", b"{}", b"\xff\xfe", b'{"leaves": [NaN]}', b"9" * 5000]
)
def test_malformed_headers_are_refused(tmp_path: Path, header: bytes) -> None:
    forge(tmp_path / "f", header, b"")
    with pytest.raises(CheckpointError, match="has a malformed header"):
        read_header(tmp_path / "f")


def test_a_header_cannot_ask_for_more_than_the_file_holds(file: Path) -> None:
    leaves = stored_leaves(file)
    for leaf in leaves:
        if leaf["type"] == "array":
            leaf.update(offset=0, shape=[2**40], dtype="float32", nbytes=2**42)
    rewrite_header(file, leaves=leaves)
    with pytest.raises(CheckpointError, match="malformed header"):
        load(file, make_tree(), kind="test")
    rewrite_header(file, leaves=[], arrays_nbytes=2**50)
    with pytest.raises(CheckpointError, match="malformed header"):
        read_header(file)


def test_a_key_of_an_unknown_kind_is_refused(file: Path) -> None:
    leaves = stored_leaves(file)
    for leaf in leaves:
        leaf["impl"] = "nonsense" if leaf["type"] == "key" else ""
    rewrite_header(file, leaves=leaves)
    with pytest.raises(CheckpointError, match="is no PRNG key of kind 'nonsense'"):
        load(file, make_tree(), kind="test")


def test_a_key_of_another_kind_than_its_type_is_refused(file: Path) -> None:
    leaves = stored_leaves(file)
    for leaf in leaves:
        leaf["impl"] = "unsafe_rbg" if leaf["path"] == "['rbg']" else leaf["impl"]
    rewrite_header(file, leaves=leaves)
    with pytest.raises(
        CheckpointError, match=r"\['rbg'\] is key<urbg>, expected key<rbg>; use the same impl"
    ):
        load(file, make_tree(), kind="test")


def test_a_truth_value_is_zero_or_one_whatever_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "f"
    save(path, {"mask": np.array([True, False, True])}, kind="test", config={})
    arrays = bytes([2, 0, 255])
    raw = path.read_bytes()
    path.write_bytes(raw[: -len(arrays)] + arrays)
    rewrite_header(path, arrays_sha256=hashlib.sha256(arrays).hexdigest())
    mask = load(path, {"mask": np.zeros(3, bool)}, kind="test")["mask"]
    assert mask.tobytes() == bytes([1, 0, 1])
