"""Ground that rises and falls, and the half-cheetah that runs on it."""

from __future__ import annotations

import gymnasium
import jax
import mujoco
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

from machines import check_the_seed_decides, elsewhere  # noqa: F401
from mole.envs import HalfCheetahTerrainEnv, spec_for
from mole.envs.cheetah.ground import COLUMN, COURSES, SCHEDULES, Ground, any_slope, check_slope, low_slope
from mole.envs.cheetah.model import load_model
from mole.envs.cheetah.motors import DYNAMICS, HalfCheetahMotorsEnv
from mole.envs.cheetah.terrain import ENV_ID, SETTINGS
from mole.envs.schedules.schedule import Schedule
from mole.envs.schedules.text import parse_schedule
from mole.envs.simulation import offscreen_problem


def ground(text, run_up=0, seed=0):
    return Ground(parse_schedule(text, SCHEDULES).timeline(seed), run_up)


def actions(n, seed=0):
    held = np.random.default_rng(seed).uniform(-1, 1, (n // 4 + 1, 6))
    return np.repeat(held, 4, axis=0)[:n].astype(np.float32)


def put(env, x, above=0.5):
    """The torso at `x` metres, at rest in the air."""
    env.data.qpos[:] = 0.0
    env.data.qpos[0] = x - env._middle * COLUMN
    env.data.qpos[1] = env._level(env.data.qpos[0]) + above
    env.data.qvel[:] = 0.0


def lowest_point(env):
    """The largest depth of any limb in the ground, from the geometry alone: capsules above straight columns."""
    model, data = env.model, env.data
    depth = -np.inf
    for geom in range(model.ngeom):
        if model.geom_type[geom] != mujoco.mjtGeom.mjGEOM_CAPSULE:
            continue
        radius, half = model.geom_size[geom, :2]
        axis = data.geom_xmat[geom].reshape(3, 3)[:, 2]
        points = data.geom_xpos[geom] + np.linspace(-half, half, 9)[:, None] * axis
        level = env._level(points[:, 0])
        slope = (env._level(points[:, 0] + 1e-6) - level) / 1e-6
        depth = max(depth, float((radius - (points[:, 2] - level) / np.hypot(1.0, slope)).max()))
    return depth


def test_heights_add_up_the_slopes_from_the_origin():
    heights = ground("alternate:.2,-.1:3").heights(0, 9)
    np.testing.assert_allclose(heights, [0, 0.02, 0.04, 0.06, 0.05, 0.04, 0.03, 0.05, 0.07], atol=1e-12)


def test_behind_the_start_the_same_slopes_come_in_a_mirror():
    hills = ground("random:7", run_up=5, seed=3)
    heights = hills.heights(-60, 121)
    np.testing.assert_array_equal(heights, -heights[::-1])
    for x in (0.05, 0.47, 0.53, 3.31, 5.99):
        assert hills.slope(-x) == hills.slope(x)
    np.testing.assert_array_equal(heights[55:66], np.zeros(11))


def test_heights_do_not_depend_on_what_was_asked_before():
    hills, others = ground("random:4", seed=8), ground("random:4", seed=8)
    hills.heights(-500, 1001)
    np.testing.assert_array_equal(hills.heights(90, 20), others.heights(90, 20))


@pytest.mark.parametrize("x", [-7.31, -0.01, 0.03, 1.96, 4.44, 30.05])
def test_a_slope_is_what_the_heights_rise_by(x):
    hills = ground("random:9", run_up=20, seed=1)
    column = int(np.floor(x / COLUMN))
    rise = np.diff(hills.heights(column, 2))[0] / COLUMN
    assert hills.slope(x) == pytest.approx(rise, abs=1e-9)


def test_the_courses_are_as_documented():
    def rise(name, metres, start=0.0):
        heights = ground(name).heights(round(start / COLUMN), round(metres / COLUMN) + 1)
        return heights[-1] - heights[0]

    assert rise("basin", 15) == pytest.approx(-2.7)
    assert rise("basin", 30) == pytest.approx(0.0)
    assert rise("hill", 15) == pytest.approx(3.0)
    assert rise("gentle", 18) == pytest.approx(1.0)
    assert rise("gentle", 24) == pytest.approx(1.0)
    assert rise("steep", 18) == pytest.approx(5.4)
    assert rise("course", 64, start=640.0) == pytest.approx(8 * 0.6)


def test_every_slope_of_the_long_course_returns():
    timeline = COURSES["course"].timeline(0)
    slopes = [timeline.at(column) for column in range(0, 2 * 640, 80)]
    later = {slope: [i for i, s in enumerate(slopes) if s == slope] for slope in slopes}
    assert len(later) == 4
    assert all(len(places) >= 4 and max(np.diff(places)) > 1 for places in later.values())


def test_every_setting_is_a_schedule():
    for name, text in SETTINGS.items():
        assert abs(parse_schedule(text, SCHEDULES).value(5)) <= 0.3, name


@pytest.mark.parametrize(("draw", "limit"), [(low_slope, 0.2), (any_slope, 0.4)])
def test_drawn_slopes_are_uniform_and_one_in_eight_is_level(draw, limit):
    rng = np.random.default_rng(0)
    slopes = np.array([draw(rng) for _ in range(4000)])
    assert (slopes == 0.0).mean() == pytest.approx(1 / 8, abs=0.02)
    tilted = slopes[slopes != 0.0]
    assert np.abs(tilted).max() <= limit
    np.testing.assert_allclose(
        np.quantile(tilted, [0.25, 0.5, 0.75]), [-limit / 2, 0, limit / 2], atol=0.1 * limit
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.5, r"got the slope 1.5; expected one between -1.0 and 1.0"),
        (np.nan, "got the slope nan"),
        ([0.1, 0.2], r"slope of shape \(2,\); expected one number"),
        ("up", "got the slope 'up'; expected a number"),
    ],
)
def test_bad_slopes_are_refused(value, message):
    with pytest.raises(ValueError, match=message):
        check_slope(value)


