"""The stateful face: estimators that predict and learn one pair of a stream at a time."""

from mole.estimators.classifier import OnlineClassifier
from mole.estimators.fleet import Fleet
from mole.estimators.regressor import OnlineRegressor
from mole.priors.compat import load_stream_prior, save_stream_prior
from mole.priors.stream import StreamPrior, fit_prior

__all__ = [
    "Fleet",
    "OnlineClassifier",
    "OnlineRegressor",
    "StreamPrior",
    "fit_prior",
    "load_stream_prior",
    "save_stream_prior",
]
