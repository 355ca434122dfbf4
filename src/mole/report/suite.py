"""The report of a suite: all families, every claim with its verdict, one HTML page that opens offline."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from html import escape
from pathlib import Path

from mole.files.atomic import atomic_file
from mole.report.claims import judge
from mole.report.digest import Found, find_records
from mole.report.family import family_section
from mole.report.footage import film
from mole.report.groups import Group, group_runs
from mole.report.page import Figures, page, provenance
from mole.report.style import method_colours
from mole.report.summary import claim_cards, first_screen

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
        parts.append(provenance(_made(group), commands or _commands(group)))
    with atomic_file(target) as file:
        file.write(page(title, "\n".join(parts)).encode())
    return target


def _unreadable(found: Found) -> str:
    if not found.unreadable:
        return ""
    items = "".join(f"<li>{escape(reason)}</li>" for _, reason in found.unreadable)
    return f'<div class="card warn"><h3>Records that cannot be read</h3><ul class="more">{items}</ul></div>'


def _made(group: Group) -> list:
    return [run for row in [*group.rows, *group.ablated] for run in row.runs]


def _commands(group: Group) -> list[str]:
    """The commands in the headers; otherwise one per environment that makes the same cells."""
    told = dict.fromkeys(str(run.meta["command"]) for run in group.runs if run.meta.get("command"))
    if told:
        return list(told)
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
