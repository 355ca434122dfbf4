"""What an evaluation is: plain data, saved beside its results."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from mole.envs.suggest import did_you_mean
from mole.experiment.methods import METHODS

__all__ = ["Cell", "EvalConfig", "PlannerConfig"]


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


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run: a method on a schedule with a seed."""

    method: str
    schedule: str
    seed: int

    @property
    def name(self) -> str:
        """A file name that says all three."""
        safe = "".join(c if c.isalnum() or c in "-+." else "_" for c in self.schedule)
        return f"{self.method}--{safe}--{self.seed}"


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """An evaluation: every method on every schedule with every seed."""

    env: str
    """Gymnasium id."""
    prior: Path
    """Meta-trained prior."""
    supervised: Path
    """Its supervised twin."""
    methods: tuple[str, ...] = METHODS
    """Methods to compare."""
    schedules: tuple[str, ...] = ("alternate:A,B:100",)
    """How the hidden task changes."""
    seeds: tuple[int, ...] = tuple(range(10))
    """Evaluation seeds."""
    steps: int = 2000
    """Steps of a run."""
    probe_steps: int = 0
    """Steps with random actions after each run, to measure the one-step error off policy; 0 for none."""
    keep_actions: bool = False
    """Also keep the actions, so that a run can be rendered later."""
    planner: PlannerConfig = dataclasses.field(default_factory=PlannerConfig)
    """The planner."""
    settings: dict[str, Any] | None = None
    """Settings of the methods instead of the tuned ones (only `mole tune` uses this)."""

    def __post_init__(self) -> None:
        """Check names and numbers."""
        for name in self.methods:
            if name not in METHODS:
                raise ValueError(f"unknown method {name!r}: {did_you_mean(name, METHODS)}")
        if self.steps < 1 or not (self.methods and self.seeds and self.schedules):
            raise ValueError(
                f"EvalConfig got steps={self.steps}, {len(self.methods)} methods, {len(self.schedules)} schedules and "
                f"{len(self.seeds)} seeds; expected at least one of each."
            )
        for path in (self.prior, self.supervised):
            if not Path(path).is_file():
                raise FileNotFoundError(f"no prior at {path}; `mole train {self.env}` makes one.")

    def cells(self) -> list[Cell]:
        """All runs, those of one method and schedule next to each other (they share compiled code)."""
        cells = (Cell(m, s, seed) for m in self.methods for s in self.schedules for seed in self.seeds)
        return list(dict.fromkeys(cells))

    def described(self) -> dict[str, Any]:
        """Plain JSON: what must be equal for results to be comparable (methods, schedules and seeds may grow)."""
        free = {"methods", "schedules", "seeds"}
        # By content: every training calls its files prior.mole and supervised.mole.
        priors = {name: _fingerprint(Path(getattr(self, name))) for name in ("prior", "supervised")}
        return {**{k: v for k, v in dataclasses.asdict(self).items() if k not in free}, **priors}


def _fingerprint(path: Path) -> str:
    return f"{path.name} sha256:{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
