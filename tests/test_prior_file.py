"""A prior as a file: every bit comes back, and a header that lies is refused."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from checkpoint_trees import rewrite_header
from helpers import RATES, bits, tiny_prior, uneven_rate
from mole.files import checkpoint
from mole.files.checkpoint import CheckpointError, read_header
from mole.learning.inner import InnerRate
from mole.learning.likelihoods import Categorical, Gaussian
from mole.learning.models import MLP
from mole.priors.file import load_prior, save_prior

KEY = jax.random.key(0)
LIKELIHOODS = {
    "gaussian": Gaussian(),
    "gaussian-learned": Gaussian(learned_scale=True),
    "categorical": Categorical(),
}
PROVENANCE = {"command": "train --seed 3", "seed": 3, "rates": [0.1, None], "data": {"steps": 4000}}


def uneven_prior(kind="rank1", likelihood=LIKELIHOODS["gaussian"], **options):
    prior = tiny_prior(KEY, likelihood=likelihood, normalised=True, window=5, **options)
    rate = uneven_rate(kind, prior.model, jax.random.key(1))
    prior = eqx.tree_at(lambda p: p.inner_rate, prior, rate)
    return eqx.tree_at(lambda p: p.residual_scale, prior, jnp.array([0.1, 1e-3]))


@pytest.mark.parametrize("kind", RATES)
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_round_trip_keeps_every_bit(tmp_path, kind, name):
    prior = uneven_prior(kind, LIKELIHOODS[name])
    header = save_prior(tmp_path / "prior", prior, PROVENANCE)
    loaded, read = load_prior(tmp_path / "prior")
    assert bits(loaded) == bits(prior)
    assert jax.tree.structure(loaded) == jax.tree.structure(prior)
    assert (
        (header.rate, header.likelihood, header.window) == (kind, name, 5) == (read.rate, read.likelihood, 5)
    )
    assert read == header
    assert read.provenance == PROVENANCE
    x = jnp.array([0.3, -0.5, 1.0])
    for one, other in zip(prior.predict(prior.model, x), loaded.predict(loaded.model, x), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu", "silu"])
def test_depth_and_activation_come_back(tmp_path, name):
    activation = jnp.tanh if name == "tanh" else getattr(jax.nn, name)
    prior = uneven_prior()
    model = MLP(3, 2, width=4, depth=3, activation=activation, key=KEY)
    prior = eqx.tree_at(lambda p: (p.model, p.inner_rate), prior, (model, uneven_rate("layer", model, KEY)))
    header = save_prior(tmp_path / "prior", prior, {})
    loaded, _ = load_prior(tmp_path / "prior")
    assert (header.activation, header.width, header.depth) == (name, 4, 3)
    assert loaded.model.activation is activation
    assert bits(loaded) == bits(prior)


def tampered(tmp_path, **changes):
    path = tmp_path / "prior"
    save_prior(path, uneven_prior(), PROVENANCE)
    rewrite_header(path, config={**read_header(path).config, **changes})
    return path


@pytest.mark.parametrize("field", ["input_size", "target_size", "width", "depth", "window"])
@pytest.mark.parametrize("value", [0, -3, True, 2.0, "7", None, 10**7, [3]])
def test_sizes_that_are_no_sizes_are_refused(tmp_path, field, value):
    with pytest.raises(CheckpointError, match=rf"{field}=.* in its header; expected a number from 1 to 10"):
        load_prior(tampered(tmp_path, **{field: value}))


@pytest.mark.parametrize("field", ["activation", "rate", "likelihood"])
@pytest.mark.parametrize("value", ["eval", "", None, 3, ["relu"], {"relu": 1}])
def test_names_that_are_unknown_are_refused(tmp_path, field, value):
    with pytest.raises(CheckpointError, match=rf"has {field}=.*; expected one of (relu|scalar|gaussian), "):
        load_prior(tampered(tmp_path, **{field: value}))


@pytest.mark.parametrize("value", [None, "text", [1, 2]])
def test_provenance_that_is_no_table_is_refused(tmp_path, value):
    with pytest.raises(CheckpointError, match=r"has provenance=.*; expected names with values"):
        load_prior(tampered(tmp_path, provenance=value))


def test_fields_too_many_or_too_few_are_refused(tmp_path):
    path = tampered(tmp_path, colour="red")
    with pytest.raises(CheckpointError, match=r"header that differs in \['colour'\].*another version"):
        load_prior(path)
    config = {k: v for k, v in read_header(path).config.items() if k not in ("colour", "window")}
    rewrite_header(path, config=config)
    with pytest.raises(CheckpointError, match=r"header that differs in \['window'\]"):
        load_prior(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 9},
        {"depth": 3},
        {"input_size": 4},
        {"target_size": 3},
        {"rate": "scalar"},
        {"likelihood": "gaussian-learned"},
        {"width": 100_000, "depth": 100},  # nothing of that size may be allocated
    ],
)
def test_sizes_that_do_not_fit_the_arrays_are_refused(tmp_path, changes):
    with pytest.raises(CheckpointError, match="does not fit"):
        load_prior(tampered(tmp_path, **changes))


def test_a_file_that_is_no_prior_is_refused(tmp_path):
    checkpoint.save(tmp_path / "other", {"a": jnp.zeros(2)}, kind="agent", config={})
    with pytest.raises(CheckpointError, match=r"holds a 'agent', expected a prior; `mole train` writes one"):
        load_prior(tmp_path / "other")
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        load_prior(tmp_path / "missing")


class OwnRate(InnerRate):
    def factors(self, model):
        return [(jnp.ones(()), jnp.ones(()))] * len(jax.tree.leaves(model))


class OwnGaussian(Gaussian):
    pass


@pytest.mark.parametrize(
    ("place", "value", "got"),
    [
        (
            lambda p: p.model,
            eqx.nn.MLP(3, 2, 4, 1, key=KEY),
            r"model equinox\.nn\S*\.MLP; expected one of mole\.learning\.models\.MLP",
        ),
        (
            lambda p: p.model,
            MLP(3, 2, width=4, activation=jnp.sin, key=KEY),
            "activation sin; expected one of relu, tanh",
        ),
        (lambda p: p.inner_rate, OwnRate(), r"inner rate \S*OwnRate; expected one of scalar, layer, rank1"),
        (
            lambda p: p.likelihood,
            OwnGaussian(),
            r"likelihood \S*OwnGaussian; expected one of gaussian, gaussian-learned, categorical",
        ),
    ],
)
def test_what_the_header_cannot_name_is_refused_with_a_remedy(tmp_path, place, value, got):
    prior = eqx.tree_at(place, uneven_prior(), value)
    with pytest.raises(TypeError, match=rf"save_prior got the {got}") as error:
        save_prior(tmp_path / "prior", prior, {})
    assert "Use mole.files.checkpoint.save with your own module as `like`" in str(error.value)
    assert not list(tmp_path.iterdir())


def test_provenance_must_be_plain_json(tmp_path):
    with pytest.raises(CheckpointError, match=r"provenance.*expected plain JSON data"):
        save_prior(tmp_path / "prior", uneven_prior(), {"seed": np.int64(3)})
