"""The table of results: one row per method and schedule, one column per question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from mole.experiment.metrics import AFTER
from mole.report.style import css_variables
from mole.report.tables import PRIVILEGED, Row, number

__all__ = ["results_table"]

_HEADS = (
    "return per 1,000 steps",
    "one-step error, all",
    f"first {AFTER} after a switch",
    "all later",
    "error, random actions",
    "returns recalled",
    "delay, steps",
    "tasks at the end",
    "forward, m",
    "upright",
    "ms per step",
)


def results_table(rows: Sequence[Row], colours: Mapping[str, str]) -> str:
    """The table as an HTML card, with a note that explains its columns."""
    heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in ("method", *_HEADS))
    body = []
    for schedule in dict.fromkeys(row.schedule for row in rows):
        here = [row for row in rows if row.schedule == schedule]
        ranked = [row for row in here if row.method not in PRIVILEGED and row.interval("return_per_1000")]
        best = max(ranked, key=lambda row: row.figures["return_per_1000"].mean(), default=None)
        body.append(
            f'<tr class="group"><th scope="rowgroup" colspan="{len(_HEADS) + 1}">{escape(schedule)}</th></tr>'
        )
        body += [_line(row, colours[row.method], best=row is best) for row in here]
    note = (
        f"{_about_runs(rows)} One-step error: mean squared error of the normalised prediction, made before "
        "learning; random actions: the same on the same schedule, where no planner chooses what is seen. "
        "A returning task counts as recalled if its earlier model takes over again; delay: steps "
        "until it does, median and range. Bold: highest return among the methods that are not told the task."
    )
    return (
        f'<div class="card"><h3>Results</h3><p class="note">{escape(note)}</p><div class="scroll"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(body)}</tbody></table></div></div>"
    )


def _about_runs(rows: Sequence[Row]) -> str:
    """How many runs a figure stands for, and how far its interval can be trusted."""
    counts = sorted({len(row.runs) for row in rows})
    if counts[-1] == 1:
        return "One run per method and schedule: no intervals."
    many = str(counts[-1]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    caution = " With so few runs they are too narrow." if counts[0] < 10 else ""
    return f"Mean of {many} runs per method and schedule, with 95 % bootstrap intervals in brackets.{caution}"


def _line(row: Row, colour: str, *, best: bool) -> str:
    swatch = f'<span class="swatch" style="background:{css_variables()[0][colour]}"></span>'
    mark = "" if row.finished else " †"
    hits, returns, delays = row.recalls
    upright = row.interval("upright")
    cells = [
        _figure(row, "return_per_1000", 0),
        _figure(row, "error_all", 3),
        _figure(row, "error_first_20", 3),
        _figure(row, "error_rest", 3),
        _figure(row, "error_random_actions", 3),
        f"{hits} of {returns}" if returns else "–",
        _delays(delays),
        _figure(row, "tasks_at_end", 1, span=False),
        _figure(row, "progress", 1, span=False),
        f"{100 * upright.value:.0f} %" if upright else "–",
        number(1000 * float(np.median(row.figures["seconds_per_step"])), 1),
    ]
    marked = [f'<td class="best">{cells[0]}</td>' if best else f"<td>{cells[0]}</td>"]
    marked += [f"<td>{cell}</td>" for cell in cells[1:]]
    return f'<tr><th scope="row">{swatch}{escape(row.method)}{mark}</th>{"".join(marked)}</tr>'


def _figure(row: Row, name: str, digits: int, *, span: bool = True) -> str:
    found = row.interval(name)
    if found is None:
        # infinite or NaN where it is always defined: the learner diverged; else there was nothing to measure
        return "diverged" if name in ("return_per_1000", "error_all") else "–"
    text = number(found.value, digits)
    if span and np.isfinite(found.low):
        text += f"<br><small>[{number(found.low, digits)}..{number(found.high, digits)}]</small>"
    return text


def _delays(delays: np.ndarray) -> str:
    if not delays.size:
        return "–"
    low, high = delays.min(), delays.max()
    text = number(float(np.median(delays)))
    return text if low == high else f"{text}<br><small>({number(low)}–{number(high)})</small>"
