"""A schedule on a parameter of somebody else's environment."""

from __future__ import annotations

import types
import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gymnasium")
pytest.importorskip("mujoco")

import gymnasium
import mujoco
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import FlattenObservation, TimeAwareObservation

from mole.envs import (
    PARAMETERS,
    parameter_training,
    set_action_delay,
    set_attribute,
    set_damping,
    set_friction,
    set_gain,
    set_gravity,
    set_mass,
    set_observation_delay,
    switching,
    switching_by_name,
)


def make(name, **settings):
    return gymnasium.make(name, disable_env_checker=True, **settings)


def model_of(env):
    return env.unwrapped.model


def fields(model):
    """Every array of a MuJoCo model and of its options, copied."""
    found = {name: getattr(model, name) for name in dir(model) if not name.startswith("_")}
    found |= {f"opt.{name}": getattr(model.opt, name) for name in ("gravity", "timestep", "wind")}
    found["meaninertia"] = model.stat.meaninertia
    return {name: np.copy(v) for name, v in found.items() if isinstance(v, (np.ndarray, float))}


def commands(env, n, seed=0):
    box = env.action_space
    return np.random.default_rng(seed).uniform(box.low, box.high, (n, *box.shape)).astype(box.dtype)


def rollout(env, n=30, seed=0):
    first, info = env.reset(seed=seed)
    steps = [env.step(command) for command in commands(env, n)]
    return np.array([first] + [step[0] for step in steps]), [info] + [step[-1] for step in steps]


def test_the_one_line_of_the_documentation():
    env = switching(make("Pendulum-v1"), set_gravity, "alternate:9.81,3.7:200")
    _, info = env.reset(seed=0)
    assert info == {"task": 0, "parameters": {"gravity": 9.81}}
    for step in range(450):
        task = step // 200 % 2
        assert env.upcoming_task() == task
        info = env.step(np.zeros(1, np.float32))[-1]
        assert info["task"] == task
        assert info["parameters"]["gravity"] == env.unwrapped.g == (9.81, 3.7)[task]
    env.close()
    assert env.unwrapped.g == 10.0


def test_a_pendulum_falls_with_the_gravity_of_the_schedule():
    env = switching(make("Pendulum-v1"), set_gravity, "alternate:9.81,3.7,-5:3")
    env.reset(seed=0)
    for step in range(12):
        angle, velocity = env.unwrapped.state
        env.step(np.zeros(1, np.float32))
        gravity = (9.81, 3.7, -5)[step // 3 % 3]
        assert env.unwrapped.state[1] == pytest.approx(velocity + 1.5 * gravity * np.sin(angle) * 0.05)


@pytest.mark.parametrize("name", ["Pendulum-v1", "Hopper-v5"])
@pytest.mark.parametrize("parameter", ["gravity", "mass", "gain", "observation-delay", "action-delay"])
def test_the_original_value_changes_nothing_at_all(name, parameter):
    plain, wrapped = make(name), switching_by_name(make(name), parameter, "original")
    for seed in (3, None):  # the second time with what is left of the environment's generator
        np.testing.assert_array_equal(rollout(plain, seed=seed)[0], rollout(wrapped, seed=seed)[0])


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("gravity", "3.7"), ("mass", "2"), ("friction", "0.1"), ("damping", "3"), ("gain", "0.3")],
)
def test_every_parameter_of_a_mujoco_model_matters_and_closing_restores_every_bit(parameter, value):
    base = make("Hopper-v5")
    before, plain = fields(model_of(base)), rollout(base, 60)[0]
    env = switching_by_name(base, parameter, f"alternate:original,{value}:20")
    changed = rollout(env, 60)[0]
    np.testing.assert_array_equal(plain[:21], changed[:21])
    assert np.abs(plain[22:] - changed[22:]).max() > 1e-3
    env.close()
    after = fields(model_of(base))
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)


def test_a_mass_is_a_mass_with_all_that_follows_from_it():
    env = switching(make("Ant-v5"), set_mass, "fixed:2")
    model = model_of(env)
    before = fields(model)
    env.reset(seed=0)
    assert model.body_subtreemass[0] == pytest.approx(2 * before["body_subtreemass"][0])
    np.testing.assert_allclose(model.body_inertia, 2 * before["body_inertia"])
    moving = before["dof_invweight0"] > 0
    ratio = before["dof_invweight0"][moving] / model.dof_invweight0[moving]
    assert (ratio > 1).all()
    assert (ratio <= 2 + 1e-9).all()  # the motors' armature does not grow with the mass