def test_the_simulators_ground_is_where_the_terrain_says():
    env = HalfCheetahTerrainEnv(schedule="random-any:13", run_up=0)
    env.reset(seed=2)
    put(env, 0.0)
    mujoco.mj_forward(env.model, env.data)
    floor = np.zeros(1, np.int32)
    for x in np.arange(-20.0, 20.0, 0.37):
        beside = np.array([x, 1.0, 30.0])  # the cheetah is at y = 0
        hit = mujoco.mj_ray(env.model, env.data, beside, np.array([0.0, 0.0, -1.0]), None, 1, -1, floor)
        assert 30.0 - hit == pytest.approx(env._level(x), abs=1e-4)


def test_on_level_ground_z_is_the_motors_environments():
    env, plain = HalfCheetahTerrainEnv(schedule="flat"), HalfCheetahMotorsEnv(schedule="identity")
    env.reset(seed=0)
    plain.reset(seed=0)
    for above in (0.0, 0.3):
        put(env, 1.234, above)
        plain.data.qpos[:] = 0.0
        plain.data.qpos[:2] = 1.234, above
        plain.data.qvel[:] = 0.0
        np.testing.assert_allclose(env._observe(), plain._observe(), atol=1e-6)


def test_z_is_the_height_above_the_ground_under_the_torso_and_x_is_absolute():
    env = HalfCheetahTerrainEnv(schedule="random-any:5", run_up=0, episode_steps=None)
    env.reset(seed=1)
    for command in actions(300):
        obs = env.step(command)[0]
        column = int(np.floor(obs[0] / COLUMN))
        left, right = env._ground.heights(column, 2)
        level = left + (obs[0] / COLUMN - column) * (right - left)
        torso = env.data.body("torso").xpos  # kinematics of one physics step ago
        world = env.data.qpos[1] + env._bottom
        assert obs[1] == pytest.approx(world - level, abs=1e-5)
        assert abs(torso[0] + env._middle * COLUMN - obs[0]) < 0.2


def test_moving_the_field_on_changes_nothing_that_is_observed_or_felt(monkeypatch):
    def fall(middle):
        env = HalfCheetahTerrainEnv(schedule="random-any:5", run_up=0)
        env.reset(seed=4)
        if middle:
            env._place_field(middle)
        put(env, 4.02, above=-0.05)
        env.data.qvel[0] = 4.0
        return np.array([env.step(command)[0] for command in actions(12)]), env

    here, env = fall(0)
    there, other = fall(-20)
    assert env._middle > 30  # it did move on, at another step than the other
    assert other._middle > 0
    np.testing.assert_allclose(here, there, atol=2e-3)
    np.testing.assert_allclose(here[:4], there[:4], atol=1e-5)


def test_the_ground_never_ends():
    env = HalfCheetahTerrainEnv(schedule="alternate:.3,-.1:40", episode_steps=None)
    env.reset(seed=0)
    put(env, 0.0, above=0.3)
    x = 0.0
    for step in range(400):
        env.data.qvel[0] = 8.0 if step < 200 else -12.0  # pushed
        obs, _, _, _, info = env.step(np.zeros(6))
        assert abs(obs[0] - x) < 1.0
        x = obs[0]
        assert info["x_position"] == x
        assert np.isfinite(obs).all()
        assert env._level(env.data.qpos[0] + 15.0) > -1.0
        assert env._level(env.data.qpos[0] - 15.0) > -1.0
        if step == 199:
            assert x > 60.0
    assert x < -20.0


