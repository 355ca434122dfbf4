"""Hidden faults of a machine's legs: one code per leg, their names, and which of them training may see.

A task is a vector of six codes, one per leg: 0 healthy, 1 limp (its motors give no torque), 2 down (locked
with the foot on the ground, motors off), 3 inverted (its motors turn the wrong way).

    NAME := healthy | FAULT[+FAULT…]     FAULT := limp-LEG | down-LEG | invert-LEG     LEG := 1 … 6

Training sees every leg fail, but each leg in one of the two grave ways only, and one leg at a time (`TRAINED`);
`UNSEEN` is the other way of each leg. Seen from above, with the front at the top:

    leg   trained   unseen       leg   trained   unseen
    1     down      invert       4     invert    down
    2     invert    down         5     down      invert
    3     down      invert       6     invert    down

What a fault costs, in mean reward of a planner whose model is the simulator, believing all legs healthy and
knowing the fault (one run of 3 to 4 s each; all legs healthy: 1.07): a front leg down .64/.95, middle .34/.75, rear
.29/.70; middle leg inverted -.30/1.15, rear .29/1.14; middle leg limp .79/.79: few tests have one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float64

from mole.envs.schedules.schedule import Sampler, real_numbers
from mole.envs.schedules.text import Vocabulary

__all__ = [
    "CODES",
    "DISTRIBUTIONS",
    "LEG_COUNT",
    "PAIRS",
    "SAMPLERS",
    "SETTINGS",
    "TRAINED",
    "UNSEEN",
    "Codes",
    "FaultNames",
    "check_codes",
    "fault_name",
    "leg_vocabulary",
    "trained_legs",
    "trained_pairs",
    "unseen_legs",
]

Codes = Float64[np.ndarray, " legs"]

LEG_COUNT = 6
CODES = {"healthy": 0, "limp": 1, "down": 2, "invert": 3}
"""The code of every state of a leg."""
TRAINED = ("down-1", "invert-2", "down-3", "invert-4", "down-5", "invert-6")
"""The grave faults that training sees."""
UNSEEN = ("invert-1", "down-2", "invert-3", "down-4", "invert-5", "down-6")
"""The grave faults that training does not see."""

PAIRS = tuple(
    f"{one}+{other}" for one, other in combinations(TRAINED, 2) if not one[:4] == other[:4] == "down"
)
"""Pairs of `TRAINED`, which training never shows. Without two legs down: even a planner with the true model gets only
.1 to .6 m/s with those."""

SETTINGS: dict[str, str] = {
    "healthy": "healthy",
    "returning": "alternate:healthy,invert-2,down-5,invert-6:100",
    "random-200": "random:200",
    "unseen": "random-unseen:500",
    "pairs": "random-pairs:500",
}
"""The test settings: name -> schedule."""

_FAULT = re.compile(r"(limp|down|invert)-([1-6])")
# Few limp legs in training: a planner that knows of one earns no more (.79 and .79 above).
_HEALTHY_SHARE = 0.25
_LIMP_SHARE = 0.15


class FaultNames(Mapping[str, Codes]):
    """Names of fault vectors. Looking up takes any combination of the grammar; iterating lists single faults only."""

    def __getitem__(self, name: str) -> Codes:
        """The codes of `name`, as in the grammar above.

        Raises:
            KeyError: for anything else, a leg named twice included.
        """
        codes = np.zeros(LEG_COUNT)
        if name == "healthy":
            return codes
        for part in name.split("+"):
            match = _FAULT.fullmatch(part)
            if match is None or codes[int(match[2]) - 1]:
                raise KeyError(name)
            codes[int(match[2]) - 1] = CODES[match[1]]
        return codes

    def __iter__(self) -> Iterator[str]:
        """Healthy and the 18 single faults: an error that listed all 4,096 vectors would be no help."""
        yield "healthy"
        for fault in ("limp", "down", "invert"):
            yield from (f"{fault}-{leg}" for leg in range(1, LEG_COUNT + 1))

    def __len__(self) -> int:
        """How many are listed."""
        return 1 + 3 * LEG_COUNT


NAMES = FaultNames()


def check_codes(value: Any) -> Codes:
    """`value` as a read-only float64 vector of 6 codes.

    Raises:
        ValueError: if it is anything else.
    """
    try:
        codes = real_numbers(value)
    except ValueError:
        raise ValueError(f"got leg faults {value!r}; {_expected()}.") from None
    if codes.shape != (LEG_COUNT,):
        raise ValueError(f"got leg faults of shape {codes.shape}; {_expected()}.")
    if not np.isin(codes, list(CODES.values())).all():
        raise ValueError(f"got leg faults {codes}; {_expected()}.")
    # A schedule hands out the same array at every step: nobody may change it on the way.
    codes.flags.writeable = False
    return codes


def _expected() -> str:
    meanings = ", ".join(f"{code} {name}" for name, code in CODES.items())
    return f"expected {LEG_COUNT} codes, one per leg ({meanings})"


def fault_name(codes: Any) -> str:
    """The name of a vector of codes: ``"down-1+invert-3"``."""
    names = {code: name for name, code in CODES.items()}
    parts = [f"{names[int(code)]}-{leg}" for leg, code in enumerate(check_codes(codes), 1) if code]
    return "+".join(parts) or "healthy"


def trained_legs(rng: np.random.Generator) -> Codes:
    """What training sees: healthy (1/4), one limp leg (3/20) or one fault of `TRAINED` (3/5)."""
    share = rng.random()
    if share < _HEALTHY_SHARE:
        return NAMES["healthy"]
    if share < _HEALTHY_SHARE + _LIMP_SHARE:
        return NAMES[f"limp-{rng.integers(1, LEG_COUNT + 1)}"]
    return NAMES[TRAINED[rng.integers(len(TRAINED))]]


def unseen_legs(rng: np.random.Generator) -> Codes:
    """One fault of `UNSEEN`: the leg has failed in training, but not in this way."""
    return NAMES[UNSEEN[rng.integers(len(UNSEEN))]]


def trained_pairs(rng: np.random.Generator) -> Codes:
    """Two faults of `TRAINED` at once, which training never shows together: one of `PAIRS`."""
    return NAMES[PAIRS[rng.integers(len(PAIRS))]]


def all_legs(rng: np.random.Generator) -> Codes:
    """Nothing held out: healthy (1/4) or any of the 18 single faults."""
    names = list(NAMES)
    return NAMES["healthy" if rng.random() < _HEALTHY_SHARE else names[rng.integers(1, len(names))]]


DISTRIBUTIONS: Mapping[str, Sampler] = {
    "legs": trained_legs,
    "all-legs": all_legs,
    "unseen": unseen_legs,
    "pairs": trained_pairs,
}
"""Distributions of a whole episode's faults, by name, the first the default."""
SAMPLERS = {"legs": "random", "all-legs": "random-all", "unseen": "random-unseen", "pairs": "random-pairs"}
"""The word by which a schedule draws from each distribution."""


def leg_vocabulary() -> Vocabulary:
    """Words of the schedules: names of faults, and ``random``, ``random-unseen``, ``random-pairs``, ``random-all``."""
    samplers = {word: DISTRIBUTIONS[name] for name, word in SAMPLERS.items()}
    return Vocabulary(values=NAMES, samplers=samplers, check=check_codes)
