"""One atomic, checked file for any pytree: a JSON header and raw arrays. Never pickle, never code.

Only leaves are stored: arrays (typed PRNG keys as key data), Python numbers and strings. The structure, the
static fields and the functions come from the ``like`` given to :func:`load`. Sizes are compared with the size
of the file and with ``like`` before any array is allocated, so that a damaged or hostile header cannot allocate more
than the file holds. The layout of the bytes is in `mole.files.checkpoint_format`.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import jax
import numpy as np

from mole._expect import expect_file
from mole._version import __version__
from mole.files.atomic import atomic_file
from mole.files.checkpoint_format import (
    WIRE,
    CheckpointError,
    DamagedError,
    Header,
    Leaf,
    describe,
    encode_header,
    from_bytes,
    parse_header,
    to_bytes,
)

__all__ = [
    "CheckpointError",
    "DamagedError",
    "Header",
    "Leaf",
    "libraries",
    "load",
    "placeholder",
    "read_header",
    "save",
    "verify",
]

T = TypeVar("T")
_PIECE = 1 << 20  # bytes that are read at a time where an array need not be in memory
_MAPPED = 1 << 26  # bytes from which on an array of NumPy stays in the file
Upgrades = Mapping[str, tuple[str, Callable[[np.ndarray], np.ndarray]] | None]
"""Leaves that an older version wrote in another form; see `load`."""


def save(
    path: str | os.PathLike[str], tree: Any, *, kind: str, config: dict[str, Any], keep: int = 1
) -> None:
    """Write ``tree`` to ``path`` so that either the whole new file is there afterwards or the old one is.

    Args:
        path: the file to write or to replace; its folder must exist.
        tree: any pytree of arrays, typed PRNG keys, Python numbers and strings; functions are skipped.
        kind: what the tree is, e.g. ``"prior"``; :func:`load` insists on it.
        config: plain JSON data (dicts with string keys, lists, strings, finite numbers, booleans, None), all
            that is needed to rebuild the ``like`` of :func:`load`. Tuples come back as lists.
        keep: generations that are there afterwards (:mod:`mole.files.atomic`), this one included.

    Raises:
        CheckpointError: a leaf or an entry of ``config`` cannot be stored.
        FileNotFoundError: the folder does not exist.
    """
    target = Path(path).resolve()
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"cannot save {target.name}: folder {target.parent} does not exist; create it first"
        )
    leaves: list[Leaf] = []
    arrays: list[np.ndarray] = []
    digest, offset = hashlib.sha256(), 0
    for leaf, value in _flatten(tree):
        if leaf.type in ("array", "key"):
            arrays.append(to_bytes(value, leaf))
            digest.update(arrays[-1].data)
            leaf, offset = replace(leaf, offset=offset), offset + leaf.nbytes
        leaves.append(leaf)
    header = Header(kind, config, libraries(), tuple(leaves), offset, digest.hexdigest())
    with atomic_file(target, keep=keep) as file:
        file.write(encode_header(header))
        for array in arrays:
            file.write(array.data)


def load(path: str | os.PathLike[str], like: T, *, kind: str, upgrades: Upgrades | None = None) -> T:
    """Read a checkpoint into the structure of ``like``.

    Args:
        path: a file written by :func:`save`.
        like: a pytree of the same structure, for example a freshly made module. Its array leaves may be
            ``jax.ShapeDtypeStruct`` (from ``equinox.filter_eval_shape``). Only its structure, static fields
            and functions are kept.
        kind: the kind that the file must have.
        upgrades: leaves that an older version wrote in another form: end of the path in ``like`` → end of the path in
            the file, and the conversion. If the file lacks a leaf with that end, the leaf with the old end is read and
            converted (shape and dtype stay). An empty old end is for a leaf that older versions did not have: zeros are
            converted then. With None instead, a leaf of the file with that end that has no place in ``like`` is left
            out.

    Returns:
        A tree like ``like`` with the values of the file. NumPy leaves stay NumPy (above 64 MiB a read-only map of the
        file), all others become (strongly typed) JAX arrays on the default device.

    Raises:
        CheckpointError: not a checkpoint, newer, damaged, of another kind, or of another structure.
        FileNotFoundError: there is no such file.
    """
    with _open(path) as file:
        header = parse_header(file, path)
        if header.kind != kind:
            raise CheckpointError(
                f"{path} holds a {header.kind!r}, expected a {kind!r}; load it as {header.kind!r}"
            )
        expected = {leaf.path: (leaf, value) for leaf, value in _flatten(like)}
        stored = [leaf.path for leaf in header.leaves]
        places, convert = _places(stored, expected.keys(), upgrades or {})
        new = _new(expected.keys() - set(places.values()), upgrades or {})
        _compare(
            path,
            {places[leaf.path]: leaf for leaf in header.leaves if leaf.path in places},
            {p: leaf for p, (leaf, _) in expected.items() if p not in new},
        )
        digest, values = hashlib.sha256(), {}
        for place, made in new.items():
            leaf, value = expected[place]
            values[place] = from_bytes(bytes(leaf.nbytes), leaf, value, path, made)
        for leaf in header.leaves:
            place = places.get(leaf.path)
            if place is not None and leaf.nbytes > _MAPPED and isinstance(expected[place][1], np.ndarray):
                values[place] = _mapped(file, leaf, digest)
                continue
            raw = file.read(leaf.nbytes)
            digest.update(raw)  # also for leaves that are left out: the checksum is of all arrays
            if len(raw) != leaf.nbytes:
                raise DamagedError(f"{path} is truncated inside {leaf.path}; copy or save it again")
            if place is None:
                continue
            if leaf.type in ("array", "key"):
                values[place] = from_bytes(raw, leaf, expected[place][1], path, convert.get(place))
            else:
                values[place] = float(leaf.value) if leaf.type == "float" else leaf.value
    if digest.hexdigest() != header.arrays_sha256:
        raise _altered(path)
    return jax.tree_util.tree_map_with_path(lambda at, old: values.get(jax.tree_util.keystr(at), old), like)


def _mapped(file: BinaryIO, leaf: Leaf, digest: Any) -> np.ndarray:
    """A large array that stays in the file, read once for the checksum: it may be larger than the memory."""
    begin = file.tell()
    for place in range(0, leaf.nbytes, _PIECE):
        digest.update(file.read(min(_PIECE, leaf.nbytes - place)))
    return np.memmap(file, WIRE[leaf.dtype], "r", begin, leaf.shape)


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read and check the header alone, not the arrays. Raises as :func:`load` does."""
    with _open(path) as file:
        return parse_header(file, path)


