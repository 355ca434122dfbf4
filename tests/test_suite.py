"""Families and suites: what they are made of, and the jobs they come to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import jax
import pytest

from helpers import tiny_prior
from mole.envs.cheetah.motors import DYNAMICS
from mole.experiment.evaluate import Job
from mole.experiment.families import FAMILIES, Family, family_named, family_of, has_tasks, world_of
from mole.experiment.learners import check_method
from mole.experiment.methods import METHODS, SIMULATOR
from mole.experiment.suite import (
    SUITES,
    Part,
    Suite,
    claim_parts,
    parts_of,
    records_of,
    suite_jobs,
    suite_named,
)
from mole.experiment.worlds import make_world
from mole.priors.file import save_prior
from mole.priors.shipped import ASSETS, CONTROL, control_files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path | None]:
    """A prior and the supervised one; nothing is run, so it fits every family."""
    path = tmp_path_factory.mktemp("priors") / "prior.mole"
    prior = tiny_prior(jax.random.key(0), DYNAMICS.feature_dim, DYNAMICS.delta_dim)
    save_prior(path, prior, {})
    return {"prior": path, "supervised": path, "first_order": None}


def parts(
    name: str, files: Mapping[str, Path | None], settings: tuple[str, ...] = (), **changes: object
) -> list[Part]:
    suite = dataclasses.replace(suite_named(name), **changes)
    return parts_of(suite, Path("out"), lambda family: files, settings=settings)


# --- families


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_family_is_whole_and_its_validation_is_in_no_test(family: Family) -> None:
    settings = family.settings
    assert settings
    assert set(family.returning) <= set(settings)
    assert family.validation
    assert not set(family.validation) & set(settings.values())
    for schedule in family.validation:
        assert has_tasks(family.env, schedule), "settings are tuned where tasks are known to change"
    make_world(family.env, schedule=next(iter(settings.values()))).close()


def test_motors_validate_on_tasks_that_no_test_names() -> None:
    def tasks(schedule: str) -> set[tuple[float, ...]]:
        env = make_world("mole/HalfCheetahMotors-v0", schedule=schedule)
        timeline = env.unwrapped.schedule.timeline(0)  # pyright: ignore[reportAttributeAccessIssue]
        env.close()
        return {tuple(timeline.at(step)) for step in range(0, 2000, 50)}

    (validation,) = FAMILIES["motors"].validation
    seen = tasks(validation)
    assert len(seen) == 3
    for schedule in ("negative", "alternate:A,B:100", "magnitudes"):
        assert not seen & tasks(schedule)


def test_a_name_means_a_family_and_an_id_its_first() -> None:
    assert family_of("terrain") is FAMILIES["terrain"]
    assert family_of("mole/HalfCheetahMotors-v0") is FAMILIES["motors"]
    assert family_of("Pendulum-v1") is None
    assert world_of("motors-few") == "mole/HalfCheetahMotors-v0"
    assert world_of("Pendulum-v1") == "Pendulum-v1"
    assert FAMILIES["motors-few"].tasks == "few-signs"
    assert list(FAMILIES["motors-few"].settings) == ["negative"]
    with pytest.raises(ValueError, match="unknown family 'motor': did you mean 'motors'"):
        family_named("motor")
    with pytest.raises(ValueError, match="'motors' has the setting 'backwards': "):
        _ = dataclasses.replace(FAMILIES["motors"], chosen=("backwards",)).settings


def test_what_drifts_has_no_task() -> None:
    env = "mole/HalfCheetahMotors-v0"
    assert has_tasks(env, "random:100")
    assert not has_tasks(env, "drift:identity,negative:100")
    with pytest.raises(ValueError, match="unknown value 'backwards'"):
        has_tasks(env, "backwards")


def test_every_family_has_its_own_files_and_missing_ones_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert control_files("motors") == control_files("mole/HalfCheetahMotors-v0")
    assert control_files("motors")[0] == ASSETS / "half_cheetah_motors.mole"
    monkeypatch.setattr("mole.priors.shipped.ASSETS", tmp_path)
    stems = {CONTROL[name].stem for name in FAMILIES}
    assert [prior.env for prior in CONTROL.values()] == [family.env for family in FAMILIES.values()]
    assert len(stems) == len(FAMILIES)
    for stem in stems:
        for name in (f"{stem}.mole", f"{stem}_supervised.mole"):
            (tmp_path / name).touch()
    found = {control_files(name) for name in FAMILIES}
    assert found == {(tmp_path / f"{stem}.mole", tmp_path / f"{stem}_supervised.mole") for stem in stems}
    (tmp_path / "crawler_legs_supervised.mole").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"crawler_legs_supervised\.mole for crawler is not in this .* train c"
    ):
        control_files("crawler")
    with pytest.raises(
        FileNotFoundError, match=r"no prior for Pendulum-v1 comes .* motors, .*: mole train P"
    ):
        control_files("Pendulum-v1")


# --- suites


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_a_suite_is_made_of_known_things(suite: Suite) -> None:
    for name in suite.families:
        assert suite.only_returning <= bool(family_named(name).returning)
    for method in suite.methods:
        check_method(method)
    assert len(set(suite.methods)) == len(suite.methods)


def test_the_paper_is_every_family_and_method_with_ten_seeds() -> None:
    suite = SUITES["paper"]
    assert set(suite.families) == set(FAMILIES)
    assert suite.methods == (*METHODS, SIMULATOR)
    assert suite.seeds == 10


def test_jobs_begin_with_the_first_seed_of_everything(files: Mapping[str, Path | None]) -> None:
    made = parts("motors", files, ("negative", "drift"), seeds=3, methods=("mole", "oracle", SIMULATOR))
    assert [part.folder for part in made] == [Path("out/motors"), Path("out/motors-few")]
    assert [list(part.config.names.values()) for part in made] == [["negative", "drift"], ["negative"]]
    jobs = suite_jobs(made)
    seeds = [job.cell.seed for job in jobs]
    assert seeds == sorted(seeds)
    assert len({(job.folder, job.cell) for job in jobs}) == len(jobs)
    # drift: no oracle; simulator: every seed, since the suite's 5 are more than 3
    assert len(jobs) == 3 * (3 + 2 + 3)
    shards = [suite_jobs(made, (number, 4)) for number in (1, 2, 3, 4)]
    assert sorted(job.cell.name + job.cell.family for shard in shards for job in shard) == sorted(
        job.cell.name + job.cell.family for job in jobs
    )
    with pytest.raises(ValueError, match="got shard 5/4; expected I/N with I from 1 to N"):
        suite_jobs(made, (5, 4))


def test_a_suite_runs_as_long_as_it_says(files: Mapping[str, Path | None]) -> None:
    (part,) = parts("crawler", files, steps=300)
    assert (part.config.steps, part.config.steps_of(SIMULATOR)) == (300, 300)
    (part,) = parts("crawler", files)
    assert (part.config.steps, part.config.steps_of(SIMULATOR)) == (2000, SUITES["crawler"].simulator_steps)
    assert part.config.planner == FAMILIES["crawler"].planner
    assert part.config.tuned == FAMILIES["crawler"].tuned
    quick = parts("quick", files)
    assert [list(part.config.names.values()) for part in quick] == [
        ["alternate"],
        ["course"],
        ["returning"],
    ]


def test_unknown_suites_and_settings_are_answered_with_the_nearest(files: Mapping[str, Path | None]) -> None:
    with pytest.raises(ValueError, match="unknown suite 'papers': did you mean 'paper'"):
        suite_named("papers")
    with pytest.raises(ValueError, match="unknown setting 'alternat': did you mean 'alternate'"):
        parts("motors", files, ("alternat", "negative"))


def test_a_family_belongs_to_one_configuration(files: Mapping[str, Path | None], tmp_path: Path) -> None:
    made = [part._replace(folder=tmp_path / part.family.name) for part in parts("motors", files, seeds=1)]
    claim_parts(made)
    claim_parts([*made])
    assert records_of(made) == {"motors": [], "motors-upright": [], "motors-few": []}
    assert not any(job.complete for job in suite_jobs(made))
    grown = dataclasses.replace(made[0].config, seeds=(0, 1), methods=("mole",))
    claim_parts([made[0]._replace(config=grown)])
    other = dataclasses.replace(made[0].config, steps=100)
    with pytest.raises(
        ValueError, match=r"motors holds results of another configuration: eval\.json differs in steps"
    ):
        claim_parts([made[0]._replace(config=other)])
    assert Job(grown, grown.cells()[0], made[0].folder).path.parent == tmp_path / "motors"
