"""The half-cheetah with hidden motor faults."""

from __future__ import annotations

import subprocess
import sys
import warnings

import jax
import numpy as np
import pytest

pytest.importorskip("gymnasium")
pytest.importorskip("mujoco")

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

from machines import check_the_seed_decides, elsewhere, random_actions, red, rollout  # noqa: F401
from mole.envs import HalfCheetahMotorsEnv
from mole.envs.cheetah.motors import ENV_ID, reward
from mole.envs.simulation import offscreen_problem

A = np.array([1.0, 1, -1, -1, -1, 1])
GEAR = np.array([120.0, 90, 60, 120, 60, 30])


def actions(n, seed=0, low=-1.0, high=1.0):
    return random_actions(n, 6, seed, low, high)


def test_with_healthy_motors_it_is_half_cheetah_v5():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = gymnasium.make("HalfCheetah-v5", exclude_current_positions_from_observation=False)
    ours = gymnasium.make(ENV_ID, schedule="identity", episode_steps=None)
    commands = actions(1000)
    np.testing.assert_allclose(rollout(ours, commands, 7), rollout(theirs, commands, 7), rtol=0, atol=1e-10)


def test_loading_and_stepping_leaves_neither_files_nor_messages(tmp_path, capfd):
    env = gymnasium.make(ENV_ID)
    rollout(env, actions(20))
    env.close()
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("factor", [1.0, -1.0, 0.05, 3.0])
def test_a_factor_multiplies_the_torque_even_beyond_the_simulators_own_limit(factor):
    env = HalfCheetahMotorsEnv(schedule=[([factor] * 6, 1)])
    env.reset(seed=0)
    command = np.array([1.0, -1.0, 0.5, -0.5, 1.0, -1.0])
    env.step(command)
    np.testing.assert_allclose(env.data.qfrc_actuator[3:], factor * GEAR * command, rtol=1e-12)


def test_a_fault_is_the_same_as_another_command():
    factors, commands = np.array([0.5, -1, 1, -0.25, 1, -0.1]), actions(100)
    faulty = rollout(HalfCheetahMotorsEnv(schedule=[(factors, 1)]), commands)
    healthy = rollout(HalfCheetahMotorsEnv(schedule="identity"), commands.astype(np.float64) * factors)
    np.testing.assert_array_equal(faulty, healthy)


def test_the_reward_is_the_jax_reward_on_the_agents_own_command():
    env = HalfCheetahMotorsEnv(schedule="magnitudes")
    obs, _ = env.reset(seed=1)
    for command in actions(50, low=-1.5, high=1.5):
        after, got, _, _, info = env.step(command)
        with jax.enable_x64(True):
            assert float(reward(obs, command, after)) == pytest.approx(got, abs=1e-12)
        assert float(jax.jit(reward)(obs, command, after)) == pytest.approx(got, abs=1e-3)
        assert info["reward_forward"] + info["reward_ctrl"] == got
        assert info["x_position"] == after[0]
        assert info["x_velocity"] == info["reward_forward"]
        obs = after


def test_the_info_of_a_step_names_the_task_that_governed_it():
    env = HalfCheetahMotorsEnv(schedule="alternate:A,B,identity:3")
    _, info = env.reset(seed=0)
    order = [A, -A, np.ones(6)]
    assert info["task"] == 0
    np.testing.assert_array_equal(info["factors"], A)
    command = np.full(6, 0.5)
    for step in range(24):
        assert env.upcoming_task() == step // 3 % 3
        info = env.step(command)[-1]
        assert info["task"] == step // 3 % 3
        np.testing.assert_array_equal(info["factors"], order[info["task"]])
        np.testing.assert_allclose(env.data.qfrc_actuator[3:], GEAR * 0.5 * info["factors"], rtol=1e-12)


def test_equal_factors_have_equal_numbers_in_an_episode_and_numbering_starts_anew():
    env = HalfCheetahMotorsEnv(schedule="random:2")
    for seed in (0, 1):
        _, info = env.reset(seed=seed)
        seen = {info["task"]: info["factors"].tobytes()}
        assert info["task"] == 0
        for command in actions(300):
            info = env.step(command)[-1]
            assert seen.setdefault(info["task"], info["factors"].tobytes()) == info["factors"].tobytes()
        assert sorted(seen) == list(range(len(seen)))
        assert len(set(seen.values())) == len(seen) > 20


