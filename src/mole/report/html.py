"""One self-contained HTML page about a set of runs: opens offline, needs no script, loads nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mole.control.records import EpisodeRecord
from mole.files.atomic import atomic_file
from mole.report import figures
from mole.report.page import Figures, page, provenance, unfinished, video_cards
from mole.report.style import method_colours
from mole.report.table_html import results_table
from mole.report.tables import headline, rows_of

__all__ = ["write_report"]


def write_report(
    path: str | os.PathLike[str],
    runs: Sequence[EpisodeRecord],
    *,
    title: str,
    commands: Sequence[str],
    videos: Mapping[str, str | os.PathLike[str]] | None = None,
    no_video: str = "none was recorded",
) -> Path:
    """Write the report of `runs` to `path` as one HTML file, and return the path.

    The same runs give the same page, byte for byte. Runs that did not finish are listed, and judged only
    where their method has no finished run on the schedule (marked †).

    Args:
        path: the file to write; its folder must exist.
        runs: any methods, schedules and seeds; at least one with a step.
        title: heading of the page.
        commands: the command lines that produced the runs and this page.
        videos: caption → animated WebP file (see `render_webp`), embedded in the page.
        no_video: the reason shown where there is no video, for example from `rendering_available`.

    Raises:
        ValueError: if no run has a step, or a video is no WebP image.
    """
    rows = rows_of(runs)
    if not rows:
        raise ValueError(
            f"got {len(runs)} runs and none has a step, expected at least one: nothing to report"
        )
    film = video_cards(videos or {})  # first: what cannot be embedded is refused before anything is drawn
    film = film or f'<p class="note">No video: {escape(no_video.removeprefix("no video: "))}.</p>'
    colours = method_colours(row.method for row in rows)
    sentences = headline(rows)
    schedules = list(dict.fromkeys(row.schedule for row in rows))
    envs = list(dict.fromkeys(str(run.meta["env"]) for run in runs))
    counter = Figures()
    parts = [
        f'<header><p class="kicker">mole · {escape(", ".join(envs))}</p><h1>{escape(title)}</h1>',
        f'<p class="lede">{escape(sentences[0])}</p>',
    ]
    if sentences[1:]:
        parts.append(f'<ul class="more">{"".join(f"<li>{escape(s)}</li>" for s in sentences[1:])}</ul>')
    parts += ["</header>", unfinished(runs), results_table(rows, colours)]
    parts.append(
        counter.card(
            "Return per 1,000 steps",
            "Dots: runs. Tick and band: their mean and its 95 % interval.",
            lambda width: figures.returns_overview(rows, width=width, colours=colours),
        )
    )
    # Only runs that are judged are drawn: those cut short beside finished ones are in the list of the unfinished.
    for schedule in schedules:
        chosen = [run for row in rows if row.schedule == schedule for run in row.runs]
        parts.append(_schedule(schedule, chosen, colours, counter))
    judged = [run for row in rows for run in row.runs]
    parts += ["<h2>Video</h2>", film, "<h2>How this was made</h2>", provenance(judged, commands)]
    target = Path(path)
    with atomic_file(target) as file:
        file.write(page(title, "\n".join(parts)).encode())
    return target


def _schedule(
    schedule: str, runs: Sequence[EpisodeRecord], colours: Mapping[str, str], counter: Figures
) -> str:
    parts = [f"<h2>{escape(schedule)}</h2>"]

    def add(heading: str, note: str, draw: Callable[..., Figure]) -> None:
        parts.append(counter.card(heading, note, lambda width: draw(runs, width=width, colours=colours)))

    switching = any((np.diff(run.true_task) != 0).any() for run in runs)
    marks = " Vertical lines: the task switches." if switching else ""
    add("Return over time", f"Thick: mean over the runs; thin: single runs.{marks}", figures.return_over_time)
    add(
        "One-step error",
        "Mean squared error of the normalised prediction, made before learning from the step; log scale."
        + marks,
        figures.errors,
    )
    if any(run.has_mixture for run in runs):
        add(
            "Which task the learner believes in",
            figures.ABOUT_BANDS,
            figures.task_bands,
        )
    if any(np.isfinite(run.upright).any() for run in runs):
        add("Posture", "Green: upright; orange: on its back. Mean over the runs.", figures.posture)
    return "\n".join(parts)
