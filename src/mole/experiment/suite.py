"""Suites: families × settings × methods × seeds, one folder a family, through one pool of processes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mole._expect import did_you_mean
from mole.control.records import EpisodeRecord
from mole.control.stages import claim_folder
from mole.experiment.config import EvalConfig
from mole.experiment.evaluate import Job, read_records
from mole.experiment.families import Family, family_named, has_tasks
from mole.experiment.methods import METHODS, SIMULATOR, TABLE
from mole.planning.config import PlannerPrecision as Precision

__all__ = ["SUITES", "Part", "Suite", "claim_parts", "parts_of", "records_of", "suite_jobs", "suite_named"]


@dataclasses.dataclass(frozen=True)
class Suite:
    """What a suite runs unless told otherwise.

    Attributes:
        name: in commands.
        text: what it is for.
        families: names of the families.
        methods: what is compared.
        seeds: number of evaluation seeds, from 0 on.
        steps: steps of a run; the family's if None.
        only_returning: only the first setting of each family in which tasks return (families without one are left out).
        probe_steps: steps with random actions, for the error off policy.
        kept_seeds: of how many of the seeds actions are kept, so that runs can be rendered.
        simulator_steps: steps of the runs of the simulator as the planner's model, which are slow.
        simulator_seeds: how many of the seeds it runs.
    """

    name: str
    text: str
    families: tuple[str, ...]
    methods: tuple[str, ...] = (*METHODS, SIMULATOR)
    seeds: int = 10
    steps: int | None = None
    only_returning: bool = False
    probe_steps: int = 2000
    kept_seeds: int = 1
    # A step of the simulator's planner takes about 80 ms (`mole.envs.simulation`), one of a learner's less than 10.
    simulator_steps: int = 500
    simulator_seeds: int = 5


SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite(
            "paper",
            "every family, setting and method",
            ("motors", "motors-upright", "motors-few", "terrain", "crawler"),
        ),
        Suite("motors", "the half-cheetah's motors", ("motors", "motors-upright", "motors-few")),
        Suite("terrain", "the half-cheetah's hills", ("terrain",)),
        Suite("crawler", "the crawler's legs", ("crawler",)),
        Suite(
            "quick",
            "a short look: the setting with returning tasks of every family",
            ("motors", "terrain", "crawler"),
            methods=("mole", "kshot", "continuous", "supervised", "oracle"),
            seeds=2,
            steps=600,
            only_returning=True,
            probe_steps=0,
        ),
        Suite(
            "ablations",
            "the mixtures with one part taken away at a time",
            ("motors",),
            methods=tuple(
                name
                for method in TABLE
                if method.ablations
                for name in (method.name, *(f"{method.name}/{ablation}" for ablation in method.ablations))
            ),
            only_returning=True,
            probe_steps=0,
            kept_seeds=0,
        ),
    )
}
"""All suites by name."""


class Part(NamedTuple):
    """One family of a suite, with all its cells, in a folder of its own."""

    family: Family
    config: EvalConfig
    folder: Path


def suite_named(name: str) -> Suite:
    """The suite of that name.

    Raises:
        ValueError: if there is none.
    """
    if name not in SUITES:
        raise ValueError(f"unknown suite {name!r}: {did_you_mean(name, SUITES)}")
    return SUITES[name]


def parts_of(
    suite: Suite,
    out: Path,
    priors: Callable[[str], Mapping[str, Path | None]],
    *,
    settings: Sequence[str] = (),
    precision: Precision = "float32",
) -> list[Part]:
    """The families of a suite, each as one evaluation.

    Args:
        suite: what to run.
        out: each family has the folder of its name in it.
        priors: family → ``prior``, ``supervised`` and ``first_order`` of `EvalConfig`.
        settings: only these, in the families that have them; all if empty.
        precision: of the planner, see `PlannerConfig`.

    Raises:
        ValueError: for an unknown family or a setting that no family has.
        FileNotFoundError: for a missing prior.
    """
    parts, known = [], []
    for family in map(family_named, suite.families):
        chosen = _settings(family, suite, settings)
        known += family.settings
        if not chosen:
            continue
        config = EvalConfig(
            family.env,
            **priors(family.name),  # pyright: ignore[reportArgumentType]
            methods=suite.methods,
            schedules=tuple(chosen.values()),
            seeds=tuple(range(suite.seeds)),
            steps=suite.steps or family.steps,
            probe_steps=suite.probe_steps,
            keep_actions=suite.kept_seeds > 0,
            kept_seeds=suite.kept_seeds,
            planner=dataclasses.replace(family.planner, precision=precision),
            tuned=family.tuned,
            family=family.name,
            names={schedule: name for name, schedule in chosen.items()},
            truthless=tuple(text for text in chosen.values() if not has_tasks(family.env, text)),
            # A short suite would otherwise run the slow simulator longer than all others.
            simulator_steps=min(suite.simulator_steps, suite.steps or family.steps),
            simulator_seeds=suite.simulator_seeds,
        )
        parts.append(Part(family, config, out / family.name))
    # After all families: a setting need be one of a single family.
    for name in settings:
        if name not in known:
            raise ValueError(f"unknown setting {name!r}: {did_you_mean(name, known)}")
    if not parts:
        raise ValueError(
            f"the suite {suite.name!r} has none of the settings {', '.join(settings)}; choose another suite."
        )
    return parts


def claim_parts(parts: Sequence[Part]) -> None:
    """Make the folders, or check that each holds results of the same configuration.

    Raises:
        ValueError: if one holds something else.
    """
    for part in parts:
        claim_folder(part.folder, "eval.json", part.config.described())


def suite_jobs(parts: Sequence[Part], shard: tuple[int, int] = (1, 1)) -> list[Job]:
    """All cells, the first seed of everything first: whenever a suite is stopped, what is there can be compared.

    Args:
        parts: the families.
        shard: (i, n) for the i-th of n equal parts of the work, on machines that share the folder.

    Raises:
        ValueError: if i is not between 1 and n.
    """
    number, shards = shard
    if not 1 <= number <= shards:
        raise ValueError(f"got shard {number}/{shards}; expected I/N with I from 1 to N.")
    jobs = [Job(part.config, cell, part.folder) for part in parts for cell in part.config.cells()]
    # The sort is stable, so that families and settings keep their order within a seed.
    jobs.sort(key=lambda job: job.cell.seed)
    return jobs[number - 1 :: shards]


def records_of(parts: Sequence[Part]) -> dict[str, list[EpisodeRecord]]:
    """Family → the records that are there."""
    return {part.family.name: read_records(part.folder, part.config.cells()) for part in parts}


def _settings(family: Family, suite: Suite, only: Sequence[str]) -> dict[str, str]:
    settings = family.settings
    if only:
        return {name: settings[name] for name in settings if name in only}
    return {name: settings[name] for name in family.returning[:1]} if suite.only_returning else settings
