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
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from mole import checkpoint
from mole.cli import main
from mole.control.episode_file import EpisodeFile
from mole.experiment.cell import run_cell
from mole.experiment.config import EvalConfig, PlannerConfig
from mole.experiment.families import FAMILIES
from mole.experiment.worlds import world_spec
from mole.generations import Periodic
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


# Folders of commands, whole and killed.


@contextmanager
def at(folder: Path) -> Iterator[Path]:
    """Work in an empty folder, so that no path of this machine is in any file."""
    before = Path.cwd()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.chdir(folder)
    try:
        yield folder
    finally:
        os.chdir(before)


def run(*args: str) -> None:
    """A command that succeeds."""
    assert main(list(args)) == 0, args


@contextmanager
def killed_after(name: str, number: int) -> Iterator[None]:
    """Kill what runs inside after the ``number``-th checkpoint with that file's name was written."""
    real, left = checkpoint.save, number

    def save(path: Any, *args: Any, **settings: Any) -> None:
        nonlocal left
        real(path, *args, **settings)
        left -= Path(path).name == name
        if not left:
            raise Killed

    checkpoint.save = save
    try:
        yield
    except Killed:
        return
    finally:
        checkpoint.save = real
    raise AssertionError(f"{name} was not written {number} times")


@contextmanager
def killed_at_row(number: int) -> Iterator[None]:
    """Kill a stream when it learns its ``number``-th row."""
    real, learned = {}, 0

    def dying(kind: Any) -> Any:
        def learn_one(self: Any, x: Any, y: Any) -> Any:
            nonlocal learned
            learned += 1
            if learned == number:
                raise Killed
            return real[kind](self, x, y)

        return learn_one

    for kind in (mole.OnlineRegressor, mole.OnlineClassifier):
        real[kind] = kind.learn_one
        kind.learn_one = dying(kind)
    try:
        yield
    except Killed:
        return
    finally:
        for kind, learn_one in real.items():
            kind.learn_one = learn_one
    raise AssertionError(f"no {number} rows were learned")


