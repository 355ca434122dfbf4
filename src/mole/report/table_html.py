"""Tables of a page: what each method earned, what the mixtures recall, and what each ablation costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from mole.experiment import stats
from mole.experiment.learners import base_of
from mole.experiment.methods import PRIVILEGED
from mole.experiment.metrics import AFTER
from mole.report.digest import Digest
from mole.report.groups import Group
from mole.report.style import css_variables
from mole.report.tables import Row, number

__all__ = ["ablation_table", "recall_table", "results_table"]

Lines = Mapping[str, Sequence[tuple[str, Sequence[str]]]]
"""Group → lines, each the HTML of its head and of its cells."""

_RECALL = ("returns recalled", "delay, steps", "tasks at the end")
_HEADS = (
    "return per 1,000 steps",
    "one-step error, all",
    f"first {AFTER} after a switch",
    "all later",
    "error, random actions",
    *_RECALL,
    "forward, m",
    "upright",
    "ms per step",
)


def table_card(heading: str, note: str, heads: Sequence[str], groups: Lines, *, first: str = "method") -> str:
    """A table in a card that scrolls sideways where it must. Heads and cells are HTML; the rest is escaped."""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in (first, *heads))
    body = []
    for group, lines in groups.items():
        span = f'<th scope="rowgroup" colspan="{len(heads) + 1}">{escape(group)}</th>'
        body.append(f'<tr class="group">{span}</tr>')
        for name, cells in lines:
            # A cell brings its own tag where it has a class.
            marked = [cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in cells]
            body.append(f'<tr><th scope="row">{name}</th>{"".join(marked)}</tr>')
    return (
        f'<div class="card"><h3>{escape(heading)}</h3><p class="note">{escape(note)}</p><div class="scroll">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div></div>"
    )


def results_table(rows: Sequence[Row[Any]], colours: Mapping[str, str], *, recall: bool = True) -> str:
    """The table as an HTML card, with a note that explains its columns; without those on recall if they stand apart."""
    groups: dict[str, list[tuple[str, list[str]]]] = {}
    for schedule in dict.fromkeys(row.schedule for row in rows):
        here = [row for row in rows if row.schedule == schedule]
        ranked = [row for row in here if row.method not in PRIVILEGED and row.interval("return_per_1000")]
        best = max(ranked, key=lambda row: row.interval("return_per_1000").value, default=None)  # pyright: ignore
        groups[schedule] = [_line(row, colours[row.method], best=row is best) for row in here]
    note = (
        f"{_about_runs(rows)} One-step error: mean squared error of the normalised prediction, made before "
        "learning; random actions: the same on the same schedule, where no planner chooses what is seen. "
    )
    if recall:
        note += (
            "A returning task counts as recalled if its earlier model takes over again; delay: steps "
            "until it does, median and range. "
        )
    note += "Bold: highest return among the methods that are not told the task."
    kept = [place for place, head in enumerate(_HEADS) if recall or head not in _RECALL]
    for lines in groups.values():
        lines[:] = [(name, [cells[place] for place in kept]) for name, cells in lines]
    return table_card("Results", note, [_HEADS[place] for place in kept], groups)


def _about_runs(rows: Sequence[Row[Any]]) -> str:
    """How many runs a figure is computed from, and whether its interval can be trusted."""
    counts = sorted({len(row.runs) for row in rows})
    if counts[-1] == 1:
        return "One run per method and schedule: no intervals."
    many = str(counts[-1]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    # The limit that `mole.experiment.stats` states.
    caution = " With so few runs they are too narrow." if counts[0] < 10 else ""
    what = "Interquartile mean" if rows[0].statistic == "iqm" else "Mean"
    return (
        f"{what} of {many} runs per method and schedule, with 95 % bootstrap intervals in brackets.{caution}"
    )


def _line(row: Row[Any], colour: str, *, best: bool) -> tuple[str, list[str]]:
    mark = "" if row.finished else " †"
    hits, returns, delays = row.recalls
    upright = row.interval("upright")
    cells = [
        interval_cell(row, "return_per_1000", 0),
        interval_cell(row, "error_all", 3),
        interval_cell(row, "error_first_20", 3),
        interval_cell(row, "error_rest", 3),
        interval_cell(row, "error_random_actions", 3),
        f"{hits} of {returns}" if returns else "–",
        delays_cell(delays),
        interval_cell(row, "tasks_at_end", 1, span=False),
        interval_cell(row, "progress", 1, span=False),
        f"{100 * upright.value:.0f} %" if upright else "–",
        number(1000 * float(np.median(row.figures["seconds_per_step"])), 1),
    ]
    if best:
        cells[0] = f'<td class="best">{cells[0]}</td>'
    return f"{swatch(colour)}{escape(row.method)}{mark}", cells


def swatch(colour: str) -> str:
    """A small square in a colour of the palette."""
    return f'<span class="swatch" style="background:{css_variables()[0][colour]}"></span>'


def interval_cell(row: Row[Any], name: str, digits: int, *, span: bool = True) -> str:
    """A figure of a row, with its interval below; a dash where it has no meaning."""
    found = row.interval(name)
    if found is None:
        # These two are defined for every run: if one is not finite, the learner diverged. The others may have had
        # nothing to measure.
        return "diverged" if name in ("return_per_1000", "error_all") else "–"
    text = number(found.value, digits)
    if span and np.isfinite(found.low):
        text += f"<br><small>[{number(found.low, digits)}..{number(found.high, digits)}]</small>"
    return text


def delays_cell(delays: np.ndarray) -> str:
    """Median and range of the delays of recall."""
    if not delays.size:
        return "–"
    low, high = delays.min(), delays.max()
    text = number(float(np.median(delays)))
    return text if low == high else f"{text}<br><small>({number(low)}–{number(high)})</small>"


def recall_table(rows: Sequence[Row[Digest]], colours: Mapping[str, str]) -> str:
    """Returns recalled, delay, agreement with the true tasks and number of tasks, for every mixture; may be empty."""
    shown = [
        row
        for row in rows
        if row.method not in PRIVILEGED
        and any(run.has_mixture for run in row.runs)
        and any(run.truth_known for run in row.runs)
    ]
    heads = (
        "returns recalled",
        "share",
        "delay, steps",
        "adjusted Rand index",
        "purity",
        "tasks at the end",
        "true tasks",
    )
    groups: dict[str, list[tuple[str, list[str]]]] = {}
    for row in shown:
        hits, returns, delays = row.recalls
        cells = [
            f"{hits} of {returns}" if returns else "–",
            f"{100 * hits / returns:.0f} %" if returns else "–",
            delays_cell(delays),
            interval_cell(row, "adjusted_rand", 2),
            interval_cell(row, "purity", 2),
            interval_cell(row, "tasks_at_end", 1),
            _true_tasks(row),
        ]
        head = swatch(colours[row.method]) + escape(row.method)
        groups.setdefault(row.schedule, []).append((head, cells))
    note = (
        "A returning task counts as recalled if its earlier model takes over again; delay: steps until it does, median "
        "and range. Adjusted Rand index: agreement of the chosen with the true tasks over all steps, 1 where they are "
        "the same up to names, 0 as by chance. Purity: share of steps whose chosen task serves their true task most."
    )
    return table_card("Recall", note, heads, groups) if groups else ""


def _true_tasks(row: Row[Digest]) -> str:
    known = [run.true_tasks for run in row.runs if run.truth_known]
    return number(float(np.median(known))) if known else "–"


def ablation_table(group: Group) -> str:
    """What each ablation (`mole/…`) changes against its method on the same settings and seeds; may be empty."""
    heads = (
        "what differs",
        "pairs",
        "return, difference",
        "one-step error, difference",
        f"first {AFTER} after a switch",
        "recalled",
        "tasks",
    )
    lines: dict[str, list[tuple[str, list[str]]]] = {}
    for row in sorted(group.ablated, key=lambda row: row.method):
        whole = group.row(row.schedule, base_of(row.method))
        if whole is None:
            continue
        hits, returns, _ = row.recalls
        pairs = _pairs(row, whole)
        cells = [
            f'<td class="words">{escape(str(row.runs[0].meta.get("ablation") or "–"))}</td>',
            str(len(pairs)),
            _difference(pairs, "return_per_1000", 0),
            _difference(pairs, "error_all", 3),
            _difference(pairs, "error_first_20", 3),
            f"{100 * hits / returns:.0f} %" if returns else "–",
            interval_cell(row, "tasks_at_end", 1, span=False),
        ]
        lines.setdefault(row.schedule, []).append((escape(row.method), cells))
    note = (
        "The ablation minus the whole method, paired by seed: interquartile mean of the differences with its 95 % "
        "interval. Return below zero, or error above: the part is worth something. Bold: the interval leaves out zero."
    )
    return table_card("What each part is worth", note, heads, lines) if lines else ""


def _pairs(row: Row[Digest], whole: Row[Digest]) -> list[tuple[Digest, Digest]]:
    # By seed: both then had the same hidden tasks and starts, and what they share cancels.
    partner = {run.meta["seed"]: run for run in whole.runs}
    return [(run, partner[run.meta["seed"]]) for run in row.runs if run.meta["seed"] in partner]


def _difference(pairs: Sequence[tuple[Digest, Digest]], metric: str, digits: int) -> str:
    values = np.array([[one.figures[metric] for one in pair] for pair in pairs]).reshape(-1, 2)
    if not len(values) or not np.isfinite(values).all():
        return "diverged" if metric in ("return_per_1000", "error_all") and len(values) else "–"
    change = values[:, 0] - values[:, 1]
    if len(values) < 2:
        return _signed(float(change[0]), digits)
    # The mean of runs in which a mixture loses its way is that of a few: the middle half is what usually happens.
    found = stats.bootstrap([change], rng=np.random.default_rng(0), statistic="iqm", resamples=2000)
    text = _signed(found.value, digits)
    if found.low > 0 or found.high < 0:
        text = f"<b>{text}</b>"
    return f"{text}<br><small>[{_signed(found.low, digits)}..{_signed(found.high, digits)}]</small>"


def _signed(value: float, digits: int) -> str:
    text = number(value, digits)
    return f"+{text}" if value > 0 and text.strip("0.,") else text
