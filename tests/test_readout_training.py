"""Meta-training of a prior over readouts: what it learns, that it is repeatable, and its file."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import bits, tiny_prior
from mole._types import Trajectory
from mole.datasets.sinusoid import sinusoid_tasks
from mole.files.checkpoint import CheckpointError
from mole.files.generations import Periodic, RecoveryWarning
from mole.learning.models import Normalizer
from mole.meta.resume import TrainingFile
from mole.priors.file import load_prior, read_provenance, save_prior
from mole.readout import (
    ReadoutConfig,
    ReadoutMixture,
    ReadoutPrior,
    train_readout_prior,
)
from mole.readout.belief import absorb, forecast

NORMS = {
    "x_norm": Normalizer(jnp.zeros(1), jnp.full(1, 2.9)),
    "y_norm": Normalizer(jnp.zeros(1), jnp.full(1, 2.0)),
}
QUICK = ReadoutConfig(window=16, iterations=400, batch=16)
FEW = dataclasses.replace(QUICK, iterations=20)


@pytest.fixture(scope="module")
def trained() -> tuple[ReadoutPrior, list[tuple[int, float]]]:
    told: list[tuple[int, float]] = []
    prior = train_readout_prior(
        sinusoid_tasks(150, 40, 0),
        **NORMS,
        width=24,
        config=QUICK,
        key=jax.random.key(0),
        callback=lambda done, loss: told.append((done, loss)),
    )
    return prior, told


@eqx.filter_jit
def errors(prior: ReadoutPrior, kind: int, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Squared errors and log densities in normalised units of every pair given those before it ``[tasks, n]``."""

    def step(belief, pair):
        z, target = prior.features_of(pair[0]), prior.y_norm(pair[1])
        expected = forecast(belief, z)
        return absorb(belief, expected, target, jnp.float32(1.0)), (target - expected.mean)[0] ** 2

    first = jax.tree.map(lambda a: a[kind], prior.beliefs)
    return jax.vmap(lambda x, y: jax.lax.scan(step, first, (x, y))[1])(x, y)


def held_out() -> tuple[jax.Array, jax.Array]:
    tasks = sinusoid_tasks(100, 30, 77)
    return jnp.stack([jnp.asarray(t.x) for t in tasks]), jnp.stack([jnp.asarray(t.y) for t in tasks])


def test_a_trained_prior_knows_the_family_after_few_points(trained) -> None:
    prior, told = trained
    x, y = held_out()
    learned, broad = (np.mean(errors(prior, kind, x, y), axis=0) for kind in (1, 0))
    untrained = ReadoutPrior.untrained(width=24, **NORMS, key=jax.random.key(0))
    random = np.mean(errors(untrained, 0, x, y), axis=0)
    for name, other in (("broad", broad), ("untrained", random)):
        assert learned[5:10].mean() < 0.6 * other[5:10].mean(), (name, learned[5:10], other[5:10])
        assert learned[:5].mean() < other[:5].mean(), name
    assert learned[20:].mean() < 0.3 * learned[0]
    losses = [loss for _, loss in told]
    assert [done for done, _ in told] == [100, 200, 300, 400]
    assert losses[-1] < losses[0] and np.isfinite(losses).all()


def test_the_mixture_over_it_predicts_a_new_task_better_than_over_an_untrained_one(trained) -> None:
    x, y = held_out()

    def error(prior: ReadoutPrior) -> float:
        learner = ReadoutMixture(prior, max_tasks=1, candidates=3, drift=(1e-6,))

        def stream(x: jax.Array, y: jax.Array) -> jax.Array:
            return jax.lax.scan(lambda s, pair: learner.update(s, *pair), learner.init(), (x, y))[1].loss

        return float(np.mean(eqx.filter_jit(jax.vmap(stream))(x[:40, :15], y[:40, :15])[:, 4:]))

    untrained = ReadoutPrior.untrained(width=24, **NORMS, key=jax.random.key(0))
    assert error(trained[0]) < 0.7 * error(untrained)


def test_what_it_returns_is_a_proper_prior(trained) -> None:
    prior, _ = trained
    assert (prior.kinds, prior.input_size, prior.target_size) == (2, 1, 1)
    assert bits((prior.x_norm, prior.y_norm)) == bits((NORMS["x_norm"], NORMS["y_norm"]))
    for cov in np.asarray(prior.beliefs.cov, float):
        np.testing.assert_allclose(cov, cov.T, atol=1e-6)
        assert np.linalg.eigvalsh(cov).min() > 0
    assert np.all(prior.beliefs.shape > 1) and np.all(prior.beliefs.rate > 0)  # the noise has a mean
    # Hidden units have a spread of one on the data (or are dead), as the broad belief expects.
    x = jnp.concatenate([jnp.asarray(t.x) for t in sinusoid_tasks(150, 40, 0)])[:4096]
    spread = np.std(jax.vmap(prior.features_of)(x)[:, 2:], axis=0)
    assert np.all((np.abs(spread - 1) < 0.01) | (spread < 1))
    assert np.mean(np.abs(spread - 1) < 0.01) > 0.5


def few(key: int = 0, **changes) -> ReadoutPrior:
    data, checkpoint = changes.pop("data", sinusoid_tasks(6, 20, 1)), changes.pop("checkpoint", None)
    config = dataclasses.replace(FEW, **changes)
    return train_readout_prior(
        data, **NORMS, width=4, config=config, key=jax.random.key(key), checkpoint=checkpoint
    )


def test_the_same_key_gives_the_same_prior_and_another_one_does_not() -> None:
    assert bits(few()) == bits(few())
    assert bits(few()) != bits(few(key=1))


