"""Valid calls of everything public, and what may go wrong in every argument: for test_public_errors.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import mole
import mole.control
import mole.datasets
import mole.distributed
import mole.files.checkpoint
import mole.meta
import mole.online
import mole.planning
import mole.readout
from helpers import tiny_mlp, tiny_prior
from mole import envs

KEY = jax.random.key(0)
NONE, TEXT, NUMBER = None, "wrong", 3
WRONG: dict[str, list[Any]] = {
    # a size or a number of things, at least one
    "size": ["3", -1, 0, 2.5, math.nan, [1], None],
    "size or None": ["3", -1, 0, 2.5, math.nan, [1]],
    "number": ["x", None, -1.0, math.nan, [1.0]],  # positive, or at least not negative
    "share": ["x", None, -0.5, 1.5, math.nan],
    "choice": ["nonsense", 3, None],
    "text": ["nonsense", 3, None],
    "prior": [None, "x", 3, np.zeros(3)],
    "object": [None, "x", 3],  # a module, a configuration, a planner, a path's tree
    "path": [None, 3, 1.5],
    "key": [None, "x", 3.5],
    "x": [None, "abc", np.zeros(2), np.zeros((2, 3)), np.zeros(0), np.array(["a", "b", "c"]), {}],
    "rows": [None, 3, "abc", np.zeros(3), np.zeros((2, 2, 3))],
    "trajectories": [[], None, 3, "x", [None], [3]],
    "dict": [3, "x", [1]],  # None is none at all
}


class Call(NamedTuple):
    """One public callable: how to call it rightly, and the kind of every argument."""

    name: str
    call: Callable[..., Any]
    valid: dict[str, Any]
    kinds: dict[str, str]


def _norm(size: int) -> mole.Normalizer:
    return mole.Normalizer.identity(size)


def calls() -> list[Call]:
    """All of them; made late, since they hold arrays."""
    prior = tiny_prior(KEY)
    model = tiny_mlp(KEY)
    readout = mole.ReadoutPrior.untrained(width=4, depth=1, x_norm=_norm(3), y_norm=_norm(2), key=KEY)
    trajectory = mole.Trajectory(np.zeros((40, 3), np.float32), np.zeros((40, 2), np.float32))
    window = mole.Window(jnp.zeros((4, 3)), jnp.zeros((4, 2)))
    static = mole.Static(prior)
    regressor = mole.OnlineRegressor(width=4)
    regressor.learn_one([1.0, 2.0, 3.0], 1.0)
    forecaster = mole.OnlineForecaster(2, width=4).learn_one(1.0)
    classifier = mole.OnlineClassifier(width=4)
    classifier.learn_one([1.0, 2.0, 3.0], "a")
    spec = envs.generic_spec(2, 1, lambda obs, action, following: obs[0])
    agent = mole.control.Agent(
        mole.Static(tiny_prior(KEY, 3, 2)), mole.planning.RandomShooting([-1.0], [1.0], samples=2), spec
    )
    bounds = {"action_low": [-1.0], "action_high": [1.0]}
    search = {**bounds, "horizon": 3, "samples": 8, "discount": 1.0, "tail": "repeat"}
    searching = {"action_low": "rows", "action_high": "rows", "horizon": "size", "samples": "size", "discount": "share",
                 "tail": "choice"}  # fmt: skip
    return [
        Call("MLP", mole.MLP, {"in_size": 3, "out_size": 2, "width": 4, "depth": 1, "activation": jnp.tanh, "key": KEY},
             {"in_size": "size", "out_size": "size", "width": "size", "depth": "size", "activation": "object",
              "key": "key"}),
        Call("Features", mole.readout.Features, {"in_size": 3, "width": 4, "depth": 1, "key": KEY},
             {"in_size": "size", "width": "size", "depth": "size", "key": "key"}),
        Call("Normalizer", mole.Normalizer, {"mean": jnp.zeros(3), "std": jnp.ones(3)},
             {"mean": "vector", "std": "vector"}),
        Call("Normalizer.identity", mole.Normalizer.identity, {"size": 3}, {"size": "size"}),
        Call("Normalizer.fit", mole.Normalizer.fit, {"values": np.eye(3)}, {"values": "rows"}),
        Call("ScalarRate", mole.ScalarRate, {"rate": 0.1}, {"rate": "number"}),
        Call("LayerRate", mole.LayerRate, {"model": model, "rate": 0.1}, {"model": "object", "rate": "number"}),
        Call("Rank1Rate", mole.Rank1Rate, {"model": model, "rate": 0.1}, {"model": "object", "rate": "number"}),
        Call("MetaPrior", mole.MetaPrior,
             {"model": model, "inner_rate": 0.1, "window": 4, "x_norm": _norm(3), "y_norm": _norm(2),
              "likelihood": mole.Gaussian(), "residual_scale": 1.0},
             {"model": "object", "inner_rate": "number", "window": "size", "x_norm": "object", "y_norm": "object",
              "residual_scale": "residual"}),
        Call("Static", mole.Static, {"prior": prior}, {"prior": "prior"}),
        Call("KShot", mole.KShot, {"prior": prior, "window": 4, "steps": 1, "step_scale": 1.0},
             {"prior": "prior", "window": "size or None", "steps": "size", "step_scale": "number"}),
        Call("Continuous", mole.Continuous, {"prior": prior, "window": 4, "step_scale": 1.0},
             {"prior": "prior", "window": "size or None", "step_scale": "number"}),
        Call("Oracle", mole.Oracle, {"prior": prior, "n_tasks": 2, "window": 4, "step_scale": 1.0},
             {"prior": "prior", "n_tasks": "size", "window": "size or None", "step_scale": "number"}),
        Call("Mixture", mole.Mixture,
             {"prior": prior, "window": 4, "likelihood_window": 1, "temperature": 1.0, "stay": 0.9, "alpha": 1.0,
              "refresh": 20, "candidate_window": 8, "margin": 1.0, "step_scale": 0.1, "max_tasks": 3,
              "score": "log_prob", "task_prior": "crp", "assignment": "hard", "memory": "own", "judge": "fitted",
              "at_capacity": "evict", "predict_with": "most_probable"},
             {"prior": "prior", "window": "size or None", "likelihood_window": "size", "temperature": "number",
              "stay": "share", "alpha": "number", "refresh": "size or None", "candidate_window": "size or None",
              "margin": "number or None", "step_scale": "number", "max_tasks": "size", "score": "choice",
              "task_prior": "choice", "assignment": "choice", "memory": "choice", "judge": "choice",
              "at_capacity": "choice", "predict_with": "choice"}),
        Call("ReadoutMixture", mole.ReadoutMixture,
             {"prior": readout, "max_tasks": 3, "candidates": 3, "alpha": 1.0, "switch_every": 50.0, "drift": (1e-6,),
              "drift_memory": 30.0, "found_after": 6.0, "most_switches": 0.05, "tail": 16.0},
             {"prior": "prior", "max_tasks": "size", "candidates": "size", "alpha": "number",
              "switch_every": "number", "drift": "object", "drift_memory": "number", "found_after": "number",
              "most_switches": "share", "tail": "number"}),
        Call("ReadoutPrior", mole.ReadoutPrior,
             {"features": readout.features, "beliefs": readout.beliefs, "x_norm": _norm(3), "y_norm": _norm(2)},
             {"features": "object", "beliefs": "object", "x_norm": "object", "y_norm": "object"}),
        Call("StreamPrior", mole.StreamPrior, {"prior": readout, "kind": "regression"},
             {"prior": "prior", "kind": "choice"}),
        Call("MetaConfig", mole.MetaConfig, {"window": 4, "iterations": 3, "batch": 2, "held_out": 0.1},
             {"window": "size", "rate": "choice", "initial_rate": "number", "iterations": "size", "batch": "size",
              "learning_rate": "number", "final_learning_rate": "number", "clip_norm": "number", "held_out": "share",
              "evaluate_every": "size"}),
        Call("ReadoutConfig", mole.ReadoutConfig, {"window": 4, "iterations": 3, "batch": 2},
             {"window": "size", "iterations": "size", "batch": "size", "learning_rate": "number",
              "weight_decay": "number"}),
        Call("adapt", mole.adapt,
             {"model": model, "rate": mole.ScalarRate(0.1), "likelihood": mole.Gaussian(), "x": window.x,
              "y": window.y},
             {"model": "object", "rate": "object", "likelihood": "object", "x": "rows", "y": "rows"}),
        Call("adapted_loss", mole.meta.adapted_loss,
             {"model": model, "rate": mole.ScalarRate(0.1), "likelihood": mole.Gaussian(), "support": window,
              "query": window},
             {"model": "object", "rate": "object", "likelihood": "object", "support": "object", "query": "object"}),
        Call("meta_loss", mole.meta.meta_loss,
             {"model": model, "rate": mole.ScalarRate(0.1), "likelihood": mole.Gaussian(),
              "windows": mole.Window(jnp.zeros((2, 4, 3)), jnp.zeros((2, 4, 2)))},
             {"model": "object", "rate": "object", "likelihood": "object", "windows": "object"}),
        Call("meta_train", mole.meta_train,
             {"model": model, "trajectories": [trajectory] * 3, "config": mole.MetaConfig(window=4, iterations=1),
              "key": KEY},
             {"model": "object", "trajectories": "trajectories", "config": "object", "key": "key"}),
        Call("supervised_train", mole.supervised_train,
             {"model": model, "trajectories": [trajectory] * 3, "config": mole.MetaConfig(window=4, iterations=1),
              "key": KEY},
             {"model": "object", "trajectories": "trajectories", "config": "object", "key": "key"}),
        Call("fit_prior", mole.fit_prior,
             {"trajectories": [trajectory] * 3, "kind": "regression", "width": 4, "seed": 0,
              "config": mole.ReadoutConfig(window=4, iterations=1)},
             {"trajectories": "trajectories", "kind": "choice", "width": "size", "config": "object"}),
        Call("train_readout_prior", mole.train_readout_prior,
             {"trajectories": [trajectory] * 3, "x_norm": _norm(3), "y_norm": _norm(2), "width": 4,
              "config": mole.ReadoutConfig(window=4, iterations=1), "key": KEY},
             {"trajectories": "trajectories", "x_norm": "object", "y_norm": "object", "width": "size",
              "config": "object", "key": "key"}),
        Call("Static.update", static.update, {"state": static.init(), "x": jnp.zeros(3), "y": jnp.zeros(2)},
             {"x": "x", "y": "y"}),
        Call("Static.predict", static.predict, {"state": static.init(), "x": jnp.zeros(3)}, {"x": "x"}),
        Call("OnlineRegressor", mole.OnlineRegressor, {"level": 0.9, "width": 4, "seed": 0, "memory": 8, "history": 9},
             {"prior": "prior or None", "level": "share", "width": "size", "seed": "seed", "memory": "size",
              "history": "size", "mixture": "dict"}),
        Call("OnlineClassifier", mole.OnlineClassifier, {"width": 4, "memory": 8, "history": 9},
             {"prior": "prior or None", "width": "size", "seed": "seed", "memory": "size", "history": "size",
              "mixture": "dict"}),
        Call("OnlineRegressor.learn_one", regressor.learn_one, {"x": [1.0, 2.0, 3.0], "y": 1.0},
             {"x": "row", "y": "target"}),
        Call("OnlineRegressor.predict_one", regressor.predict_one, {"x": [1.0, 2.0, 3.0]}, {"x": "row"}),
        Call("OnlineRegressor.predict_interval_one", regressor.predict_interval_one,
             {"x": [1.0, 2.0, 3.0], "level": 0.5}, {"x": "row", "level": "share or None"}),
        Call("OnlineRegressor.learn_many", regressor.learn_many, {"x": np.zeros((2, 3)), "y": [1.0, 2.0]},
             {"x": "rows", "y": "rows"}),
        Call("OnlineRegressor.predict", regressor.predict, {"x": np.zeros((2, 3))}, {"x": "rows"}),
        Call("OnlineRegressor.score", regressor.score, {"x": np.zeros((2, 3)), "y": [1.0, 2.0]},
             {"x": "rows", "y": "rows"}),
        Call("OnlineRegressor.importance_", regressor.importance_, {"task": 0}, {"task": "key"}),
        Call("OnlineForecaster", mole.OnlineForecaster,
             {"horizon": 2, "lags": 2, "season": 4, "level": 0.9, "width": 4, "seed": 0, "memory": 8, "history": 9},
             {"horizon": "size", "lags": "lags", "season": "season", "level": "share", "width": "size", "seed": "seed",
              "memory": "size", "history": "size", "mixture": "dict"}),
        Call("OnlineForecaster.learn_one", forecaster.learn_one, {"y": 1.0, "x": None},
             {"y": "value", "x": "columns", "t": "time"}),
        Call("OnlineForecaster.forecast", forecaster.forecast, {"horizon": 2},
             {"horizon": "size or None", "xs": "future"}),
        Call("OnlineForecaster.forecast_interval", forecaster.forecast_interval, {"horizon": 2, "level": 0.5},
             {"horizon": "size or None", "xs": "future", "level": "share or None"}),
        Call("OnlineForecaster.load", mole.OnlineForecaster.load, {}, {"path": "path"}),
        Call("OnlineClassifier.learn_one", classifier.learn_one, {"x": [1.0, 2.0, 3.0], "y": "a"},
             {"x": "row", "y": "label"}),
        Call("OnlineClassifier.predict_one", classifier.predict_one, {"x": [1.0, 2.0, 3.0]}, {"x": "row"}),
        Call("OnlineClassifier.predict_proba", classifier.predict_proba, {"x": np.zeros((2, 3))}, {"x": "rows"}),
        Call("OnlineClassifier.score", classifier.score, {"x": np.zeros((2, 3)), "y": ["a", "b"]},
             {"x": "rows", "y": "rows"}),
        # Everything is checked before Ray is asked for.
        Call("distributed.run", lambda **given: mole.distributed.run([], **given),
             {"make_shard": dict, "key": "k", "folder": "no-such-folder"},
             {"make_shard": "object", "folder": "path", "shards": "size", "actors": "size", "batch": "size",
              "max_rows": "size", "commit_seconds": "number", "patience": "number"}),
        Call("read_outputs", lambda folder: list(mole.distributed.read_outputs(folder)), {"folder": "f"},
             {"folder": "path"}),
        Call("shard_of", mole.distributed.shard_of, {"key": "k", "shards": 8}, {"shards": "size"}),
        Call("Fleet", mole.Fleet, {"prior": readout, "size": 2, "mixture": {"max_tasks": 2, "candidates": 2}},
             {"prior": "prior", "size": "size", "mixture": "dict"}),
        Call("KeyedFleet", mole.KeyedFleet, {"prior": readout, "key": "k", "level": 0.8, "width": 4, "seed": 1,
                                             "memory": 64, "max_resident": 2, "mixture": {"max_tasks": 2}},
             {"prior": "prior or None", "level": "share", "width": "size", "seed": "seed",
              "max_resident": "size", "mixture": "dict"}),
        Call("CEM", mole.planning.CEM, {**search, "iterations": 2, "elites": 3, "init_std": 0.2, "min_std": 0.0,
                                        "noise_correlation": 0.1, "smoothing": 0.1, "keep_elites": 0},
             {**searching, "iterations": "size", "elites": "size", "init_std": "number", "min_std": "number",
              "noise_correlation": "share", "smoothing": "share", "keep_elites": "count", "execute": "choice"}),
        Call("MPPI", mole.planning.MPPI, {**search, "iterations": 2, "temperature": 0.2, "noise_std": 0.1},
             {**searching, "iterations": "size", "temperature": "number", "noise_std": "number",
              "noise_correlation": "share"}),
        Call("RandomShooting", mole.planning.RandomShooting, search, searching),
        Call("make_stream", mole.datasets.make_stream, {"name": "linear-fresh", "length": 20, "seed": 0},
             {"name": "choice", "length": "size", "seed": "seed"}),
        Call("sinusoid_stream", mole.datasets.sinusoid_stream,
             {"length": 20, "seed": 0, "n_tasks": 2, "switch_probability": 0.1},
             {"length": "size", "seed": "seed", "n_tasks": "size or None", "switch_probability": "share"}),
        Call("sinusoid_tasks", mole.datasets.sinusoid_tasks, {"n": 2, "length": 20, "seed": 0},
             {"n": "size", "length": "size", "seed": "seed"}),
        Call("Stream", mole.datasets.Stream,
             {"x": np.zeros((5, 2)), "y": np.zeros((5, 1)), "task": np.zeros(5, int), "name": "s"},
             {"x": "rows", "y": "rows", "task": "rows", "kind": "choice"}),
        Call("generic_spec", envs.generic_spec, {"obs_dim": 3, "act_dim": 1, "reward": lambda o, a, n: o[0]},
             {"obs_dim": "size", "act_dim": "size", "reward": "object"}),
        Call("parameter_training", envs.parameter_training, {"parameter": "gravity", "low": 4.0, "high": 9.0},
             {"parameter": "choice", "low": "real", "high": "real"}),
        Call("parse_schedule", envs.parse_schedule, {"text": "fixed:1", "vocabulary": envs.Vocabulary({"1": 1.0})},
             {"text": "choice", "vocabulary": "object"}),
        Call("Schedule.drawn", envs.Schedule.drawn, {"sampler": lambda rng: 1.0}, {"sampler": "object"}),
        Call("Schedule.redrawn", envs.Schedule.redrawn, {"sampler": lambda rng: 1.0, "steps": 5},
             {"sampler": "object", "steps": "size"}),
        Call("Schedule.cycle", envs.Schedule.cycle, {"pairs": [(1.0, 5)]}, {"pairs": "pairs"}),
        Call("Schedule.drift", envs.Schedule.drift, {"values": [1.0, 2.0], "steps": 5},
             {"values": "pairs", "steps": "size"}),
        Call("Schedule.function", envs.Schedule.function, {"fn": lambda step: 1.0}, {"fn": "object"}),
        Call("set_attribute", envs.set_attribute, {"path": "a.b"}, {"path": "path"}),
        Call("spec_for", envs.spec_for, {}, {"env_id_or_env": "choice"}),
        Call("Agent", mole.control.Agent,
             {"learner": static, "planner": mole.planning.RandomShooting([-1.0], [1.0]), "spec": spec},
             {"learner": "object", "planner": "object", "spec": "object", "precision": "choice"}),
        Call("run_episode", mole.control.run_episode,
             {"env": None, "agent": agent, "steps": 2, "seed": 0, "key": KEY, "meta": {}},
             {"env": "object", "agent": "object", "steps": "size", "meta": "dict"}),
        Call("load_prior", mole.load_prior, {}, {"name_or_path": "path"}),
        Call("read_provenance", mole.priors.read_provenance, {}, {"name_or_path": "path"}),
        Call("load_stream_prior", mole.load_stream_prior, {}, {"path": "path"}),
        Call("checkpoint.load", mole.files.checkpoint.load, {"like": {}, "kind": "x"}, {"path": "path"}),
        Call("checkpoint.read_header", mole.files.checkpoint.read_header, {}, {"path": "path"}),
        Call("OnlineRegressor.load", mole.OnlineRegressor.load, {}, {"path": "path"}),
        Call("EpisodeRecord.load", mole.control.EpisodeRecord.load, {}, {"path": "path"}),
    ]  # fmt: skip


WRONG |= {
    "number or None": [value for value in WRONG["number"] if value is not None],
    "share or None": [value for value in WRONG["share"] if value is not None],
    "prior or None": [value for value in WRONG["prior"] if value is not None],
    "real": ["x", None, math.nan, [1.0]],
    "pairs": [None, 3, [], "x", [None]],
    "vector": [None, 3.0, "abc", np.zeros(2), np.zeros((2, 3))],
    "residual": ["x", None, -1.0, math.nan],
    "y": [None, "abc", np.zeros(3), np.zeros((2, 2)), np.zeros(0), np.array(["a", "b"])],
    "row": [None, "abc", np.zeros(2), np.zeros((2, 3)), np.zeros(0), object()],
    "task": ["x", None, 3.5],
    "seed": ["x", None, 2.5, math.nan, [1]],
    "count": ["3", -1, 2.5, None],
    "target": [None, "x", math.nan, math.inf, [], np.zeros((2, 2)), {}],
    "value": ["x", math.inf, [], [1.0, 2.0], {}, object()],
    "columns": ["x", 3, [1.0], {"own level": 1.0}, {1: 2.0}, {"a": [1.0]}],
    "time": ["soon", math.inf, [1.0], object()],
    "future": [3, "x", [], [{}], [None, 3]],
    "lags": ["auto x", 0, 2.5, None, [], [0], ["a"]],
    "season": ["auto x", 0, 1, 2.5, [4]],
    "label": [None, 2.5, [1], {}, math.nan],
}
