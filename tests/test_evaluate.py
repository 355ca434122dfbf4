"""Evaluations: what a configuration means, and runs that are complete, resumable and never mixed."""

from __future__ import annotations

import dataclasses
import json
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest

from helpers import tiny_prior
from mole.control.records import EpisodeRecord, Recorder
from mole.control.resume import EpisodeFile
from mole.control.stages import claim_folder, load_segments
from mole.envs.cheetah.motors import DYNAMICS
from mole.experiment import cell as cells
from mole.experiment import evaluate as evaluating
from mole.experiment import tune as tuning
from mole.experiment.cell import failed_cell, load_priors, run_cell
from mole.experiment.config import Cell, EvalConfig, PlannerConfig, parse_settings
from mole.experiment.evaluate import Done, Job, Tick, evaluate, run_jobs
from mole.experiment.learners import KNOBS, SWITCHES, Priors, learner_for
from mole.experiment.methods import BY_NAME, METHODS, PRIVILEGED, SIMULATOR, TABLE, TUNED
from mole.experiment.tune import TRIALS, trials_of, tune
from mole.experiment.worlds import make_world
from mole.files.generations import InUseError, Periodic, RecoveryWarning, folder_lock
from mole.learning.models import Normalizer
from mole.online import Continuous, KShot, Mixture, Oracle, Static
from mole.priors.file import save_prior
from mole.readout import ReadoutMixture, ReadoutPrior
from mole.report.footage import replay_frames
from mole.report.video import rendering_available

ENV = "mole/HalfCheetahMotors-v0"
STEPS = 30
SCHEDULE = "alternate:A,B:10"
TRUE_TASK = [0] * 10 + [1] * 10 + [0] * 10


def write_prior(path: Path, seed: int) -> Path:
    prior = tiny_prior(
        jax.random.key(seed), DYNAMICS.feature_dim, DYNAMICS.delta_dim, width=8, depth=1, rate_value=0.01
    )
    save_prior(path, prior, {})
    return path


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> EvalConfig:
    """A tiny evaluation with untrained priors."""
    folder = tmp_path_factory.mktemp("priors")
    return EvalConfig(
        ENV,
        write_prior(folder / "prior.mole", 0),
        write_prior(folder / "supervised.mole", 1),
        methods=("mole",),
        schedules=(SCHEDULE,),
        seeds=(0,),
        steps=STEPS,
        probe_steps=40,
        keep_actions=True,
        planner=PlannerConfig(samples=4, iterations=1, horizon=2, elites=2),
    )


