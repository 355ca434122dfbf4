"""What the site's reference is made of: every public name is on a page, and its docstring tells shapes and units."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import GenericAlias
from typing import Any

import pytest

PAGES = "".join(path.read_text() for path in sorted((Path(__file__).parents[1] / "docs").glob("*.md")))
LISTED = re.findall(r"^::: (mole[\w.]+)$", PAGES, re.MULTILINE)
ROOMS = "control datasets envs estimators forecasting meta online planning priors readout"
OPEN = ("mole.readout.Belief", "mole.readout.Readout", "mole.readout.ReadoutState")
"""Parts of a state that are public for whoever writes a learner of readouts; `docs/readout.md` tells of them."""
META_LOSS = (
    "mole.meta.TrainProgress",
    "mole.meta.adapted_loss",
    "mole.meta.adapted_loss_mlp",
    "mole.meta.meta_loss",
)
ARRAY = re.compile(r"\b(?:Array|ndarray)\b")
# With a number as the other choice it is one number, which may be traced.
TOLD = re.compile(r"""["'].*["']|\bfloat\b""")


def thing(name: str) -> Any:
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


def test_every_public_name_is_on_a_page_of_the_reference() -> None:
    listed = [thing(name) for name in LISTED]
    public = [f"mole.{room}.{name}" for room in ROOMS.split() for name in thing(f"mole.{room}").__all__]
    public += [f"mole.{name}" for name in importlib.import_module("mole").__all__]
    missing = {name for name in public if not any(thing(name) is one for one in listed)}
    assert missing == {*OPEN, *META_LOSS}
    assert len(LISTED) == len(set(LISTED))


def functions(name: str) -> Iterator[tuple[str, Any, str]]:
    """A function, or the public methods and properties of a class: name, function, and text that may tell of it."""
    one = thing(name)
    if inspect.isfunction(one):
        yield name, one, inspect.getdoc(one) or ""
    for key, found in inspect.getmembers(one) if inspect.isclass(one) else ():
        function = inspect.unwrap(found.fget if isinstance(found, property) else found)
        ours = inspect.isfunction(function) and function.__module__.startswith("mole")
        if ours and key == "__init__":
            yield f"{name}.{key}", function, inspect.getdoc(one) or ""
        elif ours and not key.startswith("_"):
            # What a base says of a method holds for its overrides too.
            told = [
                vars(base)[key]
                for base in one.__mro__
                if base.__module__.startswith("mole") and key in vars(base)
            ]
            yield f"{name}.{key}", function, "\n".join(inspect.getdoc(part) or "" for part in told)


def untold(name: str) -> list[str]:
    """Arguments and results that are arrays, of a shape that neither annotation nor docstring tells."""
    found = []
    for place, function, text in functions(name):
        for argument, kind in function.__annotations__.items():
            if ARRAY.search(str(kind)) and not TOLD.search(str(kind)):
                entry = re.search(rf"^ *{argument}: (.*?)(?=^ *\w+: |\Z)", text, re.MULTILINE | re.DOTALL)
                if "[" not in (entry[1] if entry else text):
                    found.append(f"{place}: {argument}: {kind}")
    return found


@pytest.mark.parametrize("name", LISTED)
def test_a_docstring_tells_the_shapes_of_arrays(name: str) -> None:
    one = thing(name)
    assert (inspect.getdoc(one) or "").strip() or not callable(one) or isinstance(one, GenericAlias)
    assert untold(name) == []


def test_a_shape_that_is_not_told_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(x, y, z):
        """Twice x.

        Args:
            x: anything.
            y: targets ``[n]``.
        """

    careless.__annotations__ = {"x": "np.ndarray", "y": "np.ndarray", "z": 'Float[Array, " n"]'}
    monkeypatch.setattr("mole.planning.rollout", careless)
    assert untold("mole.planning.rollout") == ["mole.planning.rollout: x: np.ndarray"]


@pytest.mark.parametrize("name", ["HalfCheetahMotorsEnv", "HalfCheetahTerrainEnv", "CrawlerLegsEnv"])
def test_the_page_of_an_environment_has_a_unit_for_every_entry_of_the_observation(name: str) -> None:
    env = thing(f"mole.envs.{name}")
    text = inspect.getdoc(env) or ""
    (table,) = re.findall(r"^\| Num +\|.*?\| Unit +\|\n(.*?)\n\n", text, re.MULTILINE | re.DOTALL)
    entries: set[int] = set()
    for row in table.splitlines()[1:]:
        number, _, unit = (cell.strip() for cell in row.strip("|").split("|"))
        first, *rest = (int(part) for part in re.findall(r"\d+", number))
        entries |= {first, *rest} if "," in number else set(range(first, max([first, *rest]) + 1))
        assert unit
    assert entries == set(range(env.dynamics.obs_dim))
    assert all(
        f"## {part}" in text
        for part in ("Action space", "Rewards", "Episode end", "Tasks", "Version history")
    )
