"""What every page of ours is made of: the frame, cards with figures drawn for two widths, and where runs came from."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from mole.control.records import EpisodeRecord
from mole.report.digest import Digest, setting_of
from mole.report.drawing import NARROW, WIDE
from mole.report.style import css_variables
from mole.report.svg import inline_svg

__all__ = ["Figures", "page", "provenance", "unfinished", "video_cards"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_MOST_LISTED = 40


def page(title: str, body: str) -> str:
    """The whole document: one style sheet, light and dark, and a policy that lets it load and run nothing."""
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


class Figures:
    """Draws the figures of a page, numbered so that the ids inside of their SVGs stay apart.

    With a folder, every figure is also saved there as PNG and SVG, for papers.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Start counting; make the folder."""
        self.count = 0
        self._folder = folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def pictures(self, label: str, draw: Callable[[float], Figure], name: str = "") -> str:
        """A figure drawn twice, for a desktop and for a phone; the style sheet shows one of them.

        Args:
            label: what a screen reader says instead.
            draw: from a width in inches to the figure.
            name: file name without suffix, where figures are saved.
        """
        self.count += 1
        parts = ""
        for kind, width in (("wide", WIDE), ("narrow", NARROW)):
            figure = draw(width)
            drawn = inline_svg(figure, label=label, prefix=f"{kind[0]}{self.count}")
            parts += f'<figure class="{kind}">{drawn}</figure>'
            if self._folder is not None and name and kind == "wide":
                # after the page's picture: every drawing settles the layout a little more
                stem = self._folder / re.sub(r"[^\w+.-]+", "-", name).strip("-")
                figure.savefig(f"{stem}.png", dpi=200, facecolor="white")
                figure.savefig(f"{stem}.svg", facecolor="white")
        return parts

    def card(self, heading: str, note: str, draw: Callable[[float], Figure], name: str = "") -> str:
        """The figure in a card with its heading and a note on how to read it; see `pictures`."""
        return (
            f'<div class="card"><h3>{escape(heading)}</h3><p class="note">{escape(note)}</p>'
            f"{self.pictures(f'{heading}. {note}', draw, name)}</div>"
        )


def unfinished(runs: Sequence[EpisodeRecord] | Sequence[Digest]) -> str:
    """The runs that stopped early, with the reason; empty if there is none."""
    cut = [run for run in runs if not run.meta["complete"]]
    if not cut:
        return ""
    items = [
        f"<li>{escape(str(run.meta['method']))} on "
        f"{escape(setting_of(run))}, seed "
        f"{escape(str(run.meta['seed']))}: {len(run):,} steps; "
        f"{escape(str(run.meta['error'] or 'no error given'))}</li>"
        for run in cut
    ]
    more = len(items) - _MOST_LISTED
    items = [*items[:_MOST_LISTED], *([f"<li>and {more} more</li>"] if more > 0 else [])]
    return (
        '<div class="card warn"><h3>Runs that did not finish</h3>'
        f'<ul class="more">{"".join(items)}</ul></div>'
    )


def video_cards(videos: Mapping[str, str | os.PathLike[str]]) -> str:
    """One card per caption → animated WebP file.

    Raises:
        ValueError: if a file is no WebP image.
    """
    parts = []
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


def provenance(runs: Sequence[EpisodeRecord] | Sequence[Digest], commands: Sequence[str]) -> str:
    """Commands, seeds, versions, machine, and the configuration of the first run of each method."""
    metas = [run.meta for run in runs]
    lines = escape("\n".join(commands)) or "not recorded"
    facts = {
        "seeds": _counted([meta["seed"] for meta in metas]),
        "steps": ", ".join(dict.fromkeys(f"{len(run):,}" for run in runs)),
        "step": ", ".join(dict.fromkeys(f"{meta['step_seconds']:g} s" for meta in metas)),
    }
    for key in ("prior", "versions", "machine"):
        found = dict.fromkeys(_plain(meta[key]) for meta in metas if meta.get(key) not in (None, "", {}))
        facts[key] = " · ".join(found) or "not recorded"
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts.items())
    settings: dict[str, Any] = {}
    for meta in metas:
        settings.setdefault(str(meta["method"]), meta.get("configuration"))
    details = "".join(
        f"<details><summary>{escape(method)}</summary>"
        f"<pre>{escape(json.dumps(value, indent=2))}</pre></details>"
        for method, value in settings.items()
        if value not in (None, {})
    )
    title = "Configuration (first run of each method)"
    return f'<div class="card"><h3>Commands</h3><pre>{lines}</pre><dl>{listed}</dl></div>' + (
        f'<div class="card"><h3>{title}</h3>{details}</div>' if details else ""
    )


def _counted(seeds: Sequence[object]) -> str:
    """0–9 rather than ten numbers; in the order of appearance where they do not follow each other."""
    different = list(dict.fromkeys(seeds))
    numbers = sorted(seed for seed in different if isinstance(seed, int))
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[0] + len(different))):
        return f"{numbers[0]}–{numbers[-1]}"
    return ", ".join(str(seed) for seed in different)


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return str(value)
