"""``mole envs``: what there is to train and evaluate on."""

from __future__ import annotations

from mole.commands.common import console
from mole.experiment.families import FAMILIES
from mole.experiment.worlds import describe_environments

__all__ = ["envs"]


def envs() -> None:
    """List the environments of this package, the names that their schedules may use, and the families of tests."""
    for name, text in describe_environments().items():
        console.print(f"[bold]{name}[/bold]\n{text}\n")
    for family in FAMILIES.values():
        console.print(f"family [bold]{family.name}[/bold]: {family.title} ({family.env})")
