"""The section of one family: tables, intervals, adaptation, recall, ablations, and statistics over settings."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from mole.control.records import EpisodeRecord
from mole.report import figures, suite_figures
from mole.report.groups import Group
from mole.report.page import Figures, unfinished
from mole.report.suite_tables import ablation_table, recall_table
from mole.report.table_html import results_table
from mole.report.tables import PRIVILEGED

__all__ = ["family_section"]

_ALIGNED = (
    "Mean squared error of the normalised prediction, made before learning from the step; log scale. Lines: mean "
    "over runs, bands: its pointwise 95 % interval. Step 0 is the first under the new task, which nobody can foresee "
    "who is not told."
)
_BANDS = (
    "Upper strip: the true task, which the learner never sees (an oracle does). Below: the probabilities of its own "
    "tasks, each coloured like the true task that it served most. Triangles: a task was added. First seed."
)


def family_section(group: Group, drawing: Figures, colours: Mapping[str, str], *, anchor: str) -> str:
    """All that the records say about a group but its videos."""
    rows = group.rows
    envs = ", ".join(dict.fromkeys(str(run.meta["env"]) for run in group.runs))
    parts = [
        f'<h2 id="{anchor}">{escape(group.title)}</h2>',
        f'<p class="note">{escape(envs)}</p>' if envs != group.title else "",
        unfinished(group.runs),
        results_table(rows, colours, recall=False),
        recall_table(rows, colours),
    ]

    def card(heading: str, note: str, draw: object, name: str) -> None:
        parts.append(drawing.card(heading, note, draw, f"{group.name}-{name}"))  # pyright: ignore[reportArgumentType]

    dots = "Dots: runs. Tick and band: their interquartile mean and its 95 % interval."
    card(
        "Return per 1,000 steps",
        dots,
        lambda width: figures.returns_overview(rows, width=width, colours=colours),
        "returns",
    )
    card(
        "One-step error",
        f"{dots} Log scale.",
        lambda width: figures.returns_overview(rows, width=width, colours=colours, metric="error_all"),
        "errors",
    )
    parts += [_pooled(group, drawing, colours), ablation_table(group)]
    for setting in group.settings:
        parts.append(_setting(group, setting, drawing, colours))
    return "\n".join(part for part in parts if part)


def _pooled(group: Group, drawing: Figures, colours: Mapping[str, str]) -> str:
    scale, parts = group.scale, []
    reasons = dict.fromkeys(scale.left_out.values())
    left = "".join(
        f" Left out, {why}: {', '.join(name for name in scale.left_out if scale.left_out[name] == why)}."
        for why in reasons
    )
    what = (
        f"Normalised: 0 is the return of {scale.zero} on the same setting, 1 that of the oracle, which shares mole's "
        "prior and planner, so that the scale measures what inferring the task is worth. Both ends are the "
        f"interquartile means of their runs, taken as fixed.{left}"
    )
    if any(group.scores(name) for name in group.methods):
        parts.append(
            drawing.card(
                "Over all settings",
                f"Interquartile mean of normalised returns, settings weighted by runs, with 95 % intervals. {what}",
                lambda width: suite_figures.aggregates(group, width=width, colours=colours),
                f"{group.name}-normalised",
            )
        )
        parts.append(
            drawing.card(
                "Performance profiles",
                "Share of runs, over all settings, whose normalised return is above a score; bands: pointwise 95 % "
                "intervals. Higher and farther right is better.",
                lambda width: suite_figures.profiles(group, width=width, colours=colours),
                f"{group.name}-profiles",
            )
        )
    gains = {
        name: found
        for name in group.baselines
        if "mole" in group.methods and (found := group.improvement("mole", name)) is not None
    }
    if gains:
        settings = sorted({count for _, count in gains.values()})
        span = f"{settings[0]}" if len(settings) == 1 else f"{settings[0]} to {settings[-1]}"
        parts.append(
            drawing.card(
                "Probability that mole improves on it",
                f"That a run of mole earns more than a run of the other on the same setting; mean over {span} "
                f"setting{'s' if settings[-1] > 1 else ''}, 95 % interval. The line at 0.5: no difference.",
                lambda width: suite_figures.improvements(
                    {name: found for name, (found, _) in gains.items()}, width=width, colours=colours
                ),
                f"{group.name}-improvement",
            )
        )
    return "\n".join(parts)


def _setting(group: Group, setting: str, drawing: Figures, colours: Mapping[str, str]) -> str:
    rows = [row for row in group.rows if row.schedule == setting]
    if not rows:
        return ""
    schedules = ", ".join(dict.fromkeys(str(run.meta["schedule"]) for row in rows for run in row.runs))
    parts = [f"<h3 class='setting'>{escape(setting)}</h3>"]
    if schedules != setting:
        parts.append(f'<p class="note">{escape(schedules)}</p>')
    name = f"{group.name}-{setting}"
    parts.append(
        drawing.card(
            "Adaptation",
            _ALIGNED,
            lambda width: suite_figures.adaptation(rows, width=width, colours=colours),
            f"{name}-adaptation",
        )
    )
    firsts = [
        EpisodeRecord.load(row.runs[0].source)
        for row in rows
        if row.method not in PRIVILEGED and row.runs[0].has_mixture and row.runs[0].source is not None
    ]
    if firsts and any(row.runs[0].truth_known for row in rows):
        parts.append(
            drawing.card(
                "Which task the learner believes in",
                _BANDS,
                lambda width: figures.task_bands(firsts, width=width, colours=colours),
                f"{name}-tasks",
            )
        )
    return "\n".join(parts)
