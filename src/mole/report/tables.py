"""From records to the figures of the table and the sentence at the top of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np

from mole.control.records import EpisodeRecord
from mole.experiment import stats
from mole.experiment.methods import BY_NAME, PRIVILEGED
from mole.experiment.metrics import recall, summarise
from mole.report.digest import Digest, setting_of
from mole.report.style import ordered

__all__ = ["Row", "headline", "number", "rows_of", "usable"]

_KNOWS = {"task": "which is told the true task", "system": "which plans with the true system"}
_SEED = 0  # of the bootstrap: the same records always give the same page
R = TypeVar("R", EpisodeRecord, Digest)


@dataclass(frozen=True)
class Row(Generic[R]):
    """The runs of one method on one schedule (or named setting), and what they amount to.

    Attributes:
        schedule: the schedule, or the name of the setting.
        method: its name.
        runs: records or their digests.
        statistic: what intervals are of: "mean" or "iqm".
    """

    schedule: str
    method: str
    runs: tuple[R, ...]
    statistic: str = "mean"

    @cached_property
    def figures(self) -> dict[str, np.ndarray]:
        """Metric → [runs] float, in the order of `runs`."""
        each = [run.figures if isinstance(run, Digest) else summarise(run) for run in self.runs]
        return {name: np.array([figures[name] for figures in each]) for name in each[0]}

    @property
    def seeds(self) -> list[object]:
        """The seed of each run."""
        return [run.meta["seed"] for run in self.runs]

    @property
    def finished(self) -> bool:
        """Whether the runs reached their planned end."""
        return all(run.meta["complete"] for run in self.runs)

    def interval(self, name: str) -> stats.Interval | None:
        """The statistic over the runs with its 95 % bootstrap interval; None if a run's figure is not finite.

        With a single run the ends are NaN: there is no interval.
        """
        if name not in self._intervals:
            self._intervals[name] = self._bootstrapped(self.figures.get(name, np.full(1, np.nan)))
        return self._intervals[name]

    @cached_property
    def _intervals(self) -> dict[str, stats.Interval | None]:
        return {}

    def _bootstrapped(self, values: np.ndarray) -> stats.Interval | None:
        if not np.isfinite(values).all():
            return None
        if len(values) == 1:
            # A single run is shown, but it cannot say how far another one would be from it.
            return stats.Interval(float(values[0]), float("nan"), float("nan"))
        return stats.bootstrap([values], rng=np.random.default_rng(_SEED), statistic=self.statistic)

    @cached_property
    def recalls(self) -> tuple[int, int, np.ndarray]:
        """Returns recalled, returns in all, and the delays of the recalled, over runs with a mixture."""
        mixtures = [run for run in self.runs if run.has_mixture]
        found = [run.recall if isinstance(run, Digest) else recall(run) for run in mixtures]
        delays = np.concatenate([f.delay for f in found]) if found else np.zeros(0)
        hits = sum(int(f.recalled.sum()) for f in found)
        return hits, sum(len(f.recalled) for f in found), delays[np.isfinite(delays)]


def usable(runs: Sequence[R]) -> list[R]:
    """The runs to judge a method by: the complete ones, or those cut short if there is no other."""
    some = [run for run in runs if len(run)]
    return [run for run in some if run.meta["complete"]] or some


def rows_of(runs: Sequence[R], *, statistic: str = "mean") -> list[Row[R]]:
    """One row per schedule or setting (in order of appearance) and method (in the palette's order) with any step.

    Args:
        runs: records, or their digests.
        statistic: of the rows' intervals, "mean" or "iqm".
    """
    rows = []
    for schedule in dict.fromkeys(setting_of(run) for run in runs):
        here = [run for run in runs if setting_of(run) == schedule]
        for method in ordered(str(run.meta["method"]) for run in here):
            chosen = usable([run for run in here if str(run.meta["method"]) == method])
            if chosen:
                # With zeros before them, since seeds of a header are numbers or text: 10 comes after 9.
                chosen.sort(key=lambda run: str(run.meta["seed"]).zfill(9))
                rows.append(Row(schedule, method, tuple(chosen), statistic))
    return rows


def number(value: float, digits: int = 0) -> str:
    """A figure with thousands separated and a true minus sign; a dash if it is not finite."""
    if not np.isfinite(value):
        return "–"
    text = f"{value:,.{digits}f}"
    # A small negative number is rounded to -0, which is 0.
    return text.lstrip("-") if float(text.replace(",", "")) == 0 else text.replace("-", "−")


def headline(rows: Sequence[Row[Any]]) -> list[str]:
    """Plain sentences, the most important first: who earns most where, by how much, and what it recalls."""
    by_schedule = {
        schedule: [r for r in rows if r.schedule == schedule]
        for schedule in dict.fromkeys(r.schedule for r in rows)
    }
    leaders = {schedule: _ranked(here) for schedule, here in by_schedule.items()}
    leaders = {schedule: ranked for schedule, ranked in leaders.items() if ranked}
    sentences = [_sentence(schedule, ranked, by_schedule[schedule]) for schedule, ranked in leaders.items()]
    if len(leaders) > 1:
        firsts = [ranked[0].method for ranked in leaders.values()]
        wins = {method: firsts.count(method) for method in ordered(firsts)}
        parts = [f"{method} on {count} of {len(leaders)} schedules" for method, count in wins.items()]
        sentences.insert(0, f"Highest return: {', '.join(parts)}.")
    return sentences or ["No run has a finite return: there is nothing to compare."]


def _ranked(rows: Sequence[Row[Any]]) -> list[Row[Any]]:
    judged = [row for row in rows if row.interval("return_per_1000")]
    ranked = [row for row in judged if row.method not in PRIVILEGED] or judged
    return sorted(ranked, key=lambda row: -row.figures["return_per_1000"].mean())


def _sentence(schedule: str, ranked: Sequence[Row[Any]], rows: Sequence[Row[Any]]) -> str:
    best = ranked[0]
    value = best.figures["return_per_1000"].mean()
    text = f"On {schedule}, {best.method} earns {number(value)} per 1,000 steps"
    if len(ranked) > 1:
        text += _lead(best, ranked[1])
    bound = next((row for row in rows if row.method in PRIVILEGED and row.interval("return_per_1000")), None)
    if bound is not None and bound is not best:
        earned = bound.figures["return_per_1000"].mean()
        text += f"; {bound.method}, {_KNOWS[BY_NAME[bound.method].knows or 'task']}, earns {number(earned)}"
    hits, returns, delays = best.recalls
    if returns:
        text += f". {best.method} recalls {hits} of {returns} returning tasks"
        if delays.size:
            median = float(np.median(delays))
            text += f", in {number(median)} step{'' if median == 1 else 's'} (median)"
    return text + "."


def _lead(best: Row[Any], second: Row[Any]) -> str:
    """How far the first is ahead of the second, judged on the seeds that both ran."""
    first = dict(zip(best.seeds, best.figures["return_per_1000"], strict=True))
    other = dict(zip(second.seeds, second.figures["return_per_1000"], strict=True))
    shared = [seed for seed in first if seed in other]
    if len(shared) < 2:
        gap = best.figures["return_per_1000"].mean() - second.figures["return_per_1000"].mean()
        return f", {number(gap)} more than {second.method} (too few seeds in common for an interval)"
    # Paired: equal seeds have the same hidden tasks, which otherwise would widen the interval of the difference.
    gap = stats.paired_difference(
        [[first[seed] for seed in shared]],
        [[other[seed] for seed in shared]],
        rng=np.random.default_rng(_SEED),
    )
    span = f"{number(gap.value)} [{number(gap.low)}..{number(gap.high)}]"
    if gap.low > 0:
        return f", {span} more than {second.method}"
    return f"; its lead on {second.method} ({span}) is not resolved by {len(shared)} seeds"
