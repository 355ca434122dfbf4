"""How long an evaluation will still take, from what its runs have taken so far."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from mole.experiment.config import Cell
from mole.experiment.evaluate import Job, Tick

__all__ = ["RemainingTime"]


@dataclasses.dataclass
class _Running:
    began: float
    step: int = 0
    first_tick: tuple[float, int] | None = None


class RemainingTime:
    """Measures seconds per step of every method (in every family), and adds up what is left.

    A finished run gives the rate of its method, compilation and the stream of random actions included; a running one
    its rate since its first steps. A method that has not run yet is taken to be as fast as the mean of those that have.

    Args:
        left: the jobs that are still to be done.
        workers: how many run at once.
    """

    def __init__(self, left: list[Job], workers: int) -> None:
        """Nothing measured yet."""
        self._steps = {job.cell: job.config.steps_of(job.cell.method) for job in left}
        self._workers = workers
        self._running: dict[Cell, _Running] = {}
        self._finished: dict[tuple[str, str], tuple[float, int]] = {}

    def tick(self, tick: Tick, now: float) -> None:
        """Take in the progress of a cell at the time ``now`` (seconds of any one clock)."""
        run = self._running.setdefault(tick.cell, _Running(now))
        run.step = tick.step
        if run.first_tick is None and tick.step:
            run.first_tick = (now, tick.step)

    def done(self, cell: Cell, now: float) -> None:
        """Take in the end of a cell."""
        steps = self._steps.pop(cell, 0)
        run = self._running.pop(cell, None)
        if run is None or not run.step:  # it failed before its first steps
            return
        seconds, known = self._finished.get(_key(cell), (0.0, 0))
        self._finished[_key(cell)] = (seconds + now - run.began, known + max(run.step, steps))

    def rates(self, now: float) -> Mapping[tuple[str, str], float]:
        """Seconds per step of every (family, method) measured so far."""
        totals = dict(self._finished)
        for cell, run in self._running.items():
            if run.first_tick is not None and run.step > run.first_tick[1]:
                seconds, known = totals.get(_key(cell), (0.0, 0))
                began, step = run.first_tick
                totals[_key(cell)] = (seconds + now - began, known + run.step - step)
        return {key: seconds / steps for key, (seconds, steps) in totals.items() if steps}

    def seconds(self, now: float) -> float | None:
        """Seconds until all is done; None before anything has been measured."""
        rates = self.rates(now)
        if not rates:
            return None
        usual = sum(rates.values()) / len(rates)
        work = [
            (steps - (self._running[cell].step if cell in self._running else 0))
            * rates.get(_key(cell), usual)
            for cell, steps in self._steps.items()
        ]
        return max(sum(work) / self._workers, max(work, default=0.0))


def _key(cell: Cell) -> tuple[str, str]:
    return cell.family, cell.method