@pytest.fixture(scope="module")
def readout_prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained prior of readouts: Bayesian linear regression."""
    x_norm, y_norm = (Normalizer.identity(size) for size in (DYNAMICS.feature_dim, DYNAMICS.delta_dim))
    prior = ReadoutPrior.untrained(width=4, x_norm=x_norm, y_norm=y_norm, key=jax.random.key(0))
    path = tmp_path_factory.mktemp("readout") / "readout.mole"
    save_prior(path, prior, {})
    return path


@pytest.fixture(scope="module")
def priors(config: EvalConfig, readout_prior: Path) -> Priors:
    return load_priors(config.prior, config.supervised, None, readout_prior)


@pytest.fixture(scope="module")
def mole_run(config: EvalConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[EpisodeRecord, Path]:
    """One run of ``mole``, and its folder."""
    folder = tmp_path_factory.mktemp("run")
    return run_cell(config, Cell("mole", SCHEDULE, 0), folder), folder


# --- methods and their settings


def test_every_method_has_its_learner_and_its_prior(priors: Priors) -> None:
    kinds = {
        "mole": (Mixture, priors.meta),
        "mole-paper": (Mixture, priors.meta),
        "kshot": (KShot, priors.meta),
        "continuous": (Continuous, priors.meta),
        "supervised": (Static, priors.supervised),
        "supervised-sgd": (Continuous, priors.supervised),
        "oracle": (Oracle, priors.meta),
        "mole-readout": (ReadoutMixture, priors.readout),
    }
    assert tuple(kinds)[:-1] == METHODS == tuple(TUNED)
    assert {*kinds, SIMULATOR} == set(BY_NAME)
    for method, (kind, prior) in kinds.items():
        learner = learner_for(method, priors)
        assert type(learner) is kind
        assert learner.prior is prior, method
    ours, paper = learner_for("mole", priors), learner_for("mole-paper", priors)
    assert isinstance(ours, Mixture)
    assert isinstance(paper, Mixture)
    assert (ours.memory, ours.assignment, ours.score) == ("own", "hard", "log_prob")
    assert (paper.memory, paper.assignment, paper.score) == ("shared", "soft", "loss")


def test_a_record_holds_what_commands_and_reports_need() -> None:
    assert len(BY_NAME) == len(TABLE)
    assert sorted(method.order for method in TABLE) == list(range(len(TABLE)))
    colours = [method.colour for method in TABLE if method.colour is not None]
    assert len(set(colours)) == len(colours) == len(TABLE) - 1, "the simulator alone has a spare colour"
    assert PRIVILEGED == ("oracle", SIMULATOR)
    assert [method.name for method in TABLE if method.adapts] == ["mole", "mole-paper", "kshot", "continuous"]
    for method in TABLE:
        assert method.text
        assert (method.learner is None) == (method.knows == "system")
        assert {name.partition("=")[0] for name in method.ablations} <= {*SWITCHES, *KNOBS}


def test_settings_are_used_instead_of_the_tuned_ones(priors: Priors) -> None:
    tuned, default, given = (learner_for("kshot", priors, s) for s in (None, {}, {"window": 5}))
    assert isinstance(tuned, KShot)
    assert isinstance(default, KShot)
    assert isinstance(given, KShot)
    assert [tuned.window, default.window, given.window] == [TUNED["kshot"]["window"], priors.meta.window, 5]


def test_unknown_methods_and_settings_are_refused(priors: Priors) -> None:
    with pytest.raises(ValueError, match=r"got the method 'mol'; expected one of mole, mole-paper, kshot"):
        learner_for("mol", priors)
    with pytest.raises(TypeError, match="margin"):
        learner_for("kshot", priors, {"margin": 3.0})
    with pytest.raises(
        ValueError, match=r"^mole-readout got no prior of Bayesian readouts; .* --readout-prior PATH\.$"
    ):
        learner_for("mole-readout", dataclasses.replace(priors, readout=None))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("None", None),
        ("none", None),
        ("null", None),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("20", 20),
        ("-1e-3", -0.001),
        (".5", 0.5),
        ("[1e-6, 0.003]", [1e-6, 0.003]),
        ("(1, None)", (1, None)),
        ("soft", "soft"),
        ("'20'", "20"),
        ("a=b", "a=b"),
        ("best_scoring", "best_scoring"),
        ("nothing", "nothing"),
        ("{1, 2}", "{1, 2}"),
        ("1j", "1j"),
    ],
)
def test_a_setting_given_as_text_is_what_it_says(text: str, value: Any) -> None:
    settings = parse_settings((f"some-name={text}",), ("mole",))
    assert settings == {"some_name": value}
    assert type(settings["some_name"]) is type(value)


def test_settings_given_as_text_make_the_learner_that_they_say(priors: Priors) -> None:
    texts = ("refresh=None", "candidate_window=none", "assignment=soft", "step-scale=.5", "max_tasks=3")
    learner = learner_for("mole", priors, parse_settings(texts, ("mole",)))
    assert isinstance(learner, Mixture)
    assert learner.refresh is None
    assert learner.candidate_window is None
    assert (learner.assignment, float(learner.step_scale), learner.max_tasks) == ("soft", 0.5, 3)
    readout = learner_for("mole-readout", priors, parse_settings(("drift=[0, 0.01]",), ("mole-readout",)))
    assert isinstance(readout, ReadoutMixture)
    assert readout.drift.tolist() == pytest.approx([0.0, 0.01])


def test_settings_that_are_not_understood_are_refused() -> None:
    assert parse_settings((), ("mole", "kshot")) is None
    with pytest.raises(
        ValueError, match="--setting got 2 methods; expected one, since their settings differ"
    ):
        parse_settings(("window=8",), ("mole", "kshot"))
    for pair in ("window", "=8", "window="):
        with pytest.raises(ValueError, match=rf"--setting got '{pair}'; expected NAME=VALUE, for example "):
            parse_settings((pair,), ("mole",))
    with pytest.raises(ValueError, match="--setting got 'window' twice; expected each name once"):
        parse_settings(("window=8", "window=16"), ("mole",))


def test_every_method_with_settings_gets_the_same_number_of_trials_and_takes_them(priors: Priors) -> None:
    assert set(TRIALS) == set(METHODS) - {"supervised"}, "a method without settings has nothing to tune"
    assert len({len(trials) for trials in TRIALS.values()}) == 1
    for method, trials in TRIALS.items():
        assert len({json.dumps(trial, sort_keys=True) for trial in trials}) == len(trials), method
        assert TUNED[method] in ({}, *trials), f"{method}: nobody tried what is called tuned"
        for trial in trials:
            learner = learner_for(method, priors, trial)
            for name, value in trial.items():
                assert float(getattr(learner, name)) == pytest.approx(value)


def test_evidence_and_with_it_the_margin_of_a_trial_grows_with_the_dimensions() -> None:
    assert trials_of("mole", 18) == TRIALS["mole"]
    assert [t["margin"] for t in trials_of("mole", 0)] == [
        round(t["margin"] * 5 / 41, 1) for t in TRIALS["mole"]
    ]
    assert trials_of("kshot", 40) == TRIALS["kshot"]
    assert trials_of("supervised", 18) == ()


# --- configurations


def test_cell_names_are_safe_and_tell_schedules_apart() -> None:
    schedules = [
        "alternate:A,B:100",
        "alternate:A,B:10",
        "random:300",
        "fixed:1.5/1/1/1/1/1",
        "fixed:1/5.1/1/1/1/1",
        "fixed:-1/5.1/1/1/1/1",
        "fixed:1e+3/1e-3/1/1/1/1",
        "negative",
    ]
    names = [Cell(m, s, seed).name for m in METHODS for s in schedules for seed in (0, 1, 10)]
    assert len(set(names)) == len(names)
    safe = set(string.ascii_letters + string.digits + "-+._")
    assert all(set(name) <= safe and not name.startswith((".", "-")) for name in names)
    assert Cell("mole", "alternate:A,B:100", 7).name == "mole--alternate_A_B_100--7"
    assert Cell("mole/window=8", "negative", 7, "motors", "far").name == "mole_window_8--negative--7"


def test_wrong_configurations_say_what_is_wrong(config: EvalConfig, tmp_path: Path) -> None:
    def wrong(**changes: Any) -> EvalConfig:
        return dataclasses.replace(config, **changes)

    with pytest.raises(
        ValueError, match=r"unknown method 'moel': did you mean 'mole'\? Known: continuous, kshot"
    ):
        wrong(methods=("kshot", "moel"))
    for changes in ({"steps": 0}, {"methods": ()}, {"schedules": ()}, {"seeds": ()}):
        counts = {"steps": STEPS, "methods": 1, "schedules": 1, "seeds": 1, **dict.fromkeys(changes, 0)}
        message = (
            "got steps={steps}, {methods} methods, {schedules} schedules and {seeds} seeds; expected at least"
        )
        with pytest.raises(ValueError, match=message.format(**counts)):
            wrong(**changes)
    for name in ("prior", "supervised"):
        with pytest.raises(
            FileNotFoundError, match=rf"no prior at .*none\.mole; `mole train {ENV}` makes one"
        ):
            wrong(**{name: tmp_path / "none.mole"})


def test_cells_are_all_combinations_once_those_that_share_code_together(config: EvalConfig) -> None:
    more = dataclasses.replace(
        config, methods=("mole", "kshot"), schedules=(SCHEDULE, "negative"), seeds=(0, 1, 0)
    )
    cells = more.cells()
    assert len(cells) == len(set(cells)) == 8
    assert [cell.method for cell in cells] == ["mole"] * 4 + ["kshot"] * 4
    assert cells[:2] == [Cell("mole", SCHEDULE, 0), Cell("mole", SCHEDULE, 1)]


def test_the_oracle_has_no_run_without_a_task_and_the_simulator_has_fewer_and_shorter_ones(
    config: EvalConfig,
) -> None:
    drift = "drift:identity,negative:100"
    some = dataclasses.replace(
        config,
        methods=("mole", "oracle", SIMULATOR),
        schedules=(SCHEDULE, drift),
        seeds=(3, 4, 5),
        truthless=(drift,),
        simulator_steps=10,
        simulator_seeds=1,
        family="motors",
        names={drift: "drift"},
        kept_seeds=1,
    )
    cells = some.cells()
    assert len(cells) == 6 + 3 + 2
    assert not [cell for cell in cells if cell.method == "oracle" and cell.schedule == drift]
    assert {cell.seed for cell in cells if cell.method == SIMULATOR} == {3}
    assert {cell.setting for cell in cells if cell.schedule == drift} == {"drift"}
    assert {cell.setting for cell in cells if cell.schedule == SCHEDULE} == {""}
    assert {cell.family for cell in cells} == {"motors"}
    assert [some.steps_of(method) for method in ("mole", SIMULATOR)] == [STEPS, 10]
    assert dataclasses.replace(some, simulator_steps=None).steps_of(SIMULATOR) == STEPS
    assert {cell.seed for cell in cells if some.keeps_actions(cell)} == {3}
    with pytest.raises(ValueError, match="simulator_steps=0, simulator_seeds=1; expected at least 1 step"):
        dataclasses.replace(some, simulator_steps=0)


def test_a_run_is_described_with_all_that_made_it(config: EvalConfig, tmp_path: Path) -> None:
    cell = Cell("mole", SCHEDULE, 0)
    assert config.described_cell(cell) == {**config.described(), "settings": TUNED["mole"]}
    family = dataclasses.replace(config, tuned={"mole": {"step_scale": 0.7}})
    assert family.described_cell(cell)["settings"] == {"step_scale": 0.7}
    knob = family.described_cell(dataclasses.replace(cell, method="mole/margin=3"))
    assert knob["settings"] == {"step_scale": 0.7, "margin": 3}
    shooting = config.described_cell(dataclasses.replace(cell, method="mole/planner=shooting"))
    assert shooting["planner"] == {**config.described()["planner"], "kind": "shooting"}
    for first_order in (None, tmp_path / "none.mole"):
        with pytest.raises(
            FileNotFoundError, match=r"ablation first-order got no prior \(.*--meta\.first-order"
        ):
            dataclasses.replace(config, methods=("mole/first-order",), first_order=first_order)
    other = write_prior(tmp_path / "first.mole", 3)
    made = dataclasses.replace(config, methods=("mole/first-order",), first_order=other)
    described = made.described_cell(dataclasses.replace(cell, method="mole/first-order"))
    assert described["prior"].startswith("first.mole sha256:")
    assert made.described_cell(cell) == config.described_cell(cell)


def test_a_description_holds_what_makes_results_comparable(config: EvalConfig, tmp_path: Path) -> None:
    described = config.described()
    assert json.loads(json.dumps(described)) == described
    grown = dataclasses.replace(config, methods=METHODS, schedules=("negative",), seeds=(3, 4))
    assert grown.described() == described
    # The same file elsewhere is the same prior; another training's file of the same name is not.
    copy, other = tmp_path / "prior.mole", tmp_path / "other"
    copy.write_bytes(config.prior.read_bytes())
    assert dataclasses.replace(config, prior=copy).described() == described
    other.mkdir()
    for changes in (
        {"steps": 31},
        {"planner": PlannerConfig()},
        {"settings": {"margin": 3.0}},
        {"prior": write_prior(other / "prior.mole", 5)},
        {"supervised": write_prior(other / "supervised.mole", 5)},
    ):
        changed = dataclasses.replace(config, **changes).described()
        assert {name for name in described if changed[name] != described[name]} == set(changes)


def test_a_folder_belongs_to_one_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "new" / "folder"
    claim_folder(folder, "eval.json", {"steps": 3, "noise": (0.0, 0.1)})
    before = (folder / "eval.json").read_text()
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("killed")))
        with pytest.raises(OSError, match="killed"):
            claim_folder(tmp_path / "other", "eval.json", {"steps": 3})
    claim_folder(tmp_path / "other", "eval.json", {"steps": 3})  # half a claim is none
    claim_folder(folder, "eval.json", {"noise": (0.0, 0.1), "steps": 3})
    with pytest.raises(
        ValueError, match=r"another configuration: eval\.json differs in more, steps\. Choose another"
    ):
        claim_folder(folder, "eval.json", {"steps": 4, "noise": (0.0, 0.1), "more": 1})
    assert (folder / "eval.json").read_text() == before
    for text, message in (("", r"eval\.json is no JSON"), ("[]", r"eval\.json holds a list")):
        (folder / "eval.json").write_text(text)
        with pytest.raises(ValueError, match=f"{message}.*; choose another folder, or delete this one"):
            claim_folder(folder, "eval.json", {"steps": 3})


# --- runs


def test_a_run_is_recorded_whole_with_all_that_made_it(
    config: EvalConfig, mole_run: tuple[EpisodeRecord, Path]
) -> None:
    record, folder = mole_run
    assert len(record) == STEPS
    assert record.true_task.tolist() == TRUE_TASK
    assert np.isfinite(record.loss).all()
    assert np.isfinite(record.position).all()
    assert record.responsibilities.shape == (STEPS, 5)
    meta = record.meta
    assert (meta["complete"], meta["error"], meta["step_seconds"]) == (True, None, pytest.approx(0.05))
    assert (meta["env"], meta["method"], meta["schedule"], meta["seed"]) == (ENV, "mole", SCHEDULE, 0)
    assert (meta["family"], meta["setting"], meta["ablation"]) == ("", "", None)
    assert meta["configuration"] == {**config.described(), "settings": TUNED["mole"]}
    assert meta["versions"]["jax"] == jax.__version__
    assert 0.0 < meta["random_action_error"] < np.inf
    (segment,) = load_segments(folder / "mole--alternate_A_B_10--0.actions.npz")
    assert segment.actions.shape == (STEPS, 6)


def test_a_complete_run_is_read_and_not_made_again(
    config: EvalConfig, mole_run: tuple[EpisodeRecord, Path], tmp_path: Path
) -> None:
    record, folder = mole_run
    path = folder / "mole--alternate_A_B_10--0.npz"
    before = path.stat().st_mtime_ns
    steps: list[int] = []
    again = run_cell(config, Cell("mole", SCHEDULE, 0), folder, lambda recorder: steps.append(len(recorder)))
    assert path.stat().st_mtime_ns == before
    assert not steps
    np.testing.assert_array_equal(again.reward, record.reward)


def test_an_unfinished_run_is_made_again_and_the_same_seed_gives_the_same_run(
    config: EvalConfig, mole_run: tuple[EpisodeRecord, Path], tmp_path: Path
) -> None:
    record, _ = mole_run
    cell = Cell("mole", SCHEDULE, 0)
    stopped = dataclasses.replace(record, meta={**record.meta, "complete": False, "error": "interrupted"})
    stopped.save(tmp_path / f"{cell.name}.npz")
    assert not Job(config, cell, tmp_path).complete
    steps: list[int] = []
    again = run_cell(config, cell, tmp_path, lambda recorder: steps.append(len(recorder)))
    assert steps == list(range(1, STEPS + 1))
    assert Job(config, cell, tmp_path).complete
    for field in dataclasses.fields(EpisodeRecord):
        if field.name != "seconds":
            np.testing.assert_array_equal(getattr(again, field.name), getattr(record, field.name), field.name)
    other = run_cell(config, dataclasses.replace(cell, seed=1), tmp_path)
    assert not np.array_equal(other.reward, record.reward)
    assert other.meta["random_action_error"] != record.meta["random_action_error"]


class Killed(BaseException):
    """Nobody catches it: what is on disk then is all there is."""


@pytest.mark.parametrize("method", ["mole", SIMULATOR])
def test_a_killed_run_goes_on_bit_for_bit(
    config: EvalConfig, mole_run: tuple[EpisodeRecord, Path], tmp_path: Path, method: str
) -> None:
    """MuJoCo, the hidden schedule, the mixture and the plan are where they were."""
    cell, folder = Cell(method, SCHEDULE, 0), mole_run[1]
    if method == SIMULATOR:
        config = dataclasses.replace(config, simulator_steps=STEPS)
        run_cell(config, cell, folder)
    job, steps = Job(config, cell, tmp_path), list[int]()

    def die(recorder: Recorder) -> None:
        if len(recorder) == 17:
            raise Killed

    with pytest.raises(Killed):
        run_cell(*job, die, EpisodeFile(job.checkpoint, Periodic(5)))
    assert len(EpisodeRecord.load(job.path)) == 17
    run_cell(*job, lambda recorder: steps.append(len(recorder)), EpisodeFile(job.checkpoint, Periodic(5)))
    assert steps == list(range(16, STEPS + 1))
    assert job.complete
    one, other = (EpisodeRecord.load(place / f"{cell.name}.npz") for place in (folder, tmp_path))
    for field in dataclasses.fields(EpisodeRecord):
        if field.name not in ("seconds", "meta"):
            assert getattr(one, field.name).tobytes() == getattr(other, field.name).tobytes(), field.name
    assert one.meta == other.meta
    name = f"{cell.name}.actions.npz"
    assert (folder / name).read_bytes() == (tmp_path / name).read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {f"{cell.name}.npz", name}


def test_a_run_without_its_actions_or_with_a_damaged_record_is_made_again(
    config: EvalConfig, mole_run: tuple[EpisodeRecord, Path], tmp_path: Path
) -> None:
    for path in mole_run[1].glob("mole--*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    job = Job(config, Cell("mole", SCHEDULE, 0), tmp_path)
    assert job.complete
    actions = tmp_path / f"{job.cell.name}.actions.npz"
    kept = actions.read_bytes()
    actions.unlink()  # killed between the two files
    assert not job.complete
    assert Job(dataclasses.replace(config, keep_actions=False), job.cell, tmp_path).path == job.path
    actions.write_bytes(kept)
    raw = bytearray(job.path.read_bytes())
    for place in range(len(raw) // 2, len(raw) // 2 + 64):
        raw[place] ^= 255
    job.path.write_bytes(raw)
    with pytest.warns(
        RecoveryWarning, match=r"--0\.npz .*kept as mole--.*--0\.npz\.damaged, and the run made again"
    ):
        assert not job.complete
    assert not job.complete
    assert (tmp_path / f"{job.path.name}.damaged").read_bytes() == raw


def test_a_second_evaluation_of_a_folder_is_refused(config: EvalConfig, tmp_path: Path) -> None:
    with folder_lock(tmp_path), pytest.raises(InUseError, match="is in use by process"):
        evaluate(config, tmp_path)


def test_the_oracle_is_told_the_true_task_from_the_first_step(config: EvalConfig, tmp_path: Path) -> None:
    record = run_cell(config, Cell("oracle", "alternate:B,A,B:7", 0), tmp_path)
    # B and B in a row are one task without a switch between them.
    true_task = [0] * 7 + [1] * 7 + [0] * 14 + [1] * 2
    assert record.true_task.tolist() == true_task
    assert record.task.tolist() == true_task
    np.testing.assert_array_equal(record.responsibilities.argmax(1), true_task)
    assert record.n_tasks.tolist() == [1] * 7 + [2] * (STEPS - 7)
    assert 0.0 < record.meta["random_action_error"] < np.inf


def test_any_learner_of_the_protocol_can_be_evaluated(
    config: EvalConfig, readout_prior: Path, tmp_path: Path
) -> None:
    """A mixture of readouts has another prior, another state and more slots than one of networks."""
    cell = Cell("mole-readout", SCHEDULE, 0)
    with pytest.raises(
        FileNotFoundError,
        match=r"method mole-readout got no prior of readouts \(None\); .* --readout-prior\.$",
    ):
        dataclasses.replace(config, methods=("mole", "mole-readout"))
    config = dataclasses.replace(config, methods=("mole-readout",), readout_prior=readout_prior)
    assert config.described_cell(cell)["prior"].startswith("readout.mole sha256:")
    record = run_cell(config, cell, tmp_path)
    assert (len(record), record.meta["complete"], record.meta["error"]) == (STEPS, True, None)
    assert record.responsibilities.shape == (STEPS, 8 + 6)
    np.testing.assert_allclose(record.responsibilities.sum(1), 1.0, atol=0.01)
    assert np.isfinite(record.loss).all()
    assert 0.0 < record.meta["random_action_error"] < np.inf
    assert Job(config, cell, tmp_path).complete


class Reset(BaseException):
    """Raised where an environment would be reset."""


@pytest.mark.parametrize("method", ["mole", SIMULATOR])
@pytest.mark.parametrize("probe_steps", [0, 40])
def test_an_environment_is_closed_whatever_fails(
    config: EvalConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, probe_steps: int
) -> None:
    closed: list[bool] = []

    class Broken(gymnasium.Wrapper[Any, Any, Any, Any]):
        def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
            super().__init__(env)
            self.place = len(closed)
            closed.append(False)

        def reset(self, **_: Any) -> Any:
            raise Reset

        def close(self) -> None:
            closed[self.place] = True
            super().close()

    monkeypatch.setattr(cells, "make_world", lambda *args, **kwargs: Broken(make_world(*args, **kwargs)))
    config = dataclasses.replace(config, probe_steps=probe_steps)
    with pytest.raises(Reset):
        run_cell(config, Cell(method, SCHEDULE, 0), tmp_path)
    assert closed == [True] * (1 + (method == "mole" and probe_steps > 0))
    with pytest.raises(ValueError, match="elites"):
        run_cell(
            dataclasses.replace(config, planner=PlannerConfig(samples=4, elites=9)),
            Cell(method, SCHEDULE, 1),
            tmp_path,
        )
    assert all(closed)


def test_pictures_of_a_run_follow_its_record(mole_run: tuple[EpisodeRecord, Path]) -> None:
    able, reason = rendering_available()
    if not able:
        pytest.skip(reason)
    record, folder = mole_run
    actions = folder / "mole--alternate_A_B_10--0.actions.npz"
    frames = list(replay_frames(record, actions, steps=range(8, 12), width=64, height=48))
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 4
    assert all(frame.std() > 0 for frame in frames)
    reward = record.reward.copy()
    reward[9] += 1e-3
    with pytest.raises(ValueError, match=r"left the record at step 9: .* Replay with the versions"):
        list(replay_frames(dataclasses.replace(record, reward=reward), actions, steps=range(8, 12)))


# --- many runs


def test_evaluations_run_in_processes_resume_and_keep_what_other_runs_made(
    config: EvalConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo leaves a log of unstable simulations in the working folder
    unstable = "fixed:1e9/1e9/1e9/1e9/1e9/1e9"
    config = dataclasses.replace(
        config, methods=("supervised",), schedules=(SCHEDULE, unstable), probe_steps=0, keep_actions=False
    )
    good, bad = config.cells()
    folder, ticks = tmp_path / "eval", []
    done: list[Done] = []

    def go(config: EvalConfig) -> Sequence[EpisodeRecord]:
        return evaluate(config, folder, workers=1, on_tick=ticks.append, on_done=done.append)

    record, failed = go(dataclasses.replace(config, schedules=(unstable, SCHEDULE)))[::-1]
    assert [(event.cell, event.number, event.total) for event in done] == [(bad, 1, 2), (good, 2, 2)]
    reason = done[0].failure
    assert done[1].failure is None
    assert reason is not None
    assert reason.startswith(
        "FloatingPointError: 10 of 10 episodes ended in numbers that are not finite, the last one"
    )
    assert "the simulation became unstable at step 0" in reason
    assert (failed.meta["complete"], failed.meta["error"]) == (False, reason)
    assert [(tick.cell, tick.step, tick.n_tasks) for tick in ticks if tick.cell == good] == [
        (good, 0, 1),
        (good, 25, 1),
    ]
    assert all(isinstance(tick, Tick) and np.isfinite(tick.error) for tick in ticks if tick.step)

    path = folder / f"{good.name}.npz"
    before = path.stat().st_mtime_ns
    (record,) = go(dataclasses.replace(config, schedules=(SCHEDULE,)))
    assert record.meta["complete"]
    assert record.true_task.tolist() == TRUE_TASK
    assert record.reward.sum() == pytest.approx(EpisodeRecord.load(path).reward.sum())
    assert path.stat().st_mtime_ns == before
    assert len(done) == 2, "a finished run was made again"
    with pytest.raises(ValueError, match=r"another configuration: eval\.json differs in planner, steps\."):
        go(dataclasses.replace(config, steps=40, planner=PlannerConfig(samples=5, elites=2)))


def test_what_fails_before_its_first_step_leaves_a_record_too(config: EvalConfig, tmp_path: Path) -> None:
    cell = Cell("mole", SCHEDULE, 0, "motors", "there and back")
    assert failed_cell(config, cell, tmp_path, MemoryError("no room")) == "MemoryError: no room"
    (record,) = evaluating.read_records(tmp_path, [cell])
    assert len(record) == 0
    assert (record.meta["complete"], record.meta["error"]) == (False, "MemoryError: no room")
    assert (record.meta["family"], record.meta["setting"]) == ("motors", "there and back")
    assert not Job(config, cell, tmp_path).complete


def test_a_complete_run_of_another_configuration_is_refused(
    config: EvalConfig, mole_run: tuple[EpisodeRecord, Path]
) -> None:
    _, folder = mole_run
    cell = Cell("mole", SCHEDULE, 0)
    assert Job(config, cell, folder).complete
    tuned = dataclasses.replace(config, tuned={"mole": {"margin": 1.0}})
    with pytest.raises(
        ValueError, match=r"--0\.npz was made with another configuration: it differs in settings\. Ch"
    ):
        run_jobs([Job(tuned, cell, folder)], workers=1)


def test_an_evaluation_needs_a_process() -> None:
    with pytest.raises(ValueError, match="got workers=0; expected at least 1"):
        run_jobs([], workers=0)


def test_trials_are_scored_the_best_first_and_never_mixed(
    config: EvalConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def here(jobs: Sequence[Job], **_: Any) -> None:
        for job in jobs:
            run_cell(job.config, job.cell, job.folder)

    trials = ({"step_scale": 0.1}, {"step_scale": 0.0}, {"step_scale": 0.5})
    monkeypatch.setattr(tuning, "run_jobs", here)
    monkeypatch.setattr(tuning, "TRIALS", {"oracle": trials})
    config = dataclasses.replace(
        config, methods=("supervised", "oracle"), seeds=(0, 1), probe_steps=0, keep_actions=False
    )
    found = tune(config, tmp_path)
    assert {json.dumps(trial.settings) for trial in found} == {json.dumps(trial) for trial in trials}
    means = [np.mean(trial.returns) for trial in found]
    assert means == sorted(means, reverse=True)
    assert all(trial.method == "oracle" and len(trial.returns) == 2 for trial in found)
    for number, settings in enumerate(trials):
        record = EpisodeRecord.load(tmp_path / f"oracle-{number}" / f"{Cell('oracle', SCHEDULE, 1).name}.npz")
        assert record.meta["configuration"]["settings"] == settings
    stored = json.loads((tmp_path / "tune.json").read_text())
    assert [(s["method"], s["settings"], tuple(s["returns"])) for s in stored] == [tuple(t) for t in found]

    monkeypatch.setattr(tuning, "TRIALS", {"oracle": trials[::-1]})
    with pytest.raises(ValueError, match=r"oracle-0 holds results of another configuration: .* settings"):
        tune(config, tmp_path)


def test_worlds_say_what_they_do_not_know() -> None:
    with pytest.raises(
        ValueError, match=r"unknown environment 'mole/HalfCheetah-v0': did you mean 'mole/HalfChee"
    ):
        make_world("mole/HalfCheetah-v0")
    with pytest.raises(ValueError, match=r"cannot be made with \{'wind': 3\}: .*'wind'"):
        make_world(ENV, wind=3)
    with pytest.raises(
        ValueError, match=r"unknown value 'negativ' in schedule 'negativ': did you mean 'negative'"
    ):
        make_world(ENV, schedule="negativ")
