"""Between command lines and configurations: the command that repeats a run, and settings given as text."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from mole.control.training import TrainingConfig

__all__ = ["parse_settings", "train_command"]


def train_command(env: str, tasks: str, switch_every: int, seed: int, config: TrainingConfig) -> str:
    """The command that repeats a training, with the options that differ from their defaults, in a fixed order."""
    default = {"tasks": "signs", "switch-every": 200, **_options(TrainingConfig())}
    given = {"tasks": tasks, "switch-every": switch_every, **_options(config)}
    extra = [f"--{name} {value}" for name, value in given.items() if value != default[name]]
    return " ".join(["mole train", env, *extra, f"--seed {seed}"])


def _options(config: Any, prefix: str = "") -> dict[str, str]:
    options: dict[str, str] = {}
    for field in dataclasses.fields(config):
        name, value = prefix + field.name.replace("_", "-"), getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            options |= _options(value, f"{name}.")
        else:
            options[name] = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return options


def parse_settings(pairs: tuple[str, ...], methods: tuple[str, ...]) -> dict[str, Any] | None:
    """Settings from NAME=VALUE texts; None if there are none.

    Raises:
        ValueError: for a text of another form, or several methods (their settings differ).
    """
    if not pairs:
        return None
    if len(methods) != 1:
        raise ValueError(f"--setting got {len(methods)} methods; expected one, since their settings differ.")
    settings = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"--setting got {pair!r}; expected NAME=VALUE, for example step_scale=0.1.")
        try:
            settings[name.replace("-", "_")] = json.loads(value)
        except json.JSONDecodeError:
            settings[name.replace("-", "_")] = value
    return settings
