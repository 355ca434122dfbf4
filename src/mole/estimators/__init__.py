"""The stateful face: estimators that predict and learn one pair of a stream at a time."""

from mole._lazy import lazy
from mole.estimators.classifier import OnlineClassifier
from mole.estimators.fleet import Fleet
from mole.estimators.keyed import KeyedFleet, KeyedSteps
from mole.estimators.regressor import OnlineRegressor
from mole.estimators.step import Step
from mole.priors.stream import StreamPrior, fit_prior

__all__ = [
    "Fleet",
    "KeyedFleet",
    "KeyedSteps",
    "OnlineClassifier",
    "OnlineRegressor",
    "Step",
    "StreamPrior",
    "fit_prior",
]

__getattr__, __dir__ = lazy(__name__, {})  # what version 0.1 had here
