"""Checks of the settings of a mixture of readouts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mole.online.checks import check_choice, check_reach

__all__ = ["check_readout_mixture"]


def check_readout_mixture(given: Mapping[str, Any]) -> None:
    """Raise ValueError for a setting of `ReadoutMixture` that is out of range."""
    for name in ("max_tasks", "candidates"):
        value, least = given[name], 1 if name == "max_tasks" else 1 + given["prior"].kinds
        if not isinstance(value, int) or value < least:
            raise ValueError(f"ReadoutMixture got {name}={value!r}; expected a whole number from {least} on.")
    for name, least in (("alpha", 0.0), ("found_after", 0.0)):
        if not given[name] > least:
            raise ValueError(f"ReadoutMixture got {name}={given[name]!r}; expected more than {least}.")
    for name in ("switch_every", "drift_memory"):
        if not given[name] > 1.0:
            raise ValueError(f"ReadoutMixture got {name}={given[name]!r}; expected more than 1 pair.")
    check_choice("ReadoutMixture", "at_capacity", given["at_capacity"], ("refuse", "evict", "merge"))
    check_reach("ReadoutMixture", given["reach"])
    drift = given["drift"]
    if not drift or not all(0.0 <= rate < 1.0 for rate in drift):
        raise ValueError(
            f"ReadoutMixture got drift={drift!r}; expected one or more shares from 0 to below 1."
        )
