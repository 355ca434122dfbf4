"""The six-legged crawler with hidden faults of its legs."""

from __future__ import annotations

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("gymnasium")
pytest.importorskip("mujoco")

import gymnasium
import mujoco
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from machines import check_the_seed_decides, elsewhere, random_actions, red, rollout  # noqa: F401
from mole.envs import CrawlerLegsEnv, spec_for
from mole.envs.crawler.env import DYNAMICS, ENV_ID, SCHEDULES, SETTINGS, reward
from mole.envs.crawler.legs import (
    CODES,
    TRAINED,
    UNSEEN,
    FaultNames,
    fault_name,
    trained_legs,
    trained_pairs,
    unseen_legs,
)
from mole.envs.crawler.model import JOINTS, LOCK_ANGLES, load_model, observe
from mole.envs.schedules.text import parse_schedule
from mole.envs.simulation import offscreen_problem

STILL = np.zeros(12)
FEATURES, DELTA, APPLY = (jax.jit(f) for f in (DYNAMICS.features, DYNAMICS.delta, DYNAMICS.apply_delta))


def actions(n, seed=0, low=-1.0, high=1.0):
    return random_actions(n, 12, seed, low, high)


def codes(**legs):
    return [legs.get(f"leg{leg}", 0) for leg in range(1, 7)]


# --- the body ---------------------------------------------------------------------------------------------------


def test_the_model_has_a_free_torso_and_twelve_motors_in_the_order_of_the_actions():
    model = load_model()
    assert (model.nq, model.nv, model.nu, model.neq) == (19, 18, 12, 12)
    assert [model.actuator(i).name for i in range(12)] == list(JOINTS)
    assert [model.joint(1 + i).name for i in range(12)] == list(JOINTS)
    np.testing.assert_array_equal(model.actuator_trnid[:, 0], np.arange(1, 13))
    assert model.body_mass.sum() == pytest.approx(6.9, abs=0.01)


def test_it_is_the_same_on_both_sides():
    model = load_model()
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    feet = np.array([data.geom(name.replace("hip", "foot")).xpos for name in JOINTS[::2]])
    np.testing.assert_allclose(feet[:3] * [1, -1, 1], feet[3:], atol=1e-12)
    np.testing.assert_allclose(feet[0] * [-1, 1, 1], feet[2], atol=1e-12)


def test_springs_hold_it_up_while_the_motors_are_off():
    env = CrawlerLegsEnv(schedule="healthy", reset_noise_scale=0.0)
    path = rollout(env, [STILL] * 200)
    np.testing.assert_allclose(path[-1, 2], 0.23, atol=0.01)
    np.testing.assert_allclose(path[-1, :2], 0.0, atol=0.01)
    np.testing.assert_allclose(path[-1, 3:6], 0.0, atol=0.02)
    assert np.abs(path[-1, 18:]).max() < 0.1


@pytest.mark.parametrize("schedule", ["healthy", "random-all:50"])
def test_random_commands_never_tip_it_over(schedule):
    path = rollout(CrawlerLegsEnv(schedule=schedule), np.sign(actions(600, 1)))
    assert (np.cos(path[:, 3]) * np.cos(path[:, 4])).min() > 0.85


@pytest.mark.parametrize("leg", range(6))
def test_a_positive_hip_swings_forward_and_a_positive_knee_lifts(leg):
    model = load_model()
    data = mujoco.MjData(model)
    foot = model.geom(JOINTS[2 * leg].replace("hip", "foot")).id

    def place(joint, angle):
        mujoco.mj_resetData(model, data)
        data.qpos[7 + joint] = angle
        mujoco.mj_kinematics(model, data)
        return data.geom_xpos[foot].copy()

    rest = place(0, 0.0)
    assert place(2 * leg, 0.1)[0] - rest[0] > 0.01
    assert place(2 * leg + 1, 0.1)[2] - rest[2] > 0.004


