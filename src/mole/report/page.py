"""What every page is made of: the frame, cards with figures drawn for two widths, and where runs came from.

A page is one file that opens offline, needs no script and loads nothing: figures are inline SVG that follows the page's
colours and font, videos are data.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from mole.control.records import EpisodeRecord
from mole.report.digest import Digest, setting_of
from mole.report.drawing import NARROW, WIDE
from mole.report.style import css_variables

__all__ = ["Figures", "inline_svg", "page", "provenance", "unfinished", "video_cards"]

# Titles, schedules and errors come from files. Whatever they hold, a page with this policy loads and runs nothing.
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
                # After the page's picture: every drawing settles the layout a little more.
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


def inline_svg(figure: Figure, *, label: str, prefix: str) -> str:
    """The figure as one `<svg>` element, without external references.

    Args:
        figure: drawn with the colours of `mole.report.style`.
        label: what a screen reader says instead of it.
        prefix: unique in the page; it keeps the ids of several figures apart.
    """
    buffer = io.StringIO()
    # Text stays text (the page's font, searchable); a fixed salt makes the same figure the same bytes.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mole"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'(?<=\s)(?:d|x|y)="[^"]*"', _rounded, text)
    # Ids must differ between the figures of a page, or all would be clipped by the first one's frame.
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", text)
    text = re.sub(r'font: ([^;"]*?\d+(?:\.\d+)?px) [^;"]*', r"font: \1 var(--font)", text)
    text = _slim(text, prefix)
    for colour, variable in css_variables()[0].items():
        text = text.replace(colour, variable)
    box = re.search(r'viewBox="[^"]*"', text)
    if box is None:
        raise RuntimeError(
            "Matplotlib wrote an SVG without a viewBox: its format has changed, adapt inline_svg"
        )
    head = (
        f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" {box[0]} role="img" aria-label="{escape(label)}">'
    )
    return head + re.sub(r"^<svg.*?>", "", text, count=1, flags=re.S).strip()


def _slim(text: str, prefix: str) -> str:
    """Without what changes nothing: fonts (the page has one), null rotations, ids without a reference, white space."""
    text = re.sub(r'font-family: [^;"]*;? ?', "", text)
    text = re.sub(r' transform="rotate\(-?0[^)]*\)"', "", text)
    wanted = set(re.findall(r'(?:url\(#|href="#)([\w-]+)', text))
    text = re.sub(rf' id="({prefix}-[\w.-]+)"', lambda found: found[0] if found[1] in wanted else "", text)
    text = re.sub(r' d="([^"]*)"', _path, text)
    text = re.sub(r"(: |; )(?=[^<>]*/?>)", lambda found: found[1].strip(), text)
    text = re.sub(r">\s+<", "><", text)
    # Groups lie in groups, and a regular expression finds the innermost alone: again, until there is none.
    while (shorter := re.sub(r"<g>((?:(?!</?g[ >/]).)*)</g>|<g/>", r"\1", text, flags=re.S)) != text:
        text = shorter
    return text


def _path(found: re.Match[str]) -> str:
    """`M 1.0 2.0 L 3.0 2.0 L 3.4 1.0 ` as `M1 2h2l.4-1`: relative, in tenths, so that errors do not add up."""
    tokens = found[1].split()
    if set("".join(tokens)) & set("CQSTA"):  # the curves of a marker, drawn once
        return f' d="{re.sub(r"(?<=[A-Za-z]) | (?=[A-Za-z])", "", " ".join(tokens))}"'
    out, last, here, place = [], "", (0, 0), 0
    while place < len(tokens):
        word = tokens[place]
        if word in "zZ":
            out.append("z")
            last, place = "z", place + 1
            continue
        there = round(10 * float(tokens[place + 1])), round(10 * float(tokens[place + 2]))
        place += 3
        dx, dy = there[0] - here[0], there[1] - here[1]
        if word == "L" and dx == dy == 0 and last != "M":
            continue
        if word == "M":
            letter, numbers = "M", there
        else:
            letter, numbers = ("h", (dx,)) if dy == 0 else ("v", (dy,)) if dx == 0 else ("l", (dx, dy))
        here = there
        text = "".join(_tenths(number, first=index == 0) for index, number in enumerate(numbers))
        joined = letter == last and letter != "M"
        out.append((" " if joined and text[0] != "-" else "" if joined else letter) + text)
        last = letter
    return f' d="{"".join(out)}"'


def _tenths(number: int, *, first: bool) -> str:
    text = f"{abs(number) // 10 or ''}" + (f".{abs(number) % 10}" if number % 10 else "")
    return ("-" if number < 0 else "" if first else " ") + (text or "0")


def _rounded(attribute: re.Match[str]) -> str:
    """A tenth of a point is finer than a screen shows, and halves the page."""
    return re.sub(r"-?\d+\.\d{2,}", lambda number: f"{float(number[0]):.1f}", attribute[0])
