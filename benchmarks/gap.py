"""Why a learner earns less than the simulator would: ``python -m benchmarks.gap motors --steps 300``.

One table of the evidence and what it points to, and the same as JSON. The simulator's runs cost most: a planner of
3 x 100 plans of 10 steps takes 80 ms a control step on the half-cheetah and 250 ms on the crawler, four times the
samples four times that.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.gap_evidence import BUDGETS, GapConfig, measure_gap
from mole.experiment.families import FAMILIES
from mole.experiment.learners import settings_for
from mole.priors.shipped import control_files


def number(value: float | None) -> str:
    """Three digits, or a dash where it is undefined."""
    return "–" if value is None else f"{value:.3f}"


def table(found: dict[str, Any]) -> Table:
    """The evidence, one line each."""
    verdict, plans = found["verdict"], found["plans"]
    learner, simulator = found["returns"].values()
    method = next(iter(found["returns"]))
    shown = Table(
        "evidence", method, "simulator", title=f"{found['config']['env']}, {found['config']['schedule']}"
    )
    for budget in learner:
        row = (f"{np.mean(of[budget]):.0f}" for of in (learner, simulator))
        shown.add_row(f"return per 1,000 steps, planner {budget}", *row)
    shown.add_section()
    shown.add_row(
        "its plan's return, by the model", *(f"{plans[f'{w}_believed']:.2f}" for w in ("own", "simulators"))
    )
    shown.add_row(
        "its plan's return, in truth", *(f"{plans[f'{w}_actual']:.2f}" for w in ("own", "simulators"))
    )
    shown.add_row("the model agrees that the simulator's is better", f"{plans['not_found']:.0%}", "")
    shown.add_section()
    runs = [found["unexplained"][place] for place in ("own run", "simulator's run")]
    for h in sorted({1, len(runs[0]) // 2, len(runs[0])} - {0}):
        name = f"movement missed by the model after {h} step{'s' if h > 1 else ''} of the run"
        shown.add_row(name, *(number(values[h - 1]) for values in runs))
    own = found["unexplained"]["own plans"]
    shown.add_row(f"and of its own plans, after {len(own)}", number(own[-1]), "")
    shown.add_row("one-step error", *(f"{found['loss'][place]:.3f}" for place in ("own", "simulator")))
    shown.add_section()
    second = found["second_half"]
    shown.add_row("return per 1,000 steps, second half", f"{second['own']:.0f}", f"{second['simulator']:.0f}")
    shown.add_row("the same, taking over from the simulator there", f"{second['taken_over']:.0f}", "")
    shown.caption = (
        f"Gap {verdict['gap']:.0f} ({number(verdict['share_of_simulator'])} of the simulator's return). "
        f"A larger planner closes {number(verdict['search'])} of it; the learner's plans lose "
        f"{number(verdict['regret'])} of it within their horizon; where the simulator goes the model misses "
        f"{number(verdict['unseen'])} times as much; put there, the learner holds {number(verdict['held'])} of it. "
        f"This points to: {', '.join(verdict['points_to']) or 'none of the three'}."
    )
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("family", choices=list(FAMILIES))
    parser.add_argument("--setting", help="name of a test setting; the family's first with returning tasks")
    parser.add_argument("--schedule", help="a schedule in the place of a setting")
    parser.add_argument("--method", default="oracle")
    parser.add_argument(
        "--prior", type=Path, help="prior.mole, supervised.mole of the same data beside it; the shipped ones"
    )
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--every", type=int, default=10, help="steps between compared plans")
    parser.add_argument("--budgets", nargs="+", default=list(BUDGETS), help=f"some of {', '.join(BUDGETS)}")
    parser.add_argument("--out", type=Path, default=Path("runs/gap"), help="folder for the JSON")
    args = parser.parse_args()
    family, console = FAMILIES[args.family], Console()
    setting = args.setting or next(iter(family.returning or family.settings))
    prior, supervised = (
        (args.prior, args.prior.with_name("supervised.mole")) if args.prior else control_files(family.name)
    )
    config = GapConfig(
        family.env,
        prior,
        supervised,
        args.schedule or family.settings[setting],
        method=args.method,
        planner=family.planner,
        settings=settings_for(args.method, family.tuned),
        steps=args.steps,
        seeds=tuple(range(args.seeds)),
        every=args.every,
        budgets=tuple(args.budgets),
    )
    found = measure_gap(config, on_run=lambda name: console.print(f"[dim]{name}[/dim]"))
    console.print(table(found))
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"{args.family}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    console.print(f"written: {path}")


if __name__ == "__main__":
    main()
