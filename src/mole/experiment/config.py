"""What an evaluation is: plain data, saved beside its results, and how it is written on a command line."""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mole.experiment.learners import ablation, base_of, check_method, prior_kind, settings_for
from mole.experiment.methods import METHODS, SIMULATOR, PriorKind, method_of
from mole.planning.config import PlannerConfig
from mole.priors.file import read_planning

__all__ = [
    "Cell",
    "EvalConfig",
    "PlannerConfig",
    "parse_pairs",
    "parse_settings",
    "parse_shard",
]


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
        # Without family and setting: the folder is the family's, and a setting is a name of the schedule.
        return f"{_safe(self.method)}--{_safe(self.schedule)}--{self.seed}"


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """An evaluation: every method on every schedule with every seed.

    Raises:
        ValueError: for an unknown method or ablation, or a number that is too small.
        FileNotFoundError: if the file of a prior that a method starts from is missing.
    """

    env: str
    """Gymnasium id."""
    prior: Path
    """Meta-trained prior."""
    supervised: Path
    """The prior of the supervised baseline."""
    methods: tuple[str, ...] = METHODS
    """Methods to compare."""
    schedules: tuple[str, ...] = ("alternate:A,B:100",)
    """How the hidden task changes."""
    seeds: tuple[int, ...] = tuple(range(10))
    """Evaluation seeds."""
    steps: int = 2000
    """Steps of a run."""
    probe_steps: int = 0
    """Steps with random actions beside each run, to measure the one-step error off policy; 0 for none."""
    keep_actions: bool = False
    """Also keep the actions, so that a run can be rendered later."""
    kept_seeds: int | None = None
    """Of how many of the seeds; all if None."""
    planner: PlannerConfig = dataclasses.field(default_factory=PlannerConfig)
    """The planner; its horizon is that of the prior's training if it has none."""
    shaping: Mapping[str, float] | None = None
    """Weights of the shaping in the planner's reward; those of the prior's training if None. Never in what is reported:
    that is the environment's own reward."""
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
    readout_prior: Path | None = None
    """Prior of Bayesian readouts, for the methods that start from one."""
    episode_limit: int | None = None
    """Steps after which an episode is truncated and reset; None for never."""

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
        # Now, and not after hours, in the first cell that needs it.
        for path in (self.prior, self.supervised):
            if not Path(path).is_file():
                raise FileNotFoundError(f"no prior at {path}; `mole train {self.env}` makes one.")
        needed = {prior_kind(method): method for method in self.methods}
        if "first-order" in needed and not _is_file(self.first_order):
            raise FileNotFoundError(
                f"the ablation first-order got no prior ({self.first_order}); `mole train {self.env} "
                "--meta.first-order` makes one: pass its prior.mole as --first-order."
            )
        if "readout" in needed and not _is_file(self.readout_prior):
            raise FileNotFoundError(
                f"the method {needed['readout']} got no prior of readouts ({self.readout_prior}); train one with "
                "mole.train_readout_prior, save it, and pass the file as --readout-prior."
            )

    @functools.cached_property
    def plans(self) -> tuple[PlannerConfig, dict[str, float]]:
        """The planner with its horizon, and the weights of the shaping that are not 0."""
        trained = read_planning(self.prior)
        known = {} if trained is None else dict(trained.shaping)
        weights = known if self.shaping is None else self.shaping
        return self.planner.after(trained), {name: float(w) for name, w in weights.items() if w}

    @property
    def prior_files(self) -> tuple[Path, Path, Path | None, Path | None]:
        """Files of `mole.experiment.learners.Priors`, in its order."""
        return self.prior, self.supervised, self.first_order, self.readout_prior

    def cells(self) -> list[Cell]:
        """All runs, those of one method and schedule next to each other.

        A method that is told the true task has no run where there is no discrete one.
        """
        cells = (
            Cell(m, s, seed, self.family, self.names.get(s, ""))
            for m in self.methods
            for s in self.schedules
            if not (method_of(base_of(m)).knows == "task" and s in self.truthless)
            for seed in (self.seeds[: self.simulator_seeds] if m == SIMULATOR else self.seeds)
        )
        return list(dict.fromkeys(cells))  # a seed given twice is one run

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
        planner, shaping = self.plans
        # As the files of evaluations without shaping and without a limit of episodes, which knew of none.
        shaped = {"shaping": shaping} if shaping else {}
        limit = {} if self.episode_limit is None else {"episode_limit": self.episode_limit}
        return {**named, "planner": dataclasses.asdict(planner), **shaped, **priors, **limit}

    @property
    def world_settings(self) -> dict[str, Any]:
        """What `mole.experiment.worlds.make_world` is given beside the name and the schedule."""
        return {"episode_limit": "none" if self.episode_limit is None else self.episode_limit}

    def described_cell(self, cell: Cell) -> dict[str, Any]:
        """Plain JSON: what made one run. A record that says something else is not that of ``cell``."""
        change = ablation(cell.method)
        made = {"settings": self.settings_of(cell.method), "steps": self.steps_of(cell.method)}
        if change is not None:
            made["planner"] = {**dataclasses.asdict(self.plans[0]), "kind": change.planner}
        # Most methods start from the priors that all of an evaluation share, and that `described` names.
        own: dict[PriorKind, Path | None] = {"first-order": self.first_order, "readout": self.readout_prior}
        path = own.get(prior_kind(cell.method))
        if path is not None:
            made["prior"] = _fingerprint(path)
        # As it is read back from a record, where tuples are lists.
        return json.loads(json.dumps({**self.described(), **made}))


