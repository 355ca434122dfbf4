"""The amounts of a planner as plain data, and the planner that they describe.

Evaluation and training both read their planner from a command line and save it beside their results, so that this is
the only place that turns names and numbers into a `Planner`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, get_args

from mole._expect import did_you_mean
from mole.planning.base import Planner
from mole.planning.cem import CEM
from mole.planning.mppi import MPPI
from mole.planning.shooting import RandomShooting

__all__ = ["HORIZON", "PLANNERS", "PlannerConfig", "PlannerPrecision", "planner_for"]

PlannerKind = Literal["cem", "mppi", "shooting"]
PlannerPrecision = Literal["float32", "bfloat16"]
PLANNERS: tuple[str, ...] = get_args(PlannerKind)


HORIZON = 10
"""Steps of a plan unless anything else is known."""


@dataclasses.dataclass(frozen=True)
class PlannerConfig:
    """The planner (CEM) that all methods share."""

    # Tuned for no method: kept elites, a wider start, a longer horizon, coloured noise and fewer iterations were tried
    # with the oracle, and none beat these by more than the spread (docs/results-motors.md).
    samples: int = 100
    """Candidate plans in each iteration."""
    iterations: int = 3
    """Iterations."""
    horizon: int | None = None
    """Steps of a plan; if None that of the prior's training, or 10 where nobody knows."""
    elites: int = 10
    """Best plans that the next iteration is fitted to."""
    keep_elites: int = 0
    """Best plans that compete again in the next iteration."""
    init_std: float = 0.25
    """Standard deviation at the start, as a fraction of the action range."""
    noise_correlation: float = 0.0
    """Correlation of the noise of neighbouring steps of a plan."""
    precision: PlannerPrecision = "float32"
    """Type of the model's weights in planning; bfloat16 is faster where the hardware has it."""

    def after(self, trained: Any) -> PlannerConfig:
        """With a horizon in any case: its own, that of a prior's training (`mole.learning.prior.Planning`), or 10."""
        known = HORIZON if trained is None else trained.horizon
        return self if self.horizon is not None else dataclasses.replace(self, horizon=known)


def planner_for(config: PlannerConfig, space: Any, kind: str = "cem") -> Planner:
    """The planner for an action space.

    All kinds score the same number of candidates in a call, so that they can be compared: random shooting draws them
    at once from the whole box, MPPI moves its mean as often as CEM and shares the correlation of the noise. The other
    amounts of MPPI are its own defaults.

    Args:
        config: amounts.
        space: a Box of actions ``[act]``, or anything else with its bounds ``low`` and ``high``.
        kind: one of `PLANNERS`.

    Returns:
        A planner within the bounds of ``space``, with a horizon of ``config.horizon`` steps (10 if None).

    Raises:
        ValueError: for an unknown kind, or amounts that the planner refuses.
        TypeError: for a space without bounds, such as one of discrete actions.
    """
    if not (hasattr(space, "low") and hasattr(space, "high")):
        raise TypeError(
            f"a planner got the action space {space}; expected a Box: planners search among continuous actions. "
            "Wrap the environment so that a continuous action decides which discrete one is taken."
        )
    horizon = HORIZON if config.horizon is None else config.horizon
    if kind == "cem":
        # The precision is the agent's: it narrows the weights before the planner sees the model.
        amounts = {k: v for k, v in dataclasses.asdict(config).items() if k != "precision"}
        return CEM(space.low, space.high, **{**amounts, "horizon": horizon})
    if kind == "mppi":
        return MPPI(
            space.low,
            space.high,
            horizon=horizon,
            samples=config.samples,
            iterations=config.iterations,
            noise_correlation=config.noise_correlation,
        )
    if kind == "shooting":
        candidates = config.samples * config.iterations
        return RandomShooting(space.low, space.high, horizon=horizon, samples=candidates)
    raise ValueError(f"unknown planner {kind!r}: {did_you_mean(kind, PLANNERS)}")
