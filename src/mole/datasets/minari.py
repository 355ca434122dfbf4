"""Recorded episodes as a Minari data set, the format in which offline data of environments is exchanged.

Needs minari with its hdf5 extra: ``pip install 'minari[hdf5]'``. Data sets are kept where minari keeps them: in the
folder that the environment variable ``MINARI_DATASETS_PATH`` names, else below the home folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mole.datasets.transitions import RecordedEpisode

try:
    import h5py as _h5py  # noqa: F401  # pyright: ignore[reportMissingImports]
    import minari as _minari  # pyright: ignore[reportMissingImports]
    from minari.data_collector import EpisodeBuffer  # pyright: ignore[reportMissingImports]
except ImportError as missing:
    raise ImportError(
        f"Minari data sets need minari and h5py, and {missing.name!r} cannot be imported. "
        "Install them with: pip install 'minari[hdf5]'"
    ) from missing

_UNKNOWN = "not given"  # Minari warns about None

__all__ = ["load_minari", "save_minari"]


def save_minari(
    dataset_id: str,
    episodes: Sequence[RecordedEpisode],
    env: Any,
    *,
    author: str = _UNKNOWN,
    author_email: str = _UNKNOWN,
    code_permalink: str = _UNKNOWN,
    description: str = "Random transitions of an environment that changes; infos hold the task.",
) -> None:
    """Write episodes as a new data set. The true task goes into each episode's ``infos["task"]``.

    Args:
        dataset_id: as minari wants it, e.g. ``"mole/half-cheetah-motors/random-v0"``.
        episodes: from `mole.datasets.transitions.record_episodes`.
        env: the Gymnasium environment they were recorded in; gives the spaces and, if it has one, its spec.
        author: of the data set.
        author_email: where to ask.
        code_permalink: what recorded it.
        description: for the reader.

    Raises:
        ValueError: if there are no episodes, or the data set exists (minari's own message).
        ImportError: when this module is imported without minari or h5py.
    """
    if not episodes:
        raise ValueError(
            f"data set {dataset_id!r} got no episodes; expected at least one: record some first."
        )
    # Minari asks an environment for its spec; one that was made without `gymnasium.make` has none.
    space, known = env.observation_space, env if env.spec is not None else None
    buffers = [
        EpisodeBuffer(
            id=number,
            observations=list(episode.obs.astype(space.dtype)),  # pyright: ignore[reportArgumentType]
            actions=list(episode.actions),
            rewards=episode.rewards.tolist(),
            # An episode that did not terminate was cut by the recorder, which is what truncation means.
            terminations=[False] * (len(episode.actions) - 1) + [episode.terminated],
            truncations=[False] * (len(episode.actions) - 1) + [not episode.terminated],
            # Minari keeps an entry for the reset too: the task of the first step holds from there on.
            infos={"task": np.concatenate([episode.task[:1], episode.task])},
        )
        for number, episode in enumerate(episodes)
    ]
    _minari.create_dataset_from_buffers(
        dataset_id,
        buffers,
        env=known,
        eval_env=known,
        observation_space=space,
        action_space=env.action_space,
        algorithm_name="correlated random actions",
        author=author,
        author_email=author_email,
        code_permalink=code_permalink,
        description=description,
        data_format="hdf5",
    )


def load_minari(dataset_id: str) -> list[RecordedEpisode]:
    """Read a data set of continuous observations and actions, whoever made it. Nothing is downloaded.

    Where the data set has no ``infos["task"]``, the task is -1.

    Returns:
        The episodes in the order of the data set.

    Raises:
        FileNotFoundError: if minari has no such data set locally.
        ValueError: if an observation, an action or a task is no array of numbers.
    """
    episodes = []
    for episode in _minari.load_dataset(dataset_id, download=False).iterate_episodes():
        steps = len(episode.rewards)
        task = (episode.infos or {}).get("task")
        # With or without an entry for the reset, the last entries belong to the steps.
        known = np.full(steps, -1) if task is None else np.asarray(task)[-steps:]
        arrays = {"observations": episode.observations, "actions": episode.actions, "infos['task']": known}
        for name, values in arrays.items():
            kinds = "iu" if name == "infos['task']" else "fiu"
            if np.asarray(values).dtype.kind not in kinds:  # dictionaries of arrays, text
                what = "whole numbers" if kinds == "iu" else "arrays of numbers"
                raise ValueError(
                    f"load_minari got {name} of type {type(values).__name__} in {dataset_id!r}; expected {what}."
                )
        episodes.append(
            RecordedEpisode(
                np.asarray(episode.observations),
                np.asarray(episode.actions),
                np.asarray(episode.rewards, float),
                known.astype(np.int64),
                bool(episode.terminations[-1]),
            )
        )
    return episodes
