"""Priors that come with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from mole.experiment.families import FAMILIES, family_of

__all__ = ["ASSETS", "shipped_priors"]

ASSETS = Path(str(resources.files("mole") / "assets"))
"""Where they are."""


def shipped_priors(name: str) -> tuple[Path, Path]:
    """Files of the meta-trained prior and its supervised twin.

    Args:
        name: a family (``terrain``) or an environment's id.

    Raises:
        FileNotFoundError: if none comes with the package, or not in this installation.
    """
    family = family_of(name)
    if family is None:
        known = dict.fromkeys(name for family in FAMILIES.values() for name in (family.name, family.env))
        raise FileNotFoundError(
            f"no prior for {name} comes with the package (there are some for {', '.join(known)}). "
            f"Make one: mole train {name}"
        )
    found = ASSETS / f"{family.prior}.mole", ASSETS / f"{family.prior}_supervised.mole"
    for path in found:
        if not path.is_file():
            raise FileNotFoundError(
                f"the prior {path.name} for {name} is not in this installation. Make it: mole train {name}, and pass "
                "its prior.mole as --prior."
            )
    return found