def test_legs_touch_the_ground_and_not_one_another():
    env = CrawlerLegsEnv(schedule="healthy")
    floor = env.model.geom("floor").id
    env.reset(seed=0)
    touched = set()
    for command in np.sign(actions(200)):
        env.step(command)
        touched |= {(int(a), int(b)) for a, b in env.data.contact.geom}
    assert touched
    assert all(floor in pair for pair in touched)


# --- faults -----------------------------------------------------------------------------------------------------


def torque(env):
    return env.data.qfrc_actuator[6:]


def test_each_fault_does_what_its_name_says_to_its_own_leg_alone():
    env = CrawlerLegsEnv(schedule="limp-1+down-3+invert-6")
    env.reset(seed=0)
    command = np.linspace(-1, 1, 12)
    env.step(command)
    gain = np.array([0, 0, 1, 1, 0, 0, 1, 1, 1, 1, -1, -1])
    np.testing.assert_allclose(torque(env), 10 * gain * command, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(env.data.eq_active, np.repeat([0, 0, 1, 0, 0, 0], 2))


def test_a_leg_that_is_down_is_held_whatever_is_commanded():
    env = CrawlerLegsEnv(schedule="down-2")
    rollout(env, [STILL] * 10)
    for command in np.sign(actions(100)):
        env.step(command)
        np.testing.assert_allclose(env.data.qpos[9:11], LOCK_ANGLES, atol=0.05)
        assert np.abs(np.delete(env.data.qpos[7:], [2, 3])).max() > 0.1


def test_a_leg_recovers():
    env = CrawlerLegsEnv(schedule=[("down-2", 5), ("healthy", 50)])
    path = rollout(env, [STILL] * 5 + [np.eye(12)[3]] * 30)
    assert path[5, 9] < -0.2
    assert path[-1, 9] > 0.5


def test_an_inverted_leg_is_the_same_as_the_opposite_command():
    commands = actions(60)
    opposite = commands.copy()
    opposite[:, 2:4] *= -1
    np.testing.assert_array_equal(
        rollout(CrawlerLegsEnv(schedule="invert-2"), commands),
        rollout(CrawlerLegsEnv(schedule="healthy"), opposite),
    )


def test_a_limp_leg_is_the_same_as_no_command():
    commands = actions(60)
    none = commands.copy()
    none[:, 10:] = 0
    np.testing.assert_array_equal(
        rollout(CrawlerLegsEnv(schedule="limp-6"), commands),
        rollout(CrawlerLegsEnv(schedule="healthy"), none),
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("healthy", codes()),
        ("limp-1", codes(leg1=1)),
        ("down-4", codes(leg4=2)),
        ("invert-6", codes(leg6=3)),
        ("down-1+invert-3", codes(leg1=2, leg3=3)),
        ("invert-3+down-1", codes(leg1=2, leg3=3)),
    ],
)
def test_names_are_codes(name, expected):
    np.testing.assert_array_equal(FaultNames()[name], expected)
    np.testing.assert_array_equal(
        CrawlerLegsEnv(schedule=name).reset(seed=0)[1]["faults"], np.array(expected, float)
    )


@given(st.lists(st.sampled_from(list(CODES.values())), min_size=6, max_size=6))
def test_a_name_and_its_codes_say_the_same(vector):
    np.testing.assert_array_equal(FaultNames()[fault_name(vector)], vector)


def test_nineteen_names_are_listed_and_every_combination_is_known():
    names = FaultNames()
    assert len(list(names)) == len(names) == 19
    assert "down-1+limp-2+invert-3" in names
    for wrong in (
        "down-0",
        "down-7",
        "down-1+down-1",
        "down-1+limp-1",
        "healthy+down-1",
        "down",
        "",
        "down-1+",
    ):
        assert wrong not in names


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"tasks": "leg"}, r"unknown tasks 'leg': did you mean 'legs'\?"),
        ({"tasks": "legs", "schedule": "healthy"}, "expected one of them"),
        ({"schedule": "down-7"}, r"unknown value 'down-7'.*did you mean 'down-"),
        ({"schedule": "alternate:healthy,down-1+down-1:20"}, r"unknown value 'down-1\+down-1'"),
        ({"schedule": "fixed:1/2"}, r"leg faults of shape \(2,\); expected 6 codes.*2 down, 3 invert"),
        ({"schedule": "fixed:0/0/0/0/0/4"}, "expected 6 codes, one per leg"),
        ({"schedule": "fixed:0/0/0/0/0/0.5"}, "expected 6 codes, one per leg"),
        ({"schedule": "drift:healthy,down-1:100"}, "expected 6 codes, one per leg"),
        ({"schedule": [({"left": 1}, 3)]}, "expected 6 codes, one per leg"),
        (
            {"episode_steps": 0},
            r"Env got episode_steps=0; expected a whole number from 1 on\. None is no limit",
        ),
    ],
)
def test_bad_settings_say_what_was_expected(kwargs, message):
    with pytest.raises(ValueError, match=message):
        CrawlerLegsEnv(**kwargs)