def test_falling_freely_gives_gravity_whatever_the_mass():
    for mass in (0.5, 4):
        env = switching(make("Ant-v5"), set_gravity, "alternate:9.81,1.62:2")
        env = switching(env, set_mass, f"fixed:{mass}")
        env.reset(seed=0)
        inner = env.unwrapped
        model, data = inner.model, inner.data
        inner.set_state(inner.init_qpos + np.eye(model.nq)[2] * 5, np.zeros(model.nv))
        for gravity in (9.81, 9.81, 1.62, 1.62):
            mujoco.mj_forward(model, data)
            mujoco.mj_subtreeVel(model, data)
            before = data.subtree_linvel[1, 2]
            env.step(np.zeros(8, np.float32))
            mujoco.mj_forward(model, data)
            mujoco.mj_subtreeVel(model, data)
            assert data.subtree_linvel[1, 2] - before == pytest.approx(-gravity * inner.dt, rel=0.02)


def test_gravity_keeps_its_direction_and_is_down_where_there_was_none():
    tilted = make("Hopper-v5")
    model_of(tilted).opt.gravity[:] = [3.0, 0.0, -4.0]
    set_gravity(tilted, 10)
    np.testing.assert_allclose(model_of(tilted).opt.gravity, [6, 0, -8])
    floating = make("Hopper-v5")
    model_of(floating).opt.gravity[:] = 0
    set_gravity(floating, 2.5)
    np.testing.assert_array_equal(model_of(floating).opt.gravity, [0, 0, -2.5])


def test_a_gain_multiplies_the_torque_of_all_motors_or_of_each():
    env = switching(make("Hopper-v5"), set_gain, [(-1.0, 1), ([0.5, 1, 3], 1)])
    env.reset(seed=0)
    gear = model_of(env).actuator_gear[:, 0]
    for gain in (-1.0, np.array([0.5, 1, 3])):
        env.step(np.ones(3, np.float32))
        np.testing.assert_allclose(env.unwrapped.data.qfrc_actuator[3:], gear * gain)


def test_a_gain_elsewhere_multiplies_the_clipped_action():
    env = switching(make("Pendulum-v1"), set_gain, "alternate:-0.5,1:1")
    env.reset(seed=0)
    for torque in (-1.0, 2.0, -1.0):
        env.step(np.array([9.0], np.float32))
        assert env.unwrapped.last_u == torque


def test_mass_of_classic_control_reaches_what_is_derived_from_it():
    env = switching(make("CartPole-v1"), set_mass, "fixed:3")
    env.reset(seed=0)
    cart = env.unwrapped
    assert cart.total_mass == pytest.approx(cart.masscart + cart.masspole)
    assert cart.polemass_length == pytest.approx(cart.masspole * cart.length)
    assert cart.masscart == 3.0


def test_what_belonged_to_the_class_belongs_to_it_again():
    env = switching(make("Acrobot-v1"), set_mass, "fixed:3")
    env.reset(seed=0)
    assert env.unwrapped.LINK_MASS_1 == 3.0
    env.close()
    assert "LINK_MASS_1" not in vars(env.unwrapped)
    assert env.unwrapped.LINK_MASS_1 == 1.0


@pytest.mark.parametrize(("delay", "shown"), [(0, [0, 1, 2, 3, 4, 5]), (2, [0, 0, 0, 1, 2, 3])])
def test_an_observation_arrives_late(delay, shown):
    truth, _ = rollout(make("Pendulum-v1"), 5)
    seen, _ = rollout(switching(make("Pendulum-v1"), set_observation_delay, f"fixed:{delay}"), 5)
    np.testing.assert_array_equal(seen, truth[shown])


def test_a_delay_that_shrinks_skips_and_one_that_grows_repeats():
    truth, _ = rollout(make("Pendulum-v1"), 9)
    seen, _ = rollout(switching(make("Pendulum-v1"), set_observation_delay, "alternate:2,0:3"), 9)
    np.testing.assert_array_equal(seen, truth[[0, 0, 0, 1, 4, 5, 6, 5, 6, 7]])


