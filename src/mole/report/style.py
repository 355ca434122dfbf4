"""One look for figures and page: the same colour for the same method everywhere, in light and in dark.

Figures are drawn with the light colours. Inside the page every such colour becomes a CSS variable, so that the same
inline SVG also reads on a dark page. The colours of methods are in their records (`mole.experiment.methods`); they
differ in lightness too, for people with a colour-vision deficiency, and every line is also labelled directly.
"""

from __future__ import annotations

from collections.abc import Iterable

from mole.experiment.methods import BY_NAME, TABLE

__all__ = [
    "GRID",
    "INK",
    "METHODS",
    "MUTED",
    "SURFACE",
    "TASKS",
    "css_variables",
    "dashes",
    "method_colours",
    "ordered",
]

# name: (light, dark)
INK, MUTED, GRID, SURFACE = "#1c2532", "#667286", "#e3e7ed", "#fefefe"
_PAGE = {
    "ink": (INK, "#e8ecf2"),
    "muted": (MUTED, "#98a4b6"),
    "grid": (GRID, "#2b3442"),
    "surface": (SURFACE, "#171d27"),
}

METHODS = {
    method.name: method.colour
    for method in sorted(TABLE, key=lambda one: one.order)
    if method.colour is not None
}
"""Methods with a colour of their own, in the order in which they are listed: name → colour on light, on dark."""

_SPARE = [("#5a48b0", "#a99df5"), ("#3e7b2c", "#8fcc78"), ("#b4501b", "#f2935f"), ("#2c6d8c", "#7cbcdb")]
"""For all other names: ablations, the simulator, and methods of other versions."""

TASKS = ["#6f9fd8", "#e9a36b", "#7fc09a", "#c39bd3", "#dcc661", "#8fa9b8", "#d98b8b", "#a3b86c"]
"""Colours of tasks and slots: mid-tones that read on white and on dark, none of them a method's."""


def ordered(methods: Iterable[str]) -> list[str]:
    """Each method once: known ones in the order of `METHODS`, then the others by name."""
    names = set(methods)
    return [name for name in METHODS if name in names] + sorted(names - set(METHODS))


def method_colours(methods: Iterable[str]) -> dict[str, str]:
    """The light colour of every method; pass all methods of a report, so that its figures agree."""
    names = list(methods)
    others = [name for name in ordered(names) if name not in METHODS]
    pairs = METHODS | {name: _SPARE[i % len(_SPARE)] for i, name in enumerate(others)}
    return {name: pairs[name][0] for name in names}


def dashes(method: str) -> tuple[float, tuple[float, float] | None]:
    """Matplotlib line style: solid but for the few methods that a dash sets apart."""
    return (0.0, BY_NAME[method].dash if method in BY_NAME else None)


def css_variables() -> tuple[dict[str, str], str, str]:
    """Colour → CSS variable, and the declarations of the variables for light and for dark pages."""
    colours = {f"--{name}": pair for name, pair in _PAGE.items()}
    colours |= {f"--m{i}": pair for i, pair in enumerate([*METHODS.values(), *_SPARE])}
    light = "".join(f"{name}:{pair[0]};" for name, pair in colours.items())
    dark = "".join(f"{name}:{pair[1]};" for name, pair in colours.items())
    return {pair[0]: f"var({name})" for name, pair in colours.items()}, light, dark
