"""The priors for streams that come with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mole
from mole import OnlineRegressor
from mole.datasets.sinusoid import sinusoid_stream
from mole.estimators import load_stream_prior
from mole.priors import zoo


def test_every_prior_of_the_zoo_is_there_and_says_how_it_was_made() -> None:
    assert list(zoo.names()) == ["sinusoids", "linear-5"]
    for name in zoo.names():
        prior = zoo.load(name)
        assert prior.kind == "regression"
        path = Path(mole.__file__).parent / "assets" / "zoo" / f"{name}.mole"
        _, provenance = load_stream_prior(path)
        assert provenance["pairs"] == 80_000
        assert provenance["seed"] == 0


def test_a_prior_of_the_family_knows_a_sine_after_ten_pairs() -> None:
    model, told = OnlineRegressor(zoo.load("sinusoids")), []
    stream = sinusoid_stream(40, 3, switch_probability=0.0)
    for x, y in zip(stream.x, stream.y[:, 0], strict=True):
        told.append(model.predict_one(x) - y)
        model.learn_one(x, y)
    late = np.sqrt(np.mean(np.square(told[10:])))
    assert late < 0.35  # the noise alone is 0.22; a sine has up to 3.5
    assert np.sqrt(np.mean(np.square(told[:3]))) > 2 * late


def test_an_unknown_prior_is_told_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"unknown prior 'cosines'; the zoo has sinusoids, linear-5\."):
        zoo.load("cosines")
