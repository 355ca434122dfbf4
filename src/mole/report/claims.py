"""The claims of the paper, each judged by a stated rule from intervals alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mole.experiment.methods import TABLE
from mole.experiment.stats import Interval
from mole.report.digest import Digest
from mole.report.groups import Group
from mole.report.tables import Row

__all__ = ["CLAIMS", "Claim", "Evidence", "Verdict", "judge", "places"]

RETURN, ERROR = "return_per_1000", "error_all"
LASTING = 0.5
"""A task lasts if one visit fills at least this share of a run."""
RECALLED = 0.95
"""Share of the returns that must be recalled."""
DELAY, DELAY_PAPER = 2.0, 20.0
"""Steps that a recall may take, in the median. Our rule judges by the newest pair, so that two steps are enough. The
paper's judges by a window of the last 10 to 16 pairs, most of which must be of the new task."""
FEW = 2.0
"""Tasks at the end of a run with one lasting task: itself, and one that was founded while it was new."""
NEAR = 0.95
"""Share of the oracle's return that counts as near it."""


@dataclass(frozen=True)
class Evidence:
    """What one setting says about a claim.

    Attributes:
        place: the setting, and its family where there are several.
        holds: whether the rule holds there.
        intervals: method → its interval, as drawn.
        unit: what the intervals measure.
        log: whether they are drawn on a log scale.
        reason: figures in words, where the intervals do not tell all.
    """

    place: str
    holds: bool
    intervals: dict[str, Interval]
    unit: str
    log: bool = False
    reason: str = ""


Test = Callable[[Group, str], Evidence | None]


@dataclass(frozen=True)
class Claim:
    """A claim, its rule in words, and the rule.

    Attributes:
        name: short, for links and file names.
        text: the claim.
        rule: what is tested, where.
        every: whether the rule must hold on every tested setting, or on one.
        test: the evidence of a setting; None where it cannot be tested.
        needs: what must be run for it, shown if nothing was tested.
        ours: whether the claim is ours rather than the paper's.
    """

    name: str
    text: str
    rule: str
    every: bool
    test: Test
    needs: str
    ours: bool = False


@dataclass(frozen=True)
class Verdict:
    """The outcome: "shown", "not shown" or "not tested", and the evidence for it."""

    claim: Claim
    word: str
    evidence: tuple[Evidence, ...]

    @property
    def count(self) -> str:
        """On how many settings the rule holds."""
        if not self.evidence:
            return f"needs {self.claim.needs}"
        some = "settings" if len(self.evidence) > 1 else "setting"
        return f"holds on {sum(one.holds for one in self.evidence)} of {len(self.evidence)} {some}"


def judge(groups: Sequence[Group]) -> list[Verdict]:
    """Every claim with its verdict over all groups."""
    verdicts = []
    for claim in CLAIMS:
        found = tuple(
            dataclasses.replace(one, place=f"{group.name}: {setting}" if len(groups) > 1 else setting)
            for group in groups
            for setting in group.settings
            if (one := claim.test(group, setting)) is not None
        )
        holds = [one.holds for one in found]
        word = "not tested" if not found else "shown" if (all if claim.every else any)(holds) else "not shown"
        verdicts.append(Verdict(claim, word, found))
    return verdicts


def _intervals(group: Group, setting: str, metric: str, methods: Sequence[str]) -> dict[str, Interval]:
    """Methods with an interval: at least two runs, all finite."""
    found: dict[str, Interval] = {}
    for method in methods:
        row = group.row(setting, method)
        interval = row.interval(metric) if row else None
        if interval is not None and np.isfinite(interval.low):
            found[method] = interval
    return found


def _below(a: Interval, b: Interval) -> bool:
    """Whether `a` lies wholly below `b`."""
    # Stricter than a test of the difference at the same level: intervals may touch where the difference is resolved.
    return a.high < b.low


def _returning(row: Row[Digest] | None) -> bool:
    return row is not None and any(len(run.recall.recalled) for run in row.runs)


def _lasting(row: Row[Digest] | None) -> bool:
    visits = [run.longest_visit for run in row.runs] if row else []
    return bool(visits) and float(np.median(visits)) >= LASTING  # NaN, an unknown truth, compares as False


def _returns(setting: str, holds: bool, found: dict[str, Interval], reason: str = "") -> Evidence:
    return Evidence(setting, holds, found, "return per 1,000 steps", reason=reason)


def _needed(group: Group, setting: str) -> Evidence | None:
    adaptive = [method.name for method in TABLE if method.adapts]
    found = _intervals(group, setting, RETURN, (*adaptive, "supervised"))
    adapting = [interval for name, interval in found.items() if name != "supervised"]
    if "supervised" not in found or not adapting:
        return None
    return _returns(setting, any(_below(found["supervised"], one) for one in adapting), found)


def _insufficient(group: Group, setting: str) -> Evidence | None:
    methods = ("mole", "continuous", "kshot")
    errors, returns = (_intervals(group, setting, metric, methods) for metric in (ERROR, RETURN))
    if len(errors) < 3 or len(returns) < 3:
        return None
    # The claim is about the error; the returns must only not contradict it.
    better = [_below(errors[name], errors["kshot"]) for name in ("mole", "continuous")]
    worse = [_below(returns[name], returns["kshot"]) for name in ("mole", "continuous")]
    unit = "one-step error"
    return Evidence(setting, all(better) and not any(worse), errors, unit, log=True)


