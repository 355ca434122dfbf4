"""Meta-training over several devices: the same loss and the same prior as on one, to rounding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mole import MetaConfig
from mole.cli import main

# Devices are counted once, when JAX starts: hence a process of its own.
CODE = """
import dataclasses, json
import jax, jax.numpy as jnp, numpy as np
import mole
from mole.meta.devices import divided
from mole.meta.maml import MetaObjective, Fit

rng = np.random.default_rng(0)
tracks = []
for task in range(6):
    x = rng.normal(size=(60, 3))
    tracks.append(mole.Trajectory(x, x @ rng.normal(size=(3, 2))))
windows = mole.Window(*(jnp.asarray(rng.normal(size=(8, 8, size)), jnp.float32) for size in (3, 2)))
config = mole.MetaConfig(window=4, iterations=20, batch=8, evaluate_every=20)
found = {}
for kind, model in (("mlp", mole.MLP(3, 2, width=8, depth=2, key=jax.random.key(0))), ("module", None)):
    if model is None:
        import equinox as eqx
        model = eqx.nn.MLP(3, 2, 8, 1, key=jax.random.key(0))
    for rollout in (False,):
        for devices in (None, 1, 2, 4):
            fit = Fit(model, mole.ScalarRate(0.05) if kind == "module" else mole.Rank1Rate(model, 0.05))
            objective = MetaObjective(mole.Gaussian(), True, False)

            def loss(arrays, static, windows):
                import equinox as eqx
                return objective(eqx.combine(arrays, static), divided(windows, devices))

            import equinox as eqx
            arrays, static = eqx.partition(fit, eqx.is_inexact_array)
            value, gradient = jax.jit(jax.value_and_grad(lambda a: loss(a, static, windows)))(arrays)
            flat = np.concatenate([np.ravel(one) for one in jax.tree.leaves(gradient)])
            of = dataclasses.replace(config, devices=devices)
            prior = mole.meta_train(model, tracks, config=of, key=jax.random.key(1),
                                    rate=mole.ScalarRate(0.05) if kind == "module" else None)
            leaves = [one for one in jax.tree.leaves(prior) if hasattr(one, "devices")]
            assert all(one.devices() == {jax.devices()[0]} for one in leaves)
            numbers = np.concatenate([np.ravel(one) for one in leaves])
            found[f"{kind} {devices}"] = [float(value), flat.tolist(), numbers.tolist()]
try:
    mole.meta_train(model, tracks, config=dataclasses.replace(config, devices=8), key=jax.random.key(1))
except ValueError as error:
    found["too many"] = str(error)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    env = {**os.environ, "JAX_NUM_CPU_DEVICES": "4"}
    run = subprocess.run([sys.executable, "-c", CODE], env=env, capture_output=True, text=True, timeout=500)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("kind", ["mlp", "module"])
@pytest.mark.parametrize("devices", [1, 2, 4])
def test_loss_gradient_and_prior_are_those_of_one_device(
    found: dict[str, Any], kind: str, devices: int
) -> None:
    loss, gradient, prior = found[f"{kind} None"]
    other_loss, other_gradient, other_prior = found[f"{kind} {devices}"]
    assert loss == pytest.approx(other_loss, rel=1e-6)
    assert gradient == pytest.approx(other_gradient, rel=1e-4, abs=1e-6)
    assert prior == pytest.approx(other_prior, rel=1e-3, abs=1e-4)
    assert max(map(abs, gradient)) > 1e-3


def test_more_devices_than_there_are_and_uneven_batches_are_told(found: dict[str, Any]) -> None:
    assert "devices=8; expected at most 4" in found["too many"]
    with pytest.raises(ValueError, match="devices=3 with batch=32; expected a number that divides"):
        MetaConfig(devices=3)
    with pytest.raises(ValueError, match="devices"):
        MetaConfig(devices=0)


def test_the_command_tells_of_devices_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for devices, told in (("5", "devices=5 with batch=32"), ("4", "JAX_NUM_CPU_DEVICES=4")):
        assert main(["train", "Pendulum-v1", "--devices", devices, "--out", str(tmp_path / "training")]) != 0
        assert told in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "training").exists()
