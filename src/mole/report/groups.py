"""Runs that may be compared: one family of worlds, one prior and planner, every cell once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from mole.experiment.families import FAMILIES
from mole.experiment.methods import PRIVILEGED, SIMULATOR
from mole.experiment.stats import Interval, bootstrap, normalised, probability_of_improvement
from mole.report.digest import Digest
from mole.report.style import ordered
from mole.report.tables import Row, rows_of

__all__ = ["Group", "Scale", "group_runs"]

_RETURN = "return_per_1000"
_OWN = ("settings", "probe_steps", "keep_actions")
"""Entries of a configuration in which methods of one comparison may differ."""


@dataclass(frozen=True)
class Scale:
    """Normalised returns of a group, pooled over its settings.

    Attributes:
        settings: setting → (return that counts as 0, return that counts as 1).
        left_out: setting → why it has no scale.
        zero: what counts as 0, in words.
    """

    settings: dict[str, tuple[float, float]]
    left_out: dict[str, str]
    zero: str


@dataclass(frozen=True)
class Group:
    """Runs of one family that share prior and planner.

    Attributes:
        name: of the family, with the folders where there are several groups of it.
        runs: all digests, those of failed runs too.
        folders: where they are.
    """

    name: str
    runs: list[Digest] = field(repr=False)
    folders: tuple[Path, ...]

    @cached_property
    def title(self) -> str:
        """Its name in words, where the family is one of ours."""
        family, dot, rest = self.name.partition(" · ")
        return f"{FAMILIES[family].title} ({family}){dot}{rest}" if family in FAMILIES else self.name

    @cached_property
    def rows(self) -> list[Row[Digest]]:
        """Interquartile means of every setting and method, ablations apart."""
        return rows_of([run for run in self.runs if "/" not in str(run.meta["method"])], statistic="iqm")

    @cached_property
    def ablated(self) -> list[Row[Digest]]:
        """The same for the ablations, whose names are ``mole/…``."""
        return rows_of([run for run in self.runs if "/" in str(run.meta["method"])], statistic="iqm")

    @property
    def settings(self) -> list[str]:
        """Names of the settings, in the order of appearance."""
        return list(dict.fromkeys(run.setting for run in self.runs))

    @property
    def methods(self) -> list[str]:
        """Methods with any result, in the palette's order, ablations apart."""
        return ordered(row.method for row in self.rows)

    def row(self, setting: str, method: str) -> Row[Digest] | None:
        """The runs of a method on a setting."""
        return next((row for row in self.rows if (row.schedule, row.method) == (setting, method)), None)

    @cached_property
    def scale(self) -> Scale:
        """What counts as 0 and as 1 on every setting.

        0 is the return of `supervised`, which is what no adaptation earns; where that was not run, it is a return of 0,
        which is that of standing still. 1 is the return of `oracle`: what knowing the task earns with the same prior.
        """
        scales, left, zeros = {}, {}, set()
        for setting in self.settings:
            floor, ceiling = (self._level(setting, method) for method in ("supervised", "oracle"))
            if ceiling is None:
                left[setting] = "no oracle"
            # Where knowing the task earns nothing, a scale would show noise.
            elif ceiling <= (floor or 0.0):
                left[setting] = "the oracle earns no more than the lower end"
            else:
                zeros.add("the supervised model" if floor is not None else "a return of 0")
                scales[setting] = (floor or 0.0, ceiling)
        return Scale(scales, left, " or, where that was not run, ".join(sorted(zeros, reverse=True)))

    def _level(self, setting: str, method: str) -> float | None:
        row = self.row(setting, method)
        found = row.interval(_RETURN) if row else None
        return None if found is None else found.value

    def scores(self, method: str, settings: Sequence[str] | None = None) -> list[np.ndarray]:
        """Normalised returns of a method: [runs] for each setting with a scale on which it has two runs or more."""
        cells = []
        for setting, (floor, ceiling) in self.scale.settings.items():
            row = self.row(setting, method)
            if row is None or (settings is not None and setting not in settings):
                continue
            # With a run that diverged a method has no score on a setting: the others alone would flatter it.
            if len(row.runs) > 1 and np.isfinite(row.figures[_RETURN]).all():
                cells.append(normalised(row.figures[_RETURN], floor, ceiling))
        return cells

    def aggregate(self, method: str) -> Interval | None:
        """Interquartile mean of the normalised returns over all settings with its 95 % interval."""
        cells = self.scores(method)
        return bootstrap(cells, rng=_rng(), statistic="iqm", resamples=2000) if cells else None

    def improvement(self, method: str, other: str) -> tuple[Interval, int] | None:
        """Probability that a run of `method` earns more than one of `other`, and over how many settings."""
        cells = []
        for setting in self.settings:
            pair = [self.row(setting, name) for name in (method, other)]
            values = [row.figures[_RETURN] for row in pair if row is not None and len(row.runs) > 1]
            if len(values) == 2 and all(np.isfinite(one).all() for one in values):
                cells.append(values)
        if not cells:
            return None
        return probability_of_improvement([c[0] for c in cells], [c[1] for c in cells], rng=_rng()), len(
            cells
        )

    @property
    def baselines(self) -> list[str]:
        """All methods but `mole`, without the upper bounds."""
        return [name for name in self.methods if name != "mole" and name not in PRIVILEGED]


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)  # fixed, so that the same records always give the same page


def group_runs(runs: Sequence[Digest]) -> list[Group]:
    """Runs by family, so that no figure mixes configurations.

    A folder stands in a group of its own if its prior or planner differ from those of the family's other folders, or if
    one of those has the same cells.
    """
    folders: dict[tuple[str, Path], list[Digest]] = {}
    for run in runs:
        family = str(run.meta.get("family") or run.meta["env"])
        folder = run.source.parent if run.source is not None else Path()
        folders.setdefault((family, folder), []).append(run)
    parts: dict[str, list[tuple[list[Digest], list[Path]]]] = {}
    for (family, folder), own in folders.items():
        fitting = parts.setdefault(family, [])
        for members, places in fitting:
            if _compatible(members, own):
                members.extend(own)
                places.append(folder)
                break
        else:
            fitting.append((list(own), [folder]))
    return [
        Group(family + (f" · {_named(places)}" if len(some) > 1 else ""), members, tuple(places))
        for family, some in parts.items()
        for members, places in some
    ]


def _named(folders: Sequence[Path]) -> str:
    """The last two parts: the folders of a suite are called like the family."""
    return ", ".join("/".join(folder.resolve().parts[-2:]) for folder in folders)


def _compatible(a: Sequence[Digest], b: Sequence[Digest]) -> bool:
    def cells(runs: Sequence[Digest]) -> set[tuple[str, str, str]]:
        return {(str(run.meta["method"]), run.setting, str(run.meta["seed"])) for run in runs}

    # A cell in both folders was run twice: one of them is from other code or another machine.
    first, second = _shared(a), _shared(b)
    return not (cells(a) & cells(b)) and (not first or not second or first == second)


def _shared(runs: Sequence[Digest]) -> set[str]:
    """What the compared methods have in common: prior, planner and such; ablations and the simulator aside."""
    # Ablations differ on purpose, and the simulator runs fewer steps.
    found = set()
    for run in runs:
        if "/" not in str(run.meta["method"]) and run.meta["method"] != SIMULATOR:
            configuration = run.meta.get("configuration") or {}
            kept = {key: value for key, value in configuration.items() if key not in _OWN}
            found.add(json.dumps([run.meta.get("prior"), kept], sort_keys=True))
    return found
