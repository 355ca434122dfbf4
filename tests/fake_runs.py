"""Runs with plausible numbers, made of noise: for reports, which need neither a simulator nor a learner."""

from __future__ import annotations

import numpy as np

from mole.control.records import EpisodeRecord

# reward per step, error at a switch, error later, upright: plausible figures of each method
METHODS = {
    "mole": (1.05, 0.1, 0.02, 0.98),
    "mole-paper": (0.89, 0.45, 0.021, 0.97),
    "kshot": (0.76, 0.65, 0.04, 0.97),
    "continuous": (0.24, 0.5, 0.09, 0.8),
    "supervised": (-0.1, 0.42, 0.39, 0.6),
    "oracle": (1.08, 0.03, 0.02, 0.98),
}
SLOTS = {"mole": 5, "mole-paper": 5, "oracle": 2}


def fake(method: str, schedule: str = "alternate", seed: int = 0, steps: int = 400, **meta) -> EpisodeRecord:
    """A run with plausible numbers, made of noise: no simulator, no learner."""
    like = method if method in METHODS else "kshot"
    reward, peak, floor, posture = METHODS[like]
    rng = np.random.default_rng([seed, *method.encode(), *schedule.encode()])
    period = {"alternate": 100, "random-300": 300}.get(schedule, steps)
    visit = np.arange(steps) // period
    true_task = visit % 2 if schedule == "alternate" else visit
    since = np.arange(steps) % period
    decay = {"mole": 1.0, "mole-paper": 7.0, "kshot": 12.0, "continuous": 25.0}.get(like, 3.0)
    loss = (floor + (peak - floor) * np.exp(-since / decay)) * rng.lognormal(0.0, 0.4, steps)
    upright = np.clip(posture + np.cumsum(rng.normal(0.0, 0.03, steps)) * (1 - posture), -1.0, 1.0)
    slots = SLOTS.get(like, 1)
    task = np.zeros(steps, int)
    if slots > 1:
        lag = {"mole": 0, "mole-paper": 11}.get(like, 0)
        task = np.concatenate([np.zeros(lag, int), true_task])[:steps] + (like == "mole-paper")
        task[: 35 if like == "mole-paper" else 0] = 0
        task = np.minimum(task, slots - 1)
    chosen = np.eye(slots)[task]
    blur = 0.0 if like != "mole-paper" else 0.15
    noise = rng.dirichlet(np.ones(slots), steps) * (np.arange(slots) <= task.max(initial=0))
    responsibilities = (1 - blur) * chosen + blur * noise
    n_tasks = np.maximum.accumulate(task) + 1
    return EpisodeRecord(
        reward=reward + rng.normal(0.0, 0.6, steps) + rng.normal(0.0, 0.04),
        loss=loss,
        responsibilities=responsibilities,
        task=task,
        n_tasks=n_tasks,
        spawned=np.diff(n_tasks, prepend=1) > 0,
        at_capacity=np.zeros(steps, bool),
        rejected=np.zeros(steps, bool),
        true_task=true_task,
        position=np.cumsum(np.full(steps, 0.05 * reward)),
        upright=upright,
        seconds=rng.lognormal(np.log(0.012), 0.1, steps),
        meta={
            "env": "HalfCheetah-v5",
            "method": method,
            "schedule": schedule,
            "seed": seed,
            "prior": "half-cheetah-motors",
            "configuration": {"window": 16, "alpha": 1.0},
            "versions": {"jax": "0.10.2", "mujoco": "4.0.0"},
            "machine": "2 cores of an x86-64 CPU",
            "step_seconds": 0.05,
            "complete": True,
            "error": None,
        }
        | meta,
    )


def altered(run: EpisodeRecord, **arrays) -> EpisodeRecord:
    return EpisodeRecord(**{**vars(run), **arrays})
