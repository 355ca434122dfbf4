"""``python -m benchmarks.streams``: every method on the same streams, each predicting before it learns."""
