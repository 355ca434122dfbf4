"""Meta-training a prior on windows of time, and the supervised baseline on the same data."""

from mole._types import Motion
from mole.meta.maml import adapted_loss, adapted_loss_mlp, meta_loss
from mole.meta.resume import TrainProgress
from mole.meta.training import MetaConfig, meta_train, supervised_train

__all__ = [
    "MetaConfig",
    "Motion",
    "TrainProgress",
    "adapted_loss",
    "adapted_loss_mlp",
    "meta_loss",
    "meta_train",
    "supervised_train",
]
