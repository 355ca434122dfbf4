"""mole: deep models that keep learning online in a world that changes.

MOLe (Nagabandi, Finn, Levine, ICLR 2019): a prior meta-trained on windows of time, and online a mixture of models kept
by expectation maximisation, which finds new tasks, learns them, and recalls old ones.

Control (`mole.planning`, `mole.control`, `mole.envs`) is imported by its own name, so that a stream needs no simulator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mole import _moved
from mole._lazy import lazy
from mole._version import __version__ as __version__

if TYPE_CHECKING:
    from mole._types import Trajectory, Window
    from mole.estimators import Fleet, KeyedFleet, OnlineClassifier, OnlineRegressor
    from mole.files.programs import use_compilation_cache
    from mole.forecasting import OnlineForecaster
    from mole.learning.inner import LayerRate, Rank1Rate, ScalarRate, adapt
    from mole.learning.likelihoods import Categorical, Gaussian, Prediction
    from mole.learning.models import MLP, Normalizer
    from mole.learning.prior import MetaPrior
    from mole.meta import MetaConfig, meta_train, supervised_train
    from mole.online import Continuous, Info, KShot, Mixture, OnlineLearner, Oracle, Static
    from mole.priors import StreamPrior, fit_prior, load_prior, save_prior
    from mole.readout import ReadoutConfig, ReadoutMixture, ReadoutPrior, train_readout_prior

__all__ = [
    "MLP",
    "Categorical",
    "Continuous",
    "Fleet",
    "Gaussian",
    "Info",
    "KShot",
    "KeyedFleet",
    "LayerRate",
    "MetaConfig",
    "MetaPrior",
    "Mixture",
    "Normalizer",
    "OnlineClassifier",
    "OnlineForecaster",
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
    "meta_train",
    "save_prior",
    "supervised_train",
    "train_readout_prior",
    "use_compilation_cache",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "_types": "Trajectory Window",
        "estimators": "Fleet KeyedFleet OnlineClassifier OnlineRegressor",
        "files.programs": "use_compilation_cache",
        "forecasting": "OnlineForecaster",
        "learning.inner": "LayerRate Rank1Rate ScalarRate adapt",
        "learning.likelihoods": "Categorical Gaussian Prediction",
        "learning.models": "MLP Normalizer",
        "learning.prior": "MetaPrior",
        "meta": "MetaConfig meta_train supervised_train",
        "online": "Continuous Info KShot Mixture OnlineLearner Oracle Static",
        "priors": "StreamPrior fit_prior load_prior save_prior",
        "readout": "ReadoutConfig ReadoutMixture ReadoutPrior train_readout_prior",
    },
)

_moved.install()
