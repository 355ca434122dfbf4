"""The priors that ship with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mole
from helpers import bits
from mole import MetaPrior, OnlineRegressor, StreamPrior, load_prior
from mole.datasets.sinusoid import sinusoid_stream
from mole.priors import read_provenance, shipped
from mole.priors.shipped import CONTROL, STREAMS, names, shipped_file


def test_every_prior_for_streams_is_there_and_says_how_it_was_made() -> None:
    assert list(STREAMS) == ["sinusoids", "linear-5"]
    for name in STREAMS:
        prior = load_prior(name)
        assert isinstance(prior, StreamPrior)
        assert prior.kind == "regression"
        path = Path(mole.__file__).parent / "assets" / "zoo" / f"{name}.mole"
        assert shipped_file(name) == path
        provenance = read_provenance(path)
        assert provenance == read_provenance(name)
        assert provenance["pairs"] == 80_000
        assert provenance["seed"] == 0


@pytest.mark.parametrize("name", names())
def test_every_name_has_a_file_and_a_text(name: str) -> None:
    path = shipped_file(name)
    assert path is not None
    assert path.is_file()
    assert len(names()[name]) > 10
    assert path.stem.endswith("_supervised") == name.endswith("/supervised")


def test_a_world_an_environment_and_a_file_give_the_same_prior() -> None:
    prior = load_prior("crawler")
    assert isinstance(prior, MetaPrior)
    for other in ("mole/CrawlerLegs-v0", str(shipped_file("crawler")), shipped_file("crawler")):
        assert mole.load_prior(other).window == prior.window
        assert read_provenance(other) == read_provenance("crawler")
    assert shipped_file("crawler/supervised") == shipped_file("mole/CrawlerLegs-v0/supervised")
    assert shipped_file("crawler/supervised") != shipped_file("crawler")
    assert shipped_file("mole/HalfCheetahMotors-v0") == shipped_file("motors") != shipped_file("motors-few")
    for unknown in ("Crawler", "crawler/", "sinusoids/supervised", "/supervised", "", "zoo/sinusoids"):
        assert shipped_file(unknown) is None


def test_a_prior_of_the_family_knows_a_sine_after_ten_pairs() -> None:
    model, told = OnlineRegressor(load_prior("sinusoids")), []
    stream = sinusoid_stream(40, 3, switch_probability=0.0)
    for x, y in zip(stream.x, stream.y[:, 0], strict=True):
        told.append(model.predict_one(x) - y)
        model.learn_one(x, y)
    late = np.sqrt(np.mean(np.square(told[10:])))
    assert late < 0.35  # the noise alone is 0.22; a sine has up to 3.5
    assert np.sqrt(np.mean(np.square(told[:3]))) > 2 * late


def test_an_unknown_name_is_told_with_the_nearest_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, near in (
        ("motor", "motors"),
        ("sinusoid", "sinusoids"),
        ("mole/CrawlerLegs", "mole/CrawlerLegs-v0"),
    ):
        with pytest.raises(
            FileNotFoundError,
            match=rf"^no prior '{name}': there is no such file, and none of that name ships with the package; "
            rf"did you mean '{near}'\? Known: crawler, .*, terrain\. Check the path, or make one: mole train, mole f",
        ):
            load_prior(name)
    with pytest.raises(FileNotFoundError, match=r"no prior 'x/y\.mole': there is no such file, .*; Known: "):
        read_provenance("x/y.mole")
    with pytest.raises(FileNotFoundError, match="no checkpoint at motors: check the path"):
        load_prior(Path("motors"))  # a path is never a name
    Path("motors").write_bytes(b"")  # and a name never a path
    assert load_prior("motors").window == 16


def test_a_prior_that_is_not_installed_is_told_with_the_command_that_makes_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shipped, "ASSETS", tmp_path)
    for name, text in (
        (
            "sinusoids",
            r"sinusoids\.mole for sinusoids is not .* Make it: python -m mole\.priors\.shipped FOLDER\.",
        ),
        (
            "terrain",
            r"half_cheetah_terrain\.mole for terrain is not in this .*\. Make it: mole train terrain",
        ),
    ):
        with pytest.raises(FileNotFoundError, match=text):
            load_prior(name)


def test_a_prior_for_streams_can_be_made_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shipped, "_TASKS", 3)
    made = []

    def fit_prior(tasks: object, seed: int) -> StreamPrior:
        made.append((tasks, seed))
        return prior

    prior, path = load_prior("linear-5"), tmp_path / "made.mole"
    monkeypatch.setattr("mole.priors.stream.fit_prior", fit_prior)
    for name, features in (("sinusoids", 1), ("linear-5", 5)):
        told = shipped.make(name, path)
        assert (told["family"], told["pairs"], told["seed"]) == (STREAMS[name], 120, 0)
        assert read_provenance(path) == told
        assert bits(load_prior(path).prior) == bits(prior.prior)
        tasks, seed = made.pop()
        assert [np.shape(task.x) for task in tasks] == [(40, features)] * 3
        assert seed == 0
    with pytest.raises(
        ValueError, match=r"shipped\.make got name='cosines'; expected one of 'sinusoids', 'linear-5'"
    ):
        shipped.make("cosines", path)
    assert set(CONTROL).isdisjoint(STREAMS)