def _is_file(path: Path | None) -> bool:
    return path is not None and Path(path).is_file()


def _fingerprint(path: Path) -> str:
    status = Path(path).stat()
    return f"{Path(path).name} sha256:{_digest(Path(path), status.st_mtime_ns, status.st_size)}"


@functools.lru_cache
def _digest(path: Path, changed: int, size: int) -> str:
    """Of a file that is read again only if it has changed: thousands of cells share a prior."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _safe(text: str) -> str:
    # Names of methods and schedules have slashes, colons and commas, which not every file system takes.
    return "".join(c if c.isalnum() or c in "-+." else "_" for c in text)


def parse_settings(pairs: tuple[str, ...], methods: tuple[str, ...]) -> dict[str, Any] | None:
    """Settings from NAME=VALUE texts; None if there are none.

    A value is read as JSON or Python writes it: a number, none, true, false, or a list of them. Anything else stays
    text, since some settings are words (``assignment=soft``).

    Raises:
        ValueError: for a text of another form, or several methods (their settings differ).
    """
    if not pairs:
        return None
    if len(methods) != 1:
        raise ValueError(f"--setting got {len(methods)} methods; expected one, since their settings differ.")
    texts = parse_pairs("--setting", pairs, "step_scale=0.1")
    return {name.replace("-", "_"): _value(text) for name, text in texts.items()}


def _value(text: str) -> Any:
    """What a setting's text means, as JSON, Python or a plain word for nothing or yes or no; else the text itself."""
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError):
            continue
        # Python also reads sets and complex numbers, which no setting is and no JSON can hold.
        if value is None or isinstance(value, bool | int | float | str | list | tuple):
            return value
    return {"none": None, "null": None, "true": True, "false": False}.get(text.lower(), text)


def parse_pairs(option: str, pairs: Sequence[str], example: str) -> dict[str, str]:
    """NAME=VALUE texts as a dictionary.

    Raises:
        ValueError: for a text of another form.
    """
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals and value):
            raise ValueError(f"{option} got {pair!r}; expected NAME=VALUE, for example {example}.")
        if name in found:
            raise ValueError(f"{option} got {name!r} twice; expected each name once.")
        found[name] = value
    return found


def parse_shard(text: str) -> tuple[int, int]:
    """``2/3`` as (2, 3).

    Raises:
        ValueError: for a text of another form.
    """
    number, _, shards = text.partition("/")
    if not (number.isdecimal() and shards.isdecimal() and 1 <= int(number) <= int(shards)):
        raise ValueError(f"--shard got {text!r}; expected I/N with I from 1 to N, for example 1/2.")
    return int(number), int(shards)
