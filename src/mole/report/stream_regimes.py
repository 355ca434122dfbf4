"""The regimes of a stream in words: when each was active, what the target depends on there, what was different before.

Only what is certain is told: an effect, or a difference, of at least twice its posterior standard deviation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from mole.pipeline.digest import Regime
from mole.report.stream_figures import task_colour

__all__ = ["regime_words"]

_CERTAIN = 2.0  # standard deviations
_OUTPUTS, _COLUMNS = 3, 4  # of a regime that are told of
_TASKS = 24


def regime_words(
    visited: Mapping[int, Regime], records: Mapping[int, Mapping[str, Any]], *, classify: bool
) -> str:
    """A card with one paragraph per regime, as markup; empty if nothing is known of any.

    Args:
        visited: the regimes that lasted.
        records: task → its record, as `mole.OnlineRegressor.regime_`, with the name of the target.
        classify: whether the outputs are labels.
    """
    told = [
        f'<p><span class="swatch" style="background:{task_colour(task)}"></span><b>task {task}</b>: '
        f"{_when(visited[task], classify)} {_depends(record, classify)}{_differs(record, classify)}</p>"
        for task, record in list(records.items())[:_TASKS]
    ]
    if not told:
        return ""
    left = len(records) - len(told)
    more = f" {left} more regimes are not described." if left else ""
    note = (
        "By each regime's own model, over the newest rows. An effect is how far the target moves with a column as a "
        "rule: the standard deviation of what the column adds. Told is what is certain to twice its standard deviation."
        + more
    )
    return f'<div class="card"><h3>The regimes in words</h3><p class="note">{note}</p>{"".join(told)}</div>'


def _when(regime: Regime, classify: bool) -> str:
    first, last = regime.visits[0][0], regime.visits[-1][1]
    visits = f", in {regime.n_visits:,} visits" if regime.n_visits > 1 else ""
    text = f"{regime.rows:,} rows between row {first:,} and row {last:,}{visits}"
    if regime.scored:
        mean = regime.loss / regime.scored
        text += f"; mean log loss {mean:.3g}" if classify else f"; root-mean-square error {np.sqrt(mean):.3g}"
    return text + "."


def _depends(record: Mapping[str, Any], classify: bool) -> str:
    parts = []
    for output in record["outputs"][:_OUTPUTS]:
        name = _name(output["output"])
        # Sorted by how different they are; what matters in this regime alone is the size of the effect.
        columns = sorted(_of(record, output["output"]), key=lambda one: -abs(one["effect"] or 0.0))
        moved = [
            f"{_name(one['column'])} ({_number(one['effect'], sign='slope' in one)}{_slope(one)})"
            for one in columns
            if _certain(one, "effect")
        ][:_COLUMNS]
        expected = f"share of {name}" if classify else f"{name}"
        text = f"Here the expected {expected} is {_number(output['mean'])} on average"
        parts.append(
            f"{text}, and moves with {_listed(moved)}."
            if moved
            else f"{text}; no column moves it for certain."
        )
    return " ".join(parts)


def _differs(record: Mapping[str, Any], classify: bool) -> str:
    if record["before"] is None:
        return ""
    parts = []
    for output in record["outputs"][:_OUTPUTS]:
        name = _name(output["output"])
        if "change" in output and _certain(output, "change"):
            what = "share of " if classify else ""
            parts.append(f"{what}{name} by {_number(output['change'], sign=True)} ± {_number(output['sd'])}")
        for one in [
            one for one in _of(record, output["output"]) if "change" in one and _certain(one, "change")
        ][:_COLUMNS]:
            signed = "slope" in one
            parts.append(
                f"the effect of {_name(one['column'])} on {name}, {_number(one['effect'], sign=signed)} and "
                f"{_number(one['effect_before'], sign=signed)} before"
            )
    if "change" not in next(iter(record["outputs"]), {}):
        return f" The regime before, task {record['before']}, has been forgotten."
    told = _listed(parts) if parts else "nothing that is certain"
    return f" Different from task {record['before']}, the regime before: {told}."


def _of(record: Mapping[str, Any], output: Any) -> list[Mapping[str, Any]]:
    return [one for one in record["columns"] if one["output"] == output]


def _certain(entry: Mapping[str, Any], what: str) -> bool:
    size = abs(entry[what] or 0.0)
    return size > 0 and size >= _CERTAIN * (entry["sd"] or 0.0)


def _slope(entry: Mapping[str, Any]) -> str:
    return f", {_number(entry['slope'], sign=True)} per unit" if entry.get("slope") is not None else ""


def _listed(parts: Sequence[str]) -> str:
    return "; ".join(parts)


def _name(value: Any) -> str:
    # Cut first and escaped then, or half of an escaped character could be left.
    return escape(str(value)[:60])


def _number(value: float | None, *, sign: bool = False) -> str:
    if value is None:
        return "–"
    text = f"{value:+.3g}" if sign else f"{value:.3g}"
    return text.replace("-", "−")
