"""The two ends of `make docs`: the pages that zensical reads, and a check of what it wrote.

``python docs/build_site.py pages`` fills ``build/docs``: the pages of ``docs``, the documents of the root, a page for
every example that a page links, with what it prints if it is a tutorial, and the options of every command from its
own ``--help``.
``python docs/build_site.py finish`` makes the search of ``site`` work without a network, and fails if a link, a picture
or an anchor leads nowhere, or a page loads anything from elsewhere.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import sys
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "build" / "docs"
SITE = ROOT / "site"
DOCUMENTS = ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)")


def write_pages() -> None:
    """Fill ``build/docs`` anew."""
    shutil.rmtree(PAGES, ignore_errors=True)
    PAGES.mkdir(parents=True)
    sources = [*sorted((ROOT / "docs").glob("*.md")), *(ROOT / name for name in DOCUMENTS)]
    for source in sources:
        text = LINK.sub(lambda found, home=source.parent: staged(home / found[1]), source.read_text())
        if source.name == "command-line.md":
            text += "".join(options_of(name, text) for name, text in helps().items())
        (PAGES / source.name.lower()).write_text(text)
    for name in ("css", "js", "png", "webp"):
        for source in (ROOT / "docs").glob(f"*.{name}"):
            shutil.copy(source, PAGES)


def staged(target: Path) -> str:
    """The link to a file of the repository as a page of the site has it; what is not in docs is brought there."""
    place = Path(os.path.relpath(target, ROOT))
    if place.parts[0] == "docs" or place.name in DOCUMENTS:
        return place.name.lower()
    if place.parts[0] == "examples":
        code = target.read_text()
        shown = f"# {place}\n\n````python\n{code}````\n"  # in four backticks, should a docstring hold three
        text = tutorial(code) if code.startswith("# %%") else shown
        (PAGES / f"example-{place.stem}.md").write_text(text)
        return f"example-{place.stem}.md"
    (PAGES / place).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(target, PAGES / place)
    return place.as_posix()


def tutorial(code: str) -> str:
    """A page of a script in jupytext's percent format: its text, its code, and what each cell prints."""
    parts, space = [], {"__name__": "__main__"}
    for cell in re.split(r"^# %%", code, flags=re.MULTILINE)[1:]:
        kind, _, body = cell.partition("\n")
        if "markdown" in kind:
            quoted = body.startswith('"""')
            parts.append(body.strip().strip('"') if quoted else re.sub(r"^# ?", "", body, flags=re.MULTILINE))
            continue
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(body, "example", "exec", dont_inherit=True), space)
        parts.append(f"```python\n{body.strip()}\n```\n")
        if printed.getvalue():
            parts.append(f"```text\n{printed.getvalue()}```\n")
    return "\n".join(parts)


def helps() -> dict[str, str]:
    """What every command prints with ``--help``."""
    os.environ["COLUMNS"] = "100"  # beyond that the boxes stand side by side
    from mole.cli import COMMANDS, main  # here: the links are checked without it

    found = {}
    for name in COMMANDS:
        with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
            main([name, "--help"])
        found[name] = re.sub(r"\x1b\[[0-9;]*m", "", printed.getvalue())
    return found


def options_of(name: str, text: str) -> str:
    """A section with the options of a command, as its help lists them."""
    usage, summary, *rest = text.strip().split("\n\n", 2)
    lines = [
        f"\n## mole {name}\n",
        f"{' '.join(summary.split())}\n",
        f"`{' '.join(usage.removeprefix('usage: ').split())}`\n",
    ]
    for row in (row.rstrip() for row in "".join(rest).splitlines()):
        words = escape(row.strip().strip("-") and row.strip(), quote=False)  # no rulers
        if re.match(" [a-z]", row):  # the name of a group
            lines.append(f"\n**{words}**\n")
        elif option := re.match(r"  (?=-{1,2}\w|[\[{]|[A-Z]+(?: |$))(\S.*?)(?:  +(\S.*))?$", row):
            lines += [f"\n`{option[1]}`", f":   {escape(option[2] or '', quote=False)}"]
        elif words:  # the rest of the line above, or what is said of a whole group
            lines.append("    " * lines[-1].startswith((":", "    ")) + words)
    return "\n".join(lines) + "\n"


def localise() -> None:
    """Replace the one script that zensical takes from elsewhere, for pages opened as files, by our own."""
    for page in SITE.glob("*.html"):
        page.write_text(page.read_text().replace("https://unpkg.com/iframe-worker/shim", "worker.js"))


class Links(HTMLParser):
    """What a page refers to, and the names that can be referred to in it."""

    def __init__(self, page: Path) -> None:
        """Read `page`."""
        super().__init__()
        self.targets: list[str] = []
        self.loaded: list[str] = []
        self.names: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take down links, pictures, scripts and names."""
        for key, value in attrs:
            if value and (key == "id" or (key == "name" and tag == "a")):
                self.names.add(value)
            elif value and key in ("href", "src"):
                (self.targets if tag == "a" else self.loaded).append(value)


def broken_links() -> list[str]:
    """Every link of the site that leads nowhere, and everything that a page would load from elsewhere."""
    pages = {page: Links(page) for page in SITE.rglob("*.html")}
    found = []
    for page, links in pages.items():
        if page.name == "404.html":  # its links begin at the root of a server
            continue
        found += [f"{page.name} loads {target}" for target in links.loaded if urlsplit(target).netloc]
        for target in (*links.targets, *links.loaded):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            place = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            name = unquote(parts.fragment)
            if not place.exists() or (name and place in pages and name not in pages[place].names):
                found.append(f"{page.relative_to(SITE)}: {target}")
    return found


def main(step: str) -> int:
    """Make the pages, or check the site."""
    if step == "pages":
        write_pages()
        return 0
    localise()
    broken = broken_links()
    print("\n".join([*broken, f"{len(broken)} broken links in {len(list(SITE.rglob('*.html')))} pages"]))
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
