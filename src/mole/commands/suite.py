"""``mole eval --suite``: every family of a suite through one pool of processes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from mole._expect import did_you_mean
from mole.commands.common import (
    check_failures,
    console,
    invocation,
    run_with_progress,
    write_parquet,
    write_results,
)
from mole.experiment.config import parse_pairs, parse_shard
from mole.experiment.suite import claim_parts, parts_of, records_of, suite_jobs, suite_named
from mole.files.generations import folder_lock
from mole.planning.config import PlannerPrecision as Precision
from mole.priors.shipped import shipped_priors
from mole.report.suite import write_suite_report

__all__ = ["run_suite"]


def run_suite(
    name: str,
    methods: Sequence[str],
    settings: Sequence[str],
    families: Sequence[str],
    seeds: int | None,
    steps: int | None,
    priors: Sequence[str],
    first_order: Path | None,
    probe_steps: int | None,
    precision: Precision,
    out: Path,
    workers: int,
    every_seconds: float,
    shard: str,
    parquet: bool,
) -> None:
    """Run a suite, print its tables and write its report; see ``mole eval``."""
    given = {
        "methods": tuple(methods) or None,
        "families": _families(suite_named(name).families, families),
        "seeds": seeds,
        "steps": steps,
        "probe_steps": probe_steps,
    }
    suite = dataclasses.replace(
        suite_named(name), **{key: value for key, value in given.items() if value is not None}
    )
    paths = parse_pairs("--prior", priors, "terrain=runs/terrain/prior.mole")
    for family in paths:
        if family not in suite.families:
            raise ValueError(f"--prior got the family {family!r}: {did_you_mean(family, suite.families)}")

    def files(family: str) -> Mapping[str, Path | None]:
        if family in paths:
            prior = Path(paths[family])
            return {
                "prior": prior,
                "supervised": prior.with_name("supervised.mole"),
                "first_order": first_order,
            }
        prior, supervised = shipped_priors(family)
        return {"prior": prior, "supervised": supervised, "first_order": first_order}

    if first_order is None and not methods and any("/first-order" in method for method in suite.methods):
        kept = tuple(method for method in suite.methods if not method.endswith("/first-order"))
        suite = dataclasses.replace(suite, methods=kept)
        console.print(
            "left out: the ablation first-order. `mole train motors --meta.first-order --out runs/first-order` makes "
            "its prior: pass it as --first-order runs/first-order/prior.mole."
        )
    parts = parts_of(suite, out, files, settings=settings, precision=precision)
    number, shards = parse_shard(shard)
    jobs = suite_jobs(parts, (number, shards))
    with folder_lock(out, None if shards == 1 else f"{number}-of-{shards}"):
        claim_parts(parts)
        console.print(
            f"suite {suite.name}: {len(jobs)} runs, {sum(job.complete for job in jobs)} of them done"
        )
        run_with_progress(jobs, workers, every_seconds)
    records = records_of(parts)
    if parquet:
        for part in parts:
            write_parquet(part.folder, part.config.cells())
    for part in parts:
        write_results(part.folder, records[part.family.name], part.family.title)
    if any(len(record) for family in records.values() for record in family):
        folders = [part.folder for part in parts]
        page = write_suite_report(out / "report.html", folders, videos=False, commands=[invocation.get()])
        console.print(f"report: {page} (with videos: mole report {out})")
    check_failures([record for family in records.values() for record in family])


def _families(all_of_suite: Sequence[str], chosen: Sequence[str]) -> tuple[str, ...] | None:
    for name in chosen:
        if name not in all_of_suite:
            raise ValueError(f"--families got {name!r}: {did_you_mean(name, all_of_suite)}")
    return tuple(chosen) or None
