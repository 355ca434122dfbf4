"""Online learners behind one protocol: the mixture (MOLe), its baselines and its upper bound."""

from mole.online.base import Info, OnlineLearner, Pairs
from mole.online.baselines import Continuous, KShot, Static
from mole.online.guard import Fault, count_faults
from mole.online.mole import Mixture
from mole.online.oracle import Oracle

__all__ = [
    "Continuous",
    "Fault",
    "Info",
    "KShot",
    "Mixture",
    "OnlineLearner",
    "Oracle",
    "Pairs",
    "Static",
    "count_faults",
]
