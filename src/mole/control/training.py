"""From nothing to a prior: random data, then rounds of control by the adapting agent and meta-training.

    explore (random actions) → meta-train → [ control with the current prior → meta-train ] × rounds
                                                                       supervised baseline ┘ beside the last one

The hidden task is never read, and nothing in the data says when it changed. Each stage writes one file, so that an
interrupted training goes on where it stopped and gives the same result. Episodes of a round, and the supervised
baseline beside the last meta-training, are jobs of worker processes (`mole.control.jobs`).
"""

from __future__ import annotations

import contextlib
import functools
import json
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import jax
import numpy as np

from mole._float32 import in_float32
from mole.control.check import EnvWarning, check_env
from mole.control.config import TrainingConfig
from mole.control.jobs import (
    Baseline,
    Collect,
    World,
    collect,
    finished,
    fresh_model,
    logged,
    recorded,
    stage_key,
    train_baseline,
)
from mole.control.stages import StageBar, TrainingLog, claim_folder, save_segments, set_damaged_aside
from mole.datasets.steps import DroppedWarning, Losses
from mole.datasets.transitions import Segment, random_rollout
from mole.files.atomic import remove_leftovers
from mole.files.generations import SECONDS, Periodic, folder_lock
from mole.files.processes import PROCESSES, Workers
from mole.learning.prior import MetaPrior
from mole.meta import TrainProgress, meta_train
from mole.meta.resume import TrainingFile, plain
from mole.priors.file import load_prior, save_prior

if TYPE_CHECKING:
    from mole.envs.spec import DynamicsSpec

__all__ = ["TrainingConfig", "train_priors"]

T = TypeVar("T")


@in_float32
def train_priors(
    make_env: Callable[[str], Any],
    spec: DynamicsSpec,
    config: TrainingConfig,
    *,
    folder: Path,
    seed: int,
    provenance: dict[str, Any],
    workers: int = 0,
    every_seconds: float = SECONDS,
    progress: bool = True,
    where: Workers = PROCESSES,
) -> tuple[MetaPrior, MetaPrior]:
    """Train a meta-learned prior and its supervised baseline for one environment.

    Args:
        make_env: makes an environment for the phase "explore" (one hidden task per episode) or "control" (the task
            changes within the episode). Its action space gives the planner's bounds.
        spec: the environment's `DynamicsSpec`.
        config: amounts.
        folder: for the data, the priors of every round and ``log.jsonl``. A stage whose file exists is not repeated; a
            damaged file is set aside with a `mole.files.generations.RecoveryWarning`, and its stage is repeated.
        seed: seed of everything.
        provenance: goes into the headers of the priors.
        workers: processes that make the episodes of a round (and, on a CPU, the baseline), each on one core; the result
            does not depend on how many. `make_env` and `spec` must be made of functions of modules, which another
            process can import. 0 makes everything in this process.
        every_seconds: between two checkpoints of a stage that runs; they are removed when it is done.
        progress: show a bar with the remaining time.
        where: what the `workers` are: processes of this machine, or tasks of a cluster.

    Returns:
        The meta-trained prior (``folder/prior.mole``) and the supervised one (``folder/supervised.mole``).

    Raises:
        ValueError: if the folder holds a training with another configuration or seed, another process is at work on it,
            `workers` is negative, another process could not make the environment, or `mole.control.check_env` finds an
            error in it. What that only warns of is a `mole.control.EnvWarning`.
        EpisodeError: if an environment fails; finished episodes are kept.
        WorkerLost: if a worker process is killed; finished episodes are kept.
    """
    if workers < 0:
        raise ValueError(f"train_priors got workers={workers}; expected 0 (this process alone) or more.")
    # Before anything is made: a shaping that the environment does not have is refused.
    spec = spec.shaped(config.shaping_weights) if config.shaping else spec
    world = World(make_env, spec, str(provenance.get("env", "")))
    if workers:
        world.check_portable()
    if not (folder / "data-random.npz").exists():
        _check_world(world)
    with folder_lock(folder):
        claim_folder(folder, "training.json", {"seed": seed, "config": plain(config), **provenance})
        remove_leftovers(folder)
        set_damaged_aside(folder)
        # On the CPU also where there is a GPU: an episode is a chain of thousands of small products, one after the
        # other, and several processes would divide the GPU's memory, which meta-training in this process wants.
        pool = where.pool(workers, platform="cpu") if workers else contextlib.nullcontext()
        with StageBar(config.planned, workers=workers, enabled=progress) as bar, pool as executor:
            return _Training(world, config, folder, seed, provenance, bar, executor, every_seconds).run()


