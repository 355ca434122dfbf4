"""`make docs` without the generator: every page has its place, and what must fail the build is found."""

from __future__ import annotations

import runpy
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
HELP = """usage: mole it [-h] [--loud] FILE

Does it.

 options
 ------------------------
  the options of all.
 ------------------------
  -h, --help    show this help message and exit
  --title STR   text with <b>, and so
                much more. (default: a)
"""


@pytest.fixture(scope="module")
def build() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs/build_site.py"))


def pages(nav: Any) -> Iterator[str]:
    for one in nav if isinstance(nav, list) else nav.values():
        if isinstance(one, str):
            yield one
        else:
            yield from pages(one)


def test_every_page_is_in_the_navigation_once() -> None:
    listed = list(pages(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]))
    written = [path.name for path in (ROOT / "docs").glob("*.md")]
    written += [
        f"example-{path.stem}.md" for path in (ROOT / "examples").glob("*.py") if "# %%" in path.read_text()
    ]
    assert sorted(listed) == sorted([*written, "contributing.md", "security.md", "changelog.md"])


def test_the_options_of_a_command_are_a_list(build: dict[str, Any]) -> None:
    lines = [line for line in build["options_of"]("it", HELP).splitlines() if line]
    assert lines[:5] == [
        "## mole it",
        "Does it.",
        "`mole it [-h] [--loud] FILE`",
        "**options**",
        "the options of all.",
    ]
    assert lines[5:7] == ["`-h, --help`", ":   show this help message and exit"]
    assert lines[7:] == ["`--title STR`", ":   text with &lt;b&gt;, and so", "    much more. (default: a)"]


def test_a_tutorial_has_its_text_its_code_and_what_it_prints(build: dict[str, Any]) -> None:
    code = '# %% [markdown]\n"""\n# Title\n"""\n\n# %%\nx = 1\n\n# %% [markdown]\n# Twice x:\n\n# %%\nprint(2 * x)\n'
    lines = [line for line in build["tutorial"](code).splitlines() if line]
    assert lines[:5] == ["# Title", "```python", "x = 1", "```", "Twice x:"]
    assert lines[5:] == ["```python", "print(2 * x)", "```", "```text", "2", "```"]


def test_links_that_lead_nowhere_are_found(build: dict[str, Any], tmp_path: Path) -> None:
    build["broken_links"].__globals__["SITE"] = tmp_path
    (tmp_path / "a.html").write_text(
        '<a href="b.html#there"><a href="b.html#gone"><a href="c.html"><a href="#x">'
    )
    (tmp_path / "b.html").write_text(
        '<p id="there"><a href="https://example.org"><script src="https://example.org/x.js">'
    )
    assert sorted(build["broken_links"]()) == [
        "a.html: #x",
        "a.html: b.html#gone",
        "a.html: c.html",
        "b.html loads https://example.org/x.js",
    ]