# --- what training sees, and what it does not --------------------------------------------------------------------


def names_of(sampler, n=600):
    rng = np.random.default_rng(0)
    return [fault_name(sampler(rng)) for _ in range(n)]


def test_every_leg_fails_in_training_and_in_the_other_way_in_the_test():
    assert sorted(TRAINED + UNSEEN) == sorted(f"{f}-{leg}" for f in ("down", "invert") for leg in range(1, 7))
    assert {name[-1] for name in TRAINED} == {name[-1] for name in UNSEEN} == set("123456")
    for row in (1, 2, 3):  # each of front, middle and rear fails in both ways in training, one on each side
        assert {name.split("-")[0] for name in TRAINED if int(name[-1]) in (row, row + 3)} == {
            "down",
            "invert",
        }


def test_training_sees_healthy_limp_and_trained_faults_one_at_a_time():
    drawn = names_of(trained_legs)
    assert set(drawn) == {"healthy", *(f"limp-{leg}" for leg in range(1, 7)), *TRAINED}
    assert np.mean([name == "healthy" for name in drawn]) == pytest.approx(0.25, abs=0.06)
    assert np.mean([name in TRAINED for name in drawn]) == pytest.approx(0.6, abs=0.06)


def test_tests_see_what_training_does_not():
    seen = set(names_of(trained_legs))
    unseen, pairs = set(names_of(unseen_legs)), set(names_of(trained_pairs))
    assert unseen == set(UNSEEN)
    assert len(pairs) == 12
    assert not any(pair.count("down") == 2 for pair in pairs)
    assert not (unseen | pairs) & seen
    assert all(part in TRAINED for pair in pairs for part in pair.split("+"))


def test_the_phases_of_training_never_show_what_is_held_out():
    explore = gymnasium.make(ENV_ID, **CrawlerLegsEnv.training_settings("explore", None, 200))
    drawn = {explore.reset(seed=seed)[1]["fault"] for seed in range(40)}
    control = parse_schedule(CrawlerLegsEnv.training_settings("control", None, 7)["schedule"], SCHEDULES)
    timeline = control.timeline(0)
    drawn |= {fault_name(timeline.at(step)) for step in range(0, 700, 7)}
    assert not drawn & set(UNSEEN)
    assert len(drawn) > 10
    assert not any("+" in name for name in drawn)
    assert timeline.at(0) is timeline.at(6)
    assert fault_name(timeline.at(6)) != fault_name(timeline.at(7))


def test_bad_training_settings_say_what_was_expected():
    assert CrawlerLegsEnv.training_settings("control", "all-legs", 50) == {"schedule": "random-all:50"}
    with pytest.raises(ValueError, match=r"unknown tasks 'unseen'.*Known: all-legs, legs"):
        CrawlerLegsEnv.training_settings("explore", "unseen", 200)
    with pytest.raises(ValueError, match="'train'; expected 'explore' or 'control'"):
        CrawlerLegsEnv.training_settings("train", None, 200)
    with pytest.raises(
        ValueError, match="CrawlerLegsEnv got switch_every=0; expected a whole number from 1 on"
    ):
        CrawlerLegsEnv.training_settings("control", None, 0)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_a_schedule(name):
    timeline = parse_schedule(SETTINGS[name], SCHEDULES).timeline(0)
    seen = {fault_name(timeline.at(step)) for step in range(0, 2000, 50)}
    held_out = {"unseen": set(UNSEEN), "pairs": set(names_of(trained_pairs))}.get(name)
    allowed = set(names_of(trained_legs)) if held_out is None else held_out
    assert seen <= allowed


