"""Streams of pairs with their ground truth, and rows of any data as numbers. No learner is imported here."""

from mole.datasets.registry import STREAMS, make_stream
from mole.datasets.sinusoid import sinusoid_stream, sinusoid_tasks
from mole.datasets.stream import Stream

__all__ = ["STREAMS", "Stream", "make_stream", "sinusoid_stream", "sinusoid_tasks"]
