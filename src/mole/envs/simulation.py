"""MuJoCo used directly: an environment's simulator as a model to plan with, and drawing without a screen.

`Simulation` shows the limit of what better dynamics can bring: MuJoCo rolls candidate plans out from the present state
of the environment, under the fault that is in force, at the environment's own time step. A planner that uses it knows
what no learner is told. `opengl_ready` chooses what MuJoCo draws with, and says what is missing.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import ArrayLike, Float
from mujoco.rollout import Rollout

from mole._expect import expect_number, expect_whole
from mole._types import Array
from mole.envs.spec import DynamicsSpec

__all__ = ["Simulation", "offscreen_problem", "opengl_ready"]

# MuJoCo is an extension module without stubs.
# pyright: reportAttributeAccessIssue=false


_STATE = mujoco.mjtState
_NEEDED = ("model", "data", "frame_skip", "controls", "observe_states", "dynamics")


class Simulation:
    """What would happen in an environment: its simulator, run on a copy of its state.

    The fault of the next transition holds along the whole plan. It is what the environment's ``controls(command)`` and
    MuJoCo's model and data (equality constraints, applied forces) say. The environment itself is never changed.

    One physics substep of the half-cheetah takes about 5 µs, so 100 plans of 10 steps with 5 substeps take 26 ms:
    three iterations of that planner, 80 ms a control step. Looser solver settings, dense or sparse Jacobians and
    another solver gain nothing; contacts are 40 % of it.

    Args:
        env: an environment of this package, wrapped or not: based on MuJoCo, with ``controls(command[..., act]) ->
            ctrl[..., nu]``, ``observe_states(qpos[..., nq], qvel[..., nv]) -> obs[..., obs]`` and ``dynamics``.
        discount: weight of the reward one step later, in `score`.
        threads: threads of MuJoCo's pool; 1 runs on the calling thread.
        spec: its planning reward is that of `score`; the environment's ``dynamics`` if None.

    Raises:
        TypeError: if the environment lacks what is needed, or a number is none.
        ValueError: if ``threads`` or ``discount`` is out of range.
    """

    def __init__(
        self, env: Any, *, discount: float = 1.0, threads: int = 1, spec: DynamicsSpec | None = None
    ) -> None:
        """See the class."""
        base = getattr(env, "unwrapped", env)
        missing = [name for name in _NEEDED if not hasattr(base, name)]
        if missing:
            raise TypeError(
                f"got {type(base).__name__}, which lacks {', '.join(missing)}; expected an environment whose simulator "
                "can be a planner's model: one based on MuJoCo with controls(command) and observe_states(qpos, qvel), "
                "as those of mole.envs have."
            )
        expect_whole("Simulation", "threads", threads, 1, "1 runs on the calling thread.")
        expect_number("Simulation", "discount", discount, above=0.0, high=1.0, remedy="1 means no discount.")
        self.env = base
        self.spec: DynamicsSpec = base.dynamics if spec is None else spec
        self.discount = discount
        self._low, self._high = (
            np.asarray(v, np.float64) for v in (base.action_space.low, base.action_space.high)
        )
        self._pool = Rollout(nthread=threads if threads > 1 else 0)  # 0 is the calling thread
        # One for each thread, and none of them the environment's own data.
        self._scratch = [mujoco.MjData(base.model) for _ in range(threads)]

    def rollout(
        self, plans: Float[np.ndarray, "samples horizon act"]
    ) -> Float[np.ndarray, "samples horizon+1 obs"]:
        """The observations along every plan, the present one first; NaN from where a simulation fails.

        Args:
            plans: commands; they are clipped to the action space, as the environment clips them.

        Raises:
            ValueError: if the plans have another shape than ``[samples, horizon, act]``, or are no real numbers.
        """
        plans = np.asarray(plans)
        # Without a single step, MuJoCo's rollout would end the process.
        if plans.ndim != 3 or plans.shape[2] != self.spec.act_dim or not plans.size:
            raise ValueError(
                f"Simulation got plans of shape {plans.shape}; expected [samples, horizon, act] with act = "
                f"{self.spec.act_dim}, one or more samples and steps."
            )
        if plans.dtype.kind not in "fiu":
            raise ValueError(f"Simulation got plans of dtype {plans.dtype}; expected real numbers.")
        plans = plans.astype(np.float64)
        model, data, skip = self.env.model, self.env.data, self.env.frame_skip
        samples, horizon, _ = plans.shape
        inputs, names = self._inputs(plans)
        physics = _vector(model, data, _STATE.mjSTATE_FULLPHYSICS.value)
        states, _ = self._pool.rollout(
            model,
            self._scratch,
            np.broadcast_to(physics[None], (samples, physics.size)),
            inputs,
            control_spec=names,
            # The solver starts from the last accelerations, as it will in the environment: or the two would differ.
            initial_warmstart=np.broadcast_to(data.qacc_warmstart[None], (samples, model.nv)),
        )
        ends = np.asarray(states)[:, skip - 1 :: skip]  # of the substeps of a step, the last
        # A simulation that diverged is reset by MuJoCo and stops: it is recognised by its clock, which is late.
        due = data.time + model.opt.timestep * skip * np.arange(1, horizon + 1)
        late = np.abs(ends[:, :, 0] - due[None]) > 0.5 * model.opt.timestep
        failed = np.maximum.accumulate(late, axis=1)
        qpos, qvel = ends[:, :, 1 : 1 + model.nq], ends[:, :, 1 + model.nq : 1 + model.nq + model.nv]
        following = np.where(failed[:, :, None], np.nan, self.env.observe_states(qpos, qvel))
        now = self.env.observe_states(data.qpos.copy(), data.qvel.copy())
        return np.concatenate([np.broadcast_to(now[None, None], (samples, 1, now.size)), following], axis=1)

    def score(self, plans: Float[np.ndarray, "samples horizon act"]) -> Float[np.ndarray, " samples"]:
        """Discounted return ``[samples]`` of every plan by the spec's planning reward; NaN where a simulation fails.

        This is the ``score`` of `mole.planning.host.plan_on_host`.
        """
        obs = self.rollout(plans)
        # In float32, as a learned model's returns are.
        commands = np.asarray(plans, np.float32)
        return np.asarray(_returns(self.spec, self.discount, obs.astype(np.float32), commands))

    def close(self) -> None:
        """Ends MuJoCo's pool."""
        self._pool.close()

    def _inputs(self, plans: np.ndarray) -> tuple[np.ndarray, int]:
        """What MuJoCo is given at every substep ``[samples, substeps, inputs]``, and the names of its parts as bits."""
        model, data, skip = self.env.model, self.env.data, self.env.frame_skip
        # MuJoCo's rollout resets to the model's default what is not passed: forces, constraints, mocap bodies.
        present = {
            _STATE.mjSTATE_QFRC_APPLIED: data.qfrc_applied.any(),
            _STATE.mjSTATE_XFRC_APPLIED: data.xfrc_applied.any(),
            _STATE.mjSTATE_EQ_ACTIVE: model.neq > 0,
            _STATE.mjSTATE_MOCAP_POS: model.nmocap > 0,
            _STATE.mjSTATE_MOCAP_QUAT: model.nmocap > 0,
        }
        names = _STATE.mjSTATE_CTRL.value | sum(name.value for name, there in present.items() if there)
        held = _vector(model, data, names)
        controls = self.env.controls(np.clip(plans, self._low[None, None], self._high[None, None]))
        samples, horizon, _ = plans.shape
        inputs = np.empty((samples, horizon, skip, held.size))
        inputs[:] = held[None, None, None]
        # MuJoCo orders the parts of a state by their bits, and the controls' is the lowest of these.
        inputs[..., : model.nu] = controls[:, :, None]
        return inputs.reshape(samples, horizon * skip, held.size), names


