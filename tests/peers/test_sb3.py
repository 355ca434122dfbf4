"""Stable-Baselines3's checker on our environments, in a virtual environment of its own (it brings torch)."""

from __future__ import annotations

import pytest

pytest.importorskip("stable_baselines3")
pytest.importorskip("mujoco")

import gymnasium
from stable_baselines3.common.env_checker import check_env

import mole.envs


@pytest.mark.parametrize("schedule", [None, "alternate:A,B:100", "random:3"])
def test_half_cheetah_passes_the_checker_without_a_warning(schedule, recwarn):
    env = gymnasium.make(mole.envs.cheetah.motors.ENV_ID, schedule=schedule)
    check_env(env, warn=True, skip_render_check=True)
    env.close()
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize("schedule", [None, "course", "random:3"])
def test_terrain_passes_the_checker_without_a_warning(schedule, recwarn):
    env = gymnasium.make(mole.envs.cheetah.terrain.ENV_ID, schedule=schedule)
    check_env(env, warn=True, skip_render_check=True)
    env.close()
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize("schedule", [None, "alternate:healthy,down-1:100", "random:3"])
def test_the_crawler_passes_the_checker_without_a_warning(schedule, recwarn):
    env = gymnasium.make(mole.envs.crawler.env.ENV_ID, schedule=schedule)
    check_env(env, warn=True, skip_render_check=True)
    env.close()
    assert [str(warning.message) for warning in recwarn] == []
