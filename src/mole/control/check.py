"""Can an agent learn this environment? A few hundred steps tell, before hours of training do.

`check_env` looks for what environments were found to do: another API, actions that cannot be searched, numbers that are
not finite, entries that float32 does not resolve, angles that jump. Training runs it first: errors end it.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np

from mole._expect import expect_whole
from mole.datasets.resolution import jumps, lossy
from mole.datasets.steps import Losses, five_of, name_of
from mole.datasets.transitions import RecordedEpisode, record_random

if TYPE_CHECKING:
    from mole.envs.spec import DynamicsSpec

__all__ = ["EnvReport", "EnvWarning", "Finding", "check_env"]

_REWARD_ERROR = 0.2  # of the spread of the reward, above which a reward function is told to be another one


class EnvWarning(UserWarning):
    """An environment will train, but worse than it could; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One row of a report.

    Attributes:
        check: what was looked at.
        status: "ok", "note" (worth knowing), "warning" (it trains, but worse) or "error" (it cannot be trained on).
        found: what was found.
        remedy: what to do; empty if there is nothing to do.
    """

    check: str
    status: Literal["ok", "note", "warning", "error"]
    found: str
    remedy: str = ""


@dataclasses.dataclass(frozen=True)
class EnvReport:
    """What `check_env` found; as text it is a table with the remedies.

    Attributes:
        name: of the environment.
        steps: that were made.
        findings: one per check, in order.
    """

    name: str
    steps: int
    findings: tuple[Finding, ...]

    def of(self, status: str) -> list[Finding]:
        """The findings of one status."""
        return [finding for finding in self.findings if finding.status == status]

    @property
    def ok(self) -> bool:
        """Whether it can be trained on."""
        return not self.of("error")

    def __str__(self) -> str:
        """A table: check, status, what was found, and below it what to do."""
        counts = ", ".join(
            f"{len(self.of(status))} {status}{'s' if len(self.of(status)) != 1 else ''}"
            for status in ("error", "warning")
        )
        lines = [f"{self.name}: {self.steps} steps, {counts}"]
        for one in self.findings:
            lines.append(f"  {one.check:<12} {one.status:<8} {one.found}")
            lines += [f"  {'':<21} → {one.remedy}"] if one.remedy else []
        return "\n".join(lines)

    def raise_errors(self) -> None:
        """Raise ValueError with the first error and its remedy, if there is one."""
        for one in self.of("error"):
            raise ValueError(f"{self.name} cannot be trained on: {one.found} {one.remedy}".strip())


def check_env(env: Any, *, steps: int = 300, seed: int = 0, spec: DynamicsSpec | None = None) -> EnvReport:
    """Take random actions in an environment, and say what an agent could not learn or would learn badly.

    Args:
        env: a Gymnasium environment. It is reset and stepped, and not closed.
        steps: to make; more find rarer things.
        seed: of the first reset and of the actions.
        spec: the `DynamicsSpec` to train with; the environment's own, if it has one, if not given. Sizes and reward are
            compared with it.

    Returns:
        The report: ``print(report)`` shows a table with remedies, ``report.ok`` says whether it can be trained on.

    Raises:
        TypeError: if ``steps`` or ``seed`` is no whole number.
        ValueError: if ``steps`` is below 1 or ``seed`` below 0.

    Examples:
        >>> print(check_env(gymnasium.make("Pendulum-v1")))          # doctest: +SKIP
    """
    expect_whole("check_env", "steps", steps)
    expect_whole("check_env", "seed", seed, 0)
    check = _Check(env, spec)
    check.run(steps, seed)
    return EnvReport(name_of(env), check.env.steps, tuple(check.findings))


class _Watched:
    """An environment that notes what a step does beside its values."""

    def __init__(self, env: Any) -> None:
        self.env, self.raw = env, None
        self.steps, self.terminated, self.truncated, self.seconds, self.shared = 0, 0, 0, 0.0, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.env, name)

    def reset(self, **settings: Any) -> Any:
        result = self.env.reset(**settings)
        self.raw = result[0] if isinstance(result, tuple) else result
        return result

    def step(self, action: Any) -> Any:
        self.steps += 1
        started = time.perf_counter()
        result = self.env.step(action)
        self.seconds += time.perf_counter() - started
        obs, _, terminated, truncated, _ = five_of(self.env, result)
        self.terminated, self.truncated = self.terminated + bool(terminated), self.truncated + bool(truncated)
        arrays = isinstance(obs, np.ndarray) and isinstance(self.raw, np.ndarray)
        self.shared = self.shared or (arrays and np.shares_memory(obs, self.raw))
        self.raw = obs
        return result


class _Check:
    """The findings, in the order in which they are made; an error that leaves nothing to look at ends them."""

    def __init__(self, env: Any, spec: DynamicsSpec | None) -> None:
        self.env, self.spec, self.findings = _Watched(env), spec, list[Finding]()
        self.losses, self.episodes = Losses(), list[RecordedEpisode]()

    def add(self, check: str, status: Any, found: str, remedy: str = "") -> None:
        self.findings.append(Finding(check, status, found, remedy))

    def run(self, steps: int, seed: int) -> None:
        for look in (self.interface, self.actions, self.spaces):
            look()
            if any(finding.status == "error" for finding in self.findings):
                return
        try:
            self.episodes = record_random(self.env, steps, np.random.default_rng(seed), self.losses)
        # Whatever it is: it comes out of somebody else's code, and is what the report is to tell.
        except Exception as error:
            self.add("steps", "error", f"in step {self.env.steps} {type(error).__name__}: {error}")
            return
        for look in (self.finite, self.observations, self.resolution, self.jumps, self.reward, self.limits):
            look()

    def interface(self) -> None:
        env = self.env.env
        missing = [n for n in ("reset", "step", "action_space", "observation_space") if not hasattr(env, n)]
        if hasattr(env, "single_action_space"):
            count = getattr(env, "num_envs", "several")
            remedy = "Pass one environment: gymnasium.make(id). Training makes copies of its own (workers=)."
            self.add("interface", "error", f"it is a vector environment of {count}.", remedy)
        elif missing:
            remedy = "Pass a Gymnasium environment: gymnasium.make(id), or an instance of your gymnasium.Env."
            found = f"it is a {type(env).__name__}, which has no {', '.join(missing)}."
            self.add("interface", "error", found, remedy)
        else:
            self.add("interface", "ok", "reset, step and two spaces")

    def actions(self) -> None:
        space = self.env.action_space
        low, high = (np.asarray(getattr(space, name, None)) for name in ("low", "high"))
        if low.dtype.kind != "f" or high.dtype.kind != "f":
            self.add(
                "actions",
                "error",
                f"they are in {space}, and the planner searches among real vectors.",
                "Take a variant of the environment with a Box of floats, or wrap its actions "
                "(gymnasium.wrappers.TransformAction). Dicts and tuples of Boxes: mole.envs.agent_env(env).",
            )
        elif low.ndim != 1 or not (np.isfinite(low) & np.isfinite(high) & (low < high)).all():
            self.add(
                "actions",
                "error",
                f"they are in {space}; expected a vector within finite bounds, low < high.",
                "Choose a range: gymnasium.wrappers.TransformAction; and flatten it: mole.envs.agent_env(env).",
            )
        else:
            self.add("actions", "ok", f"{low.size} of {low.dtype}, from {low.min():g} to {high.max():g}")

    def spaces(self) -> None:
        shape, spec = getattr(self.env.observation_space, "shape", None), self.spec
        if shape is None or len(shape) != 1:
            found = f"they are in {self.env.observation_space}; expected a vector of numbers."
            self.add("observations", "error", found, "Flatten them: mole.envs.agent_env(env).")
        elif spec is not None and (spec.obs_dim, spec.act_dim) != (shape[0], self.env.action_space.low.size):
            found = (
                f"they have {shape[0]} entries and actions {self.env.action_space.low.size}, but the spec "
            )
            remedy = "Make the spec of this environment: mole.envs.generic_spec(obs_dim, act_dim, reward)."
            self.add("observations", "error", f"{found}says {spec.obs_dim} and {spec.act_dim}.", remedy)

    def finite(self) -> None:
        lost, begun = self.losses.dropped, self.losses.begun
        if lost == 0:
            self.add("numbers", "ok", "all are finite")
            return
        self.add(
            "numbers",
            "error" if 2 * lost > begun else "warning",
            f"{lost} of {begun} episodes ended in numbers that are not finite: those transitions are dropped.",
            "Take smaller time steps or bounded actions, or end the episode before its state runs away.",
        )

    def observations(self) -> None:
        obs = self.episodes[0].obs
        largest = max(float(np.abs(episode.obs).max()) for episode in self.episodes)
        text = f"{obs.shape[1]} of {obs.dtype}, up to {largest:.3g} in size"
        text += "; all in one array, so they are copied" if self.env.shared else ""
        self.add("observations", "note" if self.env.shared else "ok", text)

    def resolution(self) -> None:
        coarse = np.flatnonzero(lossy([episode.obs for episode in self.episodes])).tolist()
        if not coarse:
            self.add("resolution", "ok", "float32 holds the changes")
            return
        self.add(
            "resolution",
            "warning",
            f"entries {coarse} change by less than float32 resolves at their size. Changes are taken in float64, but "
            "the model's inputs and plans cannot be.",
            "Subtract where they start (gymnasium.wrappers.TransformObservation), or leave them out.",
        )

    def jumps(self) -> None:
        wrapping = jumps([episode.obs for episode in self.episodes])
        if not wrapping:
            self.add("jumps", "ok", "no entry wraps around")
            return
        found = ", ".join(f"{entry} (by {period:.3g})" for entry, period in wrapping.items())
        self.add(
            "jumps",
            "warning",
            f"entries jump from one end of their range to the other: {found}. No model of changes can learn that.",
            f"If they are angles, give cosine and sine: mole.envs.agent_env(env, angles={sorted(wrapping)}).",
        )

    def reward(self) -> None:
        rewards = np.concatenate([episode.rewards for episode in self.episodes])
        text = f"one number, from {rewards.min():.3g} to {rewards.max():.3g}"
        if np.ptp(rewards) == 0:
            self.add(
                "reward",
                "note",
                f"it was {rewards[0]:.3g} at every step: random actions give a planner nothing to choose by.",
                "If that stays so, give one that says how near the goal is: mole.envs.register_reward(id, function).",
            )
            return
        if self.spec is not None:
            ends = [(episode.obs.astype(np.float32), episode.actions) for episode in self.episodes]
            obs, following = (np.concatenate([o[i : len(o) - 1 + i] for o, _ in ends]) for i in (0, 1))
            foreseen = np.asarray(_rewards(self.spec, obs, np.concatenate([a for _, a in ends]), following))
            error = float(np.sqrt(np.mean(np.square(foreseen - rewards))) / np.std(rewards))
            if not error <= _REWARD_ERROR:
                found = f"the spec's function differs from the environment's by {error:.2g} of its spread."
                remedy = "Planning follows the function: make it give what the environment gives."
                self.add("reward", "warning", found, remedy)
                return
            text += f"; the spec's function differs by {error:.2g} of its spread"
        self.add("reward", "ok", text)

    def limits(self) -> None:
        limit, env, watched = None, self.env.env, self.env
        while env is not None and limit is None:
            # Gymnasium's TimeLimit, or an environment of this package, which counts its own steps.
            limit = getattr(env, "_max_episode_steps", None) or vars(env).get("episode_steps")
            env = vars(env).get("env")
        ended = f"{watched.terminated} episodes terminated, {watched.truncated} were truncated"
        self.add("time limit", "ok", f"{limit or 'none'}; {ended}")
        self.add("speed", "note", f"{watched.steps / max(watched.seconds, 1e-9):,.0f} steps a second")


@functools.partial(jax.jit, static_argnums=0)
def _rewards(spec: DynamicsSpec, obs: Any, actions: Any, following: Any) -> Any:
    return jax.vmap(spec.reward)(obs, actions, following)
