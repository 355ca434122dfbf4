"""Functions of version 0.1 that `mole.load_prior` and `mole.save_prior` replace; they go in 0.3.

`mole._moved.KEPT` has the old names under which they are found. Each warns when it is called.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mole.priors.file import load_prior, read_provenance, save_prior
from mole.priors.shipped import STREAMS, control_files
from mole.priors.stream import StreamPrior
from mole.readout import ReadoutPrior

__all__ = [
    "load",
    "load_readout_prior",
    "load_stream_prior",
    "save_readout_prior",
    "save_stream_prior",
    "shipped_priors",
]

_PROVENANCE = ", and mole.priors.read_provenance(path) for how it was made"


def load_stream_prior(path: str | os.PathLike[str]) -> tuple[StreamPrior, dict[str, Any]]:
    """A prior for streams and its provenance; errors as `mole.load_prior`."""
    _warn("mole.load_stream_prior", "prior = mole.load_prior(path)", _PROVENANCE)
    return load_prior(path, StreamPrior), read_provenance(path)


def save_stream_prior(
    path: str | os.PathLike[str], prior: StreamPrior, provenance: Mapping[str, Any]
) -> None:
    """As `mole.save_prior`."""
    _warn("mole.save_stream_prior", "mole.save_prior(path, prior, provenance)")
    save_prior(path, prior, provenance)


def load_readout_prior(path: str | os.PathLike[str]) -> tuple[ReadoutPrior, dict[str, Any]]:
    """A prior over readouts and its provenance; errors as `mole.load_prior`."""
    _warn("mole.readout.load_readout_prior", "prior = mole.load_prior(path)", _PROVENANCE)
    return load_prior(path, ReadoutPrior), read_provenance(path)


def save_readout_prior(
    path: str | os.PathLike[str], prior: ReadoutPrior, provenance: Mapping[str, Any]
) -> None:
    """As `mole.save_prior`."""
    _warn("mole.readout.save_readout_prior", "mole.save_prior(path, prior, provenance)")
    save_prior(path, prior, provenance)


def shipped_priors(name: str) -> tuple[Path, Path]:
    """Files of the meta-trained prior of a world and of its supervised baseline; errors as `control_files`."""
    _warn(
        "mole.shipped.shipped_priors",
        f'mole.load_prior("{name}")',
        f' and mole.load_prior("{name}/supervised")',
    )
    return control_files(name)


def load(name: str) -> StreamPrior:
    """A shipped prior for streams.

    Raises:
        ValueError: if there is none of that name.
    """
    _warn("mole.zoo.load", f'mole.load_prior("{name}")')
    if name not in STREAMS:
        raise ValueError(f"unknown prior {name!r}; the zoo has {', '.join(STREAMS)}.")
    return load_prior(name, StreamPrior)


def _warn(old: str, new: str, more: str = "") -> None:
    warnings.warn(f"{old} goes in version 0.3. Write {new}{more}.", DeprecationWarning, stacklevel=3)
