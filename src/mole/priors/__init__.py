"""Every kind of prior behind one door: files, the priors that ship with the package, and priors for streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mole._lazy import lazy

if TYPE_CHECKING:
    from mole.priors.file import PriorHeader, load_prior, read_provenance, save_prior
    from mole.priors.shipped import names
    from mole.priors.stream import StreamPrior, fit_prior

__all__ = ["PriorHeader", "StreamPrior", "fit_prior", "load_prior", "names", "read_provenance", "save_prior"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "file": "PriorHeader load_prior read_provenance save_prior",
        "shipped": "names",
        "stream": "StreamPrior fit_prior",
    },
)
