"""The command ``mole``: a thin front over `mole.experiment` and `mole.report`."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from mole.control.episode import EpisodeError
from mole.control.records import EpisodeRecord
from mole.control.training import TrainingConfig, train_priors
from mole.envs import spec_for
from mole.experiment.commandline import parse_settings, train_command
from mole.experiment.config import Cell, EvalConfig, PlannerConfig
from mole.experiment.evaluate import evaluate
from mole.experiment.methods import METHODS
from mole.experiment.tune import VALIDATION_SCHEDULE, VALIDATION_SEEDS, VALIDATION_STEPS, tune
from mole.experiment.worlds import describe_environments, make_world, training_world
from mole.report.console import LEGEND, LiveRuns, results_table, runs_csv, summary
from mole.report.demo import demo_video
from mole.report.html import write_report
from mole.report.tables import rows_of
from mole.shipped import shipped_priors

__all__ = ["main"]

_CHEETAH = "mole/HalfCheetahMotors-v0"
_TRAINING, _PLANNER = TrainingConfig(), PlannerConfig()
_console = Console()


def _demo(
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
    _console.print(
        "A half-cheetah whose six motors change sign every 100 steps (A ↔ B), and nobody tells it."
    )
    records = _evaluated(config, out, workers)
    videos, reason = demo_video(records, out) if video else ({}, "not asked for (--no-video)")
    if reason:
        _console.print(f"no video: {reason}")
    command = f"mole demo --steps {steps} --seed {seed}"
    _report(out, records, "A half-cheetah whose motors keep failing", command, videos, reason)


def _train(
    env: Annotated[str, tyro.conf.Positional],
    tasks: str = "signs",
    switch_every: int = 200,
    seed: int = 0,
    out: Path | None = None,
    config: Annotated[TrainingConfig, tyro.conf.arg(name="")] = _TRAINING,
) -> None:
    """Train a prior and its supervised twin from nothing; go on where an interrupted training stopped.

    Args:
        env: Gymnasium id (`mole envs` lists them).
        tasks: distribution of hidden tasks.
        switch_every: steps between untold changes of the task while the agent controls.
        seed: of everything.
        out: folder for data and priors; runs/train-<seed> if not given.
        config: amounts of data and training.
    """
    folder = Path(f"runs/train-{seed}") if out is None else out
    make_world(env, tasks=tasks).close()
    train_priors(
        lambda phase: training_world(env, phase, tasks, switch_every),
        spec_for(env),
        config,
        folder=folder,
        seed=seed,
        provenance={"env": env, "command": train_command(env, tasks, switch_every, seed, config)},
    )
    _console.print(f"priors: {folder / 'prior.mole'} and {folder / 'supervised.mole'}")
    _console.print(f"try them: mole eval {env} --prior {folder / 'prior.mole'}")


def _eval(
    env: Annotated[str, tyro.conf.Positional],
    methods: tuple[str, ...] = METHODS,
    schedule: tuple[str, ...] = ("alternate:A,B:100",),
    seeds: int = 10,
    first_seed: int = 0,
    steps: int = 2000,
    prior: Path | None = None,
    supervised: Path | None = None,
    setting: tuple[str, ...] = (),
    probe_steps: int = 2000,
    out: Path = Path("runs/eval"),
    workers: int = 2,
    planner: PlannerConfig = _PLANNER,
) -> None:
    """Compare methods: a table with 95 % intervals, records, and a report.

    Args:
        env: Gymnasium id (`mole envs` lists them).
        methods: which of mole, mole-paper, kshot, continuous, supervised, supervised-sgd, oracle.
        schedule: how the hidden task changes, e.g. alternate:A,B:100, negative, random:300.
        seeds: number of evaluation seeds.
        first_seed: the first of them.
        steps: steps of a run.
        prior: meta-trained prior; the one that comes with the package if not given.
        supervised: its supervised twin; supervised.mole beside the prior if not given.
        setting: NAME=VALUE pairs instead of the tuned settings, for one method (an ablation).
        probe_steps: steps with random actions, to measure the error off policy too; 0 for none.
        out: folder for records, runs.csv, summary.json and report.html; finished runs there are not done again.
        workers: processes, one core each.
        planner: the planner that all methods share.
    """
    meta, twin = _priors(env, prior, supervised)
    names = tuple(range(first_seed, first_seed + seeds))
    config = EvalConfig(
        env,
        meta,
        twin,
        methods,
        schedule,
        names,
        steps,
        probe_steps,
        planner=planner,
        settings=parse_settings(setting, methods),
    )
    for one in schedule:
        make_world(env, schedule=one).close()
    records = _evaluated(config, out, workers)
    _report(out, records, f"mole eval {env}", _invocation.get(), {}, "mole demo makes one")


def _tune(
    env: Annotated[str, tyro.conf.Positional],
    methods: tuple[str, ...] = METHODS,
    schedule: tuple[str, ...] = (VALIDATION_SCHEDULE,),
    prior: Path | None = None,
    supervised: Path | None = None,
    out: Path = Path("runs/tune"),
    workers: int = 2,
) -> None:
    """Choose the settings of every method with the same number of trials, on a validation schedule.

    Args:
        env: Gymnasium id.
        methods: which methods.
        schedule: validation schedules; none that is used in a test.
        prior: meta-trained prior; the shipped one if not given.
        supervised: its supervised twin.
        out: folder for the trials.
        workers: processes, one core each.
    """
    meta, twin = _priors(env, prior, supervised)
    config = EvalConfig(env, meta, twin, methods, schedule, VALIDATION_SEEDS, VALIDATION_STEPS)
    with _console.status("tuning") as status:
        trials = tune(
            config, out, workers=workers, on_done=lambda _, done, total: status.update(f"{done}/{total} runs")
        )
    table = Table("method", "settings", "return / 1000 steps")
    for trial in trials:
        settings = ", ".join(f"{k}={v}" for k, v in trial.settings.items())
        table.add_row(trial.method, settings, "  ".join(f"{value:.0f}" for value in trial.returns))
    _console.print(table)


def _envs() -> None:
    """List the environments of this package and the names that their schedules may use."""
    for name, text in describe_environments().items():
        _console.print(f"[bold]{name}[/bold]\n{text}\n")


def _priors(env: str, prior: Path | None, supervised: Path | None) -> tuple[Path, Path]:
    if prior is None:
        make_world(env).close()
        meta, twin = shipped_priors(env)
        return meta, twin if supervised is None else supervised
    return prior, prior.with_name("supervised.mole") if supervised is None else supervised


def _evaluated(config: EvalConfig, out: Path, workers: int) -> list[EpisodeRecord]:
    live, total = LiveRuns(config.steps), len(config.cells())
    with Live(live, console=_console, refresh_per_second=4, transient=True):

        def done(cell: Cell, number: int, _: int) -> None:
            _console.print(f"[dim]{number}/{total}[/dim] {cell.method} · {cell.schedule} · seed {cell.seed}")

        return evaluate(config, out, workers=workers, on_tick=live.tick, on_done=done)


def _report(
    out: Path, records: list[EpisodeRecord], title: str, command: str, videos: dict[str, Path], no_video: str
) -> None:
    rows = rows_of(records)
    for schedule in dict.fromkeys(row.schedule for row in rows):
        _console.print(results_table([row for row in rows if row.schedule == schedule]))
    _console.print(LEGEND, style="dim", highlight=False)
    (out / "runs.csv").write_text(runs_csv(rows))
    (out / "summary.json").write_text(json.dumps(summary(rows), indent=1) + "\n")
    path = write_report(
        out / "report.html", records, title=title, commands=[command], videos=videos, no_video=no_video
    )
    _console.print(f"report: {path}")


_COMMANDS: dict[str, Callable[..., Any]] = {
    "demo": _demo,
    "train": _train,
    "eval": _eval,
    "tune": _tune,
    "envs": _envs,
}


_invocation: ContextVar[str] = ContextVar("invocation", default="mole")


def main(args: list[str] | None = None) -> int:
    """Entry point; returns the exit status: 0, 2 for wrong input or a failed run, 130 for Ctrl-C."""
    _invocation.set(shlex.join(["mole", *(sys.argv[1:] if args is None else args)]))
    try:
        tyro.extras.subcommand_cli_from_dict(
            _COMMANDS,
            prog="mole",
            description="Deep models that keep learning online in a world that changes.",
            args=args,
        )
    except KeyboardInterrupt:
        Console(stderr=True).print(
            "interrupted: finished runs and what was recorded are kept; run it again to go on."
        )
        return 130
    except (ValueError, TypeError, OSError, FloatingPointError, EpisodeError) as error:
        Console(stderr=True).print(f"[red]error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
