"""The planner that all methods of an evaluation share, and the other kinds that an ablation puts in its place."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, get_args

from mole._expect import did_you_mean
from mole.planning import CEM, MPPI, Planner, RandomShooting

__all__ = ["PLANNERS", "PlannerConfig", "Precision", "planner_for"]

Kind = Literal["cem", "mppi", "shooting"]
Precision = Literal["float32", "bfloat16"]
PLANNERS: tuple[str, ...] = get_args(Kind)


@dataclasses.dataclass(frozen=True)
class PlannerConfig:
    """The planner (CEM) that all methods share."""

    samples: int = 100
    """Candidate plans in each iteration."""
    iterations: int = 3
    """Iterations."""
    horizon: int = 10
    """Steps of a plan."""
    elites: int = 10
    """Best plans that the next iteration is fitted to."""
    keep_elites: int = 0
    """Best plans that compete again in the next iteration."""
    init_std: float = 0.25
    """Standard deviation at the start, as a fraction of the action range."""
    noise_correlation: float = 0.0
    """Correlation of the noise of neighbouring steps of a plan."""
    precision: Precision = "float32"
    """Type of the model's weights in planning; bfloat16 is faster where the hardware has it."""


def planner_for(config: PlannerConfig, space: Any, kind: str = "cem") -> Planner:
    """The planner for an action space.

    Other kinds than "cem" score as many candidates in a call: random shooting draws them all at once from the whole
    box, MPPI moves its mean as often as CEM and shares the correlation of the noise; each keeps its own width.

    Args:
        config: amounts.
        space: a Box of actions ``[act]``, which gives the bounds.
        kind: one of `PLANNERS`.

    Raises:
        ValueError: for an unknown kind, or amounts that the planner refuses.
    """
    if kind == "cem":
        amounts = {k: v for k, v in dataclasses.asdict(config).items() if k != "precision"}
        return CEM(space.low, space.high, **amounts)
    if kind == "mppi":
        return MPPI(
            space.low,
            space.high,
            horizon=config.horizon,
            samples=config.samples,
            iterations=config.iterations,
            noise_correlation=config.noise_correlation,
        )
    if kind == "shooting":
        return RandomShooting(
            space.low, space.high, horizon=config.horizon, samples=config.samples * config.iterations
        )
    raise ValueError(f"unknown planner {kind!r}: {did_you_mean(kind, PLANNERS)}")
