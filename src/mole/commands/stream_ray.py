"""``mole stream --key … --ray``: the rows of a file over the actors of a Ray cluster, each learned exactly once."""

from __future__ import annotations

import collections
import functools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from mole.commands.stream_prior import given_prior
from mole.commands.stream_text import read_as
from mole.distributed import FleetShards, read_outputs, run
from mole.distributed.cluster import joined
from mole.files.processes import available_cores
from mole.pipeline.dialect import TextOptions
from mole.pipeline.predictions import KEYED, PredictionWriter, open_predictions
from mole.pipeline.runner import BadRowError, Outcome
from mole.pipeline.sources import open_source
from mole.rows.checks import RowChecks
from mole.rows.columns import CATEGORY

__all__ = ["stream_on_ray"]


def stream_on_ray(
    console: Console,
    source: str,
    target: str,
    key: str,
    prior: Path,
    folder: Path,
    *,
    shards: int,
    address: str | None,
    out: str | None,
    level: float,
    strict: bool,
    form: Any,
    options: TextOptions,
) -> None:
    """Go through a file once, or on from where a run on this folder stood, and write the predictions at the end.

    Args:
        console: for messages.
        source: a file: it is read again from its beginning when a run goes on.
        target: column to predict.
        key: column that says whose a row is.
        prior: file of the prior that all keys share, which all machines can read.
        folder: of the run, on storage that all machines share.
        shards: number of virtual shards.
        address: of the cluster; None for this machine.
        out: file for the predictions, in the order of the rows; None for none.
        level: of the intervals.
        strict: stop at the first bad row.
        form: of the file, if its name does not tell.
        options: how its text is read.
    """
    if source == "-":
        raise ValueError("got --ray for standard input, expected a file: a run that goes on reads it again")
    folder.mkdir(parents=True, exist_ok=True)
    bad: collections.Counter[str] = collections.Counter()
    # Ray first, which starts processes: JAX, in whose threads a prior is loaded, must not run yet.
    with console.status("joining the cluster") as status, joined(address, 1) as ray:
        cores = available_cores() if address is None else int(ray.cluster_resources().get("CPU", 1))
        ready = given_prior(prior)
        known = [column.name for column in ready.schema.columns]
        plain = [column.name for column in ready.schema.columns if column.kind != CATEGORY]
        rows = functools.partial(
            _rows, source, target, key, known, plain, form=form, options=options, strict=strict, bad=bad
        )
        end = run(
            rows,
            make_shard=FleetShards(prior.resolve(), key=key, target=target, level=level),
            key=key,
            folder=folder,
            shards=shards,
            actors=max(1, min(shards, cores)),
            address=address,
            on_progress=lambda progress: status.update(str(progress)),
        )
    console.print(
        f"{end.rows:,} rows learned, {sum(bad.values()):,} bad; {end.keys:,} keys in {shards} shards"
    )
    for problem, count in bad.most_common():
        console.print(f"  {count:,} × {problem}", style="yellow", highlight=False, markup=False)
    if out is not None:
        _write(folder, out)
        console.print(f"predictions: {out}")


def _rows(
    source: str,
    target: str,
    key: str,
    known: list[str],
    plain: list[str],
    start: int,
    *,
    form: Any,
    options: TextOptions,
    strict: bool,
    bad: collections.Counter[str],
) -> Iterator[dict[str, Any]]:
    """The good rows of a file from number ``start`` on; the same ones whenever it is read, since all are checked."""
    checks, number = RowChecks(target, known, classify=False), 0
    bad.clear()
    with ExitStack() as stack:
        opened = stack.enter_context(open_source(source, form=form, layout=options.layout))
        _, rows = read_as(opened, opened, target, plain, options=options, classify=False)
        for row in rows:
            checked = None if row.values is None else checks.check(row.values)
            whose = None if row.values is None else row.values.get(key)
            problem = "cannot be read" if checked is None else checked.problem
            if not problem and (type(whose) not in (str, int) or whose == ""):
                problem = "no key"
            if problem:
                if strict:
                    raise BadRowError(f"line {row.line}: {problem}. Without --strict such rows are left out.")
                bad[problem] += 1
                continue
            assert checked is not None and checked.x is not None
            if number >= start:
                yield {key: whose, **checked.x, target: checked.y}
            number += 1


def _write(folder: Path, out: str) -> None:
    """All predictions, in the order of the rows."""
    jsonl = Path(out).suffix.lower() in (".jsonl", ".ndjson")
    with open_predictions(out, None) as file:
        writer = PredictionWriter(file, KEYED, jsonl=jsonl, live=False)
        for number, told in read_outputs(folder):
            error = None if told["prediction"] is None else (told["target"] - told["prediction"]) ** 2
            writer.write(
                Outcome(
                    number + 1, told["prediction"], told["low"], told["high"], None, told["target"], told["task"],
                    loss=error, key=told["key"],
                )
            )  # fmt: skip
        writer.sync()
