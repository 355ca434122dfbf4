"""The first screen of a suite's report: what was claimed, what was shown, and by what rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from mole.report import suite_figures
from mole.report.claims import Verdict, places
from mole.report.digest import Found
from mole.report.groups import Group
from mole.report.page import Figures

__all__ = ["claim_cards", "first_screen"]

_CLASS = {"shown": "yes", "not shown": "no", "not tested": "open"}


def first_screen(title: str, groups: Sequence[Group], found: Found, verdicts: Sequence[Verdict]) -> str:
    """Heading, what the page is about, and a line for every claim with its verdict."""
    paper = [verdict for verdict in verdicts if not verdict.claim.ours]
    shown = sum(verdict.word == "shown" for verdict in paper)
    failed = sum(not run.meta["complete"] for run in found.runs)
    cells = {(group.name, row.schedule) for group in groups for row in group.rows}
    about = (
        f"{len(found.runs):,} runs in {len(cells)} settings"
        + (f" of {len(groups)} groups" if len(groups) > 1 else "")
        + (f"; {failed} did not finish" if failed else "")
        + "."
    )
    lines = "".join(
        f'<li><a href="#{escape(v.claim.name)}">{escape(v.claim.text)}</a> {_badge(v)}'
        f"<small>{escape(v.count)}{' · ours' if v.claim.ours else ''}</small></li>"
        for v in verdicts
    )
    links = " · ".join(
        f'<a href="#family-{number}">{escape(group.title)}</a>' for number, group in enumerate(groups)
    )
    return (
        f'<header><p class="kicker">mole · a report</p><h1>{escape(title)}</h1>'
        f'<p class="lede">{shown} of the paper’s {len(paper)} claims shown. {escape(about)}</p>'
        '<p class="note">Verdicts are computed from the records by the rules below. Here mole is our rule, and '
        "mole-paper the paper’s.</p>"
        f'<ul class="claims">{lines}</ul>'
        f'<nav class="note">Results: {links} · <a href="#made">how this was made</a></nav></header>'
    )


def _badge(verdict: Verdict) -> str:
    return f'<span class="badge {_CLASS[verdict.word]}">{escape(verdict.word)}</span>'


def claim_cards(verdicts: Sequence[Verdict], drawing: Figures, colours: Mapping[str, str]) -> str:
    """A card for every claim: verdict, rule, figure, and the settings one by one."""
    parts = ["<h2>Claims</h2>"]
    for verdict in verdicts:
        claim = verdict.claim
        body = (
            f'<div class="card" id="{escape(claim.name)}"><h3>{escape(claim.text)} {_badge(verdict)}</h3>'
            f'<p class="note">Rule: {escape(claim.rule)} Here: {escape(verdict.count)}.</p>'
        )
        if verdict.evidence:
            body += drawing.pictures(
                f"{claim.text} {verdict.count}",
                lambda width, v=verdict: suite_figures.evidence(v.evidence, width=width, colours=colours),
                f"claim-{claim.name}",
            )
            items = "".join(f"<li>{escape(line)}</li>" for line in places(verdict))
            body += f'<details><summary>Setting by setting</summary><ul class="more">{items}</ul></details>'
        parts.append(body + "</div>")
    return "\n".join(parts)
