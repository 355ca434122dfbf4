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


def _rounded(attribute: re.Match[str]) -> str:
    """A tenth of a point is finer than a screen shows, and halves the page."""
    return re.sub(r"-?\d+\.\d{2,}", lambda number: f"{float(number[0]):.1f}", attribute[0])
