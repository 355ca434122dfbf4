"""Bayesian readouts: tasks that differ in a linear map on shared features, inferred in closed form.

The inner step of MOLe adapts all weights by one gradient; here a task is a linear readout on features that are
meta-trained so that a few points settle it, and adapting it is exact Bayesian linear regression (ALPaCA: Harrison,
Sharma, Pavone 2018). A filter over tasks with a Chinese-restaurant prior finds new ones and recalls old ones.
"""

from typing import TYPE_CHECKING

from mole._lazy import lazy

if TYPE_CHECKING:
    from mole.readout.belief import Belief
    from mole.readout.mixture import ReadoutMixture, ReadoutState
    from mole.readout.prior import Features, Readout, ReadoutPrior
    from mole.readout.training import ReadoutConfig, train_readout_prior

__all__ = [
    "Belief",
    "Features",
    "Readout",
    "ReadoutConfig",
    "ReadoutMixture",
    "ReadoutPrior",
    "ReadoutState",
    "train_readout_prior",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "belief": "Belief",
        "mixture": "ReadoutMixture ReadoutState",
        "prior": "Features Readout ReadoutPrior",
        "training": "ReadoutConfig train_readout_prior",
    },
)
