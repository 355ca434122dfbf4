"""A few hundred hostile files for every reader; `make fuzz` has a million."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fuzz.attempt import Finding, attempt
from fuzz.run import input_number
from fuzz.seeds import write_seeds
from fuzz.targets import TARGETS, Target

from mole.files.checkpoint import CheckpointError

ROOT = Path(__file__).parents[1]


def test_hostile_files_are_refused_or_harmless(tmp_path: Path) -> None:
    """In a process of its own: here the check of annotations compiles code as it goes, which the watch would tell."""
    command = [sys.executable, "-m", "fuzz.run", "--inputs", "600", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].endswith(" inputs, 0 findings")
    counts = {line.split()[0]: line.split() for line in done.stdout.splitlines() if " refused " in line}
    assert set(counts) == set(TARGETS)
    for name, line in counts.items():
        refused, inputs = line[line.index("refused") - 1], line[line.index("inputs") - 1]
        assert name == "jsonl" or int(inputs) < 20 or int(refused) > 0  # there wrong rows are told one by one


def test_input_numbers_stay_what_they_are(tmp_path: Path) -> None:
    seeds = write_seeds(tmp_path, {"csv"})["csv"]
    assert input_number("csv", 7, seeds) == input_number("csv", 7, seeds) != input_number("csv", 8, seeds)


def _does(what: object) -> Target:
    def read(_: Path) -> None:
        if isinstance(what, Exception):
            raise what
        exec(str(what), {})

    return Target(read, lambda data, _: data, ".x", 1.0, (CheckpointError,))


@pytest.mark.parametrize(
    ("what", "text"),
    [
        (KeyError("offset"), "KeyError"),
        (CheckpointError("a text that is long enough, raised by somebody else"), "no refusal of ours"),
        ("import os; os.system('true')", "os.system"),
        ("open('/etc/hostname').read()", "open '/etc/hostname'"),
        ("import pickle; pickle.loads(b'cbuiltins\\nlen\\n.')", "pickle.find_class"),
    ],
)
def test_a_reader_that_does_harm_is_found(what: object, text: str, tmp_path: Path) -> None:
    with pytest.raises(Finding, match=text):
        attempt(_does(what), b"", tmp_path)