def _detrimental(group: Group, setting: str) -> Evidence | None:
    found = _intervals(group, setting, RETURN, ("mole", "kshot", "continuous"))
    if "continuous" not in found or len(found) < 2 or not _returning(group.row(setting, "continuous")):
        return None
    others = [one for name, one in found.items() if name != "continuous"]
    return _returns(setting, all(_below(found["continuous"], one) for one in others), found)


def _both(mixture: str, delay: float) -> Test:
    def test(group: Group, setting: str) -> Evidence | None:
        row = group.row(setting, mixture)
        found = _intervals(group, setting, RETURN, (mixture, "kshot", "continuous", "supervised-sgd"))
        if row is None or mixture not in found or len(found) < 2 or not _returning(row):
            return None
        hits, returns, delays = row.recalls
        # Where nothing was recalled, the delay is infinite and not short.
        middle = float(np.median(delays)) if delays.size else float("inf")
        ahead = all(_below(one, found[mixture]) for name, one in found.items() if name != mixture)
        holds = ahead and hits >= RECALLED * returns and middle <= delay
        return _returns(
            setting, holds, found, f"{hits} of {returns} returns recalled, median delay {middle:g}"
        )

    return test


def _both_rule(name: str, delay: float) -> str:
    return (
        f"On every setting where tasks return: {name} return lies wholly above those of k-shot, continuous adaptation "
        f"and online SGD; at least {100 * RECALLED:.0f} % of the returns are recalled, the median within {delay:g} "
        "steps."
    )


def _equal(group: Group, setting: str) -> Evidence | None:
    mole = group.row(setting, "mole")
    found = _intervals(group, setting, RETURN, ("mole", "continuous"))
    if mole is None or len(found) < 2 or not _lasting(mole):
        return None
    tasks = float(np.median(mole.figures["tasks_at_end"]))
    # Ten seeds cannot show that two returns are equal, only that one is not below the other.
    holds = found["mole"].value >= found["continuous"].low and tasks <= FEW
    return _returns(setting, holds, found, f"median {tasks:g} tasks at the end")


def _near(group: Group, setting: str) -> Evidence | None:
    found = _intervals(group, setting, RETURN, ("mole", "oracle"))
    # A share of no return, or of a negative one, means nothing.
    if len(found) < 2 or found["oracle"].value <= 0 or not _returning(group.row(setting, "mole")):
        return None
    share = found["mole"].value / found["oracle"].value
    return _returns(setting, share >= NEAR, found, f"{100 * share:.0f} % of the oracle's")


CLAIMS = (
    Claim(
        "adaptation-needed",
        "Adaptation is needed.",
        "On every setting: the 95 % interval of the supervised model's return lies wholly below that of at least one "
        "method that adapts a meta-trained prior.",
        True,
        _needed,
        "supervised and a method that adapts, two seeds or more",
    ),
    Claim(
        "k-shot-insufficient",
        "k-shot adaptation can be insufficient.",
        "On at least one setting: the one-step errors of mole and of continuous adaptation lie wholly below k-shot's, "
        "and neither return wholly below its.",
        False,
        _insufficient,
        "mole, continuous and kshot, two seeds or more",
    ),
    Claim(
        "continuous-detrimental",
        "Continuous adaptation can be detrimental.",
        "On every setting where tasks return: the return of continuous adaptation lies wholly below those of mole and "
        "of k-shot, which start from the same prior.",
        True,
        _detrimental,
        "continuous with mole or kshot on a setting where tasks return",
    ),
    Claim(
        "mixture-recalls",
        "The mixture has both, and recalls.",
        _both_rule("mole's", DELAY),
        True,
        _both("mole", DELAY),
        "mole and a baseline that adapts on a setting where tasks return",
    ),
    Claim(
        "paper-recalls",
        "The same by the paper's own rule (mole-paper).",
        _both_rule("mole-paper's", DELAY_PAPER),
        True,
        _both("mole-paper", DELAY_PAPER),
        "mole-paper and a baseline that adapts on a setting where tasks return",
    ),
    Claim(
        "one-task",
        "Where one task lasts, the mixture is as good as continuous adaptation.",
        f"On every setting where one visit fills at least {100 * LASTING:.0f} % of the run: mole's return is not below "
        f"the interval of continuous adaptation, and the median run ends with at most {FEW:g} tasks.",
        True,
        _equal,
        "mole and continuous on a setting where one task lasts",
    ),
    Claim(
        "near-oracle",
        "Knowing the task would add little.",
        f"On every setting where tasks return: mole's return is at least {100 * NEAR:.0f} % of the oracle's.",
        True,
        _near,
        "mole and oracle on a setting where tasks return",
        ours=True,
    ),
)


def places(verdict: Verdict) -> Iterator[str]:
    """One line for each tested setting: where the rule holds, and why not."""
    for one in verdict.evidence:
        yield f"{'✓' if one.holds else '✗'} {one.place}" + (f" ({one.reason})" if one.reason else "")
