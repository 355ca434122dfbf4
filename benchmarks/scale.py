"""What Ray costs on this machine, and what a model makes of it for more keys and cores.

    .venv-ray/bin/python -m benchmarks.scale            # measures, and writes results/scale/measured.json
    .venv-ray/bin/python -m benchmarks.scale --model    # the table, from that file

Measured with the shard of `benchmarks.keyed`, which does almost nothing, so that what is left is ours and Ray's:
rows a second with one and two actors, the driver alone, a synchronous call, bytes of a row, and a commit.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.keyed import Sums, make_sums, rows_of

RESULT = Path("results/scale/measured.json")
KEYS, SHARDS = 500, 64
# Assumed, not measured here: rows a second of one core that learns (half of the target for a keyed fleet on two cores),
# bytes of a key's state, and bytes a second of a network (10 Gbit/s) and of a shared disk. Replace them by your own.
LEARNER_ROWS, STATE_BYTES, NETWORK, DISK = 7_500.0, 100_000, 1.25e9, 2e8
LONGEST = 60.0  # seconds: a commit that takes longer is where the model ends, since all rows of it are in the driver


def per(what: Any, count: int) -> float:
    start = time.perf_counter()
    what()
    return (time.perf_counter() - start) / count


def measured(rows: int, rounds: int) -> dict[str, float]:
    from mole.distributed import cluster, run, shard_of

    data = list(rows_of(rows, KEYS))
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    with cluster.joined(None, 2) as ray:
        from ray import cloudpickle

        work = [(0, list(range(1000)), data[:1000])]
        note("bytes_per_row", len(cloudpickle.dumps(work)) / 1000)
        one = ray.remote(num_cpus=0)(Echo).remote()
        ray.get(one.empty.remote())
        for _ in range(rounds):
            note("hash_seconds", per(lambda: [shard_of(f"k{n}", 64) for n in range(10_000)], 10_000))
            note("shard_seconds", per(lambda: Sums().step(data[:10_000]), 10_000))
            note("call_seconds", per(lambda: [ray.get(one.empty.remote()) for _ in range(300)], 300))
            note("piped_call_seconds", per(lambda: ray.get([one.empty.remote() for _ in range(300)]), 300))
            for actors in (1, 2):
                with tempfile.TemporaryDirectory() as folder:
                    seconds = flow(run, data, folder, actors)
                note(f"rows_per_second_{actors}", rows / seconds)
        with tempfile.TemporaryDirectory() as folder:
            for name in ("shards", "outputs"):
                Path(folder, name).mkdir()
            note("commit_seconds_per_shard", commit_cost(Path(folder)))
    return {name: sorted(values)[len(values) // 2] for name, values in found.items()}


class Echo:
    def empty(self) -> None:
        return None


def flow(run: Any, data: list[Any], folder: str, actors: int) -> float:
    """Seconds from the first row to the last commit, without the time in which the actors are started."""
    begun = [0.0]

    def source(start: int) -> Any:
        # Rows come when all shards are held, as the locks in the folder say.
        while len(list(Path(folder, "shards").glob(".*.lock"))) < SHARDS:
            yield None
            time.sleep(0.01)
        begun[0] = time.perf_counter()
        yield from data

    run(source, make_shard=make_sums, key="key", folder=folder, shards=SHARDS, actors=actors)
    return time.perf_counter() - begun[0]


def commit_cost(folder: Path) -> float:
    from mole.distributed.holder import Holder

    holder = Holder(folder, SHARDS, make_sums)
    ticket = holder.attach(range(SHARDS)).ticket
    row = {"key": "k", "x": 1.0}
    seconds = []
    for number in range(5):
        holder.step(ticket, [(shard, [number], [row]) for shard in range(SHARDS)])
        seconds.append(per(lambda: holder.commit(ticket), SHARDS))
    holder.release()
    return sorted(seconds)[2]


def model(m: dict[str, float]) -> list[str]:
    """Rows a second of a cluster: the least of what its parts can do; and where that ends."""
    driver = max(m["rows_per_second_1"], m["rows_per_second_2"])  # here it shares two cores with the actors
    lines = [
        "| keys | state, GB | a commit of all, s | 2 cores, rows/s | 20 cores, rows/s | 200 cores, rows/s |",
        "|---|---|---|---|---|---|",
    ]
    for keys in (10**3, 10**4, 10**5, 10**6, 10**7):
        state, cells = keys * STATE_BYTES, list[str]()
        for cores in (2, 20, 200):
            limits = {
                "learners": LEARNER_ROWS * cores,
                "driver": driver,
                "network": NETWORK / m["bytes_per_row"],
            }
            least = min(limits, key=lambda name: limits[name])
            cells.append(f"{limits[least]:,.0f} ({least})")
        commit = state / DISK + m["commit_seconds_per_shard"] * SHARDS / 2
        told = [f"{commit:,.1f}", *cells] if commit <= LONGEST else [f"{commit:,.0f}: ends here", *["–"] * 3]
        lines.append(f"| {keys:,} | {state / 1e9:,.1f} | " + " | ".join(told) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", action="store_true")
    args = parser.parse_args()
    if not args.model:
        RESULT.parent.mkdir(parents=True, exist_ok=True)
        load = os.getloadavg()[0]
        result = measured(args.rows, args.rounds) | {"load_before": load, "cores": os.cpu_count() or 1}
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
        print(RESULT.read_text())
    print("\n".join(model(json.loads(RESULT.read_text()))))


if __name__ == "__main__":
    main()
