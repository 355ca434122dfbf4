"""``mole demo``: what it is all about, in a few minutes."""

from __future__ import annotations

from pathlib import Path

from mole.commands.common import check_failures, console, write_results
from mole.commands.evaluate import run_evaluation, write_page
from mole.experiment.config import EvalConfig
from mole.priors.shipped import shipped_priors
from mole.report.demo import demo_video

__all__ = ["demo"]

_CHEETAH = "mole/HalfCheetahMotors-v0"


def demo(
    steps: int = 1000,
    seed: int = 0,
    out: Path = Path("runs/demo"),
    workers: int = 2,
    video: bool = True,
) -> None:
    """Motors change sign every 100 steps: mole beside its baselines, with a report at the end.

    Args:
        steps: steps of each run, 0.05 s each.
        seed: of environment and planner.
        out: folder for records and report.html.
        workers: processes, one core each.
        video: whether the report has a video (needs EGL).
    """
    prior, supervised = shipped_priors(_CHEETAH)
    config = EvalConfig(
        _CHEETAH,
        prior,
        supervised,
        methods=("mole", "kshot", "continuous", "supervised"),
        seeds=(seed,),
        steps=steps,
        keep_actions=True,
    )
    console.print("A half-cheetah whose six motors change sign every 100 steps (A ↔ B), and nobody tells it.")
    records = run_evaluation(config, out, workers)
    check_failures(records)
    videos, reason = demo_video(records, out) if video else ({}, "not asked for (--no-video)")
    if reason:
        console.print(f"no video: {reason}")
    write_results(out, records)
    command = f"mole demo --steps {steps} --seed {seed}"
    write_page(out, records, "A half-cheetah whose motors keep failing", command, videos, reason)
