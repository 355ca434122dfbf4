"""The report of a stream: one self-contained page.

Every text that comes from the data (names of columns, labels, what is wrong with a row) is escaped, and cut where it
could be long.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from mole.files.atomic import atomic_file
from mole.pipeline.digest import Bin, Regime
from mole.pipeline.runner import StreamRun
from mole.report.page import Figures, page
from mole.report.stream_figures import coverage, error_and_regimes, task_colour
from mole.report.stream_regimes import regime_words

__all__ = ["write_stream_report"]

# Inputs and tasks of the table, visits of a line: more than that is unreadable.
_INPUTS, _TASKS, _LISTED = 25, 12, 8


def write_stream_report(
    path: str | os.PathLike[str],
    run: StreamRun,
    *,
    source: str,
    commands: Sequence[str],
    importances: Mapping[int, Mapping[str, float]],
    regimes: Mapping[int, Mapping[str, Any]] | None = None,
) -> Path:
    """Write the report of a run as one HTML file, and return the path. The same run gives the same page.

    Args:
        path: the file to write; its folder must exist.
        run: after any number of rows, at least one of them with a prediction and a target.
        source: where the rows came from.
        commands: the command lines that made it.
        importances: task → input column → how much the task's model depends on it, as `importance_` of the estimator.
        regimes: task → what it expects and what is different in it, as `mole.pipeline.events.regime_records`.

    Raises:
        ValueError: if no row had a prediction and a target.
    """
    digest, settings = run.digest, run.settings
    classify = settings.kind == "classification"
    counter = Figures()
    title = f"{settings.target}, row by row"
    parts = [
        f'<header><p class="kicker">mole · {escape(source)}</p><h1>{escape(title)}</h1>',
        f'<p class="lede">{escape(_lede(run))}</p></header>',
        counter.card(
            "Error and regimes",
            f"Above: {'share of wrong labels' if classify else 'root-mean-square error'}, of predictions made before "
            "the row was learned. Below: the probability of every task, empty where none fits. Triangles: a visit "
            "begins; hollow: the task had been there before and was recalled.",
            lambda width: error_and_regimes(digest, classify=classify, width=width),
        ),
        _regimes(digest.visited, classify),
        regime_words(digest.visited, regimes or {}, classify=classify),
        _importances(importances),
    ]
    if digest.total.judged:
        parts.append(
            counter.card(
                f"Intervals of {100 * settings.level:g} %",
                f"{_share(digest.total.covered, digest.total.judged)} of {digest.total.judged:,} targets were inside. "
                "Dashed: what was asked for.",
                lambda width: coverage(digest, settings.level, width=width),
            )
        )
    parts += [_bad(run), "<h2>How this was made</h2>", _provenance(run, source, commands)]
    target = Path(path)
    with atomic_file(target) as file:
        # A column's name may hold half a surrogate pair, from a file in another encoding.
        file.write(page(title, "\n".join(parts)).encode("utf-8", errors="replace"))
    return target


def _lede(run: StreamRun) -> str:
    digest = run.digest
    recalls = sum(regime.n_visits - 1 for regime in digest.visited.values())
    tasks = len(digest.visited)
    return (
        f"{run.learned:,} of {run.rows:,} rows learned, {_error(digest.total, run.settings.kind == 'classification')}. "
        f"{tasks} {'regime' if tasks == 1 else 'regimes'} found, {recalls} {'recall' if recalls == 1 else 'recalls'}."
    )


def _error(sums: Bin | Regime, classify: bool) -> str:
    if not sums.scored:
        return "no error yet"
    mean = sums.loss / sums.scored
    if not classify:
        return f"root-mean-square error {np.sqrt(mean):.4g}"
    return f"mean log loss {mean:.4g}" + (
        f", {_share(sums.hits, sums.scored)} right" if isinstance(sums, Bin) else ""
    )


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def _name(task: int) -> str:
    return f'<span class="swatch" style="background:{task_colour(task)}"></span>task {task}'


def _table(head: Sequence[str], rows: Sequence[str], *, words: bool = False) -> str:
    """Head cells are text; rows are markup; ``words`` if the last column is text."""
    kinds = [""] * (len(head) - 1) + [' style="text-align:left"' if words else ""]
    cells = "".join(f"<th{kind}>{escape(cell)}</th>" for kind, cell in zip(kinds, head, strict=True))
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _regimes(regimes: Mapping[int, Regime], classify: bool) -> str:
    rows = []
    for task, regime in regimes.items():
        visits = [f"{first:,}–{last:,}" for first, last in regime.visits]
        more = regime.n_visits - _LISTED
        shown = ", ".join(visits[1:_LISTED]) + (f" and {more:,} more" if more > 0 else "")
        error = _error(regime, classify).rsplit(" ", 1)[-1] if regime.scored else "–"
        rows.append(
            f"<tr><th>{_name(task)}</th><td>{regime.rows:,}</td><td>{escape(error)}</td>"
            f'<td>{visits[0] if visits else "–"}</td><td class="words">{escape(shown) or "–"}</td></tr>'
        )
    head = ("", "rows", "mean log loss" if classify else "RMSE", "found in rows", "recalled in rows")
    return (
        '<div class="card"><h3>When each regime was active</h3>'
        '<p class="note">A visit counts once it lasted five rows.</p>'
        f"{_table(head, rows, words=True)}</div>"
    )


def _importances(importances: Mapping[int, Mapping[str, float]]) -> str:
    """Inputs by tasks; the inputs that differ most between the tasks come first."""
    tasks = list(importances)[:_TASKS]
    names = list(dict.fromkeys(name for task in tasks for name in importances[task]))
    if not names:
        return ""
    table = np.array([[importances[task].get(name, 0.0) for task in tasks] for name in names])
    order = sorted(range(len(names)), key=lambda i: (-np.ptp(table[i]), -table[i].max(), i))[:_INPUTS]
    most = max(float(table.max()), 1e-12)
    rows = []
    for i in order:
        cells = "".join(
            f'<td style="background:linear-gradient(to right,{task_colour(task)}66 {100 * value / most:.0f}%,'
            f'transparent 0)">{value:.2f}</td>'
            for task, value in zip(tasks, table[i].tolist(), strict=True)
        )
        # Cut first and escaped then, or half of an escaped character could be left.
        rows.append(f"<tr><th>{escape(names[i][:60])}</th>{cells}</tr>")
    left = len(names) - len(order)
    note = (
        "How much the prediction of each regime's model moves with an input, in standard deviations of both; the "
        "inputs on which the regimes differ most come first."
        + (f" {left} more inputs are not shown." if left else "")
    )
    head = ("", *(f"task {task}" for task in tasks))
    return (
        f'<div class="card"><h3>How the regimes differ</h3><p class="note">{note}</p>'
        f"{_table(head, rows)}</div>"
    )


def _words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _bad(run: StreamRun) -> str:
    digest = run.digest
    if not digest.bad:
        return '<div class="card"><h3>Bad rows</h3><p class="note">There were none.</p></div>'
    kinds = [
        f"<tr><th>{escape(problem)}</th><td>{count:,}</td></tr>"
        for problem, count in sorted(digest.bad.items(), key=lambda item: -item[1])
    ]
    rows = [
        f'<tr><th>{row:,}</th><td>{line:,}</td><td class="words">{escape(detail)}</td></tr>'
        for row, line, detail in digest.bad_rows
    ]
    total = sum(digest.bad.values())
    shown = f"The first {len(rows)} of {total:,}" if total > len(rows) else f"All {total:,}"
    return (
        '<div class="card warn"><h3>Bad rows</h3><p class="note">Counted and left out of learning.</p>'
        f"{_table(('reason', 'rows'), kinds)}<details><summary>{shown}</summary>"
        f"{_table(('row', 'line', 'what is wrong'), rows, words=True)}</details></div>"
    )


def _provenance(run: StreamRun, source: str, commands: Sequence[str]) -> str:
    settings = {name: value for name, value in asdict(run.settings).items() if value is not None}
    shown = "; ".join(f"{name} {_words(value)}" for name, value in settings.items())
    facts = {"source": source, "inputs": ", ".join(run.columns), "settings": shown}
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts.items())
    lines = escape("\n".join(commands)) or "not recorded"
    return f'<div class="card"><h3>Command</h3><pre>{lines}</pre><dl>{listed}</dl></div>'