def verify(path: str | os.PathLike[str]) -> Header:
    """Read the whole file and compare all checksums, without a ``like`` and in little memory.

    Raises:
        DamagedError: the bytes are not those that were written.
        CheckpointError: it is of a newer format.
        FileNotFoundError: there is no such file.
    """
    with _open(path) as file:
        header, digest = parse_header(file, path), hashlib.sha256()
        while piece := file.read(_PIECE):
            digest.update(piece)
    if digest.hexdigest() != header.arrays_sha256:
        raise _altered(path)
    return header


def placeholder(shape: Sequence[int], dtype: Any) -> np.ndarray:
    """A NumPy array for ``like`` that takes no memory; a leaf in its place is loaded as a NumPy array."""
    return np.broadcast_to(np.zeros((), np.dtype(dtype)), tuple(int(size) for size in shape))


def _altered(path: Any) -> DamagedError:
    return DamagedError(f"{path} was altered: the checksum of its arrays does not match; use another copy")


def _flatten(tree: Any) -> list[tuple[Leaf, Any]]:
    pairs = [
        (describe(jax.tree_util.keystr(at), x), x) for at, x in jax.tree_util.tree_leaves_with_path(tree)
    ]
    found = [(leaf, value) for leaf, value in pairs if leaf is not None]
    paths = [leaf.path for leaf, _ in found]
    if len(set(paths)) < len(paths):
        twice = next(p for p in paths if paths.count(p) > 1)
        raise CheckpointError(f"two leaves have the same path {twice}; rename a dictionary key")
    return found


def _places(
    stored: Sequence[str], expected: Collection[str], upgrades: Upgrades
) -> tuple[dict[str, str], dict[str, Callable[[np.ndarray], np.ndarray]]]:
    """Path in the file → path in ``like`` of all leaves to load, and the conversions by path in ``like``."""
    places, convert, left_out = {}, {}, set()
    for end, old in upgrades.items():
        if old is None:
            left_out |= {path for path in stored if path.endswith(end) and path not in expected}
            continue
        for path in expected:
            before = path.removesuffix(end) + old[0]
            # A file that has the leaf is of this version; a file with both leaves is of no version.
            if path.endswith(end) and path not in stored and before in stored and before not in expected:
                places[before], convert[path] = path, old[1]
    return {path: places.get(path, path) for path in stored if path not in left_out}, convert


def _new(absent: Collection[str], upgrades: Upgrades) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Those of the paths in ``like`` that the file lacks which older versions did not have → how they begin."""
    ends = {end: how[1] for end, how in upgrades.items() if how is not None and not how[0]}
    return {path: made for path in absent for end, made in ends.items() if path.endswith(end)}


def _compare(path: Any, stored: dict[str, Leaf], expected: dict[str, Leaf]) -> None:
    problems = [f"leaf {p} is missing in the file" for p in expected if p not in stored]
    problems += [f"leaf {p} of the file has no place in `like`" for p in stored if p not in expected]
    problems += [
        f"leaf {p} is {stored[p]}, expected {want}"
        for p, want in expected.items()
        if p in stored
        and any(
            getattr(stored[p], field) != getattr(want, field)
            for field in ("type", "dtype", "shape", "nbytes")
        )
    ]
    if problems:
        more = f"; and {len(problems) - 6} more" if len(problems) > 6 else ""
        raise CheckpointError(
            f"{path} does not fit `like`: {'; '.join(problems[:6])}{more}. "
            "Build `like` from the config that read_header() returns"
        )


def _open(path: str | os.PathLike[str]) -> BinaryIO:
    try:
        return expect_file("a checkpoint", path).open("rb")
    except FileNotFoundError:
        raise FileNotFoundError(
            f"no checkpoint at {path}: check the path, or write one with save()"
        ) from None


def libraries() -> dict[str, str]:
    """Versions of the libraries on which the numbers of a run depend, as in the headers of files."""
    return {"mole": __version__, **{name: _version(name) for name in ("jax", "equinox", "numpy")}}


# Looked up in the installed files, which takes a millisecond: a third of the time of a small checkpoint.
_version = functools.cache(metadata.version)
