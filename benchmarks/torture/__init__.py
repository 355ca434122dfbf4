"""``python -m benchmarks.torture``: kill commands at random instants, go on, and compare with what was never killed."""