def test_off_the_field_is_an_error_and_not_a_fall(monkeypatch):
    env = HalfCheetahTerrainEnv(schedule="flat")
    env.reset(seed=0)
    env.data.qpos[0] = 26.0
    assert np.isnan(env.observe_states(env.data.qpos, env.data.qvel)[1])
    with pytest.raises(
        FloatingPointError, match=r"off the field at step 0 with a slope of 0.0.*Call reset\(\)"
    ):
        env.step(np.zeros(6))
    with pytest.raises(ResetNeeded):
        env.step(np.zeros(6))


@pytest.mark.parametrize("kwargs", [{"tasks": "any-slopes"}, {"schedule": "random-any:3", "run_up": 0}, {}])
def test_it_starts_above_the_ground_and_near_it(kwargs):
    env = HalfCheetahTerrainEnv(**kwargs)
    for seed in range(15):
        obs, _ = env.reset(seed=seed)
        assert lowest_point(env) < 1e-3
        assert abs(obs[0]) <= 0.1
        assert -0.1 < obs[1] < 0.5
        if "tasks" in kwargs:
            assert abs(obs[2] + np.arctan(env._ground.slope(0.0))) <= 0.1


def test_the_info_names_the_slope_that_the_transition_began_on():
    env = HalfCheetahTerrainEnv(schedule="alternate:.2,-.2,flat:10", run_up=5)
    _, info = env.reset(seed=0)
    assert info["task"] == 0
    assert info["slope"] == 0.0
    numbers = {0.0: 0}
    for x in (0.3, 0.55, 1.2, 1.8, 3.0, 4.2, 2.9, 0.7):
        put(env, x)
        slope = env._ground.slope(x)
        expected = numbers.setdefault(slope, len(numbers))
        assert env.upcoming_task() == expected
        info = env.step(np.zeros(6))[-1]
        assert info["task"] == expected
        assert info["slope"] == slope
    assert sorted(numbers) == [-0.2, 0.0, 0.2]


def test_ground_without_distinct_slopes_has_no_tasks():
    env = HalfCheetahTerrainEnv(schedule="drift:-.2,.2:300", run_up=0)
    assert env.reset(seed=0)[1]["task"] == -1
    assert env.upcoming_task() == -1


def test_a_drawn_slope_lasts_for_the_whole_episode_everywhere():
    env = HalfCheetahTerrainEnv()
    seen = set()
    for seed in range(30):
        slope = env.reset(seed=seed)[1]["slope"]
        assert abs(slope) <= 0.2
        assert all(env._ground.slope(x) == slope for x in (-40.0, -1.0, 0.0, 2.0, 300.0))
        seen.add(slope)
    assert len(seen) > 20
    assert 0.0 in seen


def test_courses_begin_with_two_level_metres_and_training_does_not():
    test = HalfCheetahTerrainEnv(schedule="steep")
    test.reset(seed=0)
    assert [test._ground.slope(x) for x in (-1.99, 0.0, 1.99, 2.01)] == [0.0, 0.0, 0.0, 0.3]
    settings = HalfCheetahTerrainEnv.training_settings("control", None, 200)
    assert settings == {"schedule": "random:100", "run_up": 0}
    train = HalfCheetahTerrainEnv(**settings)
    slopes = [train.reset(seed=seed)[1]["slope"] for seed in range(20)]
    assert sum(slope != 0.0 for slope in slopes) > 12


def test_training_settings_make_environments():
    for tasks in (None, *HalfCheetahTerrainEnv.TASKS):
        for phase in ("explore", "control"):
            settings = HalfCheetahTerrainEnv.training_settings(phase, tasks, 200)
            HalfCheetahTerrainEnv(**settings).reset(seed=0)
    assert HalfCheetahTerrainEnv.training_settings("explore", None, 200) == {"tasks": "slopes"}
    with pytest.raises(ValueError, match=r"unknown tasks 'slops': did you mean 'slopes'\?"):
        HalfCheetahTerrainEnv.training_settings("explore", "slops", 200)
    with pytest.raises(ValueError, match=r"got the training phase 'test'; expected 'explore' or 'control'"):
        HalfCheetahTerrainEnv.training_settings("test", None, 200)


def test_the_reward_is_the_jax_reward_and_the_learner_sees_what_it_sees_in_the_motors_environment():
    assert spec_for(ENV_ID) is DYNAMICS
    env = HalfCheetahTerrainEnv(schedule="course", episode_steps=None)
    obs, _ = env.reset(seed=1)
    for command in actions(40):
        after, got, _, _, info = env.step(1.5 * command)
        with jax.enable_x64(True):
            assert float(DYNAMICS.reward(obs, 1.5 * command, after)) == pytest.approx(got, abs=1e-9)
        assert info["reward_forward"] + info["reward_ctrl"] == got
        obs = after


