"""What lies between a learner in control and the simulator as the planner's model: the evidence, measured.

Three questions. Would more search close the gap? Both are run with larger planners. Is it the model's error over a
plan? At states that the learner visits, its plan and the one that the simulator gives are judged by both. Is it
exploration? The learner follows the simulator's own run, adapting as it goes: is it worse there than where it goes
itself? And it takes over in the middle of that run: does it hold the pace that it did not find?
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.gap_probe import Errors, Probe, open_loop, probe_run
from mole.control.agent import Agent
from mole.control.episode import Episode, Segment, run_episode
from mole.envs import spec_for
from mole.experiment.cell import load_priors
from mole.experiment.learners import learner_for
from mole.experiment.simulator import run_simulated_episode
from mole.experiment.worlds import KnownTask, make_world
from mole.online import OnlineLearner
from mole.planning.config import HORIZON, PlannerConfig, planner_for

__all__ = ["BUDGETS", "GapConfig", "judge", "measure_gap", "scaled"]

BUDGETS: dict[str, tuple[int, int]] = {
    "1x": (1, 1),
    "2x samples": (2, 1),
    "4x samples": (4, 1),
    "2x iterations": (1, 2),
}
"""Name → factors of the planner's samples and iterations; the first is the planner as it is."""

SEARCH = 0.25
"""Share of the gap that a larger planner must close for it to point to the search."""
REGRET = 0.5
"""Share of the gap that the learner's plans must lose within their own horizon, for it to point to the model."""
UNSEEN = 2.0
"""How many times worse the model must be where the simulator goes, to point to exploration."""
HELD = 0.5
"""Share of the gap that a learner must hold after it takes over from the simulator, to point to exploration; if it
holds less than half of that, its model fails in the loop even there."""


@dataclasses.dataclass(frozen=True)
class GapConfig:
    """One measurement."""

    env: str
    """World, as `make_world` takes it: one whose simulator can be a planner's model."""
    prior: Path
    """Meta-trained prior."""
    supervised: Path
    """The supervised baseline on the same data."""
    schedule: str
    """How the hidden task changes."""
    method: str = "oracle"
    """The learner in control."""
    planner: PlannerConfig = dataclasses.field(default_factory=lambda: PlannerConfig(horizon=HORIZON))
    """The planner, before it is made larger."""
    settings: Mapping[str, Any] | None = None
    """Settings of the method instead of the tuned ones."""
    steps: int = 300
    """Steps of each run."""
    seeds: tuple[int, ...] = (0,)
    """Seeds; each makes one run for every budget of both."""
    every: int = 10
    """Steps between two states in which plans are compared."""
    budgets: tuple[str, ...] = tuple(BUDGETS)
    """Which of `BUDGETS`; the first is always measured."""

    def __post_init__(self) -> None:
        """Check names and numbers."""
        unknown = [name for name in self.budgets if name not in BUDGETS]
        if unknown:
            raise ValueError(f"GapConfig got the budgets {unknown}; expected some of {', '.join(BUDGETS)}.")
        if self.steps < self.planner.horizon or self.every < 1 or not self.seeds:
            raise ValueError(
                f"GapConfig got steps={self.steps}, every={self.every}, {len(self.seeds)} seeds; expected at least "
                f"as many steps as the horizon ({self.planner.horizon}), every 1 step, and one seed."
            )


def scaled(planner: PlannerConfig, budget: str) -> PlannerConfig:
    """The planner with more samples (and as many more elites) or more iterations: one of `BUDGETS`."""
    samples, iterations = BUDGETS[budget]
    return dataclasses.replace(
        planner,
        samples=planner.samples * samples,
        elites=planner.elites * samples,
        iterations=planner.iterations * iterations,
    )


