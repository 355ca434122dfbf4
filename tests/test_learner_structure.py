"""What can be said of a learner without running it."""

from __future__ import annotations

import jax
import pytest

from mole.online import Mixture
from test_online_contract import LEARNERS


@pytest.mark.parametrize("learner", LEARNERS.values(), ids=LEARNERS)
def test_settings_are_part_of_the_structure_and_no_leaves(learner):
    assert not [leaf for leaf in jax.tree.leaves(learner) if isinstance(leaf, bool | int | float | str)]


@pytest.mark.usefixtures("unchecked")
def test_a_mixture_wants_a_prior():
    with pytest.raises(TypeError, match=r"^Mixture got prior=3 \(int\); expected mole.MetaPrior"):
        Mixture(3)  # type: ignore[arg-type]
