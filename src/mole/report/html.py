"""One self-contained HTML page about a set of runs: opens offline, needs no script, loads nothing."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mole.atomic import atomic_file
from mole.control.records import EpisodeRecord
from mole.report import figures
from mole.report.drawing import NARROW, WIDE
from mole.report.style import css_variables, method_colours
from mole.report.svg import inline_svg
from mole.report.table_html import results_table
from mole.report.tables import Row, headline, rows_of

__all__ = ["write_report"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


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
    film = _videos(
        videos or {}, no_video
    )  # first: what cannot be embedded is refused before anything is drawn
    colours = method_colours(row.method for row in rows)
    sentences = headline(rows)
    schedules = list(dict.fromkeys(row.schedule for row in rows))
    envs = list(dict.fromkeys(str(run.meta["env"]) for run in runs))
    counter = _Figures()
    parts = [
        f'<header><p class="kicker">mole · {escape(", ".join(envs))}</p><h1>{escape(title)}</h1>',
        f'<p class="lede">{escape(sentences[0])}</p>',
    ]
    if sentences[1:]:
        parts.append(f'<ul class="more">{"".join(f"<li>{escape(s)}</li>" for s in sentences[1:])}</ul>')
    parts += ["</header>", _unfinished(runs), results_table(rows, colours)]
    parts.append(
        counter.card(
            "Return per 1,000 steps",
            "Dots: runs. Tick and band: their mean and its 95 % interval.",
            lambda width: figures.returns_overview(rows, width=width, colours=colours),
        )
    )
    for schedule in schedules:
        chosen = [run for row in rows if row.schedule == schedule for run in row.runs]
        parts.append(_schedule(schedule, chosen, colours, counter))
    parts += [film, _provenance(rows, commands)]
    target = Path(path)
    with atomic_file(target) as file:
        file.write(_page(title, "\n".join(parts)).encode())
    return target


def _page(title: str, body: str) -> str:
    _, light, dark = css_variables()
    css = resources.files("mole.report").joinpath("page.css").read_text(encoding="utf-8")
    css = css.replace("/*light*/", light).replace("/*dark*/", dark)
    body = f"<body><main>\n{body}\n</main></body>"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title>\n<style>\n{css}</style></head>\n{body}</html>\n"
    )


class _Figures:
    """Numbers the figures of a page, so that the ids inside of their SVGs stay apart."""

    def __init__(self) -> None:
        self.count = 0

    def card(self, heading: str, note: str, draw: Callable[[float], Figure]) -> str:
        """A figure drawn twice, for a desktop and for a phone; the style sheet shows one of them."""
        self.count += 1
        label = f"{heading}. {note}"
        pictures = ""
        for name, width in (("wide", WIDE), ("narrow", NARROW)):
            drawn = inline_svg(draw(width), label=label, prefix=f"{name[0]}{self.count}")
            pictures += f'<figure class="{name}">{drawn}</figure>'
        return (
            f'<div class="card"><h3>{escape(heading)}</h3><p class="note">{escape(note)}</p>{pictures}</div>'
        )


def _schedule(
    schedule: str, runs: Sequence[EpisodeRecord], colours: Mapping[str, str], counter: _Figures
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
            "Upper strip: the true task, which the learner never sees (an oracle does). Below: the "
            "probabilities of its own tasks, each coloured like the true task that it served most. "
            "Triangles: a task was added.",
            figures.task_bands,
        )
    if any(np.isfinite(run.upright).any() for run in runs):
        add("Posture", "Green: upright; orange: on its back. Mean over the runs.", figures.posture)
    return "\n".join(parts)


def _unfinished(runs: Sequence[EpisodeRecord]) -> str:
    cut = [run for run in runs if not run.meta["complete"]]
    if not cut:
        return ""
    items = "".join(
        f"<li>{escape(str(run.meta['method']))} on {escape(str(run.meta['schedule']))}, seed "
        f"{escape(str(run.meta['seed']))}: {len(run):,} steps; "
        f"{escape(str(run.meta['error'] or 'no error given'))}</li>"
        for run in cut
    )
    return f'<div class="card warn"><h3>Runs that did not finish</h3><ul class="more">{items}</ul></div>'


def _videos(videos: Mapping[str, str | os.PathLike[str]], reason: str) -> str:
    if not videos:
        return f'<h2>Video</h2><p class="note">No video: {escape(reason.removeprefix("no video: "))}.</p>'
    parts = ["<h2>Video</h2>"]
    for caption, path in videos.items():
        data = Path(path).read_bytes()
        if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
            raise ValueError(f"video {path} is no WebP image: make it with mole.report.render_webp")
        source = f"data:image/webp;base64,{base64.b64encode(data).decode()}"
        parts.append(
            f'<div class="card video"><h3>{escape(caption)}</h3>'
            f'<img src="{source}" alt="{escape(caption)}"></div>'
        )
    return "\n".join(parts)


def _provenance(rows: Sequence[Row], commands: Sequence[str]) -> str:
    metas = [run.meta for row in rows for run in row.runs]
    lines = escape("\n".join(commands)) or "not recorded"
    facts = {
        "seeds": ", ".join(dict.fromkeys(str(meta["seed"]) for meta in metas)),
        "steps": ", ".join(dict.fromkeys(f"{len(run):,}" for row in rows for run in row.runs)),
        "step": ", ".join(dict.fromkeys(f"{meta['step_seconds']:g} s" for meta in metas)),
    }
    for key in ("prior", "versions", "machine"):
        found = dict.fromkeys(_plain(meta[key]) for meta in metas if meta.get(key) not in (None, "", {}))
        facts[key] = " · ".join(found) or "not recorded"
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts.items())
    settings = {row.method: row.runs[0].meta.get("configuration") for row in rows}
    details = "".join(
        f"<details><summary>{escape(method)}</summary>"
        f"<pre>{escape(json.dumps(value, indent=2))}</pre></details>"
        for method, value in settings.items()
        if value not in (None, {})
    )
    return (
        '<h2>How this was made</h2><div class="card"><h3>Commands</h3>'
        f"<pre>{lines}</pre><dl>{listed}</dl></div>"
        + (
            f'<div class="card"><h3>Configuration (first run of each method)</h3>{details}</div>'
            if details
            else ""
        )
    )


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return str(value)
