"""mole: deep models that keep learning online in a world that changes.

MOLe (Nagabandi, Finn, Levine, ICLR 2019): a prior meta-trained on windows of time, and online a mixture of models kept
by expectation maximisation, which finds new tasks, learns them, and recalls old ones.

Control (`mole.planning`, `mole.control`, `mole.envs`) is imported by its own name, so that a stream needs no simulator.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mole._types import Trajectory, Window
    from mole.estimators import (
        Fleet,
        OnlineClassifier,
        OnlineRegressor,
        StreamPrior,
        fit_prior,
        load_stream_prior,
        save_stream_prior,
    )
    from mole.learning.inner import LayerRate, Rank1Rate, ScalarRate, adapt
    from mole.learning.likelihoods import Categorical, Gaussian, Prediction
    from mole.learning.models import MLP, Normalizer
    from mole.learning.prior import MetaPrior
    from mole.meta import MetaConfig, meta_train, supervised_train
    from mole.online import Continuous, Info, KShot, Mixture, OnlineLearner, Oracle, Static
    from mole.priors.file import load_prior, save_prior
    from mole.readout import ReadoutConfig, ReadoutMixture, ReadoutPrior, train_readout_prior

__version__ = "0.1.0"

__all__ = [
    "MLP",
    "Categorical",
    "Continuous",
    "Fleet",
    "Gaussian",
    "Info",
    "KShot",
    "LayerRate",
    "MetaConfig",
    "MetaPrior",
    "Mixture",
    "Normalizer",
    "OnlineClassifier",
    "OnlineLearner",
    "OnlineRegressor",
    "Oracle",
    "Prediction",
    "Rank1Rate",
    "ReadoutConfig",
    "ReadoutMixture",
    "ReadoutPrior",
    "ScalarRate",
    "Static",
    "StreamPrior",
    "Trajectory",
    "Window",
    "adapt",
    "fit_prior",
    "load_prior",
    "load_stream_prior",
    "meta_train",
    "save_prior",
    "save_stream_prior",
    "supervised_train",
    "train_readout_prior",
]

# A name is imported when it is first asked for: who plans needs no estimators, who learns needs no optimiser.
_HOMES = {
    "_types": "Trajectory Window",
    "estimators": "Fleet OnlineClassifier OnlineRegressor",
    "learning.inner": "LayerRate Rank1Rate ScalarRate adapt",
    "learning.likelihoods": "Categorical Gaussian Prediction",
    "learning.models": "MLP Normalizer",
    "learning.prior": "MetaPrior",
    "meta": "MetaConfig meta_train supervised_train",
    "online": "Continuous Info KShot Mixture OnlineLearner Oracle Static",
    "priors.file": "load_prior save_prior",
    "priors.stream": "StreamPrior fit_prior load_stream_prior save_stream_prior",
    "readout": "ReadoutConfig ReadoutMixture ReadoutPrior train_readout_prior",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
        globals()[name] = value
        return value
    if name in _HOMES:  # a part of the package, as after importing it by its own name
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
