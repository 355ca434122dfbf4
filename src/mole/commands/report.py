"""``mole report``: one page about all records in some folders. It needs no simulator: only its videos do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from mole.commands.common import console
from mole.report.suite import write_suite_report

__all__ = ["report"]


def report(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional],
    out: Path | None = None,
    figures: Path | None = None,
    videos: bool = True,
    title: str = "Deep online learning in worlds that break",
) -> None:
    """Write one self-contained page about all records in the folders: claims, tables, curves, videos.

    Args:
        runs: folders of records, of a suite or of several evaluations; their subfolders are searched too.
        out: file of the page; report.html in the first folder if not given.
        figures: a folder for every figure as PNG and SVG.
        videos: whether the page has videos of the runs whose actions were saved (needs EGL).
        title: heading of the page.
    """
    if not runs:
        raise ValueError(
            "mole report got no folder; expected one or more with records: mole report runs/paper."
        )
    path = runs[0] / "report.html" if out is None else out
    path.parent.mkdir(parents=True, exist_ok=True)
    console.print(f"report: {write_suite_report(path, runs, figures=figures, videos=videos, title=title)}")