def _check_world(world: World) -> None:
    """Refuse an environment that cannot be trained on, and warn of what will make it worse."""
    # In an environment of its own: the data must not depend on whether there was a check.
    with contextlib.closing(world.make_env("explore")) as env:
        report = check_env(env, spec=world.spec)
    report.raise_errors()
    for one in report.of("warning"):
        warnings.warn(f"{report.name}: {one.found} {one.remedy}", EnvWarning, stacklevel=3)


class _RunningBaseline(NamedTuple):
    """The baseline's job, and a function that waits for its end; None if it had ended before."""

    job: Baseline
    done: Callable[[], None] | None


class _Training:
    """One call of `train_priors`: the stages in their order, each skipped where its file is there."""

    def __init__(
        self,
        world: World,
        config: TrainingConfig,
        folder: Path,
        seed: int,
        provenance: dict[str, Any],
        bar: StageBar,
        pool: Executor | None,
        every_seconds: float,
    ) -> None:
        self.world, self.config, self.folder = world, config, folder
        self.seed, self.provenance, self.bar, self.pool = seed, provenance, bar, pool
        self.every_seconds, self.events = every_seconds, TrainingLog(folder / "log.jsonl")
        self.started, self.elsewhere = time.monotonic(), 0.0
        self.recorded = functools.partial(recorded, world, config, folder)

    def run(self) -> tuple[MetaPrior, MetaPrior]:
        self.explore()
        rounds, prior = self.config.rounds, None
        # Meta-training of a round uses the data of all rounds: what earlier priors did wrong is worth learning too.
        random, control = self.recorded(0), list[Any]()
        for number in range(rounds):
            prior = self.meta_train(number, random, control, prior)
            self.control(number + 1)
            control += self.recorded(number + 1)
        steps = sum(len(t.x) for t in random + control)
        baseline = self.begin_baseline(steps)
        prior = self.meta_train(rounds, random, control, prior)
        save_prior(self.folder / "prior.mole", prior, {**self.provenance, "seed": self.seed, "steps": steps})
        self.end_baseline(baseline)
        # A process may have been killed between the end of a stage and the removal of its checkpoint.
        for part in self.folder.glob("*.part*"):
            part.unlink()
        return prior, load_prior(baseline.job.path, MetaPrior)

    def explore(self) -> None:
        path, config = self.folder / "data-random.npz", self.config
        if path.exists():
            return
        self.bar.say("random actions")
        segments, losses = list[Segment](), Losses()
        # In this process: random actions take seconds where the control of a round takes minutes.
        with contextlib.closing(self.world.make_env("explore")) as env:
            for number in range(config.random_rollouts):
                # A generator per rollout: the data of a rollout does not depend on how long the others are.
                rng = np.random.default_rng([self.seed, number])
                segments += random_rollout(env, config.random_steps, rng, losses)
                self.bar.advance("explore", config.random_steps)
        if losses.dropped:
            self.log(stage="explore", dropped=losses.dropped)
            warnings.warn(f"random actions: {losses.text}", DroppedWarning, stacklevel=5)
        save_segments(path, segments)

    def control(self, number: int) -> None:
        config = self.config
        jobs = [
            Collect(self.world, config, self.folder, self.seed, number, episode, self.every_seconds)
            for episode in range(config.episodes)
        ]
        missing = [job for job in jobs if not job.path.exists()]
        running = {job.path: done for job, done in zip(missing, self.submit(collect, missing), strict=True)}
        # In their order, whichever ends first: so the log of a training does not depend on the number of workers.
        for job in jobs:
            if job.path in running:
                self.bar.say(
                    f"round {number} of {config.rounds}: control, episode {job.episode + 1} of {config.episodes}"
                )
                running[job.path]()
                self.bar.advance("control", config.episode_steps)
            if job.figures.exists():  # data without its figures is used all the same
                self.log(**json.loads(job.figures.read_text()))

    def submit(self, work: Callable[[Any], T], jobs: Sequence[Any]) -> list[Callable[[], T]]:
        """The jobs, begun in the worker processes if there are any; calling each gives its result."""
        pool = self.pool
        if pool is None:
            return [functools.partial(work, job) for job in jobs]

        def result(future: Future[tuple[T, float]]) -> T:
            value, seconds = future.result()
            # This process's own clock does not count the workers.
            self.elsewhere += seconds
            return value

        return [functools.partial(result, pool.submit(_timed, work, job)) for job in jobs]

    def meta_train(
        self, number: int, random: Sequence[Any], control: Sequence[Any], start: MetaPrior | None
    ) -> MetaPrior:
        path, config = self.folder / f"prior-{number:02d}.mole", self.config
        if not path.exists():
            groups = [random, control] if control else [random]
            self.bar.say(f"round {number} of {config.rounds}: meta-training")
            prior = meta_train(
                fresh_model(self.world, config, self.seed) if start is None else start.model,
                groups,
                config=config.meta_of(number),
                key=stage_key(self.seed, "meta", number),
                group_weights=config.group_weights(len(groups)),
                # A round goes on from the inner rates of the one before.
                rate=None if start is None else start.inner_rate,
                dynamics=self.world.spec,
                callback=self.watch("meta", number),
                checkpoint=(running := TrainingFile(path.with_suffix(".part"), self.periodic())),
            )
            header = {**self.provenance, "seed": self.seed, "round": number}
            save_prior(path, finished(prior, config, groups), header)
            running.remove()
        # As read from the file, so that what follows is the same whether this stage was made now or before.
        return load_prior(path, MetaPrior)

    def begin_baseline(self, steps: int) -> _RunningBaseline:
        """The baseline, begun beside the last meta-training if there are processes, unless it is there already."""
        header = {**self.provenance, "seed": self.seed, "steps": steps, "kind": "supervised"}
        job = Baseline(self.world, self.config, self.folder, self.seed, header, self.every_seconds)
        if job.path.exists():
            return _RunningBaseline(job, None)
        if jax.default_backend() != "cpu":  # an accelerator in this process is faster than a core of another
            return _RunningBaseline(job, functools.partial(train_baseline, job))
        return _RunningBaseline(job, self.submit(train_baseline, [job])[0])

    def end_baseline(self, baseline: _RunningBaseline) -> None:
        if baseline.done is not None:
            self.bar.say("supervised baseline")
            baseline.done()
            self.bar.advance("supervised", self.config.supervised_iterations)
        if baseline.job.log.exists():
            for line in baseline.job.log.read_text().splitlines():
                self.log(**json.loads(line))
            baseline.job.log.unlink()

    def periodic(self) -> Periodic:
        return Periodic(seconds=self.every_seconds)

    def watch(self, stage: str, number: int) -> Callable[[TrainProgress], None]:
        done = 0

        def callback(event: TrainProgress) -> None:
            nonlocal done
            self.bar.advance(stage, event.iteration - done)
            done = event.iteration
            self.log(stage=stage, round=number, **logged(event))

        return callback

    def log(self, **entry: Any) -> None:
        """One line, with the seconds of this run so far: of the clock, and of all processors."""
        seconds = {
            "wall_seconds": round(time.monotonic() - self.started, 1),
            "processor_seconds": round(time.process_time() + self.elsewhere, 1),
        }
        self.events.append(seconds, entry)


def _timed(work: Callable[[Any], T], job: Any) -> tuple[T, float]:
    """What a worker makes of a job, and its processor seconds."""
    started = time.process_time()
    return work(job), time.process_time() - started