def test_an_action_acts_late_and_a_new_episode_begins_at_rest():
    env = switching(make("Pendulum-v1"), set_action_delay, "fixed:2")
    for _ in range(2):
        env.reset(seed=0)
        applied = []
        for torque in (0.5, 1.0, 1.5, 2.0):
            env.step(np.array([torque], np.float32))
            applied.append(float(env.unwrapped.last_u))
        assert applied == [0.0, 0.0, 0.5, 1.0]


def test_what_is_delayed_is_a_copy():
    env = switching(make("Pendulum-v1"), set_action_delay, "fixed:1")
    env.reset(seed=0)
    action = np.array([1.0], np.float32)
    env.step(action)
    action[:] = -2
    env.step(action)
    assert env.unwrapped.last_u == 1.0


def test_any_number_of_an_environment_can_be_switched():
    env = switching(make("Pendulum-v1"), set_attribute("l"), "alternate:1,0.5:1")
    env = switching(env, set_attribute("dt", relative=True), "fixed:0.5")
    env.reset(seed=0)
    lengths = []
    for _ in range(3):
        info = env.step(np.zeros(1, np.float32))[-1]
        lengths.append(env.unwrapped.l)
    assert lengths == [1, 0.5, 1]
    assert env.unwrapped.dt == 0.025
    assert info["parameters"] == {"l": 1.0, "dt": 0.5}
    windy = switching(make("Hopper-v5"), set_attribute("model.opt.wind"), "alternate:original,5/0/0:1")
    windy.reset(seed=0)
    windy.step(np.zeros(3, np.float32))
    windy.step(np.zeros(3, np.float32))
    np.testing.assert_array_equal(model_of(windy).opt.wind, [5, 0, 0])


def test_a_function_of_the_user_is_a_setter():
    def set_strength(env, value):
        env.max_torque = value

    env = switching(make("Pendulum-v1"), set_strength, "alternate:2,0.5:1")
    env.reset(seed=0)
    env.step(np.ones(1, np.float32))
    info = env.step(np.ones(1, np.float32))[-1]
    assert env.unwrapped.last_u == 0.5
    assert info["parameters"] == {"set_strength": 0.5}


def test_a_seed_gives_the_same_episodes_and_unseeded_resets_go_on_with_its_draws():
    def draws():
        env = switching(make("Pendulum-v1"), set_gravity, "uniform:3,15:2")
        infos = rollout(env, 8, seed=5)[1] + rollout(env, 8, seed=None)[1]
        return [info["parameters"]["gravity"] for info in infos]

    got = draws()
    assert got == draws()
    assert len(set(got)) == 8
    assert all(3 <= value < 15 for value in got)


def test_the_schedule_begins_anew_at_a_reset_or_goes_through_it():
    for through, want in ((False, [0, 0, 0, 0]), (True, [0, 1, 2, 0])):
        env = switching(make("Pendulum-v1"), set_gravity, "alternate:9,5,1:3", through_resets=through)
        tasks = [env.reset(seed=0)[1]["task"]]
        for _ in range(3):
            for _ in range(3):
                env.step(np.zeros(1, np.float32))
            tasks.append(env.reset()[1]["task"])
        assert tasks == want
        assert env.reset(seed=0)[1] == {"task": 0, "parameters": {"gravity": 9.0}}


def test_an_environment_that_sets_its_own_value_at_reset_does_not_win():
    class Own(gymnasium.Wrapper):
        def reset(self, **kwargs):
            self.unwrapped.g = 77.0
            return super().reset(**kwargs)

    env = switching(Own(make("Pendulum-v1")), set_gravity, "fixed:5")
    env.reset(seed=0)
    assert env.unwrapped.g == 5.0


def test_two_schedules_make_pairs_of_tasks_and_drift_makes_none():
    env = switching(make("Pendulum-v1"), set_gravity, "alternate:9,3:2")
    env = switching(env, set_gain, "alternate:1,0.5:3")
    env.reset(seed=0)
    tasks, upcoming = [], []
    for _ in range(12):
        upcoming.append(env.upcoming_task())
        tasks.append(env.step(np.zeros(1, np.float32))[-1]["task"])
    assert tasks == upcoming
    assert tasks == [0, 0, 1, 2, 3, 3, 1, 1, 0, 3, 2, 2]  # (9, 1), (3, 1), (3, 0.5), (9, 0.5)
    drifting = switching(make("Pendulum-v1"), set_gravity, "drift:9,3:10")
    drifting = switching(drifting, set_gain, "alternate:1,0.5:3")
    assert {info["task"] for info in rollout(drifting, 12)[1]} == {-1}
    assert drifting.upcoming_task() == -1


