"""``mole eval --suite``, ablations, families and ``mole report``: the command line, with stand-ins for the runs."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import pytest

from helpers import tiny_prior
from mole.cli import main
from mole.commands import evaluate, runs
from mole.commands import report as reporting
from mole.commands.train import train_command
from mole.control.records import EpisodeRecord
from mole.envs.cheetah.motors import DYNAMICS
from mole.experiment.evaluate import Job
from mole.experiment.families import FAMILIES
from mole.experiment.methods import METHODS, UNTUNED
from mole.experiment.suite import SUITES
from mole.meta import MetaConfig
from mole.priors.file import save_prior
from stand_in_runs import stand_in_jobs

ENV = "mole/HalfCheetahMotors-v0"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def mole(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run ``mole`` in an empty folder: its exit status and, with blanks made single, what it said."""
    monkeypatch.chdir(tmp_path)

    def run(*args: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            status = main([str(arg) for arg in args])
        except SystemExit as exit_:
            status = exit_.code
        out, err = (re.sub(r"[\s│]+", " ", text) for text in capsys.readouterr())
        assert isinstance(status, int)
        return status, out, err

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training: two priors, untrained."""
    folder = tmp_path_factory.mktemp("trained")
    made = tiny_prior(jax.random.key(0), DYNAMICS.feature_dim, DYNAMICS.delta_dim, width=8, depth=1)
    for name in ("prior.mole", "supervised.mole"):
        save_prior(folder / name, made, {})
    return folder


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs that would have been run; nothing is, and no page is drawn."""
    jobs: list[Job] = []
    monkeypatch.setattr(runs, "run_jobs", stand_in_jobs(jobs))
    monkeypatch.setattr(evaluate, "write_suite_report", lambda path, folders, **_: path)
    return jobs


def of_suite(name: str, trained: Path, *more: object) -> tuple[object, ...]:
    families = (
        more[more.index("--families") + 1 : more.index("--families") + 2] if "--families" in more else ()
    )
    priors = [f"{f}={trained / 'prior.mole'}" for f in families or SUITES[name].families]
    return ("eval", "--suite", name, "--seeds", 1, *more, "--prior", *priors)


def test_a_suite_goes_through_all_its_families_and_is_not_done_twice(
    mole: Run, trained: Path, seen: list[Job]
) -> None:
    args = of_suite("motors", trained, "--out", "s", "--settings", "negative", "drift", "--format", "npz")
    status, out, err = mole(*args)
    assert (status, err) == (0, "")
    count = 2 * (len(METHODS) + 1) + 1 * len(
        METHODS
    )  # negative in both families; no oracle where a motor drifts
    assert f"suite motors: {len(seen)} runs, 0 of them done" in out
    assert len(seen) == count
    assert {job.folder for job in seen} == {Path("s/motors"), Path("s/motors-few")}
    record = EpisodeRecord.load("s/motors-few/mole--negative--0.npz")
    assert (record.meta["family"], record.meta["setting"]) == ("motors-few", "negative")
    assert f"{count}/{count} motors-few · simulator · negative · seed 0" in out
    assert FAMILIES["motors-few"].title in out
    assert "report: s/report.html (with videos: mole report s)" in out
    for name in ("runs.csv", "summary.json"):
        assert (Path("s/motors") / name).is_file()

    seen.clear()
    status, out, _ = mole(*args, "--seeds", 2)
    assert status == 0
    assert f"suite motors: {2 * count} runs, {count} of them done" in out
    assert {job.cell.seed for job in seen} == {1}
    status, _, err = mole(*args, "--steps", 30)
    assert status == 2
    assert "motors holds results of another configuration: eval.json differs in steps" in err


def test_failed_runs_are_told_and_have_a_status_of_their_own(
    mole: Run, trained: Path, seen: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = stand_in_jobs(seen, lambda cell: cell.method == "kshot")
    monkeypatch.setattr(runs, "run_jobs", failing)
    args = of_suite(
        "motors", trained, "--families", "motors", "--methods", "kshot", "mole", "--settings", "negative"
    )
    status, out, err = mole(*args)
    assert status == 1
    assert "1/2 motors · kshot · negative · seed 0 failed: FloatingPointError: [too] fast" in out
    assert "1 of 2 runs failed; run it again to try them again" in err
    assert "motors · kshot · negative · seed 0: FloatingPointError: [too] fast" in err
    assert Path("runs/motors/motors/summary.json").is_file()
    monkeypatch.setattr(runs, "run_jobs", stand_in_jobs(seen))
    seen.clear()
    assert mole(*args)[0] == 0
    assert [job.cell.method for job in seen] == ["kshot"]


def test_the_ablation_suite_leaves_out_what_has_no_prior(mole: Run, trained: Path, seen: list[Job]) -> None:
    status, out, _ = mole(*of_suite("ablations", trained, "--out", "a"))
    assert status == 0
    assert "left out: the ablation first-order." in out
    methods = {job.cell.method for job in seen}
    assert {
        "mole",
        "mole-paper",
        "mole/no-crp",
        "mole-paper/no-crp",
        "mole/window=8",
        "mole/planner=mppi",
    } <= methods
    assert not any(method.endswith("first-order") for method in methods)
    assert {job.cell.setting for job in seen} == {"alternate"}
    seen.clear()
    status, _, _ = mole(
        *of_suite("ablations", trained, "--out", "a", "--first-order", trained / "prior.mole")
    )
    assert status == 0
    assert {job.cell.method for job in seen} == {"mole/first-order", "mole-paper/first-order"}


def test_a_shard_is_a_part_of_the_suite(mole: Run, trained: Path, seen: list[Job]) -> None:
    for number in (1, 2):
        few = ("--families", "motors", "--methods", "mole", "kshot", "--settings", "negative", "alternate")
        status, _, _ = mole(*of_suite("motors", trained, *few, "--shard", f"{number}/2", "--out", "s"))
        assert status == 0
        assert len(seen) == 2 * number
    assert len({job.cell for job in seen}) == 4


def test_ablations_of_one_environment(mole: Run, trained: Path, seen: list[Job]) -> None:
    at = ("--prior", trained / "prior.mole", "--seeds", 1, "--settings", "alternate")
    status, out, _ = mole("eval", ENV, *at, "--ablation", "no-crp", "window=8")
    assert status == 0
    assert [job.cell.method for job in seen] == ["mole", "mole/no-crp", "mole/window=8"]
    assert {(job.cell.family, job.cell.setting) for job in seen} == {("motors", "alternate")}
    assert "mole/no-crp" in out
    seen.clear()
    mole("eval", "motors", *at, "--ablation", "no-crp", "--methods", "mole-paper", "--out", "other")
    assert [job.cell.method for job in seen] == ["mole-paper", "mole-paper/no-crp"]


def test_other_worlds_have_no_tuned_margin_and_say_how_they_change(
    mole: Run, trained: Path, seen: list[Job]
) -> None:
    at = ("--prior", trained / "prior.mole", "--methods", "mole", "--seeds", 1)
    status, _, _ = mole(
        "eval", "Pendulum-v1", *at, "--parameter", "gravity", "--schedule", "alternate:9.81,3.7:50"
    )
    assert status == 0
    (job,) = seen
    assert (job.config.env, job.config.family) == ("Pendulum-v1[gravity]", "")
    assert job.config.settings_of("mole") == UNTUNED["mole"]
    status, _, err = mole("eval", "Pendulum-v1", *at, "--parameter", "gravity", "--out", "other")
    assert status == 2
    assert "Pendulum-v1 has no settings of its own; say how it changes: --schedule" in err


def test_wrong_input_is_answered(mole: Run, trained: Path) -> None:
    prior = trained / "prior.mole"
    for args, message in (
        (("eval",), "got neither ENV nor --suite; expected one"),
        (("eval", "--suite", "papers"), "unknown suite 'papers': did you mean 'paper'"),
        (("eval", "--suite", "paper", "--schedule", "negative"), "got --schedule; --suite has its own"),
        (("eval", ENV, "--suite", "paper"), "got ENV; --suite has its own"),
        (("eval", ENV, "--shard", "1/2"), "got --shard; it belongs to --suite"),
        (("eval", "--steps", 3, ENV), f"got {ENV} after other options; expected it first"),
        (("train", "--rounds", 3, ENV), f"got {ENV} after other options; expected it first"),
        (("eval", "--suite", "motors", "--families", "crawler"), "--families got 'crawler': "),
        (("eval", "--suite", "motors", "--prior", "crawler=x"), "--prior got the family 'crawler': "),
        (
            ("eval", "--suite", "motors", "--prior", "x"),
            "--prior got 'x'; expected NAME=VALUE, for example terrain=",
        ),
        (
            ("eval", "--suite", "motors", "--families", "motors", "--shard", "3/2"),
            "--shard got '3/2'; expected I/N with I from 1 to N",
        ),
        (("eval", ENV, "--settings", "backwards", "--prior", prior), "unknown setting 'backwards' of"),
        (("eval", ENV, "--ablation", "no-crb", "--prior", prior), "did you mean 'no-crp'"),
        (
            ("eval", ENV, "--ablation", "no-crp", "--methods", "mole", "kshot", "--prior", prior),
            "got 2 methods; exp",
        ),
        (
            ("eval", ENV, "--ablation", "no-crp", "--methods", "kshot", "--prior", prior),
            "expected one of mole or mo",
        ),
        (("report",), "mole report got no folder; expected one or more"),
        (("report", "nowhere"), "nowhere"),
    ):
        status, _, err = mole(*args)
        assert (status, message in err) == (2, True), (args, err)


def test_parquet_needs_its_extra_before_anything_is_run(
    mole: Run, trained: Path, seen: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    args = (
        "eval",
        ENV,
        "--prior",
        trained / "prior.mole",
        "--methods",
        "mole",
        "--seeds",
        1,
        "--format",
        "parquet",
    )
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        status, _, err = mole(*args)
        assert status == 2
        assert "--format parquet: Parquet files need pyarrow" in err
        assert "pip install 'mole-online[parquet]'" in err
        assert not seen
        return
    assert mole(*args)[0] == 0
    kept, same = (
        EpisodeRecord.load(next(Path("runs/eval").glob(f"*.{suffix}"))) for suffix in ("npz", "parquet")
    )
    assert kept.meta == same.meta
    assert kept.reward.tolist() == same.reward.tolist()


def test_report_writes_one_page_about_all_folders(mole: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, ...]] = []

    def write(path: Path, runs: tuple[Path, ...], *, figures: Path | None, videos: bool, title: str) -> Path:
        calls.append((path, runs, figures, videos, title))
        return path

    monkeypatch.setattr(reporting, "write_suite_report", write)
    assert mole("report", "a", "b", "--no-videos")[:2] == (0, "report: a/report.html ")
    assert mole("report", "a", "--out", "p/x.html", "--figures", "f", "--title", "T")[0] == 0
    assert calls[0][:4] == (Path("a/report.html"), (Path("a"), Path("b")), None, False)
    assert calls[1] == (Path("p/x.html"), (Path("a"),), Path("f"), True, "T")
    shutil.rmtree("p")


def test_the_command_of_a_training_names_what_differs_from_its_familys_defaults() -> None:
    crawler = FAMILIES["crawler"].training
    assert train_command("crawler", 3, crawler, crawler, tasks=(None, None)) == "mole train crawler --seed 3"
    meta = MetaConfig(first_order=True, learn_rate=False)
    changed = dataclasses.replace(crawler, noise_correlation=0.0, meta=meta)
    command = train_command("crawler", 0, changed, crawler, tasks=("legs", None), switch_every=(100, 200))
    assert command == (
        "mole train crawler --tasks legs --switch-every 100 --noise-correlation 0.0 "
        "--meta.no-learn-rate --meta.first-order --seed 0"
    )
