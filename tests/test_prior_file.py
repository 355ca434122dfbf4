"""A prior as a file: every bit comes back, and a header that lies is refused."""

from __future__ import annotations

from collections.abc import Iterable

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
from mole.learning.models import MLP, Normalizer
from mole.learning.prior import MetaPrior
from mole.priors.file import describe_prior, load_prior, parse_header, read_provenance, save_prior
from mole.priors.stream import StreamPrior
from mole.readout import ReadoutPrior

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
    save_prior(tmp_path / "prior", prior, PROVENANCE)
    loaded, header = load_prior(tmp_path / "prior"), describe_prior(prior, PROVENANCE)
    read = parse_header(read_header(tmp_path / "prior").config, "prior")
    assert bits(loaded) == bits(prior)
    assert jax.tree.structure(loaded) == jax.tree.structure(prior)
    assert (
        (header.rate, header.likelihood, header.window) == (kind, name, 5) == (read.rate, read.likelihood, 5)
    )
    assert read == header
    assert read.provenance == PROVENANCE == read_provenance(tmp_path / "prior")
    x = jnp.array([0.3, -0.5, 1.0])
    for one, other in zip(prior.predict(prior.model, x), loaded.predict(loaded.model, x), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu", "silu"])
def test_depth_and_activation_come_back(tmp_path, name):
    activation = jnp.tanh if name == "tanh" else getattr(jax.nn, name)
    prior = uneven_prior()
    model = MLP(3, 2, width=4, depth=3, activation=activation, key=KEY)
    prior = eqx.tree_at(lambda p: (p.model, p.inner_rate), prior, (model, uneven_rate("layer", model, KEY)))
    save_prior(tmp_path / "prior", prior, {})
    loaded, header = load_prior(tmp_path / "prior"), describe_prior(prior, {})
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


def test_one_door_reads_every_kind_and_insists_on_one_if_asked(tmp_path):
    norm = Normalizer.identity(3)
    readout = ReadoutPrior.untrained(width=4, depth=1, x_norm=norm, y_norm=norm, key=KEY)
    stream = StreamPrior(readout)
    for prior, others in (
        (uneven_prior(), (ReadoutPrior, StreamPrior)),
        (readout, (MetaPrior, StreamPrior)),
        (stream, (MetaPrior, ReadoutPrior)),
    ):
        path = tmp_path / type(prior).__name__
        save_prior(path, prior, PROVENANCE)
        for loaded in (load_prior(path), load_prior(str(path)), load_prior(path, type(prior))):
            assert type(loaded) is type(prior)
            assert bits(getattr(loaded, "prior", loaded)) == bits(getattr(prior, "prior", prior))
        assert read_provenance(path) == PROVENANCE
        for other in others:
            kind = {MetaPrior: "prior", ReadoutPrior: "readout-prior", StreamPrior: "stream-prior"}[other]
            command = "train" if other is MetaPrior else "fit-prior"
            with pytest.raises(
                CheckpointError, match=rf"holds a '\S+', expected a '{kind}'; `mole {command}` writes one"
            ):
                load_prior(path, other)
    with pytest.raises(ValueError, match="load_prior got expected='dict'; expected one of 'MetaPrior'"):
        load_prior(path, dict)
    with pytest.raises(TypeError, match=r"save_prior got prior=3 \(int\); expected mole\.MetaPrior or "):
        save_prior(tmp_path / "no", 3, {})


def test_a_prior_is_the_pair_that_version_0_1_gave_with_a_warning(tmp_path):
    path = tmp_path / "prior"
    save_prior(path, uneven_prior(), PROVENANCE)
    with pytest.warns(DeprecationWarning, match="load_prior returns the prior alone now"):
        prior, header = load_prior(path)
    assert (header.width, header.provenance) == (uneven_prior().model.layers[0].weight.shape[1], PROVENANCE)
    for index, part in ((0, prior), (1, header)):
        with pytest.warns(DeprecationWarning, match=r"Write prior = load_prior\(path\)"):
            got = load_prior(path)[index]
        assert got == part if index else bits(got) == bits(part)


def test_the_pair_is_in_nobodys_way(tmp_path):
    save_prior(tmp_path / "prior", uneven_prior(), PROVENANCE)
    loaded, made = load_prior(tmp_path / "prior"), uneven_prior()
    assert jax.tree.structure(loaded) == jax.tree.structure(made)
    assert not isinstance(loaded, Iterable)
    assert repr(loaded) == repr(made)
    assert bits(jax.jit(lambda prior: prior)(loaded)) == bits(made)
    for other in (made, jax.tree.map(jnp.asarray, loaded)):
        with pytest.raises(TypeError, match=r"a MetaPrior has no items; its model is `prior\.model`"):
            other[0]


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
            r"model equinox\.nn\S*\.MLP; expected one of mole\.MLP",
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
