"""Run as a program only: what is set here before JAX starts would change the numbers of whoever imports it."""

import os

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")  # small networks: one core is faster

from benchmarks.streams.main import main

if __name__ == "__main__":
    main()
