"""Priors that ship with the package, by name: of controlled worlds, and of families of streams.

`mole train NAME` trains those of a world again, and ``python -m mole.priors.shipped FOLDER`` those of streams.
"""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from mole._expect import expect_choice
from mole.files import checkpoint

__all__ = ["ASSETS", "CONTROL", "STREAMS", "ControlPrior", "control_files", "make", "names", "shipped_file"]

ASSETS = Path(str(resources.files("mole") / "assets"))
"""The folder of the files."""
_SUPERVISED = "/supervised"
_TASKS, _LENGTH, _SEED = 2000, 40, 0  # of every prior for streams


class ControlPrior(NamedTuple):
    """A prior for control.

    Attributes:
        env: Gymnasium id of the environment in which it was trained.
        stem: name of its file without the ending.
        title: what it was trained on.
    """

    env: str
    stem: str
    title: str


CONTROL = {
    "motors": ControlPrior(
        "mole/HalfCheetahMotors-v0", "half_cheetah_motors", "half-cheetah, failing motors"
    ),
    "motors-few": ControlPrior(
        "mole/HalfCheetahMotors-v0",
        "half_cheetah_motors_few",
        "half-cheetah, at most one reversed motor",
    ),
    "motors-upright": ControlPrior(
        "mole/HalfCheetahMotors-v0",
        "half_cheetah_motors_upright",
        "half-cheetah, failing motors, on its feet",
    ),
    "terrain": ControlPrior(
        "mole/HalfCheetahTerrain-v0", "half_cheetah_terrain", "half-cheetah, hills and valleys"
    ),
    "crawler": ControlPrior("mole/CrawlerLegs-v0", "crawler_legs", "six-legged crawler, failing legs"),
}
"""Name of a controlled world → its prior. Where two worlds share an environment, the id means the first."""

STREAMS = {
    "sinusoids": "y = A sin(x + φ) + noise; A in [0.1, 5], x in [−5, 5]",
    "linear-5": "linear in 5 standard normal inputs, with a constant",
}
"""Name of a family of streams → what its tasks are."""


def names() -> dict[str, str]:
    """Every name that `mole.load_prior` knows → what that prior was trained on.

    A controlled world has two priors: ``motors`` is meta-trained, ``motors/supervised`` is its baseline, trained on the
    same data without inner steps. The id of an environment (``mole/HalfCheetahMotors-v0``) is a name of its world.
    """
    worlds = {name: prior.title for name, prior in CONTROL.items()}
    for prior in CONTROL.values():
        worlds.setdefault(prior.env, prior.title)
    baselines = {f"{name}{_SUPERVISED}": f"{title}; supervised" for name, title in worlds.items()}
    return {**worlds, **baselines, **STREAMS}


def shipped_file(name: str) -> Path | None:
    """The file of the prior of that name, one of `names`; None for any other name.

    Raises:
        FileNotFoundError: if the file is not in this installation.
    """
    if name in STREAMS:
        return _present(ASSETS / "zoo" / f"{name}.mole", name, "python -m mole.priors.shipped FOLDER")
    world = name.removesuffix(_SUPERVISED)
    if _control(world) is None:
        return None
    meta, supervised = control_files(world)
    return meta if world == name else supervised


def control_files(name: str) -> tuple[Path, Path]:
    """Files of the meta-trained prior of a controlled world and of its supervised baseline.

    Args:
        name: of the world (``terrain``), or the id of its environment.

    Raises:
        FileNotFoundError: if no prior for it ships with the package, or the file is not in this installation.
    """
    prior = _control(name)
    if prior is None:
        known = dict.fromkeys(known for name, prior in CONTROL.items() for known in (name, prior.env))
        raise FileNotFoundError(
            f"no prior for {name} comes with the package (there are some for {', '.join(known)}). "
            f"Make one: mole train {name}"
        )
    meta, supervised = (
        _present(
            ASSETS / f"{prior.stem}{kind}.mole",
            name,
            f"mole train {name}, and pass its prior.mole as --prior",
        )
        for kind in ("", "_supervised")
    )
    return meta, supervised


def _control(name: str) -> ControlPrior | None:
    return CONTROL.get(name) or next((prior for prior in CONTROL.values() if prior.env == name), None)


def _present(path: Path, name: str, command: str) -> Path:
    if not path.is_file():
        raise FileNotFoundError(
            f"the prior {path.name} for {name} is not in this installation. Make it: {command}."
        )
    return path


def make(name: str, path: Path) -> dict[str, Any]:
    """Train the prior of a family of streams again and write it to ``path``.

    Returns:
        The provenance in its header.

    Raises:
        ValueError: if there is no such family.
    """
    # Imported here: to find a shipped file needs neither an optimiser nor the generators of data.
    from mole.datasets.sinusoid import sinusoid_tasks
    from mole.datasets.teachers import stationary_stream
    from mole.priors.stream import fit_prior
    from mole.priors.stream_file import describe_file

    expect_choice("shipped.make", "name", name, STREAMS)
    if name == "sinusoids":
        tasks = sinusoid_tasks(_TASKS, _LENGTH, _SEED)
    else:
        seeds = range(_SEED * _TASKS, (_SEED + 1) * _TASKS)
        tasks = [stationary_stream("linear", _LENGTH, seed, name="zoo-linear").trajectory() for seed in seeds]
    provenance = {
        "command": f"python -m mole.priors.shipped, {name}",
        "family": STREAMS[name],
        "tasks": _TASKS,
        "pairs": _TASKS * _LENGTH,
        "seed": _SEED,
    }
    # As `save_prior` does, which cannot be imported here: `mole.priors.file` imports this module.
    kind, prior, config = describe_file(fit_prior(tasks, seed=_SEED), provenance)
    checkpoint.save(path, prior, kind=kind, config=config)
    return provenance


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m mole.priors.shipped FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for family in STREAMS:
        print(make(family, folder / f"{family}.mole"))
