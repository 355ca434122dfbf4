"""The tree that the checkpoint tests store, how two trees are compared, and a forger of headers."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mole.files.checkpoint import read_header

PREAMBLE, DIGEST = struct.Struct("<8sIQ"), 32


class Part(eqx.Module):
    weight: jax.Array
    rate: float
    activation: Any
    nothing: None = None
    name: str = eqx.field(static=True, default="static")


def make_tree(seed: int = 0) -> dict[str, Any]:
    key = jax.random.key(seed)
    return {
        "part": Part(jax.random.normal(key, (3, 2)), 0.1 + seed, jax.nn.relu),
        "half": jax.random.normal(key, (5,)).astype(jnp.bfloat16),
        "key": jax.random.split(key, (2, 3)),
        "rbg": jax.random.key(seed, impl="rbg"),
        "mask": jnp.array([True, False, True]),
        "count": jnp.int32(seed + 3),
        "empty": jnp.zeros((0, 4)),
        "double": np.arange(4.0).reshape(2, 2).T + seed,  # not contiguous
        "scalar": np.float32(1.5 + seed),
        "numbers": (True, 7 + seed, -0.0, math.inf, "text"),
    }


def bits(tree: Any) -> list[Any]:
    """Everything about the leaves that must survive: type, dtype, shape and bytes."""

    def describe(leaf: Any) -> Any:
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return ("key", str(leaf.dtype), leaf.shape, np.asarray(jax.random.key_data(leaf)).tobytes())
        if isinstance(leaf, jax.Array | np.ndarray | np.generic):
            kind = "jax" if isinstance(leaf, jax.Array) else type(leaf).__name__
            return (kind, str(leaf.dtype), leaf.shape, np.asarray(leaf).tobytes())
        return (type(leaf).__name__, repr(leaf))

    return [
        (jax.tree_util.keystr(path), describe(x)) for path, x in jax.tree_util.tree_leaves_with_path(tree)
    ]


def rewrite_header(path: Path, **changes: Any) -> None:
    """Forge a header whose checksum is right."""
    raw = path.read_bytes()
    magic, version, length = PREAMBLE.unpack(raw[: PREAMBLE.size])
    start = PREAMBLE.size + DIGEST
    content = {**json.loads(raw[start : start + length]), **changes}
    forge(path, json.dumps(content).encode(), raw[start + length :], version=version, magic=magic)


def forge(
    path: Path, header: bytes, arrays: bytes, version: int = 1, magic: bytes = b"\x89mole\r\n\x1a"
) -> None:
    start = PREAMBLE.pack(magic, version, len(header))
    path.write_bytes(start + hashlib.sha256(start + header).digest() + header + arrays)


def stored_leaves(path: Path) -> list[dict[str, Any]]:
    return [{**vars(leaf), "shape": list(leaf.shape)} for leaf in read_header(path).leaves]
