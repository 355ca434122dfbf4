"""Mutants that no test can kill, and why: they change nothing that can be observed."""

__all__ = ["EQUIVALENT"]

_COPY = "a needless copy: the bytes are the same"
EQUIVALENT: dict[str, str] = {
    "_to_bytes: False → True": _COPY,
    "_to_bytes: False → True (#2)": _COPY,
    "Rank1Rate.factors: True → False": "rows and columns are as many, since both are made from the same arrays",
    "weighted_mean: 1.0 → 2.5": "what is divided by it is zero",
}