class Killed(BaseException):
    """Nobody catches it: what is on disk then is all there is."""


@pytest.mark.parametrize("when", [100, 200, 250])
def test_a_training_that_was_killed_goes_on_bit_for_bit(tmp_path: Path, when: int) -> None:
    file, seen = TrainingFile(tmp_path / "p.mole.part", Periodic(steps=100)), []
    train = functools.partial(
        train_readout_prior,
        sinusoid_tasks(6, 20, 1),
        **NORMS,
        width=4,
        config=dataclasses.replace(FEW, iterations=250),
        key=jax.random.key(0),
    )

    def kill(done: int, _: float) -> None:
        if done == when:
            raise Killed

    with pytest.raises(Killed):
        train(callback=kill, checkpoint=file)
    assert file.path.exists() == (when > 100)  # what ends before the first checkpoint begins again
    again = train(callback=lambda done, _: seen.append(done), checkpoint=file)
    assert seen == {100: [100, 200, 250], 200: [200, 250], 250: [250]}[when]
    assert bits(again) == bits(train())


def test_a_checkpoint_of_other_data_is_passed_over(tmp_path: Path) -> None:
    file = TrainingFile(tmp_path / "p.mole.part", Periodic(steps=1))
    few(checkpoint=file)
    with pytest.warns(RecoveryWarning, match="by another training: this training begins again"):
        other = few(key=1, checkpoint=file)
    assert bits(other) == bits(few(key=1))


def test_short_trajectories_are_left_out() -> None:
    whole = sinusoid_tasks(6, 20, 1)
    short = Trajectory(whole[0].x[:15], 1e3 + whole[0].y[:15])
    assert bits(few(data=[*whole, short]).features.layers) == bits(few(data=whole).features.layers)


def test_a_mean_that_is_not_learned_stays_zero() -> None:
    assert not np.any(few(learn_mean=False, weight_decay=0.0).beliefs.mean)
    assert np.any(few().beliefs.mean[1])


def test_bad_histories_are_refused() -> None:
    whole = sinusoid_tasks(2, 20, 1)
    for data, message in (
        ([], "got no trajectories; expected at least one"),
        ([Trajectory(whole[0].x[:10], whole[0].y[:10])], r"longest of 10 pairs; expected at least one .* 16"),
        ([Trajectory(whole[0].x, np.full((20, 1), np.nan))], "finite"),
        ([Trajectory(whole[0].x, whole[0].y[:-1])], "20 inputs and 19 targets"),
    ):
        with pytest.raises(ValueError, match=message):
            few(data=data)


def test_training_that_diverges_says_so() -> None:
    with pytest.raises(FloatingPointError, match=r"diverged at iteration \d+.*Lower learning_rate"):
        few(learning_rate=1e30)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 0}, "window=0; expected a whole number from 1 on"),
        ({"iterations": 0}, "iterations=0"),
        ({"batch": 0}, "batch=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0; expected a positive rate and a decay"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message) -> None:
    with pytest.raises(ValueError, match=f"ReadoutConfig got .*{message}"):
        ReadoutConfig(**settings)


def test_a_prior_comes_back_from_its_file_bit_for_bit(tmp_path) -> None:
    path = tmp_path / "prior.mole"
    prior, provenance = few(), {"rows": 120, "by": "a test"}
    save_prior(path, prior, provenance)
    loaded, told = load_prior(path), read_provenance(path)
    assert bits(loaded) == bits(prior) and told == provenance
    assert jax.tree.structure(loaded) == jax.tree.structure(prior)
    x = jnp.asarray([0.3])
    assert bits(loaded.features_of(x)) == bits(prior.features_of(x))


def test_damaged_and_foreign_files_are_refused(tmp_path) -> None:
    path = tmp_path / "prior.mole"
    with pytest.raises(FileNotFoundError, match=r"prior\.mole"):
        load_prior(path, ReadoutPrior)
    save_prior(path, tiny_prior(jax.random.key(0)), {})
    with pytest.raises(CheckpointError, match=r"holds a 'prior', expected a 'readout-prior'"):
        load_prior(path, ReadoutPrior)
    save_prior(path, few(), {})
    whole = path.read_bytes()
    for damaged, message in (
        (whole[:-10], "truncated"),
        (whole[:-1] + bytes([whole[-1] ^ 1]), "altered"),
        (b"", "mole"),
        (b"PK" + whole[2:], "mole"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=message):
            load_prior(path, ReadoutPrior)


def test_a_header_that_asks_for_too_much_is_refused(tmp_path) -> None:
    from mole.files import checkpoint

    path, prior = tmp_path / "prior.mole", few()
    sizes = {"input_size": 1, "target_size": 1, "width": 4, "depth": 2, "kinds": 2}
    for changed, message in (
        ({**sizes, "width": 10**9}, "width=1000000000; expected a whole number from 1 to 10000"),
        ({**sizes, "kinds": True}, "kinds=True"),
        ({**sizes, "depth": "2"}, "depth='2'"),
        ({"input_size": 1}, r"has the sizes \['input_size'\]; expected"),
        ({**sizes, "width": 5}, r"weight is float32\[1, 4\], expected float32\[1, 5\]"),
    ):
        checkpoint.save(path, prior, kind="readout-prior", config={"sizes": changed, "provenance": {}})
        with pytest.raises(CheckpointError, match=message):
            load_prior(path, ReadoutPrior)
    checkpoint.save(path, prior, kind="readout-prior", config={"sizes": sizes})
    with pytest.raises(CheckpointError, match="no sizes or provenance"):
        load_prior(path, ReadoutPrior)