def test_in_the_returning_setting_every_task_returns():
    timeline = parse_schedule(SETTINGS["returning"], SCHEDULES).timeline(0)
    order = [fault_name(timeline.at(step)) for step in range(2000)]
    starts = [order[0]] + [b for a, b in pairwise(order) if a != b]
    assert all(starts.count(name) >= 2 for name in starts)
    assert 3 <= len(set(starts)) <= 5


# --- the environment --------------------------------------------------------------------------------------------


def test_the_reward_is_the_jax_reward_and_the_sum_of_its_terms():
    env, compiled = CrawlerLegsEnv(schedule="invert-2+down-4"), jax.jit(reward)
    obs, info = env.reset(seed=1)
    assert info["reward_forward"] == info["reward_ctrl"] == 0.0
    for command in actions(50, low=-1.5, high=1.5):
        after, got, _, _, info = env.step(command)
        with jax.enable_x64(True):
            assert float(compiled(obs, command, after)) == pytest.approx(got, abs=1e-12)
        assert float(compiled(obs, command, after)) == pytest.approx(got, abs=1e-3)
        terms = [info[f"reward_{term}"] for term in ("forward", "drift", "heading", "ctrl")]
        assert sum(terms) == pytest.approx(got, abs=1e-12)
        assert max(terms[1:]) <= 0.0
        limited = np.clip(command, -1, 1).astype(float)
        assert info["reward_ctrl"] == pytest.approx(-0.01 * limited @ limited, abs=1e-12)
        assert info["x_position"] == after[0]
        obs = after


def test_standing_still_earns_nothing_and_walking_straight_ahead_does():
    ahead = np.zeros(36)
    ahead[0] = 0.03  # 0.6 m/s
    assert float(reward(np.zeros(36), STILL, np.zeros(36))) == 0.0
    assert float(reward(np.zeros(36), np.full(12, 0.6), ahead)) == pytest.approx(
        0.6 - 0.01 * 12 * 0.36, abs=1e-6
    )
    aslant = ahead.copy()
    aslant[1], aslant[5] = -0.01, -0.2
    assert float(reward(np.zeros(36), STILL, aslant)) == pytest.approx(0.6 - 0.3 * 0.2 - 0.5 * 0.2, abs=1e-6)


def test_the_info_of_a_step_names_the_fault_that_governed_it():
    env = CrawlerLegsEnv(schedule="alternate:healthy,invert-1,down-5:3")
    _, info = env.reset(seed=0)
    assert (info["task"], info["fault"]) == (0, "healthy")
    for step in range(18):
        assert env.upcoming_task() == step // 3 % 3
        info = env.step(np.full(12, 0.5))[-1]
        assert info["task"] == step // 3 % 3
        assert info["fault"] == ("healthy", "invert-1", "down-5")[info["task"]]
        assert fault_name(info["faults"]) == info["fault"]
        gain = {"healthy": 1, "invert-1": -1, "down-5": 1}[info["fault"]]
        assert torque(env)[0] == pytest.approx(5.0 * gain)
        assert torque(env)[8] == pytest.approx(0.0 if info["fault"] == "down-5" else 5.0)


def test_tasks_are_numbered_anew_in_every_episode():
    env = CrawlerLegsEnv(schedule="alternate:healthy,down-5:2", episode_steps=3)
    for _ in range(2):
        assert env.reset(seed=0)[1]["task"] == 0
        assert [env.step(STILL)[-1]["task"] for _ in range(3)] == [0, 0, 1]


