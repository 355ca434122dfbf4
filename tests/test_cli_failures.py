"""What `mole eval` leaves behind when what it runs breaks: an environment in mid-run, and a planner at once."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import pytest

from helpers import tiny_prior
from mole.cli import main
from mole.control.records import EpisodeRecord
from mole.envs.spec import spec_for
from mole.experiment.worlds import make_world
from mole.priors.file import save_prior

BROKEN = """
import gymnasium
from gymnasium.envs.classic_control import PendulumEnv

class Broken(PendulumEnv):
    steps = 0

    def step(self, action):
        self.steps += 1
        if self.steps > 5:
            raise OSError("the bus is gone")
        return super().step(action)

gymnasium.register("Broken-v0", Broken)
"""
NO_PLAN = """
import multiprocessing
import gymnasium
from gymnasium.envs.classic_control import PendulumEnv
from mole.planning import CEM

def no_plan(*_, **__):
    raise FloatingPointError("no plan")

if multiprocessing.parent_process():  # in the worker that runs the episode, and not in the tests
    CEM.plan = no_plan
gymnasium.register("NoPlan-v0", PendulumEnv)
"""


@pytest.mark.parametrize(
    ("source", "name", "steps", "reason"),
    [(BROKEN, "Broken-v0", 5, "OSError: the bus is gone"), (NO_PLAN, "NoPlan-v0", 0, "no plan")],
)
def test_what_was_recorded_is_kept_and_the_reason_told(
    source: str,
    name: str,
    steps: int,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    module = f"world_{steps}"
    Path(f"{module}.py").write_text(source)
    spec = spec_for(make_world("Pendulum-v1"))
    for file in ("prior.mole", "supervised.mole"):
        save_prior(Path(file), tiny_prior(jax.random.key(0), spec.feature_dim, spec.delta_dim), {})
    planner = "--planner.samples 4 --planner.elites 2 --planner.iterations 1 --planner.horizon 2"
    amounts = "--methods mole --seeds 1 --steps 9 --probe-steps 0 --workers 1 --out out"
    status = main(["eval", f"{module}:{name}", "--prior", "prior.mole", *amounts.split(), *planner.split()])
    said = " ".join("".join(capsys.readouterr()).split())
    assert status == 1
    assert "1 of 1 runs failed; run it again to try them again." in said
    assert reason in said
    (path,) = [path for path in Path("out").rglob("*.npz") if not path.name.endswith(".actions.npz")]
    record = EpisodeRecord.load(path)
    assert len(record) == steps
    assert not record.meta["complete"]
    assert reason in record.meta["error"]
    (evaluation,) = Path("out").rglob("eval.json")
    assert json.loads(evaluation.read_text())
