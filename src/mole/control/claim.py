"""A folder belongs to one configuration: results of different ones are never mixed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mole.atomic import atomic_text

__all__ = ["claim_folder"]

_REMEDY = "choose another folder, or delete this one."


def claim_folder(folder: Path, name: str, description: Mapping[str, Any]) -> None:
    """Make ``folder`` and write ``description`` to the JSON file ``name``, or check that it says the same already.

    Raises:
        ValueError: if the folder holds something with another description.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, text = folder / name, json.dumps(dict(description), indent=2, sort_keys=True)
    if not path.exists():
        atomic_text(path, text + "\n")
        return
    try:
        old, new = json.loads(path.read_text("utf-8")), json.loads(text)
    except (
        ValueError,
        RecursionError,
    ) as error:  # also of bytes that are no text, and of brackets without end
        raise ValueError(f"{path} is no JSON ({error}); {_REMEDY}") from error
    if not isinstance(old, dict):
        raise ValueError(f"{path} holds a {type(old).__name__}, expected names with values; {_REMEDY}")  # noqa: TRY004
    if old != new:
        differing = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        raise ValueError(
            f"{folder} holds results of another configuration: {name} differs in {', '.join(differing)[:300]}. "
            f"{_REMEDY.capitalize()}"
        )
