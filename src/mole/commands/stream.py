"""``mole stream``: predict and learn the rows of a file or of a pipe, one by one."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.live import Live
from rich.markup import escape

from mole._expect import did_you_mean
from mole.commands.stream_loop import (
    Loop,
    begin,
    check_options,
    locked_newest,
    make_event_writer,
    make_writer,
)
from mole.commands.stream_prior import GivenPrior, columns_of, given_prior
from mole.commands.stream_series import is_series
from mole.commands.stream_text import expect_same, read_as, say_how, text_options
from mole.commands.stream_view import StreamView, tell_end
from mole.files import checkpoint as checkpoints
from mole.files.generations import KEPT, SECONDS, Periodic
from mole.files.processes import Interrupts
from mole.pipeline.late import LabelDelay, delay_from
from mole.pipeline.run_file import dialect_in
from mole.pipeline.runner import StreamSettings, guess_kind
from mole.pipeline.sources import Row, Source, open_source
from mole.rows.columns import CATEGORY

__all__ = ["check_columns", "kind_of", "stream"]

_LOOKED_AT = 1000  # rows in which the first target must be, where its kind is not given


def stream(
    source: Annotated[str, tyro.conf.Positional],
    target: str,
    key: str | None = None,
    features: str | None = None,
    task: Literal["regression", "classification", "forecast"] | None = None,
    prior: Path | None = None,
    out: str | None = None,
    report: Path | None = None,
    events: str | None = None,
    checkpoint: Path | None = None,
    every: int = 1000,
    every_seconds: float = SECONDS,
    keep: int = KEPT,
    resume: bool = False,
    new_input: bool = False,
    strict: bool = False,
    label_delay: str = "0",
    clock: str | None = None,
    level: float = 0.9,
    seed: int = 0,
    format: Literal["csv", "jsonl", "parquet"] | None = None,
    sep: str | None = None,
    decimal: str | None = None,
    date_format: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    encoding: str | None = None,
    comment: str | None = None,
    background: bool = True,
    ray: tuple[str, ...] | None = None,
    shards: int = 64,
) -> None:
    """Learn a stream of rows online: predict each row, then learn it; find regimes and recall them.

    Args:
        source: a CSV, JSON Lines or Parquet file, also packed as .gz or .zst, or - for standard input.
        target: the column to predict.
        key: the column that says whose a row is, such as a machine: every key gets a mixture of its own, and all share
            one prior. Tasks are numbered by key then, and there are neither events nor a report.
        features: the columns to predict it from, with commas between them; all others if not given.
        task: whether the target is a number or a label, or a series that is forecast from its own past too. If not
            given, the first target decides, and a number beside nothing but a time is a series.
        prior: a prior made by mole fit-prior; without one the stream makes its own.
        out: file for the predictions, .csv or .jsonl, or - for standard output, which is where they go if the rows
            come from standard input or the output is no terminal.
        report: file for a report (HTML).
        events: file for the regime events, JSON Lines: when another regime began or returned, and what is different.
        checkpoint: file to go on from after an interruption.
        every: rows between two checkpoints; one is written at the end too.
        every_seconds: seconds after which the next row writes one, whatever --every says.
        keep: checkpoints that are kept; the older ones have .1, .2, … after their name.
        resume: go on from the checkpoint, if there is one.
        new_input: with --resume: the rows of the source are new, none of them was learned yet.
        strict: stop at the first bad row instead of counting it.
        label_delay: rows, or a time such as 90s, 30min, 24h or 7d, after which a target becomes known; a row is
            predicted without those of the newest rows. With 1 every target is known before the next row.
        clock: the column that tells a --label-delay in time, of times or of seconds; the first column of times if not
            given. It need not be an input.
        level: share of the targets that the intervals are to hold.
        seed: of the first weights and of all training.
        format: of the source, if its name does not tell.
        sep: what separates the cells of a CSV: a character, or tab; if not given, the header and the first rows decide.
        decimal: the decimal mark of numbers, a point or a comma; if not given, the first rows decide for each column.
            With none only plain numbers are numbers: no units, no thousands.
        date_format: how times are written: ymd, dmy, mdy, or a format such as %d.%m.%Y; for one column alone
            COLUMN=FORMAT. If not given, the first rows decide. With none only ISO times are times.
        encoding: of the text, such as latin-1; if not given, UTF-8, or UTF-16 with its mark.
        comment: leave out lines that begin so; if not given, only those with a # before the header.
        background: make new priors a little at every row, so that no row waits for one; without it they are used some
            rows earlier.
        ray: with --key and --prior: learn the keys on a Ray cluster, at HOST:PORT, or without an address on this
            machine. The checkpoint is a folder then, on storage that all machines share, and a stopped run goes on.
        shards: parts that the keys are divided into on a cluster, fixed for a folder; no more cores can share them.
    """
    options = text_options(sep, decimal, date_format, encoding, comment)
    periodic, delay = Periodic(every, every_seconds), delay_from(label_delay)
    check_options(checkpoint, keep, resume, new_input)
    if key is not None and (report is not None or events is not None):
        raise ValueError(
            "got --key with --report or --events, expected none of them: they are about one mixture, and every key has "
            "its own. --out says the task of every row"
        )
    if ray is not None:
        if key is None or prior is None or checkpoint is None:
            raise ValueError(
                "got --ray without --key, --prior or --checkpoint, expected all of them: whose a row is, what all keys "
                "share (mole fit-prior makes it), and the folder of the run"
            )
        from mole.commands.common import one_address
        from mole.commands.stream_ray import stream_on_ray

        stream_on_ray(
            Console(), source, target, key, prior, checkpoint, shards=shards,
            address=one_address(ray), out=out, level=level, strict=strict, form=format, options=options,
        )  # fmt: skip
        return
    with ExitStack() as stack:
        # The lock comes before everything that is read: what another process still writes must not be gone on from.
        last = locked_newest(stack, checkpoint, resume)
        to_stdout = out == "-" or (out is None and (source == "-" or not sys.stdout.isatty()))
        console = Console(stderr=to_stdout)  # messages must not mix with predictions
        config = checkpoints.read_header(last).config if last else {}
        # The header alone, without the arrays: the input is opened first, since its kind decides how to load the run.
        position = None if new_input else config.get("position")
        stored = dialect_in(config, last) if last else None
        again = stored if stored is not None and not new_input else None
        if again is not None and checkpoint is not None:
            expect_same(again, options, checkpoint)
        layout = options.layout if again is None else again.layout
        rows = stack.enter_context(open_source(source, form=format, position=position, layout=layout))
        chosen = None if features is None else tuple(name.strip() for name in features.split(","))
        beside = tuple(name for name in (clock, key) if name is not None)
        check_columns(rows, target, (*(chosen or ()), *beside))
        given: Iterable[Row] = rows
        kind: str | None = task or config.get("settings", {}).get("task")
        ready, notes = None if prior is None else given_prior(prior), list[str]()
        if ready is not None:
            columns, given = (chosen, rows) if chosen else columns_of(rows, rows, target)
            for note in ready.check(task, target, tuple(name for name in columns if name != key)):
                console.print(escape(note), style="yellow", highlight=False, soft_wrap=True)
            kind = ready.prior.kind
        if again is not None:
            dialect, given = again, again.rows(iter(given))
        else:
            # What a prior knows as words stays words.
            known = None if ready is None else [c.name for c in ready.schema.columns if c.kind != CATEGORY]
            decision, given = read_as(
                rows,
                given,
                target,
                chosen if known is None else known,
                options=options,
                classify=None if kind is None else kind == "classification",
                live=source == "-",
                before=stored and stored.columns,
            )
            dialect, kind, notes = decision.dialect, kind or decision.kind, decision.warnings
        say_how(console, rows.name, dialect, notes)
        if kind is None:
            kind, given = kind_of(given, target)
        if kind == "regression" and not (task or config or ready or chosen or key):
            series, given = is_series(given, target, live=source == "-")
            kind = "forecast" if series else kind
        settings = _settings(target, kind, chosen, level, seed, ready, delay, clock, background, key)
        # Now, and not when the report is written: that is after the last row.
        if report is not None and not report.resolve().parent.is_dir():
            raise FileNotFoundError(f"cannot write {report}: its folder does not exist; create it first")
        name = None if to_stdout or out is None else out
        saved = begin(settings, ready, last, name, events)
        if last:
            console.print(f"going on after row {saved.run.rows:,}", style="dim")
        writer = make_writer(stack, settings, name, to_stdout, saved, last is not None, live=source == "-")
        told = make_event_writer(stack, events, saved, last is not None)
        loop = Loop(
            saved.run,
            writer,
            name,
            checkpoint,
            keep,
            periodic,
            strict,
            saved.position,
            dialect,
            told,
            live=source == "-",
        )
        interrupts = Interrupts()
        try:
            with _shown(console, loop.view), interrupts:
                loop.run(interrupts.until_asked(given))
        except BrokenPipeError:  # whoever read the predictions has enough of them
            # Python flushes standard output when it ends, and would complain about the closed pipe once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        loop.save()
        tell_end(console, loop.run_, loop.view, source, report, checkpoint)
    interrupts.raise_if_asked()


def check_columns(source: Source, target: str, features: tuple[str, ...] | None) -> None:
    """Raise ValueError for a column that the source is known to lack."""
    for name in (target, *(features or ())):
        if source.columns and name not in source.columns:
            raise ValueError(f"{source.name} has no column {name!r}: {did_you_mean(name, source.columns)}")


def kind_of(rows: Iterable[Row], target: str) -> tuple[str, Iterator[Row]]:
    """Regression if the first target is a number, else classification; the rows looked at come again.

    Raises:
        ValueError: if the first rows have no target.
    """
    rows, looked_at = iter(rows), []
    for row in itertools.islice(rows, _LOOKED_AT):
        looked_at.append(row)
        found = guess_kind((row.values or {}).get(target))
        if found is not None:
            return found, itertools.chain(looked_at, rows)
    if not looked_at:
        raise ValueError("got no row after the header; expected rows to learn from")
    raise ValueError(
        f"got {len(looked_at):,} rows and no value of the target {target!r} in them; check its name, or say what it is "
        "with --task"
    )


def _settings(
    target: str,
    kind: str,
    chosen: tuple[str, ...] | None,
    level: float,
    seed: int,
    ready: GivenPrior | None,
    delay: LabelDelay,
    clock: str | None,
    background: bool,
    key: str | None,
) -> StreamSettings:
    name = None if ready is None else ready.name
    labels = ready.prior.labels if ready is not None and kind == "classification" else None
    if any(delay) and kind == "forecast":
        raise ValueError(
            "got --label-delay for a series, expected none: a forecast of it some rows ahead is "
            "mole.OnlineForecaster.forecast"
        )
    if clock is not None and not delay.seconds:
        raise ValueError(
            "got --clock without a --label-delay in time, expected both: it tells when targets come"
        )
    return StreamSettings(target, kind, chosen, level, seed, name, labels, *delay, clock, background, key)


def _shown(console: Console, view: StreamView) -> Any:
    if not console.is_terminal:
        return nullcontext()
    return Live(view, console=console, refresh_per_second=4, transient=True)
