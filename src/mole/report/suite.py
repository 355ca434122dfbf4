"""The report of a suite: every claim with its verdict, then all families, on one HTML page that opens offline."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from mole.control.records import EpisodeRecord
from mole.experiment.methods import PRIVILEGED
from mole.files.atomic import atomic_file
from mole.report import figures as run_figures
from mole.report import suite_figures
from mole.report.claims import Verdict, judge, places
from mole.report.digest import Found, find_records
from mole.report.footage import film
from mole.report.groups import Group, group_runs
from mole.report.page import Figures, page, provenance, unfinished
from mole.report.style import method_colours
from mole.report.table_html import ablation_table, recall_table, results_table

__all__ = ["write_suite_report"]


def write_suite_report(
    path: str | os.PathLike[str],
    folders: Sequence[str | os.PathLike[str]],
    *,
    figures: str | os.PathLike[str] | None = None,
    videos: bool = True,
    commands: Sequence[str] = (),
    title: str = "Deep online learning in worlds that break",
) -> Path:
    """Write one self-contained page about all records in `folders` and below, and return its path.

    Runs are grouped by the header's `family` (its `env` where there is none) and compared by `setting` (its
    `schedule`). Folders whose runs differ in prior or planner, or repeat each other's cells, are shown apart.
    The same records give the same page, byte for byte, but for videos.

    Args:
        path: the file to write; its folder must exist.
        folders: of records, searched recursively; other files in them are passed over.
        figures: a folder for every figure as PNG and SVG; none if not given.
        videos: whether to render videos of runs whose actions were kept (needs EGL; made once, beside `path`).
        commands: the command lines that made the records; those in their headers, or equivalent ones, otherwise.
        title: heading of the page.

    Raises:
        FileNotFoundError: if a folder does not exist.
        ValueError: if there is no record with a step in the folders.
    """
    found = find_records([Path(folder) for folder in folders])
    groups = [group for group in group_runs(found.runs) if group.rows]
    if not groups:
        raise ValueError(
            f"got {len(found.runs)} records and none has a step, expected at least one: nothing to report"
        )
    target = Path(path)
    # Of all groups at once: a method has the same colour in every figure of the page.
    colours = method_colours(row.method for group in groups for row in [*group.rows, *group.ablated])
    drawing = Figures(Path(figures) if figures is not None else None)
    verdicts = judge(groups)
    parts = [
        first_screen(title, groups, found, verdicts),
        claim_cards(verdicts, drawing, colours),
        _unreadable(found),
    ]
    for number, group in enumerate(groups):
        parts.append(family_section(group, drawing, colours, anchor=f"family-{number}"))
        parts.append(film(group, target, wanted=videos))
    parts.append('<h2 id="made">How this was made</h2>')
    for group in groups:
        parts.append(f"<h3>{escape(group.title)}</h3>")
        judged = [run for row in [*group.rows, *group.ablated] for run in row.runs]
        parts.append(provenance(judged, commands or _commands(group)))
    with atomic_file(target) as file:
        file.write(page(title, "\n".join(parts)).encode())
    return target


def _unreadable(found: Found) -> str:
    if not found.unreadable:
        return ""
    items = "".join(f"<li>{escape(reason)}</li>" for _, reason in found.unreadable)
    return f'<div class="card warn"><h3>Records that cannot be read</h3><ul class="more">{items}</ul></div>'


def _commands(group: Group) -> list[str]:
    """The commands in the headers; otherwise one per environment that makes the same cells."""
    recorded = dict.fromkeys(str(run.meta["command"]) for run in group.runs if run.meta.get("command"))
    if recorded:
        return list(recorded)
    lines = ["# not recorded; these make the same cells"]
    for env in dict.fromkeys(str(run.meta["env"]) for run in group.runs):
        mine = [run for run in group.runs if run.meta["env"] == env]
        words = ["mole", "eval", env]
        for option, key in (("--methods", "method"), ("--schedule", "schedule")):
            words += [option, *dict.fromkeys(str(run.meta[key]) for run in mine)]
        seeds = {run.meta["seed"] for run in mine}
        words += ["--seeds", str(len(seeds)), "--steps", str(max(len(run) for run in mine))]
        lines.append(shlex.join(words))
    return lines


_CLASS = {"shown": "yes", "not shown": "no", "not tested": "open"}


def first_screen(title: str, groups: Sequence[Group], found: Found, verdicts: Sequence[Verdict]) -> str:
    """Heading, what the page is about, and a line for every claim with its verdict."""
    paper = [verdict for verdict in verdicts if not verdict.claim.ours]
    shown = sum(verdict.word == "shown" for verdict in paper)
    failed = sum(not run.meta["complete"] for run in found.runs)
    cells = {(group.name, row.schedule) for group in groups for row in group.rows}
    about = (
        f"{len(found.runs):,} runs in {len(cells)} settings"
        + (f" of {len(groups)} groups" if len(groups) > 1 else "")
        + (f"; {failed} did not finish" if failed else "")
        + "."
    )
    lines = "".join(
        f'<li><a href="#{escape(v.claim.name)}">{escape(v.claim.text)}</a> {_badge(v)}'
        f"<small>{escape(v.count)}{' · ours' if v.claim.ours else ''}</small></li>"
        for v in verdicts
    )
    links = " · ".join(
        f'<a href="#family-{number}">{escape(group.title)}</a>' for number, group in enumerate(groups)
    )
    return (
        f'<header><p class="kicker">mole · a report</p><h1>{escape(title)}</h1>'
        f'<p class="lede">{shown} of the paper’s {len(paper)} claims shown. {escape(about)}</p>'
        '<p class="note">Verdicts are computed from the records by the rules below. Here mole is our rule, and '
        "mole-paper the paper’s.</p>"
        f'<ul class="claims">{lines}</ul>'
        f'<nav class="note">Results: {links} · <a href="#made">how this was made</a></nav></header>'
    )


def _badge(verdict: Verdict) -> str:
    return f'<span class="badge {_CLASS[verdict.word]}">{escape(verdict.word)}</span>'


def claim_cards(verdicts: Sequence[Verdict], drawing: Figures, colours: Mapping[str, str]) -> str:
    """A card for every claim: verdict, rule, figure, and the settings one by one."""
    parts = ["<h2>Claims</h2>"]
    for verdict in verdicts:
        claim = verdict.claim
        body = (
            f'<div class="card" id="{escape(claim.name)}"><h3>{escape(claim.text)} {_badge(verdict)}</h3>'
            f'<p class="note">Rule: {escape(claim.rule)} Here: {escape(verdict.count)}.</p>'
        )
        if verdict.evidence:
            body += drawing.pictures(
                f"{claim.text} {verdict.count}",
                lambda width, v=verdict: suite_figures.evidence(v.evidence, width=width, colours=colours),
                f"claim-{claim.name}",
            )
            items = "".join(f"<li>{escape(line)}</li>" for line in places(verdict))
            body += f'<details><summary>Setting by setting</summary><ul class="more">{items}</ul></details>'
        parts.append(body + "</div>")
    return "\n".join(parts)


_ALIGNED = (
    "Mean squared error of the normalised prediction, made before learning from the step; log scale. Lines: mean "
    "over runs, bands: its pointwise 95 % interval. Step 0 is the first under the new task; only a "
    "method that is told the task can foresee it."
)


def family_section(group: Group, drawing: Figures, colours: Mapping[str, str], *, anchor: str) -> str:
    """All that the records say about a group but its videos."""
    rows = group.rows
    envs = ", ".join(dict.fromkeys(str(run.meta["env"]) for run in group.runs))
    parts = [
        f'<h2 id="{anchor}">{escape(group.title)}</h2>',
        f'<p class="note">{escape(envs)}</p>' if envs != group.title else "",
        unfinished(group.runs),
        results_table(rows, colours, recall=False),  # it has a table of its own here
        recall_table(rows, colours),
    ]

    def card(heading: str, note: str, draw: object, name: str) -> None:
        parts.append(drawing.card(heading, note, draw, f"{group.name}-{name}"))  # pyright: ignore[reportArgumentType]

    dots = "Dots: runs. Tick and band: their interquartile mean and its 95 % interval."
    card(
        "Return per 1,000 steps",
        dots,
        lambda width: run_figures.returns_overview(rows, width=width, colours=colours),
        "returns",
    )
    card(
        "One-step error",
        f"{dots} Log scale.",
        lambda width: run_figures.returns_overview(rows, width=width, colours=colours, metric="error_all"),
        "errors",
    )
    parts += [_pooled(group, drawing, colours), ablation_table(group)]
    for setting in group.settings:
        parts.append(_setting(group, setting, drawing, colours))
    return "\n".join(part for part in parts if part)


def _pooled(group: Group, drawing: Figures, colours: Mapping[str, str]) -> str:
    scale, parts = group.scale, []
    # Settings that are left out for the same reason share one sentence.
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
    # A digest has no responsibilities, so the records of the first seeds are read once more. Those of an oracle would
    # repeat the truth.
    firsts = [
        EpisodeRecord.load(row.runs[0].source)
        for row in rows
        if row.method not in PRIVILEGED and row.runs[0].has_mixture and row.runs[0].source is not None
    ]
    if firsts and any(row.runs[0].truth_known for row in rows):
        parts.append(
            drawing.card(
                "Which task the learner believes in",
                f"{run_figures.ABOUT_BANDS} First seed.",
                lambda width: run_figures.task_bands(firsts, width=width, colours=colours),
                f"{name}-tasks",
            )
        )
    return "\n".join(parts)
