"""What `run.py` found, as tables on a console."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.growth import Curve
from benchmarks.measures_process import Alone
from benchmarks.timing import Row, Skipped, three_digits

_CAPTION = (
    "Median and the range of the middle 80 % of the rounds; below 1 the first line is faster. All five tasks are in "
    "use in an EM step, k = 16. Limit: what the machine needs for the matrix products (and bytes) of the row alone, "
    "measured in the same rounds; reached: limit / ours."
)


def line(one: Row | Skipped | Alone | Curve) -> str:
    """One line for a log."""
    if isinstance(one, Row):
        return f"{one.ratio.text():24s} {one.name} / {one.against}; ms {one.ms.text()}"
    if isinstance(one, Skipped):
        return f"skipped                  {one.name}: {one.reason}"
    if isinstance(one, Alone):
        return f"{one.peak_mb:6.0f} MB                {one.name}"
    return f"{one.name} by {one.axis}: " + ", ".join(
        f"{n}: {s.median:.3f}" for n, s in zip(one.sizes, one.ms, strict=True)
    )


def show(found: Sequence[Row | Skipped | Alone | Curve], about: dict[str, Any], console: Console) -> None:
    rows = [one for one in found if isinstance(one, Row)]
    if rows:
        console.print(_ratios(rows))
    if alone := [one for one in found if isinstance(one, Alone)]:
        console.print(_processes(alone))
    if curves := [one for one in found if isinstance(one, Curve)]:
        console.print(_growth(curves))
    for one in found:
        if isinstance(one, Skipped):
            console.print(f"skipped: {escape(one.name)}: {escape(one.reason)}")
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    console.print(
        f"{about['cores']} cores of {about['processor']}, device {about['device']}, "
        f"load {about['load_before']} before, Python {about['python']}, {versions}"
    )


def _ratios(rows: list[Row]) -> Table:
    table = Table(title="first line as a multiple of the second", caption=_CAPTION, title_justify="left")
    table.add_column("ratio", justify="right", no_wrap=True)
    table.add_column("what, against what")
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("limit, reached", justify="right", no_wrap=True)
    for one in rows:
        times = f"{one.ms.text()}\n{one.against_ms.text()}"
        what = f"{one.name}{f' ({one.note})' if one.note else ''}\n{one.against}"
        limit = ""
        if one.reached is not None and one.limit_ms is not None:
            limit = f"{three_digits(one.limit_ms)}\n{100 * one.reached.median:.0f} %"
        table.add_row(*map(escape, (one.ratio.text(), what, times, limit)), end_section=True)
    return table


def _processes(found: list[Alone]) -> Table:
    table = Table(title="a process of its own", title_justify="left", caption="first call: without a compilation "
                  "cache, filling one, and from it")  # fmt: skip
    table.add_column("what")
    for name in ("peak MB", "first call s", "filling", "from the cache"):
        table.add_column(name, justify="right")
    for one in found:
        seconds = [
            "" if value is None else three_digits(value)
            for value in (one.cold_s, one.filling_s, one.cached_s)
        ]
        table.add_row(escape(one.name), f"{one.peak_mb:.0f}", *seconds)
    return table


def _growth(found: list[Curve]) -> Table:
    table = Table(
        title="how cost grows", title_justify="left", caption="power: slope of the last two in the logarithm"
    )
    for name in ("what", "by", "ms"):
        table.add_column(name)
    table.add_column("power", justify="right")
    for one in found:
        cells = [f"{n}: {three_digits(s.median)}" for n, s in zip(one.sizes, one.ms, strict=True)]
        table.add_row(escape(one.name), one.axis, ", ".join(cells), f"{one.exponent:.2f}")
    return table
