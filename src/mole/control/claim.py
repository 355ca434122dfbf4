"""A folder belongs to one configuration: results of different ones are never mixed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["claim_folder"]


def claim_folder(folder: Path, name: str, description: Mapping[str, Any]) -> None:
    """Make ``folder`` and write ``description`` to the JSON file ``name``, or check that it says the same already.

    Raises:
        ValueError: if the folder holds something with another description.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, text = folder / name, json.dumps(dict(description), indent=2, sort_keys=True)
    if not path.exists():
        path.write_text(text + "\n")
        return
    old, new = json.loads(path.read_text()), json.loads(text)
    if old != new:
        differing = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        raise ValueError(
            f"{folder} holds results of another configuration: {name} differs in {', '.join(differing)}. "
            "Choose another folder, or delete this one."
        )
