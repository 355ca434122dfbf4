"""Which processors multiply matrices of bfloat16 faster than those of float32."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal, get_args

__all__ = ["Precision", "chosen", "fast_bfloat16"]

Precision = Literal["auto", "float32", "bfloat16"]
_FLAGS = {"avx512_bf16", "amx_bf16"}
_CPUINFO = Path("/proc/cpuinfo")


@functools.cache
def fast_bfloat16() -> bool:
    """Whether this machine's processor has instructions for such products, as far as it says so (Linux, x86)."""
    try:
        lines = _CPUINFO.read_text().splitlines()
    except FileNotFoundError:  # another system
        return False
    return any(not _FLAGS.isdisjoint(line.split()) for line in lines if line.startswith("flags"))


def chosen(precision: Precision) -> Literal["float32", "bfloat16"]:
    """What "auto" means on this machine; the others mean themselves.

    Raises:
        ValueError: for another word.
    """
    if precision not in get_args(Precision):
        raise ValueError(f"got precision={precision!r}; expected one of {', '.join(get_args(Precision))}.")
    if precision == "auto":
        return "bfloat16" if fast_bfloat16() else "float32"
    return precision
