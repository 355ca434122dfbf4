"""The command line, in this process: what it prints, what it writes, and its exit status."""

from __future__ import annotations

import errno
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import pytest

from helpers import tiny_prior
from mole import cli
from mole.cli import COMMANDS, load, main
from mole.commands import runs, short
from mole.control.episode import Episode, EpisodeError
from mole.control.records import Recorder
from mole.envs.cheetah.motors import DYNAMICS
from mole.experiment.config import Cell, EvalConfig
from mole.experiment.evaluate import Done, Job, WorkerLost
from mole.experiment.families import FAMILIES
from mole.experiment.methods import METHODS
from mole.experiment.tune import VALIDATION_SEEDS, VALIDATION_STEPS, Trial
from mole.files.checkpoint import read_header
from mole.files.processes import Terminated
from mole.priors.file import parse_header, read_provenance, save_prior
from stand_in_runs import stand_in_jobs

ENV = "mole/HalfCheetahMotors-v0"
Run = Callable[..., tuple[int, str, str]]
NO_EPISODE = Episode(
    Recorder({"env": ENV, "method": "mole", "schedule": "A", "seed": 0, "step_seconds": 0.05}).record(), []
)


@pytest.fixture
def mole(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run ``mole`` in an empty folder: its exit status and, with blanks made single, what it said."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            status = main([str(arg) for arg in args])
        except SystemExit as exit_:
            status = exit_.code
        out, err = (re.sub(r"[\s│]+", " ", text) for text in capsys.readouterr())
        assert isinstance(status, int)
        return status, out, err

    return run


@pytest.fixture
def prior(tmp_path: Path) -> Path:
    """A tiny prior, untrained, with the supervised one beside it."""
    folder = tmp_path / "priors"
    folder.mkdir()
    made = tiny_prior(jax.random.key(0), DYNAMICS.feature_dim, DYNAMICS.delta_dim, width=8, depth=1)
    for name in ("prior.mole", "supervised.mole"):
        save_prior(folder / name, made, {})
    return folder / "prior.mole"


# --- help


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_and_every_option_is_explained(
    mole: Run, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    status, out, err = mole(*command.split(), "--help")
    assert (status, err) == (0, "")
    if not command:
        assert all(f"• {name}" in out for name in COMMANDS)
        assert "Deep models that keep learning online" in out
        return
    assert (load(command).__doc__ or "").splitlines()[0] == COMMANDS[command].summary
    assert COMMANDS[command].summary in out
    entries = re.split(r" (?=--[a-z])", out)[1:]
    shown = {entry.split()[0].rstrip(",") for entry in entries if not entry.startswith("--help")}
    assert bool(shown) == (command != "envs")
    entries = [entry for entry in entries if not re.match(r"--\S+, ", entry + " ")]  # --video, --no-video
    for entry in entries:
        text = re.sub(r"\(default: .*?\)|\(required\)|\{.*?\}|[╭╰─╮╯]|^--\S+", "", entry)
        assert re.search(r"[a-z]{2,}", text), f"mole {command}: no help for {entry!r}"


def test_a_wrong_option_or_command_ends_with_status_2(mole: Run) -> None:
    for args, message in (
        (("evaluate",), "Available subcommands: demo, train, eval, tune, report, envs"),
        (("eval", ENV, "--stepz", "3"), "--stepz"),
        (("eval", ENV, "--steps", "many"), "many"),
    ):
        status, _, err = mole(*args)
        assert status == 2
        assert message in err


def test_envs_lists_the_environments_and_the_words_of_their_schedules(mole: Run) -> None:
    status, out, _ = mole("envs")
    assert status == 0
    assert f"{ENV} A half-cheetah whose motors fail" in out
    assert "identity, negative, A, B, magnitudes, weak, random:STEPS" in out
    assert "alternate:VALUE,VALUE[,…]:STEPS" in out


# --- what is not installed


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make a package unfindable, as if it were not installed."""

    def hide(package: str) -> None:
        def fail(name: str, *_: Any) -> Any:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)

        monkeypatch.setattr(cli.importlib, "import_module", fail)

    return hide


@pytest.mark.parametrize(
    ("package", "extra"), [("gymnasium", "control"), ("pyarrow.parquet", "parquet"), ("sklearn", "streams")]
)
def test_a_missing_extra_is_one_line_that_names_it(
    mole: Run, absent: Callable[[str], None], package: str, extra: str
) -> None:
    absent(package)
    status, out, err = mole("eval", ENV, "--help")
    assert (status, out) == (2, "")
    top = package.partition(".")[0]
    assert err == (
        f"error: mole eval needs {top}, which is not installed. Install it with: "
        f"pip install 'mole-online[{extra}]' "
    )


def test_the_list_of_commands_imports_none(mole: Run, absent: Callable[[str], None]) -> None:
    absent("gymnasium")
    assert mole("--help")[0] == 0


def test_the_parser_and_the_table_know_the_same_spellings(mole: Run) -> None:
    assert "--every-seconds" in mole("fit_prior", "--help")[1]
    status, _, err = mole("fit_prior", "none.csv", "--target", "y")
    assert status == 2
    assert "no file at none.csv" in err


def test_the_completions_of_a_shell_know_the_options_of_every_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--tyro-print-completion", "bash"])
    assert not ended.value.code
    out = capsys.readouterr().out
    assert all(option in out for option in ("--probe-steps", "--new-input", "--figures", "--switch-every"))


def test_a_missing_module_that_is_no_extra_is_a_bug(mole: Run, absent: Callable[[str], None]) -> None:
    absent("mole.nonsense")
    with pytest.raises(ModuleNotFoundError, match=r"mole\.nonsense"):
        mole("eval", ENV)


def test_every_missing_extra_is_one_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert set(cli._EXTRAS.values()) <= set(project["optional-dependencies"])


# --- wrong input


def test_unknown_names_are_answered_with_the_nearest_known(mole: Run, prior: Path) -> None:
    at = ("--prior", prior)
    for args, message in (
        (("eval", "mole/HalfCheetah-v0"), f"unknown environment 'mole/HalfCheetah-v0': did you mean '{ENV}'?"),
        (("train", "mole/HalfCheetah"), f"unknown environment 'mole/HalfCheetah': did you mean '{ENV}'?"),
        (("eval", ENV, *at, "--methods", "mole", "k-shot"), "unknown method 'k-shot': did you mean 'kshot'?"),
        (("tune", ENV, *at, "--methods", "moel"), "unknown method 'moel': did you mean 'mole'?"),
        (("eval", ENV, *at, "--schedule", "alternat:A,B:9"), "schedule 'alternat:A,B:9': did you mean 'alternate'?"),
        (("eval", ENV, *at, "--schedule", "negativ"), "unknown value 'negativ' in schedule 'negativ': did you mean"),
        (("train", ENV, "--tasks", "sings"), "'sings'"),
        (("eval", ENV, *at, "--seeds", "0"), "0 seeds; expected at least one of each"),
        (("eval", ENV, *at, "--workers", "0"), "got workers=0; expected at least 1"),
        (("train", ENV, "--meta.rate", "scalar", "--rounds", "-1"), "rounds=-1"),
    ):  # fmt: skip
        status, out, err = mole(*args)
        assert (status, out) == (2, ""), args
        assert err.startswith("error: ")
        assert message in err
    assert not Path("runs/train-0").exists()


def test_a_missing_prior_is_named_with_the_command_that_makes_one(mole: Run, prior: Path) -> None:
    for name in (
        "runs/[old]/prior.mole",
        f"{'long' * 30}/prior.mole",
    ):  # no markup, and not broken into lines
        status, _, err = mole("eval", ENV, "--prior", name)
        assert (status, err) == (2, f"error: no prior at {name}; `mole train {ENV}` makes one. ")
    prior.with_name("supervised.mole").unlink()
    status, _, err = mole("eval", ENV, "--prior", prior)
    assert status == 2
    assert "no prior at " in err
    assert "priors/supervised.mole; `mole train" in err


def test_a_file_that_is_no_prior_is_refused(mole: Run, prior: Path) -> None:
    prior.write_text("not a prior, though it is called one")
    status, _, err = mole("eval", ENV, "--prior", prior, "--methods", "mole", "--seeds", 1, "--steps", 2)
    assert status == 2
    assert "is not a mole checkpoint" in err


# --- failures and interruptions


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted: finished runs and what was recorded are kept; run it again to go on "
         "(a stream: with --checkpoint and --resume)."),
        (Terminated(), 143, "terminated: finished runs and what was recorded are kept; run it again to go on "
         "(a stream: with --checkpoint and --resume)."),
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), 2, "error: [Errno 28] No space left on device: "
         "'runs/x' error: make room, then run it again to go on: what was whole before is still there."),
        (FloatingPointError("training diverged"), 2, "error: training diverged"),
        (FileExistsError("runs is a file"), 2, "error: runs is a file"),
        (EpisodeError("stopped in [step 3]", NO_EPISODE), 2, "error: stopped in [step 3]"),
        (WorkerLost("a worker process ended"), 2, "error: a worker process ended"),
    ],
)  # fmt: skip
def test_an_interrupted_or_failed_run_has_its_own_status(
    mole: Run, prior: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, message: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(runs, "run_jobs", fail)
    got, _, err = mole("eval", ENV, "--prior", prior)
    assert got == status
    assert err.strip() == message


def test_a_bug_is_not_passed_off_as_wrong_input(
    mole: Run, prior: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "run_jobs", lambda *_, **__: {}["bug"])
    with pytest.raises(KeyError, match="bug"):
        mole("eval", ENV, "--prior", prior)


# --- the commands


def test_train_then_eval_writes_priors_records_tables_and_a_report(mole: Run, tmp_path: Path) -> None:
    tiny = "--random-rollouts 3 --random-steps 20 --rounds 0 --width 8 --depth 1 --round-iterations 1"
    meta = "--meta.window 4 --meta.iterations 2 --meta.evaluate-every 2 --meta.batch 2 --meta.rate scalar"
    train = ("train", ENV, "--out", "t", *tiny.split(), *meta.split(), "--tasks", "few-signs")
    status, out, err = mole(*train, "--seed", 3)
    assert (status, err) == (0, "")
    assert "priors: t/prior.mole and t/supervised.mole" in out
    assert f"try them: mole eval {ENV} --prior t/prior.mole" in out
    for name, rate in (("prior", "scalar"), ("supervised", "scalar")):
        path = tmp_path / "t" / f"{name}.mole"
        provenance, header = read_provenance(path), parse_header(read_header(path).config, path)
        assert (header.width, header.depth, header.window, header.rate) == (8, 1, 4, rate)
        command = provenance["command"]
        assert command.startswith(f"mole train {ENV} --tasks few-signs --random-rollouts 3 ")
        assert "--meta.rate scalar" in command
        assert "--meta.window 4" in command
        assert command.endswith(" --seed 3")
        assert (provenance["env"], provenance["steps"]) == (ENV, 60)
    status, _, err = mole(*train, "--seed", 4)
    assert status == 2
    assert "t holds results of another configuration: training.json differs in command, seed" in err

    planner = "--planner.samples 4 --planner.iterations 1 --planner.horizon 2 --planner.elites 2"
    evaluation = (
        "eval",
        ENV,
        "--prior",
        "t/prior.mole",
        "--out",
        "e",
        "--methods",
        "supervised",
        "--workers",
        1,
    )
    amounts = ("--schedule", "alternate:A,B:10", "negative", "--seeds", 1, "--first-seed", 5, "--steps", 25)
    status, out, err = mole(*evaluation, *amounts, "--probe-steps", 20, *planner.split())
    assert (status, err) == (0, "")
    assert "1/2 motors · supervised · alternate:A,B:10 · seed 5 · about " in out
    assert "2/2 motors · supervised · negative · seed 5" in out
    assert re.search(r"alternate:A,B:10 .* method .* supervised -?\d+ .* negative .* supervised -?\d+", out)
    assert out.strip().endswith("report: e/report.html")
    folder = tmp_path / "e"
    rows = json.loads((folder / "summary.json").read_text())
    assert [(r["schedule"], r["method"], r["seeds"]) for r in rows] == [
        ("alternate:A,B:10", "supervised", [5]),
        ("negative", "supervised", [5]),
    ]
    assert all(r["steps"] == [25.0, None, None] and r["error_random_actions"][0] > 0 for r in rows)
    assert len((folder / "runs.csv").read_text().splitlines()) == 3
    page = (folder / "report.html").read_text()
    assert f"mole eval {ENV}" in page
    assert "alternate:A,B:10" in page
    assert sorted(path.name for path in folder.glob("*.npz")) == [
        "supervised--alternate_A_B_10--5.npz",
        "supervised--negative--5.npz",
    ]
    # A second time nothing is left to run.
    status, out, _ = mole(*evaluation, *amounts, "--probe-steps", 20, *planner.split())
    assert status == 0
    assert "1/2" not in out
    status, _, err = mole(*evaluation, *amounts, "--probe-steps", 30, *planner.split())
    assert status == 2
    assert "eval.json differs in probe_steps" in err


def test_eval_shapes_the_planners_reward_and_says_so(
    mole: Run, prior: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Job] = []
    monkeypatch.setattr(runs, "run_jobs", stand_in_jobs(seen))
    evaluation = (
        "eval",
        ENV,
        "--prior",
        prior,
        "--methods",
        "mole",
        "--seeds",
        1,
        "--steps",
        5,
        "--out",
        "e",
    )
    status, out, err = mole(*evaluation, "--shaping", "posture=3", "--planner.horizon", 7)
    assert (status, err) == (0, "")
    assert (
        "planner: 7 steps, its reward shaped with posture=3; returns are the environment's own reward" in out
    )
    planner, weights = seen[0].config.plans
    assert (planner.horizon, weights) == (7, {"posture": 3.0})
    for text, complaint in (
        ("bock=3", "unknown shaping 'bock'"),
        ("posture", "--shaping got 'posture'; expected NAME=WEIGHT"),
    ):
        status, _, err = mole(*evaluation, "--shaping", text)
        assert status == 2 and complaint in err


def test_demo_compares_four_methods_and_says_once_why_there_is_no_video(
    mole: Run, prior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Job] = []
    monkeypatch.setattr(runs, "run_jobs", stand_in_jobs(seen))
    monkeypatch.setattr(short, "control_files", lambda env: (prior, prior.with_name("supervised.mole")))
    monkeypatch.setattr(short, "demo_video", lambda *_: ({}, "MuJoCo cannot render"))
    status, out, err = mole("demo", "--seed", 2, "--steps", 60, "--out", "d")
    assert (status, err) == (0, "")
    config = seen[0].config
    assert len(seen) == 4
    assert (config.env, config.methods) == (ENV, ("mole", "kshot", "continuous", "supervised"))
    assert (config.seeds, config.steps, config.keep_actions) == ((2,), 60, True)
    assert out.count("no video: MuJoCo cannot render") == 1
    assert re.search(r"alternate:A,B:100 .* mole -?\d+ .* kshot -?\d+ .* report: d/report\.html", out)
    page = (tmp_path / "d" / "report.html").read_text()
    assert "mole demo --steps 60 --seed 2" in page
    assert "MuJoCo cannot render" in page
    assert (tmp_path / "d" / "summary.json").is_file()

    status, out, _ = mole("demo", "--no-video", "--out", "other")
    assert status == 0
    assert "no video: not asked for (--no-video)" in out


def test_demo_writes_what_there_is_before_it_says_that_a_run_failed(
    mole: Run, prior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Job] = []
    monkeypatch.setattr(runs, "run_jobs", stand_in_jobs(seen, lambda cell: cell.method == "kshot"))
    monkeypatch.setattr(short, "control_files", lambda env: (prior, prior.with_name("supervised.mole")))
    status, out, err = mole("demo", "--steps", 60, "--out", "d")
    assert status == 1
    assert "1 of 4 runs failed; run it again to try them again." in err
    assert re.search(r"alternate:A,B:100 .* mole -?\d+", out)
    assert "no video: a run failed" in out
    rows = json.loads((tmp_path / "d" / "summary.json").read_text())
    assert {"mole", "continuous", "supervised"} <= {row["method"] for row in rows}
    assert (tmp_path / "d" / "runs.csv").is_file()
    assert "a run failed" in (tmp_path / "d" / "report.html").read_text()


def test_tune_prints_what_there_is_before_it_says_that_runs_failed(
    mole: Run, prior: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tune(config: EvalConfig, folder: Path, *, on_done: Callable[[Done], None], **_: Any) -> list[Trial]:
        on_done(Done(Cell("mole", "negative", 1000), 1, 2, None))
        on_done(Done(Cell("mole", "negative", 1001), 2, 2, "the bus is gone"))
        return [Trial("mole", {"margin": 40.0}, (612.4, float("nan")))]

    monkeypatch.setattr(short, "tune", tune)
    status, out, err = mole("tune", ENV, "--prior", prior)
    assert status == 1
    assert "mole margin=40.0 612 nan" in out
    assert err.strip() == (
        "error: 1 of 2 runs failed (nan in the table); run it again to try them again. "
        "mole · negative · seed 1001: the bus is gone"
    )


def test_tune_runs_the_validation_schedule_and_prints_every_trial(
    mole: Run, prior: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[EvalConfig] = []

    def tune(config: EvalConfig, folder: Path, **_: Any) -> list[Trial]:
        seen.append(config)
        return [Trial("mole", {"margin": 40.0}, (612.4, 590.0)), Trial("mole", {"margin": 5.0}, (1.0, 2.0))]

    monkeypatch.setattr(short, "tune", tune)
    status, out, _ = mole("tune", ENV, "--prior", prior)
    assert status == 0
    assert re.search(r"mole margin=40\.0 612 590 mole margin=5\.0 1 2", out)
    (config,) = seen
    assert (config.methods, config.schedules) == (METHODS, FAMILIES["motors"].validation)
    assert (config.seeds, config.steps) == (VALIDATION_SEEDS, VALIDATION_STEPS)

    status, _, _ = mole("tune", "crawler", "--prior", prior, "--methods", "mole")
    assert status == 0
    crawler = FAMILIES["crawler"]
    assert (seen[1].env, seen[1].schedules, seen[1].planner) == (
        crawler.env,
        crawler.validation,
        crawler.planner,
    )
    status, _, err = mole("tune", "Pendulum-v1", "--parameter", "gravity", "--prior", prior)
    assert status == 2
    assert "Pendulum-v1 has no validation schedule; give one that no test uses" in err
