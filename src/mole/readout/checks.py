"""Checks of the settings of a mixture of readouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mole._expect import expect_number, expect_type
from mole.online.checks import check_choice, check_reach
from mole.readout.prior import ReadoutPrior

__all__ = ["check_readout_mixture"]


def check_readout_mixture(given: Mapping[str, Any]) -> None:
    """Raise ValueError or TypeError for a setting of `ReadoutMixture` that is out of range or of another type."""
    expect_type(
        "ReadoutMixture",
        "prior",
        given["prior"],
        ReadoutPrior,
        "mole.fit_prior and mole.ReadoutPrior.untrained make one.",
    )
    for name in ("alpha", "found_after", "tail"):
        expect_number("ReadoutMixture", name, given[name], above=0.0)
    for name in ("switch_every", "drift_memory"):
        expect_number("ReadoutMixture", name, given[name])
    expect_number("ReadoutMixture", "most_switches", given["most_switches"], low=0.0, high=1.0)
    for name in ("max_tasks", "candidates"):
        value, least = given[name], 1 if name == "max_tasks" else 1 + given["prior"].kinds
        if not isinstance(value, int) or value < least:
            raise ValueError(f"ReadoutMixture got {name}={value!r}; expected a whole number from {least} on.")
    for name in ("switch_every", "drift_memory"):
        if not given[name] > 1.0:
            raise ValueError(f"ReadoutMixture got {name}={given[name]!r}; expected more than 1 pair.")
    check_choice("ReadoutMixture", "at_capacity", given["at_capacity"], ("refuse", "evict", "merge"))
    check_reach("ReadoutMixture", given["reach"])
    drift = given["drift"]
    if isinstance(drift, str) or not isinstance(drift, Sequence):
        raise TypeError(
            f"ReadoutMixture got drift={drift!r:.80}; expected one or more shares, such as (1e-6, 3e-3)."
        )
    if not drift or not all(0.0 <= rate < 1.0 for rate in drift):
        raise ValueError(
            f"ReadoutMixture got drift={drift!r}; expected one or more shares from 0 to below 1."
        )
