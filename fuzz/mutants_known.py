"""Mutants that no test can kill, and why: they change nothing that can be observed."""

__all__ = ["EQUIVALENT"]

_COPY = "a needless copy: the bytes are the same"
EQUIVALENT: dict[str, str] = {
    "_to_bytes: False → True": _COPY,
    "_to_bytes: False → True (#2)": _COPY,
}
