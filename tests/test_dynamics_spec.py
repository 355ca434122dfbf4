"""What a learner sees of an environment: features, targets and reward as pure functions, found by name."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("gymnasium")
pytest.importorskip("mujoco")

import gymnasium

from mole.envs import DynamicsSpec, generic_spec, register_spec, spec_for
from mole.envs.cheetah.motors import DYNAMICS, ENV_ID, apply_delta, delta, features, position, posture, reward

OBS = np.arange(18.0) / 10
NEXT = OBS + np.linspace(-0.3, 0.4, 18)
ACTION = np.array([0.5, -0.5, 1.0, -1.0, 0.0, 0.25])


def test_features_are_z_the_angle_on_the_circle_joints_velocities_and_the_action():
    x = features(OBS, ACTION)
    assert x.shape == (24,)
    np.testing.assert_allclose(x[:3], [OBS[1], np.sin(OBS[2]), np.cos(OBS[2])], rtol=1e-6)
    np.testing.assert_allclose(x[3:9], OBS[3:9], rtol=1e-6)
    np.testing.assert_allclose(x[9:18], OBS[9:], rtol=1e-6)
    np.testing.assert_allclose(x[18:], ACTION, rtol=1e-6)


def test_features_know_neither_where_the_cheetah_is_nor_how_often_it_has_turned_over():
    moved = OBS.copy()
    moved[0] += 123.0
    moved[2] += 2 * np.pi
    np.testing.assert_allclose(features(moved, ACTION), features(OBS, ACTION), atol=1e-6)


def test_an_out_of_range_command_counts_as_the_nearest_one_in_range():
    wild = np.array([2.0, -7.0, 1.0, -1.0, 0.0, 0.25])
    tame = np.clip(wild, -1, 1)
    np.testing.assert_array_equal(features(OBS, wild), features(OBS, tame))
    np.testing.assert_array_equal(reward(OBS, wild, NEXT), reward(OBS, tame, NEXT))


def test_apply_delta_is_the_inverse_of_delta_in_all_entries():
    assert delta(OBS, NEXT).shape == (18,)
    np.testing.assert_allclose(delta(OBS, NEXT), NEXT - OBS, atol=1e-6)
    np.testing.assert_allclose(apply_delta(OBS, delta(OBS, NEXT)), NEXT, rtol=1e-6)


def test_reward_is_velocity_minus_a_twentieth_of_the_squared_action():
    expected = (NEXT[0] - OBS[0]) / 0.05 - 0.05 * np.sum(ACTION**2)
    assert float(reward(OBS, ACTION, NEXT)) == pytest.approx(expected, rel=1e-6)


def test_posture_and_position():
    back = OBS.copy()
    back[2] = np.pi
    upright = OBS.copy()
    upright[2] = 0.0
    assert float(posture(upright)) == 1.0
    assert float(posture(back)) == -1.0
    assert float(position(NEXT)) == pytest.approx(NEXT[0])


def test_everything_is_jittable_vmappable_and_keeps_float32_and_float64():
    obs, action, after = (jnp.stack([jnp.asarray(a, jnp.float32)] * 5) for a in (OBS, ACTION, NEXT))
    x = jax.jit(jax.vmap(DYNAMICS.features))(obs, action)
    assert x.shape == (5, DYNAMICS.feature_dim)
    assert jax.jit(jax.vmap(DYNAMICS.delta))(obs, after).shape == (5, DYNAMICS.delta_dim)
    assert jax.jit(jax.vmap(DYNAMICS.reward))(obs, action, after).shape == (5,)
    with jax.enable_x64(True):
        # A float32 command beside float64 observations, as the environment has them.
        assert reward(OBS, ACTION.astype(np.float32), NEXT).dtype == jnp.float64


def test_a_spec_is_a_static_argument_that_compiles_once(count_compiles):
    @jax.jit
    def step(obs, action):
        return DYNAMICS.features(obs, action)

    hashed = jax.jit(lambda spec, obs, action: spec.features(obs, action), static_argnums=0)
    obs, action = jnp.asarray(OBS), jnp.asarray(ACTION)
    hashed(spec_for(ENV_ID), obs, action)
    with count_compiles() as count:
        hashed(spec_for(ENV_ID), obs, action)
    assert count() == 0
    np.testing.assert_allclose(hashed(DYNAMICS, obs, action), step(obs, action), rtol=1e-6)


def zero_reward(obs, action, next_obs):
    return jnp.zeros(())


def test_a_generic_spec_concatenates_and_subtracts():
    spec = generic_spec(3, 2, zero_reward)
    obs, action, after = np.array([1.0, 2, 3]), np.array([4.0, 5]), np.array([1.0, 1, 5])
    np.testing.assert_array_equal(spec.features(obs, action), [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(spec.delta(obs, after), [0, -1, 2])
    np.testing.assert_array_equal(spec.apply_delta(obs, spec.delta(obs, after)), after)
    assert (spec.obs_dim, spec.act_dim, spec.feature_dim, spec.delta_dim) == (3, 2, 5, 3)
    assert spec.posture is None
    assert spec.position is None
    assert spec == generic_spec(3, 2, zero_reward)
    assert hash(spec) == hash(generic_spec(3, 2, zero_reward))


def test_a_generic_spec_refuses_empty_spaces():
    with pytest.raises(
        ValueError, match=r"generic_spec got act_dim=0; expected a whole number from 1 on.*Flatten"
    ):
        generic_spec(3, 0, zero_reward)


def test_a_spec_is_found_by_id_by_module_id_and_by_environment():
    assert spec_for(ENV_ID) is DYNAMICS
    assert spec_for("mole.envs:" + ENV_ID) is DYNAMICS
    env = gymnasium.make(ENV_ID)
    assert spec_for(env) is DYNAMICS
    assert spec_for(env.unwrapped) is DYNAMICS
    env.close()


def test_a_registered_spec_is_found_through_the_environments_id():
    spec = generic_spec(4, 1, zero_reward)
    register_spec("CartPole-v1", spec)
    register_spec("CartPole-v1", spec)
    env = gymnasium.make("CartPole-v1")
    assert spec_for(env) is spec
    with pytest.raises(ValueError, match="'CartPole-v1' already has a different DynamicsSpec"):
        register_spec("CartPole-v1", generic_spec(4, 2, zero_reward))
    with pytest.raises(ValueError, match=r"got CartPoleEnv, an environment without an id"):
        spec_for(type(env.unwrapped)())


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_spec_is_not_registered():
    with pytest.raises(TypeError, match=r"register_spec got spec=None .*mole.envs.generic_spec makes one"):
        register_spec("CartPole-v1", None)


def test_an_unknown_id_names_the_nearest_and_the_way_out():
    with pytest.raises(ValueError, match=rf"did you mean '{ENV_ID}'\?.*generic_spec\(.*register_spec\("):
        spec_for("mole/HalfCheetahMotor-v0")


def test_a_wrapper_that_changes_the_observations_is_noticed():
    env = gymnasium.make(ENV_ID)
    short = gymnasium.wrappers.TransformObservation(
        env, lambda obs: obs[:4], gymnasium.spaces.Box(-1e6, 1e6, (4,), np.float64)
    )
    with pytest.raises(
        ValueError, match=r"got observations of shape \(4,\).*expects \(18,\).*Remove the wrapper"
    ):
        spec_for(short)
    env.close()


def test_specs_are_frozen():
    with pytest.raises(AttributeError):
        DYNAMICS.obs_dim = 3  # type: ignore[misc]
    assert isinstance(DYNAMICS, DynamicsSpec)
