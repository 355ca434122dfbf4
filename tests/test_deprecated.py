"""What the documents of version 0.1 named still works, with one warning that says the new name."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import pytest

import mole
import mole.estimators
import mole.readout
from helpers import bits, tiny_prior
from mole._lazy import lazy
from mole._moved import KEPT, MOVED, RENAMED, install, old_name
from mole.learning.models import Normalizer
from mole.priors import StreamPrior
from mole.priors.shipped import shipped_file

EXTRAS = ("minari", "river", "sklearn")
# every import of README.md, docs and examples of 0.1, and what else they named
OF_0_1 = """
import mole.envs
from mole import MLP, MetaConfig, Mixture, Trajectory, load_prior, meta_train, save_prior
from mole import MetaConfig, Mixture, OnlineRegressor, ReadoutMixture
from mole import ReadoutConfig, Trajectory, fit_prior, save_stream_prior
from mole import checkpoint
from mole import load_stream_prior
from mole.checkpoint import load, read_header, save
from mole.control import Agent, run_episode
from mole.control.agent import Agent
from mole.control.agent import Agent, jit_act, jit_observe
from mole.control.episode import run_episode
from mole.control.episode_file import EpisodeFile
from mole.control.records import EpisodeRecord, Recorder
from mole.control.training import TrainingConfig, train_priors
from mole.envs import Vocabulary, as_schedule
from mole.envs import agent_env, generic_spec, register_reward, spec_for
from mole.envs import set_attribute, set_friction, set_gain, set_gravity, set_mass, switching, switching_by_name
from mole.envs.half_cheetah import DYNAMICS, ENV_ID
from mole.envs.ns_gym import PlainNSGym
from mole.estimators import load_stream_prior, save_stream_prior
from mole.experiment.metrics import summarise
from mole.experiment.worlds import KnownTask, make_world, training_world, world_spec
from mole.models import narrow_weights
from mole.online import count_faults
from mole.planning import CEM
from mole.readout import load_readout_prior, save_readout_prior
from mole.readout.file import save_readout_prior
from mole.shipped import shipped_priors
from mole.streams import STREAMS, make_stream
from mole.streams.faults import inject
from mole.streams.minari import load_minari, save_minari
from mole.streams.river import MoleRegressor
from mole.streams.sklearn import MoleClassifier
from mole.streams.transitions import record_episodes, transitions_stream
from mole.zoo import load
""".strip().splitlines()


def forget(old: str) -> None:
    """As in a process that has not asked for this module."""
    for name in (old, old.rpartition(".")[0]):
        if name in MOVED and name in sys.modules:
            del sys.modules[name]


def warned(act: Callable[[], Any]) -> list[str]:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        act()
    return [str(warning.message) for warning in told if warning.category is DeprecationWarning]


def imported(name: str) -> Any:
    """A module; the test ends if it belongs to an extra that is not installed."""
    if name.rpartition(".")[2] in EXTRAS:
        pytest.importorskip(name.rpartition(".")[2])
    return importlib.import_module(name)


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_an_old_module_is_the_new_one_with_one_warning(old: str, new: str) -> None:
    target = imported(new)
    names = [name for name in getattr(target, "__all__", vars(target)) if not name.startswith("_")]
    if f"{old}.{names[0]}" in KEPT:
        names = names[1:]
    forget(old)
    told = warned(lambda: exec(f"import {old}\nfrom {old} import {names[0]}\nfrom {old} import *", {}))
    assert told == [f"{old} is {new} now; the old name goes in version 0.3. Change the name."]
    module = sys.modules[old]
    for name in names:
        if f"{old}.{name}" not in KEPT:
            assert getattr(module, name) is getattr(target, name)
            assert getattr(getattr(target, name), "__module__", new) != old
    assert warned(lambda: getattr(module, names[0])) == []
    with pytest.raises((AttributeError, ImportError), match="nothing"):
        module.nothing  # noqa: B018
    assert target.__spec__ is not None
    assert target.__spec__.name == target.__name__ == new


@pytest.mark.parametrize("line", OF_0_1)
def test_what_the_documents_of_0_1_imported_is_there(line: str) -> None:
    for old in MOVED:
        if f" {old} " in line:
            imported(MOVED[old])
            forget(old)
    found: dict[str, Any] = {}
    warned(lambda: exec(line, found))
    assert all(value is not None for value in found.values())


def test_the_warning_points_at_the_line_of_the_user() -> None:
    code = "import mole.likelihoods\nfrom mole.streams import STREAMS\n\n\nfrom mole import checkpoint\nmole.models"
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True
    )
    lines = [line for line in done.stderr.splitlines() if "DeprecationWarning" in line]
    assert [line.split(" is ")[0] for line in lines] == [
        "<string>:1: DeprecationWarning: mole.likelihoods",
        "<string>:2: DeprecationWarning: mole.streams",
        "<string>:5: DeprecationWarning: mole.checkpoint",
        "<string>:6: DeprecationWarning: mole.models",
    ]


def test_what_was_pickled_by_its_old_path_comes_back() -> None:
    text = b"cmole.likelihoods\nGaussian\n."
    forget("mole.likelihoods")
    found: list[Any] = []
    assert len(warned(lambda: found.append(pickle.loads(text)))) == 1
    assert found == [mole.Gaussian]
    assert pickle.dumps(mole.Gaussian).count(b"mole.learning.likelihoods") == 1


def test_what_never_was_is_no_module() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'mole\.likelihood'"):
        importlib.import_module("mole.likelihood")
    with pytest.raises(AttributeError, match="module 'mole' has no attribute 'load_priors'"):
        mole.load_priors  # noqa: B018
    with pytest.raises(AttributeError, match=r"module 'mole\.readout' has no attribute 'file_'"):
        mole.readout.file_  # noqa: B018
    before = list(sys.meta_path)
    install()
    assert sys.meta_path == before


def test_a_renamed_name_is_told_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RENAMED, "mole.BayesMixture", "mole.readout.ReadoutMixture")
    with pytest.warns(DeprecationWarning, match=r"mole\.BayesMixture is mole\.readout\.ReadoutMixture now"):
        assert old_name("mole", "BayesMixture") is mole.ReadoutMixture
    with pytest.warns(DeprecationWarning):
        assert lazy("mole", {})[0]("BayesMixture") is mole.ReadoutMixture


def test_a_module_is_an_attribute_of_the_package_as_it_was() -> None:
    forget("mole.models")
    vars(mole).pop("models", None)
    assert warned(lambda: mole.models.MLP)[0].startswith("mole.models is mole.learning.models now")


def test_old_functions_of_priors_do_what_they_did(tmp_path: Path) -> None:
    norm = Normalizer.identity(2)
    readout = mole.ReadoutPrior.untrained(width=4, depth=1, x_norm=norm, y_norm=norm, key=jax.random.key(0))
    stream, path = StreamPrior(readout), tmp_path / "prior.mole"
    for owner, save, load, prior in (
        (mole, "save_stream_prior", "load_stream_prior", stream),
        (mole.estimators, "save_stream_prior", "load_stream_prior", stream),
        (mole.readout, "save_readout_prior", "load_readout_prior", readout),
    ):
        with pytest.warns(
            DeprecationWarning, match=rf"{save} goes in version 0\.3\. Write mole\.save_prior\("
        ):
            getattr(owner, save)(path, prior, {"seed": 3})
        text = rf"{load} goes in version 0\.3\. Write prior = mole\.load_prior\(path\), and mole\.priors\.read_prov"
        with pytest.warns(DeprecationWarning, match=text):
            loaded, provenance = getattr(owner, load)(path)
        assert provenance == {"seed": 3}
        assert bits(getattr(loaded, "prior", loaded)) == bits(readout)
    mole.save_prior(path, tiny_prior(jax.random.key(0)), {})
    with (
        pytest.warns(DeprecationWarning),
        pytest.raises(ValueError, match="holds a 'prior', expected a 'stream"),
    ):
        mole.load_stream_prior(path)


def test_shipped_priors_and_the_zoo_do_what_they_did() -> None:
    shipped, zoo = (importlib.import_module(name) for name in quiet("mole.shipped", "mole.zoo"))
    text = (
        r'shipped_priors goes in version 0\.3\. Write mole\.load_prior\("crawler"\) and mole\.load_prior\("cr'
    )
    with pytest.warns(DeprecationWarning, match=text):
        files = shipped.shipped_priors("crawler")
    assert files == (shipped_file("crawler"), shipped_file("crawler/supervised"))
    with pytest.warns(DeprecationWarning, match=r'zoo\.load goes .* Write mole\.load_prior\("sinusoids"\)\.'):
        prior = zoo.load("sinusoids")
    assert eqx.tree_equal(prior.prior, mole.load_prior("sinusoids").prior)
    with (
        pytest.warns(DeprecationWarning),
        pytest.raises(ValueError, match=r"unknown prior 'cosines'; the zoo has sinusoids, linear-5\."),
    ):
        zoo.load("cosines")


def quiet(*names: str) -> tuple[str, ...]:
    """The names, imported, whatever that warned of."""
    for name in names:
        warned(lambda name=name: importlib.import_module(name))
    return names
