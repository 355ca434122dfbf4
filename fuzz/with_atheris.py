"""The readers under Atheris, which follows the coverage of the package's own code.

``python -m fuzz.with_atheris``: every reader in a process of its own, since the engine never returns; counts go to
runs/fuzz. Without Atheris (it has wheels for few Pythons) one line says so.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

__all__ = ["main"]

READERS = ("header", "checkpoint", "estimator-young", "record", "stretches", "csv", "jsonl", "claim")


def main(argv: list[str] | None = None) -> int:
    """Every reader in turn, or one of them here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=5000, help="files for every reader")
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"))
    parser.add_argument("--reader", choices=READERS, help="this one, in this process")
    options = parser.parse_args(argv)
    if find_spec("atheris") is None:
        print("atheris is not installed: this engine is left out (pip install atheris)")
        return 0
    if options.reader:
        _fuzz(options.reader, options.inputs, options.out)
    path = options.out / "atheris.json"
    counts: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    for name in READERS:
        if counts.get(name, 0) < options.inputs:
            command = [
                sys.executable,
                "-m",
                "fuzz.with_atheris",
                "--reader",
                name,
                "--inputs",
                str(options.inputs),
            ]
            done = subprocess.run(
                [*command, "--out", str(options.out)], capture_output=True, text=True, check=False
            )
            if done.returncode:
                print(done.stderr[-4000:])
                print(f"{name}: a finding; the file is beside this one, crash-*")
                return 1
            counts[name] = int((options.out / f"atheris-{name}").read_text())
            path.write_text(json.dumps(counts, indent=1) + "\n")
        print(f"{name:16} {counts[name]:,} inputs by Atheris", flush=True)
    print(f"{sum(counts.values()):,} inputs by Atheris, no finding")
    return 0


def _fuzz(name: str, inputs: int, out: Path) -> None:
    import atheris  # pyright: ignore[reportMissingImports]

    with atheris.instrument_imports(include=["mole"]):
        from fuzz.attempt import attempt, warm_up, work_folder
        from fuzz.seeds import write_seeds
        from fuzz.targets import TARGETS
    target, folder = TARGETS[name], work_folder()
    (seed,) = write_seeds(out / "seeds", {name})[name]
    corpus = folder / "corpus"
    corpus.mkdir()
    (corpus / "seed").write_bytes(seed)
    warm_up(target, [seed], folder)
    done = 0

    def one(data: bytes) -> None:
        nonlocal done
        attempt(target, data, folder)
        done += 1
        if done % 500 == 0 or done >= inputs:
            (out / f"atheris-{name}").write_text(str(done))

    def mutator(data: bytes, limit: int, number: int) -> bytes:
        rng = random.Random(number)
        if rng.random() < 0.3:
            return atheris.Mutate(data, limit)
        try:
            return target.mutate(data or seed, rng)[:limit]
        except Exception:  # what is damaged already cannot be taken apart as a valid file can
            return atheris.Mutate(data, limit)

    options = [f"-runs={inputs + 10}", "-max_len=65536", "-verbosity=0", "-rss_limit_mb=4096"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one, custom_mutator=mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    raise SystemExit(main())
