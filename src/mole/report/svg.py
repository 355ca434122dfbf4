"""A Matplotlib figure as inline SVG that follows the page's colours and font."""

from __future__ import annotations

import io
import re
from html import escape

import matplotlib
from matplotlib.figure import Figure

from mole.report.style import css_variables

__all__ = ["inline_svg"]


def inline_svg(figure: Figure, *, label: str, prefix: str) -> str:
    """The figure as one `<svg>` element, without external references.

    Args:
        figure: drawn with the colours of `mole.report.style`.
        label: what a screen reader says instead of it.
        prefix: unique in the page; it keeps the ids of several figures apart.
    """
    buffer = io.StringIO()
    # text stays text (the page's font, searchable); a fixed salt makes the same figure the same bytes
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mole"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'(?<=\s)(?:d|x|y)="[^"]*"', _rounded, text)
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
    """Without what says nothing: fonts (the page has one), null rotations, ids that nobody refers to, white space."""
    text = re.sub(r'font-family: [^;"]*;? ?', "", text)
    text = re.sub(r' transform="rotate\(-?0[^)]*\)"', "", text)
    wanted = set(re.findall(r'(?:url\(#|href="#)([\w-]+)', text))
    text = re.sub(rf' id="({prefix}-[\w.-]+)"', lambda found: found[0] if found[1] in wanted else "", text)
    text = re.sub(r' d="([^"]*)"', _path, text)
    text = re.sub(r"(: |; )(?=[^<>]*/?>)", lambda found: found[1].strip(), text)
    text = re.sub(r">\s+<", "><", text)
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