def test_a_simulation_of_what_comes_next_knows_the_fault_that_comes_next():
    env = CrawlerLegsEnv(schedule="alternate:healthy,invert-1+down-5:4")
    env.reset(seed=3)
    for command in actions(16):
        other = mujoco.MjData(env.model)  # its constraints come from the model alone
        other.qpos[:], other.qvel[:] = env.data.qpos, env.data.qvel
        other.qacc_warmstart[:] = env.data.qacc_warmstart
        np.testing.assert_array_equal(other.eq_active, env.data.eq_active)
        other.ctrl[:] = env.controls(command.astype(float))
        mujoco.mj_step(env.model, other, nstep=5)
        np.testing.assert_allclose(
            env.observe_states(other.qpos, other.qvel), env.step(command)[0], rtol=0, atol=1e-10
        )


def test_commands_and_states_are_seen_the_same_one_by_one_and_all_at_once():
    env = CrawlerLegsEnv(schedule="invert-1+limp-2")
    env.reset(seed=0)
    commands = actions(6).astype(float).reshape(2, 3, 12)
    together = env.controls(commands)
    np.testing.assert_array_equal(together[1, 2], env.controls(commands[1, 2]))
    rng = np.random.default_rng(0)
    qpos, qvel = rng.normal(size=(2, 3, 19)), rng.normal(size=(2, 3, 18))
    qpos[..., 3:7] /= np.linalg.norm(qpos[..., 3:7], axis=-1, keepdims=True)
    seen = env.observe_states(qpos, qvel)
    assert seen.shape == (2, 3, 36)
    np.testing.assert_allclose(seen[1, 2], env.observe_states(qpos[1, 2], qvel[1, 2]), rtol=0, atol=1e-15)


def test_what_the_caller_does_to_the_info_does_not_reach_the_legs():
    env = CrawlerLegsEnv(schedule="healthy")
    _, info = env.reset(seed=0)
    info["faults"][:] = 3.0
    assert env.step(STILL)[-1]["fault"] == "healthy"


@pytest.mark.parametrize("kwargs", [{"tasks": "legs"}, {"schedule": "random:7"}])
def test_the_seed_decides_everything(kwargs):
    check_the_seed_decides(lambda: CrawlerLegsEnv(**kwargs), actions(30), hidden="faults")


def test_episodes_are_truncated_and_never_terminated():
    env = CrawlerLegsEnv(episode_steps=5)
    for _ in range(2):
        env.reset(seed=0)
        assert [env.step(STILL)[2:4] for _ in range(6)] == [(False, False)] * 4 + [(False, True)] * 2


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.zeros(6), r"got an action of shape \(6,\); expected \(12,\)"),
        (np.full(12, np.nan), "expected finite numbers.*Check the policy or planner"),
    ],
)
def test_bad_actions_are_refused_and_change_nothing(action, message):
    env = CrawlerLegsEnv(schedule="healthy")
    env.reset(seed=0)
    before = env.state_vector()
    with pytest.raises(ValueError, match=message):
        env.step(action)
    np.testing.assert_array_equal(env.state_vector(), before)


def test_a_diverged_simulation_is_an_error_not_a_silent_restart():
    env = CrawlerLegsEnv(schedule="down-2")
    env.reset(seed=0)
    env.data.qvel[0] = 1e12
    with pytest.raises(
        FloatingPointError, match=r"unstable at step 0 with the faults down-2.*Call reset\(\)"
    ):
        env.step(STILL)
    for refused in (lambda: env.step(STILL), env.upcoming_task):
        with pytest.raises(ResetNeeded, match=r"call reset\(\) first"):
            refused()
    env.reset(seed=0)
    env.step(STILL)


@pytest.mark.parametrize("kwargs", [{}, {"schedule": "alternate:healthy,down-1:1"}])
def test_gymnasiums_checker_has_no_complaint(kwargs):
    env = gymnasium.make(ENV_ID, **kwargs)
    check_env(env.unwrapped, skip_render_check=True)
    env.close()


def test_its_spec_is_found_by_id_and_by_environment():
    assert spec_for(ENV_ID) is spec_for(gymnasium.make(ENV_ID)) is DYNAMICS


# --- what a learner sees ----------------------------------------------------------------------------------------


