"""Whatever is passed to a public function, the error is ours and says what was got and what was expected."""

from __future__ import annotations

import os
import traceback
import warnings
from typing import Any

import pytest

import mole
from public_calls import WRONG, Call, calls

PACKAGE = os.path.dirname(mole.__file__)  # noqa: PTH120 - compared with the names in tracebacks
CALLS = {call.name: call for call in calls()}


def complaint(call: Call, argument: str, value: Any) -> str:
    """Why the call with a wrong value in this argument does not end as it should; empty if it does."""
    wrong = f"{argument}={value!r:.60}"
    try:
        call.call(**{**call.valid, argument: value})
    except (TypeError, ValueError, KeyError) as error:
        last, text = traceback.extract_tb(error.__traceback__)[-1], str(error)
        if not last.filename.startswith(PACKAGE) or not (last.line or "").strip().startswith(
            ("raise", 'f"', ")")
        ):
            return f"{wrong}: {type(error).__name__} out of {last.filename}: {text[:200]}"
        told = any(words in text for words in ("expected", "Known: ", "must be"))
        return "" if told else f"{wrong}: does not say what was expected: {text[:200]}"
    except Exception as error:
        return f"{wrong}: {type(error).__name__}: {str(error)[:200]}"
    return f"{wrong}: accepted"


@pytest.mark.usefixtures("unchecked")  # as for users, who have no check of annotations
@pytest.mark.parametrize("name", CALLS)
def test_wrong_arguments_are_told_clearly(name: str) -> None:
    call = CALLS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [
            complaint(call, argument, value) for argument, kind in call.kinds.items() for value in WRONG[kind]
        ]
    assert [text for text in found if text] == []


LEFT_OUT = {
    # a set of names, a sum over them, and two without arguments
    "Fault", "count_faults", "libraries", "names",
    # plain records of what happened, errors and constants: nothing is checked there
    "Info", "Prediction", "Trajectory", "Window", "Gaussian", "Categorical", "OnlineLearner", "Planner", "Reward",
    "PlannerState", "TrainProgress", "Belief", "Readout", "ReadoutState", "Pairs", "EpisodeError", "CheckpointError",
    "Header", "Leaf", "STREAMS", "PARAMETERS", "TaskNumbers", "Timeline", "Vocabulary", "Parameter", "DynamicsSpec",
    "DamagedError", "PriorHeader", "Step", "KeyedSteps", "Motion", "Shaping", "EnvReport", "EnvWarning",
    "FleetShard", "FleetShards", "Progress", "RowError", "Shard", "Sink", "Source",
    # tested by themselves: files (test_checkpoint*, test_prior_file, test_stream_prior), adapters of environments
    # (test_generic, test_switching, test_envs, test_dynamics_spec, test_check_env), rollouts (test_planning_errors),
    # the cache of programs (test_compilation_cache)
    "AnglePairs", "check_env", "use_compilation_cache",
    "save", "save_prior", "save_stream_prior", "save_readout_prior", "load_readout_prior", "FlatSpaces",
    "RewardInObservation", "SwitchingWrapper", "agent_env", "as_schedule", "switching", "switching_by_name",
    "register_reward", "register_spec", "CrawlerLegsEnv", "HalfCheetahMotorsEnv", "HalfCheetahTerrainEnv",
    "set_action_delay", "set_damping", "set_friction", "set_gain", "set_gravity", "set_mass", "set_observation_delay",
    "rollout", "rollout_trajectory", "LearnedDynamics", "adapted_loss_mlp", "placeholder", "verify",
}  # fmt: skip


def test_every_public_name_is_called_or_left_out_for_a_reason() -> None:
    import mole.control
    import mole.datasets
    import mole.distributed
    import mole.envs
    import mole.estimators
    import mole.files.checkpoint
    import mole.meta
    import mole.online
    import mole.planning
    import mole.priors
    import mole.readout

    rooms = (
        mole,
        mole.files.checkpoint,
        mole.control,
        mole.distributed,
        mole.envs,
        mole.estimators,
        mole.meta,
        mole.online,
        mole.planning,
        mole.priors,
    )
    public = {name for room in (*rooms, mole.readout, mole.datasets) for name in room.__all__}
    called = {part for name in CALLS for part in name.split(".")}
    assert public - called == LEFT_OUT & public - called
    assert public - called <= LEFT_OUT
