"""``mole eval``: methods compared on one environment, or every family of a suite."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from mole._expect import did_you_mean
from mole.commands.common import console, invocation
from mole.commands.runs import (
    check_failures,
    need_parquet,
    prior_files,
    run_evaluation,
    run_with_progress,
    same_defaults,
    suite_priors,
    workers_of,
    world_for,
    write_page,
    write_parquet,
    write_results,
)
from mole.control.config import parse_shaping
from mole.experiment.config import EvalConfig, PlannerConfig, parse_settings, parse_shard
from mole.experiment.families import Family, family_of, has_tasks
from mole.experiment.learners import ablated
from mole.experiment.methods import METHODS, TABLE, UNTUNED
from mole.experiment.suite import Part, Suite, claim_parts, parts_of, records_of, suite_jobs, suite_named
from mole.experiment.worlds import limit_of, world_settings, world_spec
from mole.files.generations import SECONDS, folder_lock
from mole.files.processes import Workers
from mole.report.suite import write_suite_report

__all__ = ["eval_with"]

_METHODS = f"some of {', '.join(method.name for method in TABLE)}."


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
        episode_limit: str | None = None,
        prior: tuple[str, ...] = (),
        supervised: Path | None = None,
        first_order: Path | None = None,
        readout_prior: Path | None = None,
        setting: tuple[str, ...] = (),
        probe_steps: int | None = None,
        keep_actions: bool = False,
        out: Path | None = None,
        workers: int = 2,
        ray: tuple[str, ...] | None = None,
        every_seconds: float = SECONDS,
        shard: str = "1/1",
        format: Literal["npz", "parquet"] = "npz",
        shaping: tuple[str, ...] | None = None,
        planner: PlannerConfig = default,
    ) -> None:
        """Compare methods, on an environment or in a suite: tables with 95 % intervals, records, and a report.

        Args:
            env: Gymnasium id or family (`mole envs` lists both). It comes first, because it decides the defaults.
            suite: paper, motors, terrain, crawler, quick or ablations, instead of an environment.
            methods: some of `mole.experiment.methods.TABLE`, from which its help is made.
            ablation: parts to remove from mole (or from mole-paper, if --methods names it): no-crp, crp, no-mixture,
                no-meta, same-data, first-order, window=8, likelihood-window=4, step-scale=1, temperature=10,
                capacity=2, margin=10, candidate-window=4, planner=shooting, planner=mppi.
            schedule: how the hidden task changes, e.g. alternate:A,B:100, negative, random:300.
            settings: names of test settings, instead of schedules; in a suite, only these settings are run.
            families: in a suite, only these families are run.
            seeds: number of evaluation seeds; 10, or that of the suite, if not given.
            first_seed: the first of the seeds.
            steps: steps of each run; 2,000, or that of the suite, if not given.
            parameter: a parameter of any Gymnasium environment that follows the schedule: gravity, mass, friction, …
            episode_limit: steps after which an episode is truncated and reset, or none; the environment's if not given.
            prior: file of the meta-trained prior; the prior of the package if not given. In a suite, FAMILY=PATH.
            supervised: file of the supervised prior; supervised.mole beside the meta-trained prior if not given.
            first_order: file of the prior for the ablation first-order.
            readout_prior: file of the prior for the method mole-readout.
            setting: NAME=VALUE pairs that replace the tuned settings of one method.
            probe_steps: steps with random actions that measure the error off policy; 0 for none.
            keep_actions: save the actions too, so that the runs can be rendered (a suite always does).
            out: folder for records, runs.csv, summary.json and report.html. Runs that it holds are not repeated.
            workers: number of processes, one core each.
            ray: run on a Ray cluster instead, at HOST:PORT, or without an address on this machine: as many runs at once
                as it has cores. Folders and priors must be on storage that its machines share.
            every_seconds: seconds between two checkpoints of a run. A stopped run goes on from the last one.
            shard: I/N runs part I of N of a suite. Several machines can share one folder in this way.
            format: parquet writes each record also as a Parquet file (needs the extra "parquet").
            shaping: NAME=WEIGHT of terms of the planner's reward alone, e.g. posture=3; posture=0 for none. As the
                prior was trained if not given. What is reported is always the environment's own reward.
            planner: the planner that all methods share. A suite accepts --planner.precision only.
        """
        # At once: a run may take hours, and the copies come last.
        if format == "parquet":
            need_parquet()
        if suite is not None:
            own_planner = dataclasses.replace(planner, precision=default.precision) != default
            _refuse(
                {"ENV": env, "--schedule": schedule, "--setting": setting, "--parameter": parameter,
                 "--episode-limit": episode_limit,
                 "--ablation": ablation, "--supervised": supervised, "--readout-prior": readout_prior,
                 "--shaping": shaping is not None, "--first-seed": first_seed, "--keep-actions": keep_actions,
                 "--planner": own_planner},
                "--suite has its own; leave it out, or evaluate one environment: mole eval ENV",
            )  # fmt: skip
            chosen = _suite_of(suite, methods, families, seeds, steps, probe_steps, first_order)
            files = suite_priors(chosen, prior, first_order)
            folder = out or Path("runs") / suite
            parts = parts_of(chosen, folder, files, settings=settings, precision=planner.precision)
            with workers_of(ray) as where:
                _run_suite(
                    chosen,
                    parts,
                    folder,
                    workers,
                    every_seconds,
                    parse_shard(shard),
                    format == "parquet",
                    where,
                )
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
        meta, baseline = prior_files(env, world, Path(prior[0]) if prior else None, supervised)
        schedules = _schedules(env, world, schedule, settings)
        compared = _methods(methods, ablation)
        # A changed parameter makes another world, for which the family's settings were not tuned.
        own = family if family is not None and family.env == world else None
        folder = out or Path("runs/eval")
        config = EvalConfig(
            world,
            meta,
            baseline,
            compared,
            tuple(schedules),
            tuple(range(first_seed, first_seed + (10 if seeds is None else seeds))),
            2000 if steps is None else steps,
            2000 if probe_steps is None else probe_steps,
            keep_actions,
            planner=planner,
            shaping=None if shaping is None else parse_shaping(shaping),
            settings=parse_settings(setting, compared),
            tuned=UNTUNED if own is None else own.tuned,
            family="" if own is None else own.name,
            names=schedules,
            truthless=tuple(text for text in schedules if not has_tasks(world, text)),
            first_order=first_order,
            readout_prior=readout_prior,
            episode_limit=limit_of(world, episode_limit, folder / "eval.json"),
        )
        _check_shaping(config)
        with workers_of(ray) as where:
            records = run_evaluation(config, folder, workers, every_seconds, where)
        write_results(folder, records)
        write_page(folder, records, f"mole eval {env}", invocation.get(), {}, "mole demo makes one")
        # The copies come last: the tables do not depend on them, and a full disk must not cost the tables.
        if format == "parquet":
            write_parquet(folder, config.cells())
        check_failures(records)

    return evaluate


def _check_shaping(config: EvalConfig) -> None:
    """Say with what the planner's reward is shaped; raise ValueError for a term that the world does not have."""
    plan, weights = config.plans
    if not weights:
        return
    world_spec(config.env).shaped(weights)
    terms = ", ".join(f"{name}={weight:g}" for name, weight in weights.items())
    console.print(
        f"planner: {plan.horizon} steps, its reward shaped with {terms}; returns are the environment's own reward"
    )