def test_it_works_around_our_own_environment():
    env = switching(
        make("mole/HalfCheetahMotors-v0", schedule="alternate:A,B:2"), set_gravity, "alternate:9.81,2:4"
    )
    tasks = [info["task"] for info in rollout(env, 8)[1][1:]]
    assert tasks == [0, 0, 1, 1, 2, 2, 3, 3]
    env.close()


def test_it_works_under_other_wrappers_and_the_agent_is_not_told():
    env = TimeAwareObservation(FlattenObservation(switching(make("Hopper-v5"), set_mass, "alternate:1,3:4")))
    plain = TimeAwareObservation(FlattenObservation(make("Hopper-v5")))
    assert env.observation_space == plain.observation_space
    np.testing.assert_array_equal(rollout(env, 4)[0], rollout(plain, 4)[0])  # mass 1 all along
    assert env.get_wrapper_attr("upcoming_task")() == 1
    assert env.spec is not None
    assert env.spec.id == "Hopper-v5"


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_gymnasiums_checker_is_content(parameter):
    env = switching_by_name(gymnasium.make("Hopper-v5"), parameter, "uniform:1,2:2")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version")
        warnings.filterwarnings("ignore", message=".*A Box observation space m")  # Hopper's own, infinite
        check_env(env, skip_render_check=True)
    env.close()


def test_training_draws_one_value_an_episode_then_one_every_so_many_steps():
    training = parameter_training("gravity", 4, 15)
    explore = training.wrap(make("Pendulum-v1"), "explore", 5)
    first, second = (
        {info["parameters"]["gravity"] for info in rollout(explore, 20, seed)[1]} for seed in (0, None)
    )
    assert len(first) == len(second) == 1
    assert first != second
    control = training.wrap(make("Pendulum-v1"), "control", 5)
    assert len({info["parameters"]["gravity"] for info in rollout(control, 20)[1]}) == 4
    assert parameter_training("action-delay", 0, 3).schedule("control", 7) == "uniform:0.0,3.0:7"
    delays = parameter_training("action-delay", 0, 3).wrap(make("Pendulum-v1"), "control", 1)
    assert {info["parameters"]["action-delay"] for info in rollout(delays, 60)[1]} == {0, 1, 2, 3}


def test_before_the_first_reset_nothing_is_changed_and_steps_are_refused():
    env = switching(make("Pendulum-v1"), set_gravity, "fixed:5")
    assert env.unwrapped.g == 10.0
    with pytest.raises(ResetNeeded, match="the episode has not begun; call reset"):
        env.step(np.zeros(1, np.float32))
    with pytest.raises(ResetNeeded):
        env.upcoming_task()


