"""``mole eval``: methods compared on one environment, or a whole suite."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from mole.commands.common import (
    check_failures,
    console,
    invocation,
    need_parquet,
    prior_files,
    run_with_progress,
    same_defaults,
    world_for,
    write_parquet,
    write_results,
)
from mole.commands.suite import run_suite
from mole.control.records import EpisodeRecord
from mole.control.stages import claim_folder
from mole.experiment.config import EvalConfig, PlannerConfig, parse_settings
from mole.experiment.evaluate import Job, read_records
from mole.experiment.families import Family, family_of, has_tasks
from mole.experiment.learners import ablated
from mole.experiment.methods import METHODS, TABLE, UNTUNED
from mole.experiment.worlds import world_settings
from mole.files.generations import SECONDS, folder_lock
from mole.report.html import write_report

__all__ = ["eval_with", "run_evaluation", "write_page"]

_METHODS = f"which of {', '.join(method.name for method in TABLE)}."


def eval_with(family: Family | None) -> Callable[..., None]:
    """The command with the defaults of a family."""
    default = PlannerConfig() if family is None else family.planner

    def evaluate(
        env: Annotated[str | None, tyro.conf.Positional] = None,
        suite: str | None = None,
        methods: Annotated[tuple[str, ...], tyro.conf.arg(help=_METHODS)] = (),
        ablation: tuple[str, ...] = (),
        schedule: tuple[str, ...] = (),
        settings: tuple[str, ...] = (),
        families: tuple[str, ...] = (),
        seeds: int | None = None,
        first_seed: int = 0,
        steps: int | None = None,
        parameter: str | None = None,
        prior: tuple[str, ...] = (),
        supervised: Path | None = None,
        first_order: Path | None = None,
        readout_prior: Path | None = None,
        setting: tuple[str, ...] = (),
        probe_steps: int | None = None,
        keep_actions: bool = False,
        out: Path | None = None,
        workers: int = 2,
        every_seconds: float = SECONDS,
        shard: str = "1/1",
        format: Literal["npz", "parquet"] = "npz",
        planner: PlannerConfig = default,
    ) -> None:
        """Compare methods, on an environment or in a suite: tables with 95 % intervals, records, and a report.

        Args:
            env: Gymnasium id, or a family (`mole envs` lists both); first, since it decides the defaults.
            suite: paper, motors, terrain, crawler, quick or ablations, instead of an environment.
            methods: see `mole.experiment.methods.TABLE`.
            ablation: parts to take away from mole (or mole-paper, if it alone is given): no-crp, crp, no-mixture,
                no-meta, same-data, first-order, window=8, likelihood-window=4, step-scale=1, temperature=10,
                capacity=2, margin=10, candidate-window=4, planner=shooting, planner=mppi.
            schedule: how the hidden task changes, e.g. alternate:A,B:100, negative, random:300.
            settings: test settings by name, instead of schedules; in a suite, only these.
            families: in a suite, only these.
            seeds: number of evaluation seeds; 10, or the suite's.
            first_seed: the first of them.
            steps: steps of a run; 2,000, or the suite's.
            parameter: a parameter of any Gymnasium environment that follows the schedule: gravity, mass, friction, …
            prior: meta-trained prior; the one that comes with the package if not given. In a suite, FAMILY=PATH.
            supervised: its supervised twin; supervised.mole beside the prior if not given.
            first_order: the prior of the ablation first-order.
            readout_prior: the prior of the method mole-readout.
            setting: NAME=VALUE pairs instead of the tuned settings, for one method.
            probe_steps: steps with random actions, to measure the error off policy too; 0 for none.
            keep_actions: keep the actions too, so that runs can be rendered (a suite does).
            out: folder for records, runs.csv, summary.json and report.html; finished runs there are not done again.
            workers: processes, one core each.
            every_seconds: between two checkpoints of a running run, from which it goes on if it is stopped.
            shard: I/N runs the I-th of N parts of a suite, for machines that share the folder.
            format: parquet writes every record also as a Parquet file beside it (extra "parquet").
            planner: the planner that all methods share; a suite takes --planner.precision alone.
        """
        if format == "parquet":
            need_parquet()
        if suite is not None:
            misplaced = {"ENV": env, "--schedule": schedule, "--setting": setting, "--parameter": parameter,
                         "--ablation": ablation, "--readout-prior": readout_prior, "--supervised": supervised,
                         "--first-seed": first_seed,
                         "--keep-actions": keep_actions,
                         "--planner": dataclasses.replace(planner, precision=default.precision) != default}  # fmt: skip
            _refuse(
                misplaced, "--suite has its own; leave it out, or evaluate one environment: mole eval ENV"
            )
            run_suite(suite, methods, settings, families, seeds, steps, prior, first_order, probe_steps,
                      planner.precision, out or Path("runs") / suite, workers, every_seconds, shard,
                      format == "parquet")  # fmt: skip
            return
        if env is None:
            raise ValueError(
                "got neither ENV nor --suite; expected one of them: mole eval motors, or mole eval --suite quick."
            )
        _refuse({"--families": families, "--shard": shard != "1/1"}, "it belongs to --suite")
        if len(prior) > 1:
            raise ValueError(f"--prior got {len(prior)} paths; expected one.")
        same_defaults(env, family)
        world = world_for(env, parameter)
        meta, twin = prior_files(env, world, Path(prior[0]) if prior else None, supervised)
        schedules = _schedules(env, world, schedule, settings)
        chosen = _methods(methods, ablation)
        own = family if family is not None and family.env == world else None
        config = EvalConfig(
            world,
            meta,
            twin,
            chosen,
            tuple(schedules),
            tuple(range(first_seed, first_seed + (10 if seeds is None else seeds))),
            2000 if steps is None else steps,
            2000 if probe_steps is None else probe_steps,
            keep_actions,
            planner=planner,
            settings=parse_settings(setting, chosen),
            tuned=UNTUNED if own is None else own.tuned,
            family="" if own is None else own.name,
            names=schedules,
            truthless=tuple(text for text in schedules if not has_tasks(world, text)),
            first_order=first_order,
            readout_prior=readout_prior,
        )
        folder = out or Path("runs/eval")
        records = run_evaluation(config, folder, workers, every_seconds)
        if format == "parquet":
            write_parquet(folder, config.cells())
        write_results(folder, records)
        write_page(folder, records, f"mole eval {env}", invocation.get(), {}, "mole demo makes one")
        check_failures(records)

    return evaluate


def run_evaluation(
    config: EvalConfig, folder: Path, workers: int, every_seconds: float = SECONDS
) -> list[EpisodeRecord]:
    """Run all cells with their progress, and read the records."""
    with folder_lock(folder):
        claim_folder(folder, "eval.json", config.described())
        run_with_progress([Job(config, cell, folder) for cell in config.cells()], workers, every_seconds)
    return read_records(folder, config.cells())


def write_page(
    out: Path,
    records: Sequence[EpisodeRecord],
    title: str,
    command: str,
    videos: dict[str, Path],
    no_video: str,
) -> None:
    """Write ``report.html``, if any run has a step."""
    if not any(len(record) for record in records):
        return
    path = write_report(
        out / "report.html", records, title=title, commands=[command], videos=videos, no_video=no_video
    )
    console.print(f"report: {path}")


def _schedules(env: str, world: str, texts: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Schedule → name of the setting, or nothing."""
    family = family_of(env)
    known = world_settings(world) if family is None or family.env != world else family.settings
    for name in names:
        if name not in known:
            raise ValueError(f"unknown setting {name!r} of {env}; it has {', '.join(known) or 'none'}.")
    if not texts and not names:
        if not known:
            raise ValueError(
                f"{env} has no settings of its own; say how it changes: --schedule alternate:9.81,3.7:200."
            )
        names = (family.returning[:1] if family is not None else ()) or tuple(known)[:1]
    named = {text: name for name, text in known.items()}
    return {text: named.get(text, "") for text in (*texts, *(known[name] for name in names))}


def _methods(methods: tuple[str, ...], ablations: tuple[str, ...]) -> tuple[str, ...]:
    if not ablations:
        return methods or METHODS
    if len(methods) > 1:
        raise ValueError(f"--ablation got {len(methods)} methods; expected one, mole or mole-paper.")
    return ablated(methods[0] if methods else "mole", ablations)


def _refuse(options: dict[str, Any], why: str) -> None:
    for name, value in options.items():
        if value:
            raise ValueError(f"got {name}; {why}.")
