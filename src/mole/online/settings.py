"""Settings of both mixtures: the authors' values, and what each may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mole._expect import expect_choice, expect_number, expect_numbers, expect_whole
from mole.online.base import expect_reach
from mole.online.em import MOST_COUNTED

__all__ = ["AUTHORS", "check_mixture", "check_readout_mixture"]

AUTHORS: Mapping[str, Any] = {
    "score": "loss",
    "temperature": 0.02,
    "task_prior": "crp",
    "alpha": 1.0,
    "refresh": 20,
    "assignment": "soft",
    "memory": "shared",
    "candidate_window": None,
    "margin": 0.0,
    "step_scale": 1.0,
    "max_tasks": 5,
    "at_capacity": "refuse",
}
"""Settings of a `Mixture` that follows the paper, with its authors' values."""

_CHOICES = {
    "score": ("log_prob", "loss"),
    "task_prior": ("sticky", "crp", "uniform"),
    "assignment": ("hard", "soft"),
    "memory": ("own", "shared"),
    "judge": ("held_out", "fitted"),
    "at_capacity": ("refuse", "evict", "merge"),
    "predict_with": ("most_probable", "best_scoring"),
}
# Least and most of each. `stay` is neither 0 nor 1: the sticky prior takes logarithms of both sides.
_NUMBERS = {
    "temperature": (1e-6, np.inf, "It divides the score of a task."),
    "stay": (1e-6, 1 - 1e-6, "It is the probability that a task lasts one more step."),
    "alpha": (0.0, np.inf, "It weighs a new task; 0 never makes one."),
    "margin": (0.0, np.inf, "It is what a new task must win by."),
    "step_scale": (0.0, np.inf, "It is the M-step's rate as a fraction of the inner rate."),
}

_READOUT_NUMBERS: Mapping[str, Mapping[str, Any]] = {
    "alpha": {"above": 0.0},
    "found_after": {"above": 0.0},
    "tail": {"above": 0.0},
    "switch_every": {"above": 1.0},
    "drift_memory": {"above": 1.0},
    "most_switches": {"low": 0.0, "high": 1.0},
}


def check_mixture(mixture: Any) -> None:
    """Check the settings of a `mole.online.Mixture` before its fields are converted to arrays.

    Raises:
        TypeError: for a setting of another type.
        ValueError: for one out of range, with what is expected.
    """
    for name, choices in _CHOICES.items():
        expect_choice("Mixture", name, getattr(mixture, name), choices)
    for name, (low, high, remedy) in _NUMBERS.items():
        expect_number("Mixture", name, getattr(mixture, name), low=low, high=high, remedy=remedy)
    expect_reach("Mixture", mixture.reach)
    expect_whole("Mixture", "window", mixture.window, 1, "It is k, the pairs of one inner step.")
    most, remedy = 2 * mixture.k, "The last 2k pairs are kept."
    expect_whole("Mixture", "likelihood_window", mixture.likelihood_window, 1, remedy, most=most)
    expect_whole("Mixture", "max_tasks", mixture.max_tasks, 1, "It is the number of slots.", most=1024)
    if mixture.candidate_window is not None:
        remedy = f"Half of them, so an even number; None is the paper's rule. {remedy}"
        expect_whole("Mixture", "candidate_window", mixture.candidate_window, 2, remedy, most=most, even=True)
    if mixture.refresh is not None:
        remedy = "It is a number of steps; None never restarts."
        expect_whole("Mixture", "refresh", mixture.refresh, 1, remedy, most=MOST_COUNTED)


def check_readout_mixture(mixture: Any) -> None:
    """Check the settings of a `mole.readout.ReadoutMixture`; errors as in `check_mixture`."""
    owner, prior = "ReadoutMixture", mixture.prior
    for name, bounds in _READOUT_NUMBERS.items():
        expect_number(owner, name, getattr(mixture, name), **bounds)
    expect_whole(owner, "max_tasks", mixture.max_tasks)
    remedy = (
        "Each belief of the prior needs a slot for a task that begins, and a task that goes on needs one."
    )
    expect_whole(owner, "candidates", mixture.candidates, 1 + prior.kinds, remedy)
    expect_choice(owner, "at_capacity", mixture.at_capacity, _CHOICES["at_capacity"])
    expect_reach(owner, mixture.reach)
    remedy = "They are shares of the prior's variance, such as (1e-6, 3e-3)."
    expect_numbers(owner, "drift", mixture.drift, low=0.0, below=1.0, remedy=remedy)
    if mixture.outputs is not None:
        remedy, size = "There is one weight per output.", prior.target_size
        expect_numbers(owner, "outputs", mixture.outputs, size=size, nonzero=True, low=0.0, remedy=remedy)
