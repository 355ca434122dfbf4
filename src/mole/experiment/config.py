"""What an evaluation is: plain data, saved beside its results."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mole.experiment.ablations import ablation, base_of
from mole.experiment.methods import METHODS, SIMULATOR, check_method, settings_for
from mole.planning.config import PlannerConfig

__all__ = ["Cell", "EvalConfig", "PlannerConfig"]


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run: a method on a schedule with a seed."""

    method: str
    schedule: str
    seed: int
    family: str = ""
    """Name of the family of worlds, if it is one of `mole.experiment.families`."""
    setting: str = ""
    """Name of the schedule among the family's settings."""

    @property
    def name(self) -> str:
        """A file name that says method, schedule and seed."""
        return f"{_safe(self.method)}--{_safe(self.schedule)}--{self.seed}"


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
    kept_seeds: int | None = None
    """Of how many of the seeds; all if None."""
    planner: PlannerConfig = dataclasses.field(default_factory=PlannerConfig)
    """The planner."""
    settings: dict[str, Any] | None = None
    """Settings of the methods instead of the tuned ones (only `mole tune` and --setting use this)."""
    tuned: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    """A family's own tuned settings, by method."""
    family: str = ""
    """Name of the family of worlds, for the records."""
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Schedule → name of the setting, for the records."""
    truthless: tuple[str, ...] = ()
    """Schedules whose hidden value moves continuously: there is no task to tell the oracle."""
    simulator_steps: int | None = None
    """Steps of a run of the simulator as the planner's model, which is slow; ``steps`` if None."""
    simulator_seeds: int | None = None
    """How many of the seeds it runs; all if None."""
    first_order: Path | None = None
    """Prior that was meta-trained without second derivatives, for the ablation of that name."""

    def __post_init__(self) -> None:
        """Check names and numbers."""
        for name in self.methods:
            check_method(name)
        if self.steps < 1 or not (self.methods and self.seeds and self.schedules):
            raise ValueError(
                f"EvalConfig got steps={self.steps}, {len(self.methods)} methods, {len(self.schedules)} schedules and "
                f"{len(self.seeds)} seeds; expected at least one of each."
            )
        if (self.simulator_steps is not None and self.simulator_steps < 1) or (self.simulator_seeds or 0) < 0:
            raise ValueError(
                f"EvalConfig got simulator_steps={self.simulator_steps}, simulator_seeds={self.simulator_seeds}; "
                "expected at least 1 step and 0 seeds."
            )
        for path in (self.prior, self.supervised):
            if not Path(path).is_file():
                raise FileNotFoundError(f"no prior at {path}; `mole train {self.env}` makes one.")
        if self._needs_first_order() and not (self.first_order and Path(self.first_order).is_file()):
            raise FileNotFoundError(
                f"the ablation first-order got no prior ({self.first_order}); `mole train {self.env} "
                "--meta.first-order` makes one: pass its prior.mole as --first-order."
            )

    def cells(self) -> list[Cell]:
        """All runs, those of one method and schedule next to each other.

        An oracle needs a task to be told, so it has none where there is no discrete one.
        """
        cells = (
            Cell(m, s, seed, self.family, self.names.get(s, ""))
            for m in self.methods
            for s in self.schedules
            if not (m == "oracle" and s in self.truthless)
            for seed in (self.seeds[: self.simulator_seeds] if m == SIMULATOR else self.seeds)
        )
        return list(dict.fromkeys(cells))

    def steps_of(self, method: str) -> int:
        """Steps of a run of ``method``."""
        return self.simulator_steps or self.steps if method == SIMULATOR else self.steps

    def keeps_actions(self, cell: Cell) -> bool:
        """Whether the actions of a run are kept."""
        return self.keep_actions and cell.seed in self.seeds[: self.kept_seeds]

    def settings_of(self, method: str) -> dict[str, Any]:
        """Settings of the learner of ``method``."""
        if self.settings is None:
            return settings_for(method, self.tuned)
        return settings_for(method, {base_of(method): self.settings})

    def described(self) -> dict[str, Any]:
        """Plain JSON: what must be equal for results to be comparable (methods, schedules and seeds may grow)."""
        # By content: every training calls its files prior.mole and supervised.mole.
        priors = {name: _fingerprint(getattr(self, name)) for name in ("prior", "supervised")}
        named = {
            name: getattr(self, name) for name in ("env", "steps", "probe_steps", "keep_actions", "settings")
        }
        return {**named, "planner": dataclasses.asdict(self.planner), **priors}

    def described_cell(self, cell: Cell) -> dict[str, Any]:
        """Plain JSON: what made one run. A record that says something else is not that of ``cell``."""
        change = ablation(cell.method)
        made = {"settings": self.settings_of(cell.method), "steps": self.steps_of(cell.method)}
        if change is not None:
            made["planner"] = {**dataclasses.asdict(self.planner), "kind": change.planner}
        if change is not None and change.prior == "first-order" and self.first_order is not None:
            made["prior"] = _fingerprint(self.first_order)
        return json.loads(json.dumps({**self.described(), **made}))

    def _needs_first_order(self) -> bool:
        changes = (ablation(method) for method in self.methods)
        return any(change is not None and change.prior == "first-order" for change in changes)


def _fingerprint(path: Path) -> str:
    status = Path(path).stat()
    return f"{Path(path).name} sha256:{_digest(Path(path), status.st_mtime_ns, status.st_size)}"


@functools.lru_cache
def _digest(path: Path, changed: int, size: int) -> str:
    """Of a file that is read again only if it has changed: thousands of cells share a prior."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _safe(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-+." else "_" for c in text)
