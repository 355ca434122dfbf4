"""A checkpoint comes back bit for bit, and a save that dies leaves the old one."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from checkpoint_trees import DIGEST, PREAMBLE, Part, bits, make_tree
from mole.files import checkpoint
from mole.files.atomic import atomic_file
from mole.files.checkpoint import CheckpointError, DamagedError, load, placeholder, read_header, save, verify


class Unclear(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return "unclear"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tree.mole"
    save(path, make_tree(), kind="test", config={"width": 2, "layers": (1, 2), "name": "θ"})
    return path


def test_everything_comes_back_bit_for_bit(file: Path) -> None:
    assert bits(load(file, make_tree(seed=1), kind="test")) == bits(make_tree())


def test_structure_functions_and_static_fields_come_from_like(file: Path) -> None:
    like = make_tree(seed=1)
    like["part"] = Part(like["part"].weight, 0.0, jax.nn.tanh, name="other")
    part = load(file, like, kind="test")["part"]
    assert part.activation is jax.nn.tanh
    assert part.name == "other"
    assert part.rate == make_tree()["part"].rate


def test_like_may_be_shapes_only(file: Path) -> None:
    like = make_tree(seed=1)
    struct_of = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype) if isinstance(x, jax.Array) else x  # noqa: E731
    assert bits(load(file, jax.tree.map(struct_of, like), kind="test")) == bits(make_tree())


def test_restored_keys_give_the_same_randomness(file: Path) -> None:
    key = load(file, make_tree(seed=1), kind="test")["rbg"]
    np.testing.assert_array_equal(jax.random.normal(key, (3,)), jax.random.normal(make_tree()["rbg"], (3,)))


def test_a_network_works_after_loading(tmp_path: Path) -> None:
    first, second = (eqx.nn.MLP(3, 2, 8, 2, key=jax.random.key(i)) for i in range(2))
    save(tmp_path / "mlp", first, kind="model", config={})
    np.testing.assert_array_equal(
        load(tmp_path / "mlp", second, kind="model")(jnp.ones(3)), first(jnp.ones(3))
    )


def test_header_tells_kind_config_and_libraries(file: Path) -> None:
    header = read_header(file)
    assert header.kind == "test"
    assert header.config == {"width": 2, "layers": [1, 2], "name": "θ"}
    assert header.libraries["jax"] == jax.__version__
    assert {"mole", "equinox", "numpy"} <= set(header.libraries)


def test_same_tree_same_bytes(file: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    save(again, make_tree(), kind="test", config={"width": 2, "layers": [1, 2], "name": "θ"})
    assert again.read_bytes() == file.read_bytes()


def test_the_file_holds_no_pickle(file: Path) -> None:
    raw = file.read_bytes()
    start = PREAMBLE.size + DIGEST
    (length,) = struct.unpack_from("<Q", raw, 12)
    header = json.loads(raw[start : start + length])
    weight = next(leaf for leaf in header["leaves"] if leaf["path"] == "['part'].weight")
    at = start + length + weight["offset"]
    np.testing.assert_array_equal(
        np.frombuffer(raw[at : at + weight["nbytes"]], "<f4").reshape(weight["shape"]),
        make_tree()["part"].weight,
    )


def test_missing_file_and_folder_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"no checkpoint at .*none: check the path, or write one with save"
    ):
        load(tmp_path / "none", {}, kind="test")
    with pytest.raises(FileNotFoundError, match="nowhere does not exist; create it first"):
        save(tmp_path / "nowhere" / "file", {}, kind="test", config={})


def test_wrong_kind_is_named(file: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds a 'test', expected a 'prior'; load it as 'test'"):
        load(file, make_tree(), kind="prior")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"mask": jnp.zeros(4, bool)}, r"leaf \['mask'\] is bool\[3\], expected bool\[4\]"),
        ({"half": jnp.zeros(5)}, r"leaf \['half'\] is bfloat16\[5\], expected float32\[5\]"),
        ({"rbg": jax.random.key(0)}, r"leaf \['rbg'\] is key<rbg>\[\], expected key<fry>\[\]"),
        (
            {"numbers": (1, 7, 0.0, 0.0, "")},
            r"leaf \['numbers'\]\[0\] is a Python bool, expected a Python int",
        ),
        ({"more": jnp.zeros(1)}, r"leaf \['more'\] is missing in the file"),
        ({"part": 1.0}, r"leaf \['part'\].weight of the file has no place in `like`"),
    ],
)
def test_another_structure_is_named_by_path(file: Path, change: dict[str, Any], text: str) -> None:
    with pytest.raises(CheckpointError, match=text):
        load(file, {**make_tree(), **change}, kind="test")


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        ({"a": np.array(["x"])}, r"leaf \['a'\] has dtype <U1, expected one of bool, float16"),
        ({"a": np.array([object()])}, r"leaf \['a'\] has dtype object"),
        ({"a": 1j}, r"leaf \['a'\] is a complex, expected an array, a Python number, a string or a function"),
        ({Unclear("a"): 1, Unclear("b"): 2}, r"two leaves have the same path \[unclear\]"),
        ([7, {Unclear("a"): 1, Unclear("b"): 2}], r"two leaves have the same path \[1\]\[unclear\]; rename"),
    ],
)
def test_trees_that_cannot_be_stored_are_refused(tmp_path: Path, tree: Any, text: str) -> None:
    with pytest.raises(CheckpointError, match=text):
        save(tmp_path / "f", tree, kind="test", config={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (
            {"a": [1, np.float32(2)]},
            r"config\['a'\]\[1\] is np.float32\(2.0\) \(float32\), expected plain JSON data",
        ),
        ({"a": math.nan}, r"config\['a'\] is nan \(float\)"),
        ({"a": {1: 2}}, r"config\['a'\] is \{1: 2\} \(dict\)"),
    ],
)
def test_config_must_be_plain_data(tmp_path: Path, config: dict[str, Any], text: str) -> None:
    with pytest.raises(CheckpointError, match=text):
        save(tmp_path / "f", {}, kind="test", config=config)


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_an_interrupted_save_leaves_the_old_file(
    file: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    def die(*_: Any) -> None:
        raise error

    before = file.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, step, die)
        with pytest.raises(type(error)):
            save(file, make_tree(seed=2), kind="test", config={})
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert bits(load(file, make_tree(seed=1), kind="test")) == bits(make_tree())


def test_a_save_that_dies_between_two_writes_leaves_the_old_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def failing(path: Path, **options: Any) -> Iterator[Any]:
        with atomic_file(path, **options) as handle:
            written = 0

            def write(part: Any) -> None:
                nonlocal written
                written += 1
                handle.write("not bytes" if written == 3 else part)

            yield SimpleNamespace(write=write)

    monkeypatch.setattr(checkpoint, "atomic_file", failing)
    before = file.read_bytes()
    with pytest.raises(TypeError, match="bytes-like"):
        save(file, make_tree(seed=2), kind="test", config={})
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_saving_replaces_through_a_link(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "latest"
    link.symlink_to(file)
    save(link, make_tree(seed=2), kind="test", config={})
    assert link.is_symlink()
    assert bits(load(file, make_tree(), kind="test")) == bits(make_tree(seed=2))


def test_one_generation_is_kept_unless_more_are_asked_for(file: Path) -> None:
    save(file, make_tree(seed=2), kind="test", config={})
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    save(file, make_tree(seed=3), kind="test", config={}, keep=2)
    assert len(list(file.parent.iterdir())) == 2


def test_verify_reads_what_load_would_without_a_like(file: Path) -> None:
    assert verify(file) == read_header(file)
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    with pytest.raises(DamagedError, match="was altered: the checksum of its arrays does not match"):
        verify(file)


def test_a_file_that_is_cut_while_it_is_read_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "f", checkpoint.parse_header
    save(path, {"a": np.zeros(10**6)}, kind="test", config={})

    def cutting(*args: Any) -> Any:
        header = real(*args)
        os.truncate(path, path.stat().st_size - 1)
        return header

    monkeypatch.setattr(checkpoint, "parse_header", cutting)
    with pytest.raises(DamagedError, match=r"f is truncated inside \['a'\]; copy or save it again"):
        load(path, {"a": np.zeros(10**6)}, kind="test")


@pytest.mark.parametrize(("missing", "more"), [(6, ""), (7, "; and 1 more"), (9, "; and 3 more")])
def test_six_differences_are_named_and_the_others_counted(tmp_path: Path, missing: int, more: str) -> None:
    save(tmp_path / "f", {}, kind="test", config={})
    names = "; ".join(f"leaf ['{name}'] is missing in the file" for name in "abcdef")
    with pytest.raises(CheckpointError) as raised:
        load(tmp_path / "f", {name: jnp.zeros(1) for name in "abcdefghi"[:missing]}, kind="test")
    assert f"does not fit `like`: {names}{more}. Build `like` from the config" in str(raised.value)


OLD = {"a": {"counts": jnp.array([2.0, 0.5, 0.0]), "gone": jnp.zeros(7)}, "b": np.arange(3.0), "gone": 3}
UPGRADES = {"['log_counts']": ("['counts']", np.errstate(divide="ignore")(np.log)), "['gone']": None}


def test_leaves_that_an_older_version_wrote_otherwise_are_converted(tmp_path: Path) -> None:
    path = tmp_path / "f"
    save(path, OLD, kind="test", config={})
    like = {"a": {"log_counts": jnp.zeros(3)}, "b": np.zeros(3)}
    loaded = load(path, like, kind="test", upgrades=UPGRADES)
    logarithms = np.append(np.log(np.array([2.0, 0.5], np.float32)), -np.inf)
    np.testing.assert_array_equal(loaded["a"]["log_counts"], logarithms)
    assert loaded["a"]["log_counts"].dtype == jnp.float32
    np.testing.assert_array_equal(loaded["b"], OLD["b"])
    as_shapes = {**like, "a": {"log_counts": jax.ShapeDtypeStruct((3,), np.dtype(np.float32))}}
    assert bits(load(path, as_shapes, kind="test", upgrades=UPGRADES)) == bits(loaded)
    numpy = load(path, {**like, "a": {"log_counts": np.zeros(3, np.float32)}}, kind="test", upgrades=UPGRADES)
    assert numpy["a"]["log_counts"].dtype == np.float32


def test_a_file_of_this_version_needs_no_conversion(tmp_path: Path) -> None:
    path, new = tmp_path / "f", {"log_counts": jnp.ones(3)}
    save(path, new, kind="test", config={})
    assert bits(load(path, {"log_counts": jnp.zeros(3)}, kind="test", upgrades=UPGRADES)) == bits(new)
    # a tree of this version may have the name that a leaf of another part once had
    both = {**new, "counts": jnp.zeros(3), "gone": jnp.zeros(2)}
    save(path, both, kind="test", config={})
    assert bits(load(path, jax.tree.map(jnp.ones_like, both), kind="test", upgrades=UPGRADES)) == bits(both)
    with pytest.raises(CheckpointError, match=r"leaf \['counts'\] of the file has no place in `like`"):
        load(path, new, kind="test", upgrades=UPGRADES)


def test_a_leaf_that_older_versions_did_not_have_begins_as_it_says(tmp_path: Path) -> None:
    path, upgrades = tmp_path / "f", {"['new']": ("", lambda zeros: zeros + 2.5)}
    save(path, {"old": jnp.ones(2)}, kind="test", config={})
    loaded = load(path, {"old": jnp.zeros(2), "new": jnp.zeros((1, 3))}, kind="test", upgrades=upgrades)
    assert bits(loaded) == bits({"old": jnp.ones(2), "new": jnp.full((1, 3), 2.5)})
    save(path, loaded, kind="test", config={})  # a file of this version has its own
    like = {"old": jnp.zeros(2), "new": jnp.zeros((1, 3))}
    assert bits(load(path, like, kind="test", upgrades={"['new']": ("", np.zeros_like)})) == bits(loaded)
    with pytest.raises(CheckpointError, match=r"leaf \['other'\] is missing in the file"):
        load(path, {**like, "other": jnp.zeros(1)}, kind="test", upgrades=upgrades)


def test_what_is_converted_or_left_out_is_checked_too(tmp_path: Path) -> None:
    path = tmp_path / "f"
    save(path, OLD, kind="test", config={})
    like = {"a": {"log_counts": jnp.zeros(4)}, "b": np.zeros(3)}
    with pytest.raises(CheckpointError, match=r"\['log_counts'\] is float32\[3\], expected float32\[4\]"):
        load(path, like, kind="test", upgrades=UPGRADES)
    raw = bytearray(path.read_bytes())
    raw[-30] ^= 1  # in ['a']['gone'], of which nothing is kept
    path.write_bytes(raw)
    with pytest.raises(DamagedError, match="was altered: the checksum of its arrays does not match"):
        load(path, {"a": {"log_counts": jnp.zeros(3)}, "b": np.zeros(3)}, kind="test", upgrades=UPGRADES)


def test_doubles_are_not_rounded_in_silence(tmp_path: Path) -> None:
    save(tmp_path / "f", {"a": np.zeros(2)}, kind="test", config={})
    with pytest.raises(CheckpointError, match=r"\['a'\] is float64, JAX gives float32; set jax_enable_x64"):
        load(tmp_path / "f", {"a": jax.ShapeDtypeStruct((2,), np.dtype(np.float64))}, kind="test")


def test_a_placeholder_is_zeros_without_memory() -> None:
    made = placeholder((2, 3), "float32")
    assert (made.shape, made.dtype, made.strides) == ((2, 3), np.dtype(np.float32), (0, 0))
    assert not made.any()


@pytest.mark.usefixtures("unchecked")
def test_what_names_no_file_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^a checkpoint got path=3 \(int\); expected a file name"):
        load(3, {}, kind="test")  # type: ignore[arg-type]
