"""One change at a time in the files that matter most, and whether a test notices: `make mutants`.

A warm process forks for every mutant; the child sees the changed source in the place of the file and runs the file's
tests, those that find most first, until one fails. Results survive a stop. ``--file``, ``--sample`` and ``--workers``
choose how much.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import json
import os
import random
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from fuzz.mutant_list import Mutant, mutants_of
from fuzz.mutants_known import EQUIVALENT

__all__ = ["FILES", "main"]

ROOT = Path(__file__).parents[1]
FILES = {
    "src/mole/learning/inner.py": ("test_inner.py",),
    "src/mole/files/checkpoint.py": ("test_checkpoint.py", "test_checkpoint_damage.py"),
    "src/mole/files/checkpoint_format.py": ("test_checkpoint.py", "test_checkpoint_damage.py"),
    "src/mole/online/mole.py": (
        "test_learner_structure.py",
        "test_mixture_reference.py",
        "test_mixture.py",
        "test_online_contract.py",
        "test_capacity.py",
    ),
    "src/mole/online/settings.py": (
        "test_learners.py",
        "test_learner_structure.py",
        "test_readout_mixture.py",
    ),
    "src/mole/meta/maml.py": ("test_meta.py", "test_lowrank.py"),
}
_SECONDS = 1800  # a mutant that takes longer is counted as killed: it hangs
_WARM = (
    "numpy",
    "scipy.stats",
    "jax",
    "jax.numpy",
    "equinox",
    "optax",
    "jaxtyping",
    "beartype",
    "hypothesis",
    "pytest",
)


def _child(file: Path, source: str, tests: tuple[str, ...], log: Path) -> int:
    """Pytest's exit code under a changed source."""
    kept = importlib.machinery.SourceFileLoader.get_data

    def get_data(self: Any, path: str) -> bytes:
        here = Path(path)
        if here == file:
            return source.encode()
        if (
            here.suffix == ".pyc"
            and here.parent.parent == file.parent
            and here.name.split(".")[0] == file.stem
        ):
            raise OSError("compiled from the source that is not changed")
        return kept(self, path)

    importlib.machinery.SourceFileLoader.get_data = get_data  # type: ignore[method-assign]
    sys.dont_write_bytecode = True
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    import pytest

    options = [
        "-x",
        "-q",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-p",
        "no:randomly",
        "--no-header",
    ]
    return int(pytest.main([*options, *(str(ROOT / "tests" / name) for name in tests)]))


def _verdict(file: Path, source: str, tests: tuple[str, ...], log: Path) -> str:
    """``killed``, ``survived`` or ``hangs``, from a process of its own."""
    pid = os.fork()
    if pid == 0:
        code = 3
        try:
            code = _child(file, source, tests, log)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    began = time.monotonic()
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return "survived" if os.waitstatus_to_exitcode(status) == 0 else "killed"
        if time.monotonic() - began > _SECONDS:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return "hangs"
        time.sleep(0.05)


def _chosen(names: list[str], sample: int | None) -> list[tuple[str, Mutant]]:
    found = []
    for name in names:
        mutants = mutants_of((ROOT / name).read_text())
        if sample is not None and sample < len(mutants):
            mutants = random.Random(name).sample(mutants, sample)
        found += [(name, mutant) for mutant in mutants]
    return found


def main(argv: list[str] | None = None) -> int:
    """Try the mutants that have not been tried yet; 1 if fewer than 90 % of any file's are killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", nargs="*", default=list(FILES), choices=list(FILES))
    parser.add_argument("--sample", type=int, help="so many mutants of each file, always the same ones")
    parser.add_argument(
        "--share", default="1/1", help="I/N: every N-th mutant from the I-th on, for several processes"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/mutants"))
    parser.add_argument("--list", action="store_true", help="say what would be tried")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    chosen = _chosen(options.file, options.sample)
    if options.list:
        print("\n".join(f"{name}  {mutant.key}" for name, mutant in chosen))
        return 0
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str((options.out / "jax").resolve()))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.05")
    warnings.simplefilter("ignore")
    for name in _WARM:
        __import__(name)
    part, parts = map(int, options.share.split("/"))
    for name in options.file:  # tests that fail without a change would kill every mutant
        if not (options.out / f"{Path(name).stem}.sound").exists():
            log = options.out / f"unchanged-{Path(name).stem}.log"
            if _verdict(ROOT / name, (ROOT / name).read_text(), FILES[name], log) != "survived":
                raise SystemExit(f"the tests of {name} fail without a change: see {log}")
            (options.out / f"{Path(name).stem}.sound").touch()
    for name, mutant in chosen[part - 1 :: parts]:
        result = options.out / f"{Path(name).stem}-{mutant.digest}.json"
        if result.exists():
            continue
        verdict = _verdict(ROOT / name, mutant.source, FILES[name], result.with_suffix(f".{os.getpid()}.log"))
        result.write_text(json.dumps({"file": name, "key": mutant.key, "verdict": verdict}))
        result.with_suffix(f".{os.getpid()}.log").unlink(missing_ok=True)
        print(f"{verdict:9} {name} {mutant.key}", flush=True)
    return _report(options.out, chosen)


def _report(folder: Path, chosen: list[tuple[str, Mutant]]) -> int:
    worst = 1.0
    for name in dict.fromkeys(name for name, _ in chosen):
        counts: Counter[str] = Counter()
        for mutant in (mutant for owner, mutant in chosen if owner == name):
            path = folder / f"{Path(name).stem}-{mutant.digest}.json"
            verdict = json.loads(path.read_text())["verdict"] if path.exists() else "not tried"
            counts[verdict] += 1
            if verdict == "survived":
                print(f"survived  {name} {mutant.key}: {EQUIVALENT.get(mutant.key, 'NO REASON KNOWN')}")
        tried = sum(counts.values()) - counts["not tried"]
        killed = counts["killed"] + counts["hangs"]
        share = killed / tried if tried else 0.0
        worst = min(worst, share)
        print(f"{name}: {killed} of {tried} killed ({100 * share:.1f} %), {counts['not tried']} not tried")
    return int(worst < 0.9)


if __name__ == "__main__":
    raise SystemExit(main())