def _vector(model: Any, data: Any, names: int) -> np.ndarray:
    values = np.empty(mujoco.mj_stateSize(model, names))
    mujoco.mj_getState(model, data, values, names)
    return values


@functools.partial(jax.jit, static_argnums=(0, 1))
def _returns(spec: DynamicsSpec, discount: float, obs: ArrayLike, plans: ArrayLike) -> Array:
    obs, plans = jnp.asarray(obs), jnp.asarray(plans)
    rewards = jax.vmap(jax.vmap(spec.planning_reward))(obs[:, :-1], plans, obs[:, 1:])
    return rewards @ jnp.asarray(discount ** np.arange(plans.shape[1]), rewards.dtype)


_REMEDY = (
    "Install a software OpenGL (Debian: apt-get install libegl1 libgl1-mesa-dri) and set MUJOCO_GL=egl, "
    "or leave render_mode at None: the simulation itself needs none."
)
_DISABLED = ("disable", "disabled", "off", "false", "0")  # MuJoCo's own list


def _has_display() -> bool:
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def offscreen_problem() -> str | None:
    """Why EGL cannot draw into memory here, or None if it can."""
    try:
        from mujoco.egl import GLContext

        GLContext(8, 8).free()
    except (ImportError, AttributeError, OSError, RuntimeError) as err:
        # PyOpenGL reports a missing library in any of these ways.
        return f"{type(err).__name__}: {err}"
    return None


@contextmanager
def opengl_ready(render_mode: str | None) -> Iterator[None]:
    """Context of the first drawing: EGL on a Linux machine without a screen, unless the user chose something else.

    Gymnasium would try GLFW first, which prints errors when it fails. The environment variable is put back afterwards.

    Raises:
        RuntimeError: if this machine cannot draw what `render_mode` asks for, with what to install.
    """
    if render_mode == "human":
        if not _has_display():
            raise RuntimeError(
                "got render_mode='human' on a machine without a screen (neither DISPLAY nor WAYLAND_DISPLAY "
                "is set); expected a desktop. Use render_mode='rgb_array' instead."
            )
        yield
        return
    backend = os.environ.get("MUJOCO_GL")
    if backend and backend.lower() in _DISABLED:
        raise RuntimeError(f"cannot render {render_mode!r}: MUJOCO_GL={backend} disables drawing. {_REMEDY}")
    chosen = backend or (None if _has_display() else "egl")
    if chosen == "egl" and (problem := offscreen_problem()) is not None:
        raise RuntimeError(f"cannot render {render_mode!r}: EGL does not work here ({problem}). {_REMEDY}")
    if chosen is None or chosen == backend:
        yield
        return
    os.environ["MUJOCO_GL"] = chosen
    try:
        yield
    finally:
        if backend is None:
            del os.environ["MUJOCO_GL"]
        else:
            os.environ["MUJOCO_GL"] = backend
