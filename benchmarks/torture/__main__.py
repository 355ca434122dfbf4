"""Run as a program only: the environment variables must be there before JAX is imported."""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    out = Path(sys.argv[sys.argv.index("--out") + 1] if "--out" in sys.argv else "runs/torture").resolve()
    # Everything that was compiled once is there for the next process, so that little of a run is its start.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(out / "cache")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    from benchmarks.torture.main import main

    sys.exit(main())
