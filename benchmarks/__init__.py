"""What the package costs, what it reaches beside others, and what it endures: ``python -m benchmarks.NAME``."""