def test_what_the_caller_does_to_the_info_does_not_reach_the_motors():
    env = HalfCheetahMotorsEnv(schedule="identity")
    _, info = env.reset(seed=0)
    info["factors"][:] = 0.0
    np.testing.assert_array_equal(env.step(np.zeros(6))[-1]["factors"], np.ones(6))


def drawn(tasks, n=200):
    env = HalfCheetahMotorsEnv(tasks=tasks)
    first = env.reset(seed=0)[1]["factors"]
    return np.array([first] + [env.reset()[1]["factors"] for _ in range(n - 1)])


@pytest.mark.parametrize("tasks", [None, "signs"])
def test_signs_are_any_of_the_64(tasks):
    factors = drawn(tasks)
    assert (np.abs(factors) == 1).all()
    assert len(np.unique(factors, axis=0)) > 50
    assert (np.abs(factors.mean(axis=0)) < 0.25).all()


def test_few_signs_are_all_seven_with_at_most_one_negative():
    factors = drawn("few-signs")
    assert (np.abs(factors) == 1).all()
    assert set((factors < 0).sum(axis=1)) == {0, 1}
    assert len(np.unique(factors, axis=0)) == 7


def test_magnitudes_are_uniform_between_a_twentieth_and_two():
    factors = drawn("magnitudes")
    assert factors.min() >= 0.05
    assert factors.max() < 2.0
    np.testing.assert_allclose(factors.mean(axis=0), 1.025, atol=0.15)


def test_tasks_may_be_a_function_of_the_generator():
    factors = drawn(lambda rng: rng.normal(size=6), n=3)
    assert len(np.unique(factors)) == 18


def test_a_drawn_task_holds_for_the_whole_episode():
    env = HalfCheetahMotorsEnv(tasks="magnitudes")
    _, start = env.reset(seed=5)
    for command in actions(50):
        info = env.step(command)[-1]
        assert info["task"] == 0
        np.testing.assert_array_equal(info["factors"], start["factors"])


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("identity", [1] * 6),
        ("negative", [-1] * 6),
        ("A", A),
        ("fixed:B", -A),
        ("magnitudes", [0.05, 0.1, 3, 3, 0.05, 2]),
        ("fixed:1/0.5/-1/0/2/-3", [1, 0.5, -1, 0, 2, -3]),
        (lambda step: [step + 1] * 6, [1] * 6),
    ],
)
def test_named_schedules(schedule, expected):
    env = HalfCheetahMotorsEnv(schedule=schedule)
    np.testing.assert_array_equal(env.reset(seed=0)[1]["factors"], expected)


def test_random_magnitudes_change_at_the_given_step_and_stay_in_range():
    env = HalfCheetahMotorsEnv(schedule="random-magnitudes:100")
    env.reset(seed=0)
    factors = np.array([env.step(np.zeros(6))[-1]["factors"] for _ in range(300)])
    assert len(np.unique(factors, axis=0)) == 3
    assert (factors[:100] == factors[0]).all()
    assert factors.min() >= 0.05
    assert factors.max() < 2.0


@pytest.mark.parametrize("kwargs", [{"tasks": "signs"}, {"schedule": "random:7"}])
def test_the_seed_decides_everything(kwargs):
    check_the_seed_decides(lambda: HalfCheetahMotorsEnv(**kwargs), actions(30), hidden="factors")


def test_episodes_are_truncated_and_never_terminated():
    env = HalfCheetahMotorsEnv(episode_steps=5)
    for _ in range(2):
        env.reset(seed=0)
        ends = [env.step(np.zeros(6))[2:4] for _ in range(6)]
        assert ends == [(False, False)] * 4 + [(False, True)] * 2


