"""Known vulnerabilities in the pinned packages: `make audit`, a part of `make check`.

Fails for a finding. Where the index cannot be reached it says so in one line, and does not fail.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

__all__ = ["judged", "main"]

ROOT = Path(__file__).parents[1]
TOOL = ROOT / ".venv-audit"  # of its own: what it needs is no part of the tested environment
PINNED = ("constraints.txt", "constraints-peers.txt", "constraints-ns-gym.txt", "constraints-ray.txt")
_SECONDS = 120


def main() -> int:
    """1 if a pinned package is known to be vulnerable."""
    python = TOOL / "bin" / "python"
    try:
        if not (TOOL / "bin" / "pip-audit").exists():
            venv.create(TOOL, with_pip=True)
            _run(
                [
                    str(python),
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    "pip-audit>=2.9",
                ]
            )
    except (subprocess.SubprocessError, OSError) as error:
        print(f"audit: left out, pip-audit cannot be installed: {_line(str(error))}")
        return 0
    code = 0
    for name in PINNED:
        options = [
            "--no-deps",
            "--disable-pip",
            "--progress-spinner",
            "off",
            "--format",
            "json",
            "--timeout",
            "10",
        ]
        done = subprocess.run(
            [str(python), "-m", "pip_audit", *options, "-r", str(ROOT / name)],
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        found, text = judged(name, done.returncode, done.stdout, done.stderr)
        print(text)
        code = max(code, found)
    return code


def judged(name: str, code: int, out: str, err: str) -> tuple[int, str]:
    """1 and what is vulnerable, or 0 and that nothing is, or that it could not be found out."""
    try:
        packages = json.loads(out)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return 0, f"audit: {name} left out, the index of vulnerabilities cannot be reached ({_line(err)})"
    known = [(p["name"], p["version"], bug) for p in packages for bug in p.get("vulns", [])]
    if not known:
        return 0, f"audit: {name}: {len(packages)} packages, none known to be vulnerable"
    lines = [
        f"  {p} {version}: {bug['id']}, fixed in {bug['fix_versions'] or 'no version'}"
        for p, version, bug in known
    ]
    return 1, "\n".join([f"audit: {name}: {len(known)} known vulnerabilities; raise the pins", *lines])


def _run(command: Sequence[str]) -> None:
    try:
        subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True)
    except subprocess.CalledProcessError as error:
        raise OSError(_line(error.stderr)) from error


def _line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if "rror" in line] or [text.strip()]
    return lines[-1][:200]


if __name__ == "__main__":
    sys.exit(main())
