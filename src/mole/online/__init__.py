"""Online learners behind one protocol: the mixture (MOLe), its baselines and its upper bound."""

from mole.online.base import Info, OnlineLearner, Pairs
from mole.online.continuous import Continuous
from mole.online.guard import Fault, count_faults
from mole.online.kshot import KShot
from mole.online.mole import Mixture
from mole.online.oracle import Oracle
from mole.online.static import Static

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
