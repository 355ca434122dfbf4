"""Between command lines and configurations: the command that repeats a run, and settings given as text."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from mole.control.training import TrainingConfig

__all__ = ["parse_pairs", "parse_settings", "parse_shard", "train_command"]


def train_command(
    env: str,
    seed: int,
    config: TrainingConfig,
    default: TrainingConfig,
    **options: tuple[Any, Any],
) -> str:
    """The command that repeats a training, with the options that differ from their defaults, in a fixed order.

    Args:
        env: as given.
        seed: as given.
        config: amounts.
        default: amounts if none are given.
        options: (value, default) of every other option.
    """
    pairs = {name.replace("_", "-"): pair for name, pair in options.items()}
    usual = _options(default)
    pairs |= {name: (value, usual[name]) for name, value in _options(config).items()}
    extra = [_written(name, value) for name, (value, usual) in pairs.items() if value != usual]
    return " ".join(["mole train", env, *extra, f"--seed {seed}"])


def _written(name: str, value: Any) -> str:
    if isinstance(value, bool):
        head, _, tail = name.rpartition(".")
        return f"--{name}" if value else f"--{head}.no-{tail}" if head else f"--no-{tail}"
    return f"--{name} {' '.join(map(str, value)) if isinstance(value, tuple) else value}"


def _options(config: Any, prefix: str = "") -> dict[str, Any]:
    options: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        name, value = prefix + field.name.replace("_", "-"), getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            options |= _options(value, f"{name}.")
        else:
            options[name] = value
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
    for name, value in parse_pairs("--setting", pairs, "step_scale=0.1").items():
        try:
            settings[name.replace("-", "_")] = json.loads(value)
        except json.JSONDecodeError:
            settings[name.replace("-", "_")] = value
    return settings


def parse_pairs(option: str, pairs: Sequence[str], example: str) -> dict[str, str]:
    """NAME=VALUE texts as a dictionary.

    Raises:
        ValueError: for a text of another form.
    """
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals and value):
            raise ValueError(f"{option} got {pair!r}; expected NAME=VALUE, for example {example}.")
        found[name] = value
    return found


def parse_shard(text: str) -> tuple[int, int]:
    """``2/3`` as (2, 3).

    Raises:
        ValueError: for a text of another form.
    """
    number, _, shards = text.partition("/")
    if not (number.isdecimal() and shards.isdecimal() and 1 <= int(number) <= int(shards)):
        raise ValueError(f"--shard got {text!r}; expected I/N with I from 1 to N, for example 1/2.")
    return int(number), int(shards)
