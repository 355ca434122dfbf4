"""Every kind of file that mole 0.1 wrote is read, and what was in it goes on as it did in 0.1.

The files, and what 0.1 made of them, are in ``golden``; `golden/make_golden.py` says how they were made.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mole
import mole.readout
from golden import steps

# What differs between 0.1 and later versions is in these functions alone.


def load(path: Path) -> Any:
    """The prior in a file, of any kind: `mole.load_prior` alone, in versions after 0.1."""
    kinds: dict[str, Callable[[Path], Any]] = {
        "control": mole.load_prior,
        "readout": mole.readout.load_readout_prior,
        "stream": mole.load_stream_prior,
    }
    return kinds[path.stem.split("-")[0]](path)[0]


def counts(model: Any) -> np.ndarray:
    """The counts of the Chinese restaurant in a mixture's state, or in all of a fleet."""
    state = model._whole() if isinstance(model, mole.Fleet) else model._state
    return np.asarray(state.counts)


HERE = steps.HERE
LOADERS: dict[str, Callable[[Path], Any]] = {
    "regressor": mole.OnlineRegressor.load,
    "classifier": mole.OnlineClassifier.load,
    "fleet": mole.Fleet.load,
}
MODELS = sorted(path.stem for path in (HERE / "models").glob("*.mole"))
ABOUT = json.loads((HERE / "expected.json").read_text())
ROWS = json.loads((HERE / "rows.json").read_text())
# The last bits of a result depend on the processor, the libraries and XLA's flags. Where they are those of the machine
# that wrote the files, every bit must be the same; elsewhere numbers are compared as closely as float32 allows.
SAME_MACHINE = ABOUT["machine"] == steps.machine()
ELSEWHERE = {"rtol": 1e-3, "atol": 1e-4}
# Versions after 0.1 keep the logarithms of the paper's counts, so that the last digits of its responsibilities, and of
# all that is weighted by them, may differ.
PAPER = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    """What 0.1 gave, by the name of the file and of the result."""
    with np.load(HERE / "expected.npz") as found:
        return dict(found)


def of(expected: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """What is expected of one file."""
    return {key.removeprefix(f"{name}/"): v for key, v in expected.items() if key.startswith(f"{name}/")}


def assert_same(name: str, got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Everything that 0.1 gave is there, and the same."""
    exact = SAME_MACHINE and (not name.startswith("fleet") or ABOUT["cores"] == steps.cores())
    for key, want in expected.items():
        found, message = np.asarray(got[key]), f"{name}: {key}"
        assert (found.shape, found.dtype.kind) == (want.shape, want.dtype.kind), message
        if want.dtype.kind != "f":
            np.testing.assert_array_equal(found, want, message)
        elif "paper" in f"{name}/{key}":
            np.testing.assert_allclose(found, want, **(PAPER if exact else ELSEWHERE), err_msg=message)
        elif exact:
            np.testing.assert_array_equal(found, want, message)
        else:
            np.testing.assert_allclose(found, want, **ELSEWHERE, err_msg=message)


@pytest.mark.parametrize("name", MODELS)
def test_priors_estimators_and_fleets_go_on(name: str, expected: dict[str, np.ndarray]) -> None:
    want, kind = of(expected, name), name.split("-")[0]
    loaded = LOADERS.get(kind, load)(HERE / "models" / f"{name}.mole")
    if "counts" in want:
        assert_same(name, {"counts": counts(loaded)}, {"counts": want.pop("counts")})
    if name in ROWS:
        x, y = ROWS[name]
    else:
        x, y = want.pop("given/x"), want.pop("given/y")
    assert_same(name, steps.STEPS[kind](loaded, x, y), want)


def test_there_is_a_file_of_every_kind(expected: dict[str, np.ndarray]) -> None:
    assert len(MODELS) >= 20
    assert set(MODELS) == {key.split("/")[0] for key in expected}