def keep(source: Path, target: Path, args: tuple[str, ...]) -> None:
    """Take a folder over, without locks, pages and what compares files of a moment; and the command beside it."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(".*", "*.html"))
    (target / "command.json").write_text(json.dumps(args) + "\n")


def write_csv(path: str, rows: list[dict[str, Any]], targets: list[Any]) -> None:
    """A table with a column y, with some bad rows."""
    lines = [",".join([*rows[0], "y"])]
    for number, (row, target) in enumerate(zip(rows, targets, strict=True)):
        cells = ["" if value is None else str(value).replace("True", "true") for value in row.values()]
        lines.append(",".join([*cells, "?" if number % 41 == 40 else str(target)]))
    Path(path).write_text("\n".join(lines) + "\n")


def streams(_: Kept) -> None:
    """`mole stream` and `mole fit-prior`, stopped in the middle."""
    with tempfile.TemporaryDirectory() as name:
        temporary = Path(name)
        rows, targets = table(31, 420)
        history = ("fit-prior", "history.csv", "--target", "y", "--out", "prior.mole", "--width", "4")
        with at(temporary / "fit"):
            write_csv("history.csv", rows[300:], targets[300:])
            run(*history)
            shutil.copy("prior.mole", temporary / "prior.mole")
        with at(temporary / "fit-killed") as folder, killed_after("prior.mole.part", 27):
            write_csv("history.csv", rows[300:], targets[300:])
            main([*history, "--every-seconds", "1e-9"])
        keep(folder, HERE / "fit-prior", history)
        shutil.copy(temporary / "prior.mole", HERE / "fit-prior" / "whole.mole")
        for kind, values, more in (
            ("regression", targets, ("--seed", "2", "--level", "0.8", "--features", "a,b,colour")),
            ("classification", words_of(targets), ("--features", "b,a")),
            ("prior", targets, ("--prior", "prior.mole")),
        ):
            out = "p.jsonl" if kind == "classification" else "p.csv"
            args = (
                "stream",
                "data.csv",
                "--target",
                "y",
                "--out",
                out,
                "--checkpoint",
                "c.mole",
                "--keep",
                "1",
            )
            args = (*args, "--every", "100", "--every-seconds", "1e9", *more)
            whole, killed = temporary / kind, temporary / f"{kind}-killed"
            for folder in (whole, killed):
                with at(folder):
                    write_csv("data.csv", rows[:300], values[:300])
                    shutil.copy(temporary / "prior.mole", "prior.mole")
                    if kind != "prior":
                        Path("prior.mole").unlink()
                    if folder == whole:
                        run(*args)
                        continue
                    with killed_at_row(230):
                        main(list(args))
            keep(killed, HERE / f"stream-{kind}", args)
            shutil.copy(whole / out, HERE / f"stream-{kind}" / f"whole{Path(out).suffix}")


WORLD = ("Pendulum-v1", "--parameter", "gravity")
TRAIN = (
    "train", *WORLD, "--tasks", "uniform:4,15", "--switch-every", "20", "--seed", "3", "--out", "train",
    "--workers", "0", "--every-seconds", "1e-9", "--random-rollouts", "4", "--random-steps", "40", "--rounds", "1",
    "--episodes", "2", "--episode-steps", "40", "--width", "6", "--depth", "1", "--horizon", "3", "--samples", "12",
    "--iterations", "1", "--round-iterations", "250", "--meta.window", "4", "--meta.iterations", "130",
    "--meta.batch", "4", "--meta.evaluate-every", "50", "--meta.held-out", "0.25",
)  # fmt: skip
METHODS = ("mole", "mole-paper", "kshot", "continuous")
SCHEDULE = "alternate:9.81,3.7:15"
EVAL = (
    "eval", *WORLD, "--prior", "prior.mole", "--methods", *METHODS, "--schedule", SCHEDULE, "--seeds", "1",
    "--steps", "60", "--probe-steps", "20", "--keep-actions", "--out", "eval", "--workers", "1",
    "--planner.samples", "12", "--planner.horizon", "3", "--planner.iterations", "1",
)  # fmt: skip


def control(_: Kept) -> None:
    """`mole train`, stopped in three stages; `mole eval`, with runs that are done, stopped and missing; and a suite."""
    with tempfile.TemporaryDirectory() as name:
        temporary = Path(name)
        with at(temporary / "whole") as whole:
            run(*TRAIN)
        keep(whole / "train", HERE / "train-whole", TRAIN)
        for stage, file, number in (
            ("control", "data-01-01.part", 25),
            ("meta", "prior-01.part", 3),
            ("twin", "supervised.part", 2),
        ):
            with at(temporary / stage) as folder, killed_after(file, number):
                main(list(TRAIN))
            keep(folder / "train", HERE / f"train-{stage}", TRAIN)

        priors = [HERE / "train-whole" / f"{kind}.mole" for kind in ("prior", "supervised")]
        with at(temporary / "eval") as folder:
            for prior in priors:
                shutil.copy(prior, prior.name)
            run(*EVAL, "--format", "parquet")
            keep(folder / "eval", HERE / "eval-whole", EVAL)
            config = EvalConfig(
                "Pendulum-v1[gravity]",
                Path("prior.mole"),
                Path("supervised.mole"),
                METHODS,
                (SCHEDULE,),
                (0,),
                60,
                20,
                True,
                planner=PlannerConfig(samples=12, horizon=3, iterations=1),
                tuned={"mole": {"step_scale": 0.2}, "kshot": {}},
                names={SCHEDULE: ""},
            )
            cells = {cell.method: cell for cell in config.cells()}
            for path in Path("eval").glob("*"):
                if not path.name.startswith(("kshot", "mole-paper", "eval")):
                    path.unlink()
            file = EpisodeFile(Path("eval") / f"{cells['mole'].name}.mole", Periodic(10))

            def die(recorder: Any) -> None:
                if len(recorder) == 35:
                    raise Killed

            try:
                run_cell(config, cells["mole"], Path("eval"), die, file)
            except Killed:
                keep(folder / "eval", HERE / "eval-killed", EVAL)

        families = ("motors", "terrain", "crawler")
        suite = ("eval", "--suite", "quick", "--methods", "mole", "kshot", "--seeds", "1", "--steps", "12")
        suite = (
            *suite,
            "--out",
            "suite",
            "--workers",
            "2",
            "--prior",
            *(f"{f}={f}/prior.mole" for f in families),
        )
        with at(temporary / "suite") as folder:
            for family in families:
                Path(family).mkdir()
                spec = world_spec(FAMILIES[family].env)
                model = mole.MLP(spec.feature_dim, spec.delta_dim, width=4, depth=1, key=jax.random.key(0))
                prior = mole.MetaPrior(
                    model,
                    inner_rate=mole.ScalarRate(0.01),
                    window=4,
                    x_norm=mole.Normalizer.identity(spec.feature_dim),
                    y_norm=mole.Normalizer.identity(spec.delta_dim),
                )
                for kind in ("prior", "supervised"):
                    mole.save_prior(Path(family) / f"{kind}.mole", prior, {"command": "golden"})
            run(*suite)
            keep(folder, HERE / "suite", suite)


PARTS: dict[str, Callable[[Kept], None]] = {"models": models, "streams": streams, "control": control}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        kept = Kept()
        PARTS[part](kept)
        kept.write()
        print(part, "written")