def measure_gap(config: GapConfig, *, on_run: Callable[[str], None] | None = None) -> dict[str, Any]:
    """All the evidence as plain JSON, with what it points to.

    Args:
        config: what to measure.
        on_run: called with the name of every run before it starts.

    Returns:
        ``returns`` per 1,000 steps (learner and simulator → budget → one per seed), ``second_half`` (the same for the
        last half of the runs, and for the learner that took over from the simulator there), ``unexplained`` (share of
        the movement that the model misses after 1, 2, … steps: along its own plans, along its own run, along the
        simulator's run), ``loss`` (one-step: own run, simulator's run), ``plans`` (what model and simulator think of
        both plans), and ``verdict`` (`judge`).

    Raises:
        TypeError: if the world's simulator cannot be a planner's model.
        mole.control.episode.EpisodeError: if a run fails.
    """
    learner = learner_for(config.method, load_priors(config.prior, config.supervised), config.settings)
    budgets = ["1x", *(name for name in config.budgets if name != "1x")]
    tell = on_run or (lambda name: None)
    returns: dict[str, dict[str, list[float]]] = {
        who: {budget: [] for budget in budgets} for who in (config.method, "simulator")
    }
    seen: dict[str, list[Any]] = {"own": [], "simulator": [], "probes": [], "second half": []}
    for seed in config.seeds:
        tell(f"{config.method}, seed {seed}")
        probe = _probe(config, learner, seed)
        tell(f"simulator, seed {seed}")
        simulated = _episode(config, learner, "simulator", seed, "1x")
        tell(f"{config.method} after the simulator, seed {seed}")
        half = config.steps // 2
        lead = np.concatenate([segment.actions for segment in simulated.segments])[:half]
        after = _probe(config, learner, seed, lead)
        rewards = (probe.reward, simulated.record.reward, after.reward)
        seen["second half"].append([float(reward[half:].mean() * 1000) for reward in rewards])
        seen["probes"].append(probe)
        seen["own"].append(_followed(config, learner, probe.segments, probe.task))
        seen["simulator"].append(_followed(config, learner, simulated.segments, simulated.record.true_task))
        for who, reward in zip(returns, rewards, strict=False):
            returns[who]["1x"].append(float(reward.mean() * 1000))
        for budget in budgets[1:]:
            for who in returns:
                tell(f"{who}, seed {seed}, planner {budget}")
                record = _episode(config, learner, who, seed, budget).record
                returns[who][budget].append(float(record.reward.mean() * 1000))
    errors = {
        "own plans": [probe.errors for probe in seen["probes"]],
        "own run": [error for _, error in seen["own"]],
        "simulator's run": [error for _, error in seen["simulator"]],
    }
    own, simulators, taken_over = np.mean(seen["second half"], axis=0).tolist()
    found = {
        "config": {
            **dataclasses.asdict(config),
            "prior": config.prior.name,
            "supervised": config.supervised.name,
        },
        "returns": returns,
        "second_half": {"own": own, "simulator": simulators, "taken_over": taken_over},
        "loss": {
            who: float(np.mean(np.concatenate([loss for loss, _ in seen[who]])))
            for who in ("own", "simulator")
        },
        "unexplained": {place: _known(_joined(values).unexplained) for place, values in errors.items()},
        "plans": _plans(
            np.concatenate([probe.believed for probe in seen["probes"]]),
            np.concatenate([probe.actual for probe in seen["probes"]]),
        ),
    }
    return {**found, "verdict": judge(found)}


