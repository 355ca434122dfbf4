"""Experiments: configuration, runs, metrics and statistics."""