def test_an_episode_without_limit_goes_on():
    env = gymnasium.make(ENV_ID, schedule="identity", episode_steps=None)
    env.reset(seed=0)
    assert not any(any(env.step(np.zeros(6, np.float32))[2:4]) for _ in range(1500))


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.zeros(5), r"got an action of shape \(5,\); expected \(6,\)"),
        (np.zeros((1, 6)), r"got an action of shape \(1, 6\)"),
        (0.5, r"got an action of shape \(\)"),
        (np.zeros(6, complex), "dtype complex128; expected real numbers"),
        (np.array(["1"] * 6), "dtype <U1; expected real numbers"),
        (np.zeros(6, bool), "dtype bool; expected real numbers"),
        (np.array([0, 0, np.nan, 0, 0, 0]), "expected finite numbers.*Check the policy or planner"),
        (np.array([0, 0, np.inf, 0, 0, 0]), "expected finite numbers"),
    ],
)
def test_bad_actions_are_refused_and_change_nothing(action, message):
    env = HalfCheetahMotorsEnv(schedule="identity")
    env.reset(seed=0)
    before = env.state_vector()
    with pytest.raises(ValueError, match=message):
        env.step(action)
    np.testing.assert_array_equal(env.state_vector(), before)


def test_commands_out_of_range_are_clipped_before_factors_and_cost():
    env, tame = (HalfCheetahMotorsEnv(schedule="fixed:3/3/3/3/3/3") for _ in range(2))
    env.reset(seed=0)
    tame.reset(seed=0)
    wild = np.array([9.0, -9, 0.5, 1.001, -1.5, 0])
    got, expected = env.step(wild), tame.step(np.clip(wild, -1, 1))
    np.testing.assert_array_equal(got[0], expected[0])
    assert got[1] == expected[1]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"tasks": "sings"}, r"unknown tasks 'sings': did you mean 'signs'\?"),
        ({"tasks": "signs", "schedule": "A"}, "expected one of them"),
        ({"schedule": "negativ"}, r"did you mean 'negative'\?"),
        ({"schedule": "rndom:300"}, r"did you mean 'random'\?"),
        ({"schedule": "fixed:1/1"}, r"motor factors of shape \(2,\); expected \(6,\)"),
        ({"schedule": [([1, 1, 1, 1, 1, np.nan], 3)]}, "expected finite numbers"),
        (
            {"schedule": [("A", 2), ("x", 3)]},
            "unknown value 'x'.*Known: A, B, identity, magnitudes, negative",
        ),
        ({"schedule": [({"left": 1}, 3)]}, "expected 6 numbers, one per motor"),
        (
            {"episode_steps": 0},
            r"Env got episode_steps=0; expected a whole number from 1 on\. None is no limit",
        ),
    ],
)
def test_bad_settings_say_what_was_expected(kwargs, message):
    with pytest.raises(ValueError, match=message):
        HalfCheetahMotorsEnv(**kwargs)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (
            {"episode_steps": 2.5},
            r"HalfCheetahMotorsEnv got episode_steps=2\.5 \(float\); expected a whole number",
        ),
        ({"episode_steps": True}, r"got episode_steps=True \(bool\)"),
        (
            {"reset_noise_scale": "big"},
            r"got reset_noise_scale='big' \(str\); expected a number of at least 0",
        ),
    ],
)
def test_settings_of_another_type_are_refused(kwargs, message):
    with pytest.raises(TypeError, match=message):
        HalfCheetahMotorsEnv(**kwargs)


@pytest.mark.parametrize("scale", [-0.1, np.nan, np.inf])
def test_the_noise_of_the_start_is_a_finite_number(scale):
    with pytest.raises(ValueError, match=r"got reset_noise_scale=.*; expected a number of at least 0"):
        HalfCheetahMotorsEnv(reset_noise_scale=scale)


@pytest.mark.parametrize("factors", [["1"] * 6, [True] * 6])
def test_text_and_truth_values_are_no_factors(factors):
    with pytest.raises(ValueError, match=r"got motor factors .*; expected 6 numbers, one per motor"):
        HalfCheetahMotorsEnv(schedule=[(factors, 3)])


