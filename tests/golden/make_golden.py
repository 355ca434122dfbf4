"""Wrote the golden files, once, with mole 0.1.0. Never run it again with a newer version.

The files prove that what 0.1 wrote is read by every later version; a newer version would prove nothing but itself. With
a clone of 0.1.0 in ``old`` the command was, in the repository:

    PYTHONPATH=old/src python tests/golden/make_golden.py [part …]

The parts are ``models``, ``streams`` and ``control``; all without any. XLA's flags are those of `tests/conftest.py`:
the last bits of a result depend on them, and the test that compares with these files runs with them.
"""

# ruff: noqa: E402, I001 - XLA reads its flags when JAX is imported, and the modules are those of 0.1

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
_CONFTEST = (HERE.parent / "conftest.py").read_text()
_FLAGS = re.search(r'setdefault\("XLA_FLAGS", "([^"]+)"\)', _CONFTEST)
assert _FLAGS is not None, "tests/conftest.py sets no XLA_FLAGS"
os.environ["XLA_FLAGS"] = _FLAGS[1]
os.environ.setdefault("MUJOCO_GL", "disabled")
sys.path.insert(0, str(HERE.parent))

# These names are those of 0.1, and stay so.
import jax
import jax.numpy as jnp
import numpy as np

import mole
from golden import steps
from mole.streams.encoding import RowEncoder

if mole.__version__ != "0.1.0":
    raise SystemExit(f"the golden files are those of mole 0.1.0; this is {mole.__version__}")

PAIRS = 20
OURS = {"max_tasks": 3, "margin": 0.0, "stay": 0.5, "step_scale": 0.01, "candidate_window": 4}
"""Settings of our rule with which so short a stream has several tasks."""
WORDS = ("red", "green", "blue")


class Killed(BaseException):
    """Nobody catches it: what is on disk then is all there is, as after a kill."""


# What the models learn.