def judge(found: Mapping[str, Any]) -> dict[str, Any]:
    """What the evidence points to, by the thresholds of this module. What is undefined is None.

    * ``search``: share of the gap that the best of the larger planners closes.
    * ``regret``: share that the learner's plans lose within their own horizon, against those that the same search
      finds with the simulator: the price of the model's error at states that the learner does visit.
    * ``unseen``: how many times more of one step's movement the model misses along the simulator's run than along
      its own.
    * ``held``: share of the gap that the learner holds after it took over from the simulator.

    Returns:
        ``gap`` (return per 1,000 steps that is missing), ``share_of_simulator``, the four figures, and ``points_to``:
        some of "search", "model" and "exploration".
    """
    learner, simulator = (
        {budget: float(np.mean(values)) for budget, values in of.items()} for of in found["returns"].values()
    )
    plans, second, missed = found["plans"], found["second_half"], found["unexplained"]
    gap = simulator["1x"] - learner["1x"]
    larger = [value for budget, value in learner.items() if budget != "1x"]
    lost = (plans["simulators_actual"] - plans["own_actual"]) / found["config"]["planner"]["horizon"] * 1000
    search = _share(max(larger) - learner["1x"], gap) if larger else None
    regret = _share(lost, gap)
    unseen = _share(missed["simulator's run"][0], missed["own run"][0])
    held = _share(second["taken_over"] - second["own"], second["simulator"] - second["own"])
    reasons = {
        "search": search is not None and search >= SEARCH,
        "model": (regret is not None and regret >= REGRET) or (held is not None and held < HELD / 2),
        "exploration": (unseen is not None and unseen >= UNSEEN) or (held is not None and held >= HELD),
    }
    return {
        "gap": gap,
        "share_of_simulator": _share(learner["1x"], simulator["1x"]),
        "search": search,
        "regret": regret,
        "unseen": unseen,
        "held": held,
        "points_to": [name for name, there in reasons.items() if there],
    }


def _share(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole is not None and whole > 0 else None


def _known(values: np.ndarray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def _probe(config: GapConfig, learner: OnlineLearner, seed: int, lead: np.ndarray | None = None) -> Probe:
    env = make_world(config.env, schedule=config.schedule)
    agent = Agent(learner, planner_for(config.planner, env.action_space), spec_for(env))
    every = config.every if lead is None else config.steps
    try:
        return probe_run(
            env,
            agent,
            steps=config.steps,
            every=every,
            seed=seed,
            key=jax.random.key(seed),
            truth=KnownTask(env),
            lead=lead,
        )
    finally:
        env.close()


def _episode(config: GapConfig, learner: OnlineLearner, who: str, seed: int, budget: str) -> Episode:
    env = make_world(config.env, schedule=config.schedule)
    planner = planner_for(scaled(config.planner, budget), env.action_space)
    meta = {"env": config.env, "method": who, "schedule": config.schedule, "seed": seed, "step_seconds": 1.0}
    common: dict[str, Any] = {
        "steps": config.steps,
        "seed": seed,
        "key": jax.random.key(seed),
        "truth": KnownTask(env),
        "meta": meta,
    }
    try:
        if who == "simulator":
            return run_simulated_episode(env, planner, learner.prior.y_norm, **common)
        return run_episode(env, Agent(learner, planner, spec_for(env)), **common)
    finally:
        env.close()


def _followed(
    config: GapConfig, learner: OnlineLearner, segments: list[Segment], tasks: np.ndarray
) -> tuple[np.ndarray, Errors]:
    return open_loop(learner, spec_for(config.env), segments, tasks, config.planner.horizon)


def _joined(errors: list[Errors]) -> Errors:
    return Errors(*(np.concatenate(column) for column in zip(*errors, strict=True)))


def _plans(believed: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    """Both plans in both eyes; columns: the learner's plan, the simulator's. Plans that failed are left out.

    ``not_found`` is the share of states in which the simulator's plan is better and the model agrees: its own search
    has missed it.
    """
    known = np.isfinite(actual).all(1)
    believed, actual = believed[known], actual[known]
    return {
        "states": int(known.sum()),
        "own_believed": float(believed[:, 0].mean()),
        "own_actual": float(actual[:, 0].mean()),
        "simulators_believed": float(believed[:, 1].mean()),
        "simulators_actual": float(actual[:, 1].mean()),
        "not_found": float(((actual[:, 1] > actual[:, 0]) & (believed[:, 1] > believed[:, 0])).mean()),
    }