def turned(obs, angle, shift):
    """The same crawler standing elsewhere and heading elsewhere."""
    c, s = np.cos(angle), np.sin(angle)
    moved = obs.copy()
    for pair in (slice(0, 2), slice(18, 20)):
        moved[..., pair] = obs[..., pair] @ np.array([[c, s], [-s, c]])
    moved[..., :2] += shift
    moved[..., 5] = np.mod(obs[..., 5] + angle + np.pi, 2 * np.pi) - np.pi
    return moved


states = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).uniform(-1.4, 1.4, (2, 36)))


@settings(max_examples=10)
@given(states, st.floats(-7, 7))
def test_nothing_a_model_sees_depends_on_where_it_is_or_which_way_it_heads(pair, angle):
    with jax.enable_x64(True):
        shift, command = np.array([3.0, -40.0]), actions(1)[0]
        here, there = pair, turned(pair, angle, shift)
        np.testing.assert_allclose(FEATURES(there[0], command), FEATURES(here[0], command), atol=1e-9)
        np.testing.assert_allclose(DELTA(*there), DELTA(*here), atol=1e-9)


@settings(max_examples=10)
@given(states)
def test_applying_a_change_undoes_taking_it(pair):
    pair[:, 5] *= np.pi / 1.4  # any heading: across ±pi too
    with jax.enable_x64(True):
        change = DELTA(pair[0], pair[1])
        assert abs(float(change[5])) <= np.pi
        np.testing.assert_allclose(APPLY(pair[0], change), pair[1], atol=1e-9)


def test_features_are_height_up_joints_body_velocities_and_the_action():
    rng = np.random.default_rng(0)
    quat = rng.normal(size=4)
    qpos, qvel = rng.normal(size=19), rng.normal(size=18)
    qpos[3:7] = quat / np.linalg.norm(quat)
    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, qpos[3:7])
    obs, command = observe(qpos, qvel), np.linspace(-2, 2, 12)
    x = DYNAMICS.features(jnp.asarray(obs), command)
    assert x.shape == (DYNAMICS.feature_dim,) == (46,)
    assert float(x[0]) == pytest.approx(qpos[2])
    np.testing.assert_allclose(x[1:4], matrix.reshape(3, 3)[2], atol=1e-5)  # R^T e_z
    np.testing.assert_allclose(x[4:16], qpos[7:], rtol=1e-6)
    yaw = obs[5]
    along = [np.cos(yaw) * qvel[0] + np.sin(yaw) * qvel[1], -np.sin(yaw) * qvel[0] + np.cos(yaw) * qvel[1]]
    np.testing.assert_allclose(x[16:18], along, atol=1e-5)
    np.testing.assert_allclose(x[18:34], qvel[2:], rtol=1e-6)
    np.testing.assert_allclose(x[34:], np.clip(command, -1, 1), rtol=1e-6)
    assert float(DYNAMICS.posture(obs)) == pytest.approx(matrix[8], abs=1e-5)
    assert float(DYNAMICS.position(obs)) == pytest.approx(qpos[0])


def test_failed_legs_are_drawn_red_and_drawing_changes_nothing(monkeypatch):
    problem = offscreen_problem()
    if problem is not None:
        pytest.skip(f"no OpenGL here: {problem}")
    monkeypatch.setenv("MUJOCO_GL", "egl")
    schedule = [("healthy", 2), ("invert-4", 2), ("invert-4+down-5+invert-6", 2)]
    env = CrawlerLegsEnv(render_mode="rgb_array", width=320, height=180, schedule=schedule)
    blind = CrawlerLegsEnv(schedule=schedule)
    env.reset(seed=0)
    blind.reset(seed=0)
    counts = []
    for command in actions(5):
        frame = env.render()  # of what governs the next transition
        counts.append(red(frame))
        assert frame.shape == (180, 320, 3)
        np.testing.assert_array_equal(env.step(command)[0], blind.step(command)[0])
    env.close()
    assert counts[:2] == [0, 0]
    assert min(counts[2:4]) > 0
    assert counts[4] > 1.5 * max(counts[2:4])
