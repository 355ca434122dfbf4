"""Tables of a suite: what the mixtures recall, and what each ablation costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from mole.experiment import stats
from mole.experiment.metrics import AFTER
from mole.report.digest import Digest
from mole.report.groups import Group
from mole.report.table_html import delays_cell, interval_cell, swatch, table_card
from mole.report.tables import PRIVILEGED, Row, number

__all__ = ["ablation_table", "recall_table"]


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
        whole = group.row(row.schedule, row.method.split("/", 1)[0])
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
    partner = {run.meta["seed"]: run for run in whole.runs}
    return [(run, partner[run.meta["seed"]]) for run in row.runs if run.meta["seed"] in partner]


def _difference(pairs: Sequence[tuple[Digest, Digest]], metric: str, digits: int) -> str:
    values = np.array([[one.figures[metric] for one in pair] for pair in pairs]).reshape(-1, 2)
    if not len(values) or not np.isfinite(values).all():
        return "diverged" if metric in ("return_per_1000", "error_all") and len(values) else "–"
    change = values[:, 0] - values[:, 1]
    if len(values) < 2:
        return _signed(float(change[0]), digits)
    found = stats.bootstrap([change], rng=np.random.default_rng(0), statistic="iqm", resamples=2000)
    text = _signed(found.value, digits)
    if found.low > 0 or found.high < 0:
        text = f"<b>{text}</b>"
    return f"{text}<br><small>[{_signed(found.low, digits)}..{_signed(found.high, digits)}]</small>"


def _signed(value: float, digits: int) -> str:
    text = number(value, digits)
    return f"+{text}" if value > 0 and text.strip("0.,") else text
