"""mole: deep models that keep learning online in a world that changes.

MOLe (Nagabandi, Finn, Levine, ICLR 2019): a prior meta-trained on windows of time, and online a mixture of models kept
by expectation maximisation, which finds new tasks, learns them, and recalls old ones.

Control (`mole.planning`, `mole.control`, `mole.envs`) is imported by its own name, so that a stream needs no simulator.
"""

from mole._types import Trajectory, Window
from mole.estimators import OnlineRegressor
from mole.inner import LayerRate, Rank1Rate, ScalarRate, adapt
from mole.likelihoods import Categorical, Gaussian, Prediction
from mole.meta import MetaConfig, meta_train, supervised_train
from mole.models import MLP, Normalizer
from mole.online import Continuous, Info, KShot, Mixture, OnlineLearner, Oracle, Static
from mole.prior import MetaPrior
from mole.prior_file import load_prior, save_prior

__version__ = "0.1.0"

__all__ = [
    "MLP",
    "Categorical",
    "Continuous",
    "Gaussian",
    "Info",
    "KShot",
    "LayerRate",
    "MetaConfig",
    "MetaPrior",
    "Mixture",
    "Normalizer",
    "OnlineLearner",
    "OnlineRegressor",
    "Oracle",
    "Prediction",
    "Rank1Rate",
    "ScalarRate",
    "Static",
    "Trajectory",
    "Window",
    "adapt",
    "load_prior",
    "meta_train",
    "save_prior",
    "supervised_train",
]
