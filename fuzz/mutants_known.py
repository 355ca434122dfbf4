"""Mutants that no test can kill, and why: they change nothing that can be observed."""

__all__ = ["EQUIVALENT"]

EQUIVALENT: dict[str, str] = {}