def numbers(seed: int, n: int, dx: int = 3, dy: int = 1, block: int = 35) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of two linear regimes that return every ``block`` pairs."""
    rng = np.random.default_rng(seed)
    slopes = rng.normal(size=(2, dx, dy))
    x = rng.normal(size=(n, dx))
    regime = np.arange(n) // block % 2
    y = np.einsum("nd,ndk->nk", x, slopes[regime]) + 0.05 * rng.normal(size=(n, dy))
    return x.astype(np.float32), y.astype(np.float32)


def table(seed: int, n: int) -> tuple[list[dict[str, Any]], list[float]]:
    """Rows with numbers, words, times, truth values and holes."""
    rng, rows, targets = np.random.default_rng(seed), [], []
    for t in range(n):
        a, b, word = float(rng.normal()), float(rng.normal(3.0, 2.0)), WORDS[int(rng.integers(3))]
        rows.append(
            {
                "a": round(a, 5),
                "b": None if t % 7 == 3 else round(b, 5),
                "colour": word,
                "at": f"2026-01-{1 + t // 24 % 28:02d}T{t % 24:02d}:00",
                "on": bool(t % 2),
            }
        )
        sign = 1.0 if t // 25 % 2 else -1.0
        targets.append(round(sign * (2.0 * a - 0.5 * b) + WORDS.index(word) + 0.1 * float(rng.normal()), 5))
    return rows, targets


def words_of(targets: Any) -> list[str]:
    """Labels of numbers."""
    return ["high" if value > 0 else "low" for value in np.asarray(targets).reshape(-1)]


# Files of priors and models.


class Kept:
    """Everything that is expected, and the inputs that lead to it."""

    def __init__(self) -> None:
        """Take up what other parts have written."""
        self.arrays: dict[str, np.ndarray] = {}
        self.rows: dict[str, Any] = {}
        if (HERE / "expected.npz").exists():
            with np.load(HERE / "expected.npz") as found:
                self.arrays = dict(found)
            self.rows = json.loads((HERE / "rows.json").read_text())

    def expect(self, name: str, loaded: Any, x: Any, y: Any) -> None:
        """Note inputs and results of going on from a loaded file."""
        self.arrays = {key: value for key, value in self.arrays.items() if not key.startswith(f"{name}/")}
        if isinstance(x, np.ndarray):
            self.arrays |= {f"{name}/given/x": x, f"{name}/given/y": np.asarray(y)}
        else:
            self.rows[name] = [x, list(y)]
        found = steps.STEPS[name.split("-")[0]](loaded, x, y)
        self.arrays |= {f"{name}/{key}": value for key, value in found.items()}
        print(
            name,
            {k: v.tolist() for k, v in found.items() if k in ("end/n_tasks", "n_tasks", "paper/n_tasks")},
        )

    def count(self, name: str, states: Any) -> None:
        """Note the counts of the Chinese restaurant in the state of a loaded mixture, which nobody can ask for."""
        self.arrays[f"{name}/counts"] = np.asarray(states.counts)
        print(name, "counts", self.arrays[f"{name}/counts"].tolist())

    def write(self) -> None:
        """To `expected.npz`, `rows.json` and `expected.json`."""
        np.savez_compressed(HERE / "expected.npz", allow_pickle=False, **self.arrays)
        (HERE / "rows.json").write_text(json.dumps(self.rows, separators=(",", ":")) + "\n")
        about = {"mole": mole.__version__, "machine": steps.machine(), "cores": steps.cores()}
        (HERE / "expected.json").write_text(json.dumps(about, indent=1) + "\n")


def control_priors() -> dict[str, Any]:
    """One for every form of rate and of likelihood, with random weights and normalisers that do something."""
    made = {}
    forms = {
        "control-scalar": ("scalar", mole.Gaussian(), jax.nn.relu),
        "control-layer": ("layer", mole.Gaussian(learned_scale=True), jnp.tanh),
        "control-rank1": ("rank1", mole.Gaussian(), jax.nn.silu),
        "control-categorical": ("rank1", mole.Categorical(), jax.nn.gelu),
    }
    for place, (name, (rate, likelihood, activation)) in enumerate(forms.items()):
        key = jax.random.key(10 + place)
        model = mole.MLP(3, likelihood.output_size(2), width=6, depth=2, activation=activation, key=key)
        rates: Any = {
            "scalar": lambda: mole.ScalarRate(0.07),
            "layer": lambda model=model: mole.LayerRate(model, 0.05),
            "rank1": lambda model=model: mole.Rank1Rate(model, 0.05),
        }[rate]()
        leaves, tree = jax.tree.flatten(rates)
        uneven = [leaf * (1.0 + 0.1 * place * (n + 1)) for n, leaf in enumerate(leaves)]
        classes = isinstance(likelihood, mole.Categorical)
        made[name] = mole.MetaPrior(
            model,
            inner_rate=jax.tree.unflatten(tree, uneven),
            window=4,
            x_norm=mole.Normalizer(jnp.linspace(-0.5, 0.5, 3), jnp.linspace(0.5, 1.5, 3)),
            y_norm=mole.Normalizer.identity(2)
            if classes
            else mole.Normalizer(jnp.linspace(0.2, 0.3, 2), jnp.linspace(0.8, 2.0, 2)),
            likelihood=likelihood,
            residual_scale=0.5,
        )
    return made


def trained_network(dx: int, dy: int) -> Any:
    """A meta-trained prior of networks, small."""
    rng, data = np.random.default_rng(5), []
    for _ in range(60):
        slopes, x = rng.normal(size=(dx, dy)), rng.normal(size=(24, dx))
        data.append(mole.Trajectory(x, x @ slopes))
    config = mole.MetaConfig(
        window=4, rate="rank1", initial_rate=0.05, iterations=300, batch=8, evaluate_every=100
    )
    model = mole.MLP(dx, dy, width=6, depth=1, activation=jnp.tanh, key=jax.random.key(1))
    return mole.meta_train(model, data, config=config, key=jax.random.key(2))


def models(kept: Kept) -> None:
    """Priors, estimators and fleets."""
    folder, config = HERE / "models", mole.ReadoutConfig(window=16, iterations=60, batch=8)
    folder.mkdir(exist_ok=True)
    x, y = numbers(0, 18, 3, 2, block=9)
    for name, prior in control_priors().items():
        target = (
            np.eye(2, dtype=np.float32)[(y[:, 0] > 0).astype(int)] if name == "control-categorical" else y
        )
        mole.save_prior(folder / f"{name}.mole", prior, {"command": "golden", "seed": 0})
        kept.expect(name, mole.load_prior(folder / f"{name}.mole")[0], x, target)

    histories = [mole.Trajectory(*numbers(seed, 40, 3, 2, block=40)) for seed in range(1, 5)]
    norms = {
        "x_norm": mole.Normalizer.fit(np.concatenate([t.x for t in histories])),
        "y_norm": mole.Normalizer.fit(np.concatenate([t.y for t in histories])),
    }
    readout = mole.train_readout_prior(histories, width=4, config=config, key=jax.random.key(3), **norms)
    mole.readout.save_readout_prior(folder / "readout.mole", readout, {"command": "golden"})
    readout = mole.readout.load_readout_prior(folder / "readout.mole")[0]
    kept.expect("readout", readout, *numbers(7, PAIRS, 3, 2, block=10))

    rows, targets = table(8, 120)
    encoder = RowEncoder()
    for row in rows:
        encoder.observe(row)
    schema = encoder.schema()
    inputs = np.stack([schema.encode(row) for row in rows])
    stretches = [
        mole.Trajectory(inputs[i : i + 25], np.asarray(targets[i : i + 25], np.float32)[:, None])
        for i in range(0, 100, 25)
    ]
    stream = mole.fit_prior(stretches, width=4, config=config, schema=schema)
    mole.save_stream_prior(folder / "stream-regression.mole", stream, {"target": "y", "rows": 100})
    stream = mole.load_stream_prior(folder / "stream-regression.mole")[0]
    kept.expect("stream-regression", stream, rows[100:], targets[100:])
    names = ("low", "high")
    indicators = np.eye(2, dtype=np.float32)[[names.index(word) for word in words_of(targets)]]
    stretches = [mole.Trajectory(inputs[i : i + 25], indicators[i : i + 25]) for i in range(0, 100, 25)]
    labelled = mole.fit_prior(
        stretches, kind="classification", labels=names, width=4, config=config, schema=schema
    )
    mole.save_stream_prior(folder / "stream-classification.mole", labelled, {"target": "y", "rows": 100})
    labelled = mole.load_stream_prior(folder / "stream-classification.mole")[0]
    kept.expect("stream-classification", labelled, rows[100:], words_of(targets[100:]))

    network = trained_network(3, 1)
    mole.save_prior(folder / "control-trained.mole", network, {"command": "golden", "seed": 0})
    network = mole.load_prior(folder / "control-trained.mole")[0]
    kept.expect("control-trained", network, *numbers(9, 24, 3, 1, block=8))

    small = {"width": 4, "mixture": steps.FEW}
    vectors, table_of = numbers(11, 200), table(12, 200)
    x, y = vectors[0], vectors[1][:, 0]
    rows, targets = table_of
    two = numbers(13, 100, 3, 2, block=20)

    def regressor(name: str, model: Any, x: Any, y: Any, n: int, more: int = PAIRS) -> None:
        path = folder / f"regressor-{name}.mole"
        model.learn_many(x[:n], y[:n]).save(path)
        kept.expect(path.stem, mole.OnlineRegressor.load(path), x[n : n + more], y[n : n + more])

    def classifier(name: str, model: Any, x: Any, labels: Any, n: int, more: int = PAIRS) -> None:
        path = folder / f"classifier-{name}.mole"
        model.learn_many(x[:n], labels[:n]).save(path)
        kept.expect(path.stem, mole.OnlineClassifier.load(path), x[n : n + more], labels[n : n + more])

    regressor("young", mole.OnlineRegressor(**small), x, y, 2)
    regressor("vectors", mole.OnlineRegressor(seed=3, level=0.8, **small), x, y, 140)
    regressor(
        "rows", mole.OnlineRegressor(width=4, history=50), rows, targets, 55
    )  # 64 pairs make the prior anew
    regressor("stream-prior", mole.OnlineRegressor(stream, **small), rows, targets, 70)
    regressor("readout-prior", mole.OnlineRegressor(readout, **small), *two, 50)
    for name, settings in (("mixture", OURS), ("paper", steps.PAPER)):
        regressor(name, mole.OnlineRegressor(network, mixture=settings), x, y, 165)
        path = folder / f"regressor-{name}.mole"
        kept.count(path.stem, mole.OnlineRegressor.load(path)._state)
    classifier("vectors", mole.OnlineClassifier(**small), x, words_of(y), 140)
    kinds = [int(value > 0) for value in targets]
    kinds[60] = 2  # a label that comes after the file was written
    classifier("rows", mole.OnlineClassifier(width=4), rows, kinds, 55)
    classifier("stream-prior", mole.OnlineClassifier(labelled, **small), rows, words_of(targets), 60)

    def fleet(name: str, prior: Any, size: int, settings: dict[str, Any], n: int, dy: int) -> None:
        path, streams = (
            folder / f"fleet-{name}.mole",
            [numbers(20 + i, n + 12, 3, dy, 20) for i in range(size)],
        )
        x, y = (np.stack(part) for part in zip(*streams, strict=True))
        model = mole.Fleet(prior, size, mixture=settings)
        model.learn_many(x[:, :n], y[:, :n])
        model.save(path)
        kept.expect(path.stem, mole.Fleet.load(path), x[:, n:], y[:, n:])
        if isinstance(prior, mole.MetaPrior):
            kept.count(path.stem, mole.Fleet.load(path)._whole())

    fleet("readout", readout, 5, steps.FEW, 50, 2)
    fleet("mixture", network, 3, OURS, 50, 1)
    fleet("paper", network, 3, steps.PAPER, 70, 1)


PARTS: dict[str, Callable[[Kept], None]] = {"models": models}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        kept = Kept()
        PARTS[part](kept)
        kept.write()
