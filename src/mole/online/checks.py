"""Settings of the learners, checked in one place: each error says what was got, what was expected and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mole._expect import expect_type, expect_whole
from mole.prior import MetaPrior

__all__ = [
    "AUTHORS",
    "MOST_COUNTED",
    "check_choice",
    "check_mixture",
    "check_prior",
    "check_range",
    "check_reach",
    "check_whole",
]


def check_range(owner: str, name: str, value: Any, low: float, high: float, remedy: str) -> None:
    """Raise unless ``low <= value <= high``."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{owner} got {name}={value!r} ({type(value).__name__}); expected a number. {remedy}")
    if not low <= value <= high:
        expected = f"between {low:g} and {high:g}" if high < float("inf") else f"of at least {low:g}"
        raise ValueError(f"{owner} got {name}={value!r}; expected a number {expected}. {remedy}")


def check_prior(owner: str, prior: Any) -> None:
    """Raise unless ``prior`` is a `MetaPrior`."""
    expect_type(owner, "prior", prior, MetaPrior, "mole.meta_train and mole.load_prior give one.")


def check_reach(owner: str, reach: Any) -> None:
    """Raise unless a learner's ``reach`` is a number of standard deviations whose square is a float32."""
    check_range(
        owner,
        "reach",
        reach,
        1.0,
        1e15,
        "It is how many standard deviations of the training data a number may be off.",
    )


def check_choice(owner: str, name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Raise unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{owner} got {name}={value!r}; expected one of {', '.join(map(repr, choices))}.")


def check_whole(owner: str, name: str, value: Any) -> None:
    """Raise unless ``value`` is a whole number from 1 on."""
    expect_whole(owner, name, value)


MOST_COUNTED = 2**22
"""Steps after which counts in float32 are halved: from 2^24 on, adding one changes nothing."""
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
"""Settings of a `mole.online.mole.Mixture` that follows the paper, with its authors' values."""
_INFINITY = float("inf")
_RANGES = {
    "window": (1, _INFINITY, "It is k, the pairs of one inner step."),
    "likelihood_window": (1, _INFINITY, "It is the number of newest pairs scored in the E-step."),
    "temperature": (1e-6, _INFINITY, "It divides the score of a task."),
    "stay": (1e-6, 1 - 1e-6, "It is the probability that a task lasts one more step."),
    "alpha": (0.0, _INFINITY, "It weighs a new task; 0 never makes one."),
    "margin": (0.0, _INFINITY, "It is what a new task must win by."),
    "step_scale": (0.0, _INFINITY, "It is the M-step's rate as a fraction of the inner rate."),
    "max_tasks": (1, 1024, "It is the number of slots."),
}
_CHOICES = {
    "score": ("log_prob", "loss"),
    "task_prior": ("sticky", "crp", "uniform"),
    "judge": ("held_out", "fitted"),
    "assignment": ("hard", "soft"),
    "memory": ("own", "shared"),
    "at_capacity": ("refuse", "evict", "merge"),
    "predict_with": ("most_probable", "best_scoring"),
}


def check_mixture(settings: Mapping[str, Any]) -> None:
    """Check the settings of a `mole.online.mole.Mixture`, by name."""
    for name, (low, high, remedy) in _RANGES.items():
        check_range("Mixture", name, settings[name], low, high, remedy)
    for name, choices in _CHOICES.items():
        check_choice("Mixture", name, settings[name], choices)
    check_reach("Mixture", settings["reach"])
    for name in ("window", "likelihood_window", "max_tasks"):
        if not isinstance(settings[name], int):
            raise TypeError(f"Mixture got {name}={settings[name]!r}; expected a whole number.")
    pairs = 2 * settings["window"]
    if settings["likelihood_window"] > pairs:
        raise ValueError(
            f"Mixture got likelihood_window={settings['likelihood_window']}; expected at most 2k = {pairs}, the pairs "
            "that are kept."
        )
    candidate = settings["candidate_window"]
    if candidate is not None:
        expect_whole("Mixture", "candidate_window", candidate, 2, "None is the paper's rule.")
    if candidate is not None and (candidate < 2 or candidate % 2 or candidate > pairs):
        raise ValueError(
            f"Mixture got candidate_window={candidate}; expected an even number from 2 to 2k = {pairs}, or None for "
            "the paper's rule."
        )
    refresh = settings["refresh"]
    if refresh is not None and (not isinstance(refresh, int) or not 1 <= refresh <= MOST_COUNTED):
        raise ValueError(
            f"Mixture got refresh={refresh!r}; expected a whole number of steps from 1 to {MOST_COUNTED}, or None for "
            "never."
        )