def _schedules(env: str, world: str, texts: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Schedule → name of its test setting, or an empty text."""
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


def _refuse(options: Mapping[str, object], why: str) -> None:
    for name, value in options.items():
        if value:
            raise ValueError(f"got {name}; {why}.")


def _suite_of(
    name: str,
    methods: Sequence[str],
    families: Sequence[str],
    seeds: int | None,
    steps: int | None,
    probe_steps: int | None,
    first_order: Path | None,
) -> Suite:
    """The suite of that name, with what the options change."""
    suite = suite_named(name)
    for family in families:
        if family not in suite.families:
            raise ValueError(f"--families got {family!r}: {did_you_mean(family, suite.families)}")
    given = {
        "methods": tuple(methods) or None,
        "families": tuple(families) or None,
        "seeds": seeds,
        "steps": steps,
        "probe_steps": probe_steps,
    }
    suite = dataclasses.replace(suite, **{key: value for key, value in given.items() if value is not None})
    # The package has no prior for this ablation. It would stop the whole suite, and nobody asked for it by name.
    if first_order is None and not methods and any("/first-order" in method for method in suite.methods):
        kept = tuple(method for method in suite.methods if not method.endswith("/first-order"))
        suite = dataclasses.replace(suite, methods=kept)
        console.print(
            "left out: the ablation first-order. `mole train motors --meta.first-order --out runs/first-order` makes "
            "its prior: pass it as --first-order runs/first-order/prior.mole."
        )
    return suite


def _run_suite(
    suite: Suite,
    parts: Sequence[Part],
    out: Path,
    workers: int,
    every_seconds: float,
    shard: tuple[int, int],
    parquet: bool,
    where: Workers,
) -> None:
    """Run every family of a suite through one pool of processes, print the tables and write the report."""
    number, shards = shard
    jobs = suite_jobs(parts, shard)
    # Shards share the folder, each under a lock of its own.
    with folder_lock(out, None if shards == 1 else f"{number}-of-{shards}"):
        claim_parts(parts)
        console.print(
            f"suite {suite.name}: {len(jobs)} runs, {sum(job.complete for job in jobs)} of them done"
        )
        run_with_progress(jobs, workers, every_seconds, where)
    records = records_of(parts)
    for part in parts:
        write_results(part.folder, records[part.family.name], part.family.title)
    if any(len(record) for family in records.values() for record in family):
        folders = [part.folder for part in parts]
        page = write_suite_report(out / "report.html", folders, videos=False, commands=[invocation.get()])
        console.print(f"report: {page} (with videos: mole report {out})")
    if parquet:
        for part in parts:
            write_parquet(part.folder, part.config.cells())
    # The last thing: a failed run must not cost the tables and the report of the others.
    check_failures([record for family in records.values() for record in family])