def test_a_planner_may_see_many_states_at_once():
    env = HalfCheetahTerrainEnv(schedule="random-any:5", run_up=0)
    env.reset(seed=0)
    env._place_field(-30)
    qpos, qvel = np.random.default_rng(0).normal(size=(2, 4, 3, 9))
    kept = qpos.copy()
    many = env.observe_states(qpos, qvel)
    assert many.shape == (4, 3, 18)
    for i in np.ndindex(4, 3):
        np.testing.assert_array_equal(many[i], env.observe_states(qpos[i], qvel[i]))
    np.testing.assert_array_equal(qpos, kept)
    command = np.zeros((5, 2, 6))
    np.testing.assert_array_equal(env.controls(command), command)


def test_the_motors_controls_are_those_of_the_next_transition():
    env = HalfCheetahMotorsEnv(schedule=[([1.0] * 6, 1), ([-2.0] * 6, 1)])
    env.reset(seed=0)
    command = np.full((3, 6), 0.5)
    np.testing.assert_array_equal(env.controls(command), command)
    env.step(command[0])
    np.testing.assert_array_equal(env.controls(command), -2.0 * command)


@pytest.mark.parametrize("kwargs", [{}, {"schedule": "course"}, {"schedule": "random:3", "run_up": 0}])
def test_gymnasiums_checker_has_no_complaint(kwargs):
    env = gymnasium.make(ENV_ID, **kwargs)
    check_env(env.unwrapped, skip_render_check=True)
    env.close()


def test_the_seed_decides_everything():
    check_the_seed_decides(
        lambda: HalfCheetahTerrainEnv(schedule="random:5", run_up=0), actions(60), hidden="slope"
    )


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"tasks": "slops"}, r"unknown tasks 'slops': did you mean 'slopes'\?"),
        ({"tasks": "slopes", "schedule": "hill"}, "expected one of them"),
        ({"schedule": "hil"}, r"did you mean 'hill'\?"),
        ({"schedule": "hill:3"}, r"unknown schedule 'hill:3'.*Known: .*course"),
        ({"schedule": "fixed:.2/.3"}, r"a slope of shape \(2,\)"),
        ({"schedule": "fixed:3"}, "got the slope 3.0"),
        ({"episode_steps": 0}, "got episode_steps=0; expected a whole number"),
        (
            {"run_up": -1},
            r"got run_up=-1; expected a whole number from 0 on\. It is a number of columns of 0\.1 m",
        ),
        ({"friction": 0.0}, "got friction=0.0; expected a number above 0"),
    ],
)
def test_bad_settings_say_what_was_expected(kwargs, message):
    with pytest.raises(ValueError, match=message):
        HalfCheetahTerrainEnv(**kwargs)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kwargs", [{"run_up": 2.5}, {"run_up": True}, {"friction": "wet"}])
def test_settings_of_another_type_are_refused(kwargs):
    (name,) = kwargs
    with pytest.raises(TypeError, match=f"HalfCheetahTerrainEnv got {name}=.*; expected a"):
        HalfCheetahTerrainEnv(**kwargs)


def test_the_field_is_a_floor_with_columns_and_friction():
    model = load_model(column=COLUMN, friction=0.8)
    assert model.hfield_ncol[0] == 501
    assert 2 * model.hfield_size[0, 0] / 500 == pytest.approx(COLUMN)
    assert model.geom("floor").friction[0] == 0.8
    assert load_model().geom("floor").friction[0] == 0.4
    assert HalfCheetahTerrainEnv(schedule=Schedule.constant(0.0)).model.geom("floor").friction[0] == 1.0


def test_the_ground_is_drawn_where_it_is_also_after_it_moved_on(monkeypatch):
    problem = offscreen_problem()
    if problem is not None:
        pytest.skip(f"no OpenGL here: {problem}")
    monkeypatch.setenv("MUJOCO_GL", "egl")
    env = HalfCheetahTerrainEnv(schedule="alternate:.4,-.4:60", render_mode="rgb_array", width=80, height=45)
    fresh = HalfCheetahTerrainEnv(
        schedule="alternate:.4,-.4:60", render_mode="rgb_array", width=80, height=45
    )
    frames = []
    for world, first in ((env, True), (fresh, False)):
        world.reset(seed=0)
        if first:
            world.render()
        put(world, 7.0)
        world.step(np.zeros(6))
        frames.append(world.render().astype(int))
    assert env._middle == 70
    assert np.abs(frames[0] - frames[1]).max() <= 2
    put(env, 10.0)
    env.step(np.zeros(6))
    assert np.abs(env.render().astype(int) - frames[0]).mean() > 1.0
    env.close()
    fresh.close()
