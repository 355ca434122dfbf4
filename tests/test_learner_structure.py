"""What can be said of a learner without running it."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mole.online import Mixture
from mole.online.base import REACH
from test_online_contract import DX, DY, LEARNERS, PRIOR, K, close, stream, update


@pytest.mark.parametrize("learner", LEARNERS.values(), ids=LEARNERS)
def test_settings_are_part_of_the_structure_and_no_leaves(learner):
    assert not [leaf for leaf in jax.tree.leaves(learner) if isinstance(leaf, bool | int | float | str)]


@pytest.mark.usefixtures("unchecked")
def test_a_mixture_wants_a_prior():
    with pytest.raises(TypeError, match=r"^Mixture got prior=3 \(int\); expected mole.MetaPrior"):
        Mixture(3)  # type: ignore[arg-type]


SETTINGS = ("window", "likelihood_window", "score", "task_prior", "refresh", "assignment", "memory", "candidate_window",
            "judge", "max_tasks", "at_capacity", "predict_with", "reach")  # fmt: skip
NUMBERS = ("temperature", "stay", "alpha", "margin", "step_scale")


def settings_of(mixture):
    return tuple(getattr(mixture, name) for name in SETTINGS)


def numbers_of(mixture):
    return tuple(round(float(getattr(mixture, name)), 6) for name in NUMBERS)


def test_the_pointwise_rule_by_default():
    mixture = Mixture(PRIOR)
    assert settings_of(mixture) == (K, 1, "log_prob", "sticky", None, "hard", "own", 8, "held_out", 5, "evict",
                                    "most_probable", REACH)  # fmt: skip
    assert numbers_of(mixture) == (1.0, 0.99, 1.0, 5.0 + 2.0 * DY, 0.1)


def test_the_papers_rule_with_the_authors_values():
    mixture = Mixture.paper(PRIOR)
    assert settings_of(mixture) == (K, K, "loss", "crp", 20, "soft", "shared", None, "held_out", 5, "refuse",
                                    "most_probable", REACH)  # fmt: skip
    assert numbers_of(mixture) == (0.02, 0.99, 1.0, 0.0, 1.0)


def test_what_is_given_counts():
    given = Mixture(PRIOR, window=7, margin=3.0, assignment="soft", memory="shared", judge="fitted")
    assert (given.window, float(given.margin)) == (7, 3.0)
    assert (given.assignment, given.memory, given.judge) == ("soft", "shared", "fitted")
    assert Mixture.paper(PRIOR, window=7).likelihood_window == 7
    assert Mixture.paper(PRIOR, likelihood_window=2).likelihood_window == 2
    with pytest.raises(ValueError, match="likelihood_window"):
        Mixture(PRIOR, likelihood_window=0)


@pytest.mark.parametrize(("window", "candidate", "recent"), [(4, 8, 8), (3, 6, 6), (9, 8, 18), (3, None, 6)])
def test_as_many_pairs_are_kept_as_a_step_needs(window, candidate, recent):
    state = Mixture(PRIOR, window=window, candidate_window=candidate).init()
    assert state.recent.x.shape == (recent, DX)
    assert state.memory.x.shape == (5, 2 * window, DX)
    assert Mixture(PRIOR, memory="shared").init().memory is None


def test_what_is_told_of_a_step():
    mixture = Mixture(PRIOR)
    state = mixture.init()
    told = mixture.report(eqx.tree_at(lambda s: s.task, state, jnp.int32(3)))
    assert set(told) == {"responsibilities", "task", "n_tasks", "spawned", "at_capacity", "fault"}
    assert told["task"] == 3


@pytest.mark.usefixtures("unchecked")
def test_the_papers_rule_wants_a_prior_too():
    with pytest.raises(TypeError, match=r"^Mixture.paper got prior=3 \(int\); expected mole.MetaPrior"):
        Mixture.paper(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("mixture", [Mixture(PRIOR), Mixture.paper(PRIOR)], ids=["pointwise", "paper"])
def test_learn_is_an_update_of_normalised_pairs_and_steps_are_counted(mixture):
    xs, ys = stream(mixture, 2 * K + 1)
    told, direct = mixture.init(), mixture.init()
    learn = eqx.filter_jit(mixture.learn)
    for x, y in zip(xs, ys, strict=True):
        told, _ = update(mixture, told, x, y)
        direct = learn(direct, PRIOR.x_norm(x), PRIOR.y_norm(y))
    assert told.step == direct.step == 2 * K + 1
    close(told, direct)
    first, begun = (jax.tree.leaves(state.models)[0] for state in (direct, mixture.init()))
    assert float(jnp.max(jnp.abs(first - begun))) > 1e-4


def test_twins_are_merged_for_a_new_task_and_not_before():
    mixture = Mixture(PRIOR, at_capacity="merge", max_tasks=2)
    state = eqx.tree_at(
        lambda s: (s.n_tasks, s.log_counts),
        mixture.init(),
        (jnp.int32(2), jnp.log(jnp.asarray([3.0, 5.0]))),
    )
    x = jnp.ones(DX)
    after, info = update(mixture, state, x, PRIOR.y_norm.inverse(PRIOR.model(PRIOR.x_norm(x))))
    assert not info.spawned
    counts = jnp.exp(state.log_counts) + info.responsibilities
    np.testing.assert_allclose(jnp.exp(after.log_counts), counts, rtol=1e-6)


def test_the_papers_rule_waits_in_silence():
    mixture = Mixture.paper(PRIOR)
    _, info = update(mixture, mixture.init(), jnp.ones(DX), jnp.ones(DY))
    assert (int(info.fault), bool(info.spawned), bool(info.at_capacity), int(info.n_tasks)) == (
        0,
        False,
        False,
        1,
    )


def test_a_task_that_has_broken_is_the_least_probable():
    mixture = Mixture(PRIOR)
    state = eqx.tree_at(lambda s: s.n_tasks, mixture.init(), jnp.int32(2))
    broken = jax.tree.map(lambda stack: stack.at[1].set(jnp.nan), state.models)
    x = jnp.ones(DX)
    after, info = update(
        mixture,
        eqx.tree_at(lambda s: s.models, state, broken),
        x,
        PRIOR.y_norm.inverse(PRIOR.model(PRIOR.x_norm(x))),
    )
    assert (int(info.task), float(info.responsibilities[1])) == (0, 0.0)
    assert int(after.n_tasks) == 2


def test_without_a_window_of_its_own_a_candidate_waits_for_two_windows():
    mixture = Mixture(PRIOR, candidate_window=None, margin=0.0)
    state, spawned = mixture.init(), []
    for x, y in zip(*stream(mixture, 40), strict=True):
        state, info = update(mixture, state, x, y)
        spawned.append(bool(info.spawned))
    assert not any(spawned[: 2 * K - 1])
    assert any(spawned)
