"""Priors that come with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

__all__ = ["shipped_priors"]

_FILES = {"mole/HalfCheetahMotors-v0": "half_cheetah_motors"}


def shipped_priors(env_id: str) -> tuple[Path, Path]:
    """Files of the meta-trained prior and its supervised twin for an environment.

    Raises:
        FileNotFoundError: if none comes with the package.
    """
    stem = _FILES.get(env_id)
    if stem is None:
        raise FileNotFoundError(
            f"no prior for {env_id} comes with the package (there are some for {', '.join(_FILES)}). "
            f"Make one: mole train {env_id}"
        )
    folder = Path(str(resources.files("mole") / "assets"))
    return folder / f"{stem}.mole", folder / f"{stem}_supervised.mole"