@pytest.mark.parametrize(
    ("name", "setter", "schedule", "message"),
    [
        ("Pendulum-v1", set_friction, "1", "PendulumEnv has no friction to set: it is no MuJoCo environment"),
        (
            "Pendulum-v1",
            set_damping,
            "1",
            r"no damping .* set_attribute\(NAME\) with one of its numbers \(dt, g",
        ),
        ("MountainCarContinuous-v0", set_gravity, "1", "no attribute g or gravity"),
        (
            "Swimmer-v5",
            set_friction,
            "1",
            "SwimmerEnv has no friction to set: nothing in it touches anything",
        ),
        ("Swimmer-v5", set_damping, "1", "damping of all its joints is 0, and so is every multiple of it"),
        ("CartPole-v1", set_gain, "1", r"got the action space Discrete\(2\); an actuator gain needs a Box"),
        ("CartPole-v1", set_action_delay, "1", "an action delay needs a Box. Use set_observation_delay"),
        ("Hopper-v5", set_mass, "0", "for a factor of mass; expected one finite number above 0"),
        (
            "Hopper-v5",
            set_friction,
            "-1",
            "for a factor of friction; expected one finite number of at least 0",
        ),
        ("Hopper-v5", set_gravity, "1/2", "for gravity, in m/s² downward; expected one finite number"),
        ("Hopper-v5", set_gain, "1/2", "for an actuator gain; expected one finite factor, or 3 of them"),
        ("Hopper-v5", set_gravity, "nan", "expected one finite number"),
        ("Hopper-v5", set_gravity, "moon", "unknown value 'moon' .* Known: original"),
        (
            "Hopper-v5",
            set_action_delay,
            "1.5",
            "a delay of 1.5; expected a whole number of steps from 0 to 100",
        ),
        ("Hopper-v5", set_action_delay, "drift:0,3:10", "a delay of 0.3; expected a whole number"),
        (
            "Pendulum-v1",
            set_attribute("length"),
            "1",
            "PendulumEnv has no attribute 'length': .*Known: dt, g, l, m",
        ),
        ("Pendulum-v1", set_attribute("clock"), "1", "'clock' of PendulumEnv is None; expected a number"),
        (
            "Hopper-v5",
            set_attribute("model.wind.x"),
            "1",
            "HopperEnv has no attribute 'model.wind.x': MjModel has",
        ),
        ("Hopper-v5", set_attribute("model.opt.wind"), "1", r"expected finite numbers of shape \(3,\)"),
    ],
)
def test_what_cannot_be_set_says_why_and_what_to_do(name, setter, schedule, message):
    with pytest.raises(ValueError, match=message):
        switching(make(name), setter, schedule)


def test_a_parameter_is_switched_once_and_named_rightly():
    env = TimeAwareObservation(switching(make("Pendulum-v1"), set_gravity, "fixed:5"))
    with pytest.raises(ValueError, match="gravity of this environment is switched already"):
        switching(env, set_gravity, "fixed:3")
    with pytest.raises(ValueError, match="unknown parameter 'gravty': did you mean 'gravity'"):
        switching_by_name(env, "gravty", "fixed:3")
    with pytest.raises(ValueError, match=r"got the range \[5, 4\] for gravity; expected two finite numbers"):
        parameter_training("gravity", 5, 4)
    with pytest.raises(ValueError, match="unknown phase 'exploring' of training; expected 'explore' or"):
        parameter_training("gravity", 4, 5).schedule("exploring", 1)


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_setter_is_refused():
    with pytest.raises(TypeError, match=r"setter of type str; .* use switching_by_name"):
        switching(make("Pendulum-v1"), "gravity", "fixed:3")
    with pytest.raises(TypeError, match="got a schedule of type int"):
        switching(make("Pendulum-v1"), set_gravity, 3)
    with pytest.raises(TypeError, match=r"switching got env='Pendulum-v1' \(str\); expected gymnasium.Env"):
        switching("Pendulum-v1", set_gravity, "fixed:3")
    with pytest.raises(TypeError, match=r"gravity got env=None .*; expected gymnasium.Env"):
        set_gravity(None, 3.7)
    with pytest.raises(ValueError, match="switching got through_resets='no'; expected one of True, False"):
        switching(make("Pendulum-v1"), set_gravity, "fixed:3", through_resets="no")
    with pytest.raises(ValueError, match="got True for gravity; expected one finite number"):
        switching(make("Pendulum-v1"), set_gravity, [(True, 3)]).reset(seed=0)


def test_a_delay_cannot_be_set_once_and_for_all():
    with pytest.raises(TypeError, match="action-delay of PendulumEnv cannot be set once and for all"):
        set_action_delay(make("Pendulum-v1"), 3)
    env = make("Pendulum-v1")
    set_gravity(env, 3.7)
    assert env.unwrapped.g == 3.7


@pytest.mark.parametrize(
    "where", ["model", "physics.model.ptr", "_env.physics.model.ptr", "sim.model._model"]
)
def test_a_model_of_mujoco_is_found_where_other_packages_keep_it(where: str) -> None:
    """dm_control, shimmy around it and robosuite hold MuJoCo's model in objects of their own."""
    model = mujoco.MjModel.from_xml_string("<mujoco><worldbody/></mujoco>")
    env: Any = gymnasium.Env()
    *way, last = where.split(".")
    holder = env
    for name in way:
        setattr(holder, name, types.SimpleNamespace())
        holder = getattr(holder, name)
    setattr(holder, last, model)
    set_gravity(env, 3.7)
    np.testing.assert_allclose(model.opt.gravity, [0, 0, -3.7])
