"""Ablations: what their names mean, and that each changes what it says and nothing else."""

from __future__ import annotations

import dataclasses

import equinox as eqx
import gymnasium
import jax
import pytest

from helpers import tiny_prior
from mole.experiment.learners import (
    ABLATED,
    KNOBS,
    SUITE,
    SWITCHES,
    Ablation,
    Priors,
    ablated,
    ablation,
    base_of,
    check_method,
    learner_for,
    settings_for,
)
from mole.experiment.methods import METHODS, SIMULATOR, TUNED
from mole.online import Mixture
from mole.planning import CEM, MPPI, RandomShooting
from mole.planning.config import PLANNERS, PlannerConfig, planner_for

PRIORS = Priors(*(tiny_prior(jax.random.key(seed), window=16) for seed in range(3)))


def mixture(method: str, priors: Priors = PRIORS) -> Mixture:
    learner = learner_for(method, priors)
    assert isinstance(learner, Mixture)
    return learner


def differing(one: Mixture, other: Mixture) -> set[str]:
    """Names of the settings in which two mixtures differ."""
    fields = {field.name for field in dataclasses.fields(one)} - {"prior"}
    return {name for name in fields if bool(getattr(one, name) != getattr(other, name))}


def test_methods_stand_for_themselves() -> None:
    for method in (*METHODS, SIMULATOR):
        assert ablation(method) is None
        assert base_of(method) == method
        assert settings_for(method) == TUNED.get(method, {})
        check_method(method)


def test_a_switch_changes_its_part_and_keeps_what_is_tuned() -> None:
    expected = {
        "no-crp": {"task_prior"},
        "crp": {"task_prior"},
        "no-mixture": {"max_tasks"},
        "no-meta": set(),
        "same-data": {"judge"},
        "first-order": set(),
    }
    assert set(expected) == set(SWITCHES)
    whole = mixture("mole")
    for name, fields in expected.items():
        assert differing(whole, mixture(f"mole/{name}")) == fields, name
    assert mixture("mole/no-crp").task_prior == mixture("mole-paper/no-crp").task_prior == "uniform"
    assert mixture("mole/no-mixture").max_tasks == 1
    assert differing(mixture("mole-paper"), mixture("mole-paper/no-mixture")) == {"max_tasks"}


def test_the_prior_that_an_ablation_starts_from() -> None:
    assert mixture("mole").prior is PRIORS.meta
    assert mixture("mole/no-meta").prior is PRIORS.supervised
    assert mixture("mole-paper/first-order").prior is PRIORS.first_order
    with pytest.raises(ValueError, match=r"mole/first-order got no prior .* pass --first-order PATH"):
        mixture("mole/first-order", Priors(PRIORS.meta, PRIORS.supervised))


def test_a_knob_sets_its_number() -> None:
    for name, field, value in (
        ("window=8", "window", 8),
        ("likelihood-window=4", "likelihood_window", 4),
        ("step-scale=0.05", "step_scale", 0.05),
        ("temperature=10", "temperature", 10),
        ("capacity=2", "max_tasks", 2),
        ("margin=0", "margin", 0),
        ("candidate-window=4", "candidate_window", 4),
    ):
        learner = mixture(f"mole/{name}")
        assert float(getattr(learner, field)) == pytest.approx(value)
        assert differing(mixture("mole"), learner) == {field}
    assert settings_for("mole/margin=3", {"mole": {"step_scale": 0.7}}) == {"step_scale": 0.7, "margin": 3}


def test_the_suite_covers_every_switch_and_is_made_of_known_names() -> None:
    assert set(SUITE) == set(ABLATED)
    assert set(SWITCHES) <= set(SUITE["mole"])
    named = {name.partition("=")[0] for name in SUITE["mole"]}
    assert (
        named
        >= {"window", "likelihood-window", "step-scale", "temperature", "capacity", "planner"}
        <= set(KNOBS)
    )
    for method, names in SUITE.items():
        assert len(set(names)) == len(names)
        for whole in ablated(method, names)[1:]:
            change = ablation(whole)
            assert isinstance(change, Ablation)
            assert change.text
            learner = mixture(whole)
            same = not differing(mixture(method), learner) and learner.prior is PRIORS.meta
            assert not same or change.planner != "cem", f"{whole} changes nothing"


def test_unknown_ablations_are_answered_with_the_nearest() -> None:
    for method, message in (
        ("mole/no-crb", "unknown ablation 'no-crb': did you mean 'no-crp'"),
        ("mole/windw=8", "unknown ablation 'windw=8': did you mean 'window'"),
        ("mole/window", "ablation 'window' lacks its value; expected for example 'window=8'"),
        ("mole/margin", "ablation 'margin' lacks its value; expected for example 'margin=10'"),
        ("mole/window=many", "ablation 'window=many' has the value 'many'; expected a number"),
        ("mole/planner=cme", "unknown planner in 'planner=cme': did you mean 'cem'"),
        ("kshot/no-crp", "got the ablation 'kshot/no-crp'; expected one of mole or mole-paper"),
        ("moel/no-crp", "unknown method 'moel': did you mean 'mole'"),
    ):
        with pytest.raises(ValueError, match=message):
            check_method(method)
    with pytest.raises(ValueError, match="unknown ablation 'x'"):
        ablated("mole", ("no-crp", "x"))


def test_planners_score_as_many_candidates_within_the_same_bounds() -> None:
    class Box:
        low, high = [-1.0, -2.0], [1.0, 2.0]

    config = PlannerConfig(samples=20, iterations=3, horizon=4, elites=5, noise_correlation=0.5)
    made = {kind: planner_for(config, Box, kind) for kind in PLANNERS}
    assert {kind: type(planner) for kind, planner in made.items()} == {
        "cem": CEM,
        "mppi": MPPI,
        "shooting": RandomShooting,
    }
    shapes = {kind: eqx.filter_eval_shape(p.draw, jax.random.key(0)).shape for kind, p in made.items()}
    assert shapes == {"cem": (3, 20, 4, 2), "mppi": (3, 20, 4, 2), "shooting": (1, 60, 4, 2)}
    for planner in made.values():
        assert planner.action_high.tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="unknown planner 'random': "):
        planner_for(config, Box, "random")
    with pytest.raises(TypeError, match=r"Discrete\(2\); expected a Box"):
        planner_for(config, gymnasium.spaces.Discrete(2))
