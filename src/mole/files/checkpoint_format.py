"""The bytes of a checkpoint file: its header, written and read with suspicion, and its leaves.

Layout of a file, every number little-endian::

    8 bytes   magic
    4 bytes   format version (unsigned)
    8 bytes   length of the header in bytes (unsigned)
    32 bytes  sha256 of everything above and of the header
    header    JSON: kind, config, libraries, leaves (path, type, dtype, shape, offset, nbytes, value, impl),
              and the length and the sha256 of the arrays
    arrays    the bytes of every array, one after the other, C order
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

__all__ = [
    "CheckpointError",
    "DamagedError",
    "Header",
    "Leaf",
    "describe",
    "encode_header",
    "from_bytes",
    "parse_header",
    "to_bytes",
]

FORMAT_VERSION = 1
NON_FINITE = ("nan", "inf", "-inf")  # JSON has no such numbers
SCALARS: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str}
# The bytes on disk of each dtype that may be stored; anything else is refused.
WIRE = {"bool": "<u1", "float16": "<f2", "bfloat16": "<u2", "float32": "<f4", "float64": "<f8"}
WIRE |= {f"{sign}int{8 * n}": f"<{sign or 'i'}{n}" for sign in ("", "u") for n in (1, 2, 4, 8)}
WIRE |= {"complex64": "<c8", "complex128": "<c16"}

_MAGIC = b"\x89mole\r\n\x1a"  # the high bit and the line ends expose transfers in text mode, as in PNG
_PREAMBLE = struct.Struct("<8sIQ")
_DIGEST_BYTES = 32
_LONGEST_NAME = 1000  # errors repeat names of a header, which a stranger may make megabytes long
_ARRAYS = (jax.Array, np.ndarray, np.generic, jax.ShapeDtypeStruct)


class CheckpointError(ValueError):
    """The file cannot be read as asked, or the tree cannot be written; the text says why and what to do."""


class DamagedError(CheckpointError):
    """The bytes of the file are not those that were written: truncated, altered, or no checkpoint at all."""


@dataclass(frozen=True)
class Leaf:
    """One entry of a header: ``type`` is ``array``, ``key``, ``bool``, ``int``, ``float`` or ``str``."""

    path: str
    type: str
    dtype: str = ""
    shape: tuple[int, ...] = ()
    offset: int = 0
    nbytes: int = 0
    value: Any = None
    impl: str = ""

    def __str__(self) -> str:
        """Type and, for arrays, dtype and shape."""
        return f"{self.dtype}{list(self.shape)}" if self.type in ("array", "key") else f"a Python {self.type}"


@dataclass(frozen=True)
class Header:
    """What a checkpoint says about itself; ``libraries`` maps names to the versions that wrote it."""

    kind: str
    config: dict[str, Any]
    libraries: dict[str, str]
    leaves: tuple[Leaf, ...]
    arrays_nbytes: int
    arrays_sha256: str


def describe(path: str, leaf: Any) -> Leaf | None:
    """The entry of a leaf in the header, without its offset; None for a function, which is not stored.

    Raises:
        CheckpointError: if it cannot be stored.
    """
    if isinstance(leaf, _ARRAYS):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct(leaf.shape, leaf.dtype))
            impl = str(jax.random.key_impl(leaf)) if isinstance(leaf, jax.Array) else ""
            nbytes = math.prod(data.shape) * data.dtype.itemsize
            return Leaf(path, "key", leaf.dtype.name, tuple(leaf.shape), nbytes=nbytes, impl=impl)
        if leaf.dtype.name not in WIRE:
            raise CheckpointError(
                f"leaf {path} has dtype {leaf.dtype}, expected one of {', '.join(WIRE)}; convert it"
            )
        nbytes = math.prod(leaf.shape) * leaf.dtype.itemsize
        return Leaf(path, "array", leaf.dtype.name, tuple(leaf.shape), nbytes=nbytes)
    name = type(leaf).__name__
    if type(leaf) is SCALARS.get(name):
        return Leaf(path, name, value=str(leaf) if name == "float" and not math.isfinite(leaf) else leaf)
    if callable(leaf):
        return None
    raise CheckpointError(
        f"leaf {path} is a {name}, expected an array, a Python number, a string or a function; "
        "make it a static field"
    )


def to_bytes(value: Any, leaf: Leaf) -> np.ndarray:
    """The bytes of an array or key on disk, little-endian and in C order, as a vector of uint8."""
    array = np.asarray(jax.random.key_data(value) if leaf.type == "key" else value, order="C")
    native = array.astype(array.dtype.newbyteorder("="), copy=False).reshape(-1)
    wire = np.dtype("<u4" if leaf.type == "key" else WIRE[leaf.dtype])
    return native.view(wire.newbyteorder("=")).astype(wire, copy=False).view(np.uint8)


def from_bytes(
    raw: bytes, leaf: Leaf, like: Any, path: Any, convert: Callable[[np.ndarray], np.ndarray] | None = None
) -> Any:
    """The array or key of those bytes: NumPy's if ``like`` is NumPy's, otherwise JAX's.

    Raises:
        CheckpointError: if it is no such key, or JAX would round it.
    """
    if leaf.type == "key":
        data = np.frombuffer(raw, "<u4").astype(np.uint32)
        shape = jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct(like.shape, like.dtype)).shape
        try:
            key = jax.random.wrap_key_data(jnp.asarray(data.reshape(shape)), impl=leaf.impl)
        except (TypeError, ValueError) as error:
            raise CheckpointError(
                f"{path}: leaf {leaf.path} is no PRNG key of kind {leaf.impl!r}: {error}"
            ) from error
        if key.dtype != like.dtype:
            raise CheckpointError(
                f"{path}: leaf {leaf.path} is {key.dtype}, expected {like.dtype}; use the same impl"
            )
        return key
    wire = np.frombuffer(raw, WIRE[leaf.dtype])
    native = wire.astype(wire.dtype.newbyteorder("="))
    dtype = jnp.dtype(leaf.dtype)
    array = (native.astype(bool) if leaf.dtype == "bool" else native.view(dtype)).reshape(leaf.shape)
    if convert is not None:
        array = np.asarray(convert(array), dtype)
    if isinstance(like, np.generic):
        return array[()]
    if isinstance(like, np.ndarray):
        return array
    result = jnp.array(array)
    # Without x64 JAX makes float32 of a float64, without an error.
    if result.dtype != dtype:
        raise CheckpointError(
            f"{path}: leaf {leaf.path} is {dtype}, JAX gives {result.dtype}; set jax_enable_x64"
        )
    return result


def encode_header(header: Header) -> bytes:
    """Everything that goes before the arrays. ``header.config`` must be plain JSON data."""
    content = {**vars(header), "config": _plain_json(header.config, "config")}
    content["leaves"] = [vars(leaf) for leaf in header.leaves]
    raw = json.dumps(content, allow_nan=False).encode("ascii")
    preamble = _PREAMBLE.pack(_MAGIC, FORMAT_VERSION, len(raw))
    return preamble + hashlib.sha256(preamble + raw).digest() + raw


def parse_header(file: BinaryIO, path: Any) -> Header:
    """Read and check all that goes before the arrays; the file is left at the first of their bytes."""
    size = os.fstat(file.fileno()).st_size
    start = file.read(_PREAMBLE.size)
    if not start.startswith(_MAGIC):
        raise DamagedError(
            f"{path} is not a mole checkpoint: it starts with {start[:8]!r}, expected {_MAGIC!r}"
        )
    fixed = _PREAMBLE.size + _DIGEST_BYTES
    if size < fixed:
        raise DamagedError(
            f"{path} is truncated: {size} bytes, expected at least {fixed}; copy or save it again"
        )
    _, version, length = _PREAMBLE.unpack(start)
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {version}, expected at most {FORMAT_VERSION}; update mole"
        )
    # Compared before the header is read: a read allocates as many bytes as it is asked for.
    if length > size - fixed:
        raise DamagedError(f"{path} is truncated: its header needs {length} bytes, {size - fixed} are left")
    digest, raw = file.read(_DIGEST_BYTES), file.read(length)
    if hashlib.sha256(start + raw).digest() != digest:
        raise DamagedError(f"{path} was altered: the checksum of its header does not match; use another copy")
    header = _parse(raw, path)
    if size - fixed - length != header.arrays_nbytes:
        state = "truncated" if size - fixed - length < header.arrays_nbytes else "altered (too long)"
        raise DamagedError(
            f"{path} is {state}: {size - fixed - length} bytes of arrays, expected {header.arrays_nbytes}; "
            "copy or save it again"
        )
    return header


def _parse(raw: bytes, path: Any) -> Header:
    def refuse(what: Any) -> NoReturn:
        raise CheckpointError(
            f"{path} has a malformed header ({str(what)[:300]}); it was not written by mole: use another copy"
        )

    # ASCII, as `encode_header` writes it: for other encodings of JSON Python would import codecs. Nested
    # brackets without end cause a RecursionError.
    try:
        content = json.loads(raw.decode("ascii"), parse_constant=refuse)
        leaves = tuple(Leaf(**{**entry, "shape": tuple(entry["shape"])}) for entry in content.pop("leaves"))
        header = Header(**content, leaves=leaves)
    except CheckpointError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        refuse(error)
    if not (
        isinstance(header.kind, str)
        and len(header.kind) <= _LONGEST_NAME
        and isinstance(header.config, dict)
        and isinstance(header.libraries, dict)
    ):
        refuse("kind, config or libraries")
    offset = 0
    for leaf in leaves:
        # Arrays lie one after the other, so no two share bytes and their sum is what the file must hold.
        if not _leaf_is_sound(leaf, offset):
            refuse(f"leaf {leaf.path!r:.200}")
        offset += leaf.nbytes
    if offset != header.arrays_nbytes or len({leaf.path for leaf in leaves}) < len(leaves):
        refuse("sizes or paths of its leaves")
    return header


def _leaf_is_sound(leaf: Leaf, offset: int) -> bool:
    texts = (leaf.path, leaf.type, leaf.dtype, leaf.impl)
    if not all(type(text) is str and len(text) <= _LONGEST_NAME for text in texts):
        return False
    if not all(type(number) is int and number >= 0 for number in (leaf.offset, leaf.nbytes, *leaf.shape)):
        return False
    if leaf.type == "array":
        items = math.prod(leaf.shape) * np.dtype(WIRE[leaf.dtype]).itemsize if leaf.dtype in WIRE else None
        return leaf.offset == offset and leaf.nbytes == items
    # How many bytes a key has depends on its implementation: `load` compares them with those of `like`.
    if leaf.type == "key":
        return leaf.offset == offset
    is_value = type(leaf.value) is SCALARS.get(leaf.type) or (
        leaf.type == "float" and leaf.value in NON_FINITE
    )
    return is_value and leaf.nbytes == 0


def _plain_json(value: Any, where: str) -> Any:
    if value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value)):
        return value
    if isinstance(value, list | tuple):
        return [_plain_json(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, dict) and all(type(key) is str for key in value):
        return {key: _plain_json(item, f"{where}[{key!r}]") for key, item in value.items()}
    raise CheckpointError(
        f"{where} is {value!r} ({type(value).__name__}), expected plain JSON data "
        "(string keys, lists, strings, finite numbers, booleans, None); convert it"
    )