@pytest.mark.filterwarnings("ignore:.*the old name goes:DeprecationWarning")
@pytest.mark.parametrize(
    "entry_point",
    [
        "mole.envs.half_cheetah:HalfCheetahMotorsEnv",
        "mole.envs.half_cheetah_terrain:HalfCheetahTerrainEnv",
        "mole.envs.crawler:CrawlerLegsEnv",
    ],
)
def test_specs_that_an_older_version_saved_still_make_the_environment(entry_point):
    spec = EnvSpec("mole/Saved-v0", entry_point=entry_point, disable_env_checker=True)
    env = gymnasium.make(EnvSpec.from_json(spec.to_json()))
    assert type(env.unwrapped).__name__ == entry_point.partition(":")[2]
    env.close()


def test_bad_factors_of_a_function_are_refused_when_drawn():
    with pytest.raises(ValueError, match=r"motor factors of shape \(2,\)"):
        HalfCheetahMotorsEnv(tasks=lambda rng: np.ones(2)).reset(seed=0)


def test_stepping_needs_a_reset():
    with pytest.raises(ResetNeeded, match=r"call reset\(\) first"):
        HalfCheetahMotorsEnv().step(np.zeros(6))


def test_a_diverged_simulation_is_an_error_not_a_silent_restart():
    env = HalfCheetahMotorsEnv(schedule="fixed:1e6/1e6/1e6/1e6/1e6/1e6")
    env.reset(seed=0)
    with pytest.raises(FloatingPointError, match=r"unstable at step \d+ with motor factors .*Call reset\(\)"):
        for command in actions(200):
            env.step(command)
    with pytest.raises(ResetNeeded):
        env.step(np.zeros(6))
    env.reset(seed=0)
    env.step(np.zeros(6))


@pytest.mark.parametrize("kwargs", [{}, {"tasks": "magnitudes"}, {"schedule": "alternate:A,B:1"}])
def test_gymnasiums_checker_has_no_complaint(kwargs):
    env = gymnasium.make(ENV_ID, **kwargs)
    check_env(env.unwrapped, skip_render_check=True)
    env.close()


def test_reset_accepts_observations_inside_its_space():
    env = HalfCheetahMotorsEnv(schedule="magnitudes", episode_steps=None)
    for obs in rollout(env, np.sign(actions(500))):
        assert env.observation_space.contains(obs)


def test_drawing_without_opengl_says_what_to_install_and_stepping_goes_on(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "disabled")
    env = HalfCheetahMotorsEnv(render_mode="rgb_array")
    env.reset(seed=0)
    with pytest.raises(RuntimeError, match=r"MUJOCO_GL=disabled disables drawing.*render_mode at None"):
        env.render()
    env.step(np.zeros(6))


def test_a_window_needs_a_screen(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(RuntimeError, match=r"without a screen.*Use render_mode='rgb_array'"):
        HalfCheetahMotorsEnv(render_mode="human").reset(seed=0)


def test_failed_limbs_are_drawn_red_and_drawing_changes_nothing(monkeypatch):
    problem = offscreen_problem()
    if problem is not None:
        pytest.skip(f"no OpenGL here: {problem}")
    monkeypatch.setenv("MUJOCO_GL", "egl")
    settings = {"schedule": [("identity", 2), ([-1, 1, 1, 1, 1, 1], 2), ("negative", 2)]}
    env = HalfCheetahMotorsEnv(render_mode="rgb_array", width=160, height=90, **settings)
    blind = HalfCheetahMotorsEnv(**settings)
    env.reset(seed=0)
    blind.reset(seed=0)
    counts = []
    for command in actions(6):
        np.testing.assert_array_equal(env.step(command)[0], blind.step(command)[0])
        frame = env.render()
        assert frame.shape == (90, 160, 3)
        counts.append(red(frame))
    env.close()
    healthy, one, all_six = counts[:2], counts[2:4], counts[4:]
    assert healthy == [0, 0]
    assert min(one) > 0
    assert min(all_six) > 2 * max(one)


def test_without_the_extra_the_error_names_it_and_plain_mole_still_imports():
    program = (
        "import sys\n"
        "import mole\n"
        "assert 'gymnasium' not in sys.modules and 'mujoco' not in sys.modules\n"
        "sys.modules['gymnasium'] = None\n"
        "try:\n    import mole.envs\n"
        "except ImportError as err:\n    print(err)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "cannot import 'gymnasium'" in run.stdout
    assert "pip install 'mole-online[control]'" in run.stdout
