"""Streams of pairs with their ground truth, and rows of any data as numbers. No learner is imported here."""

from mole.streams.registry import STREAMS, make_stream
from mole.streams.sinusoid import sinusoid_stream, sinusoid_tasks
from mole.streams.stream import Stream

__all__ = ["STREAMS", "Stream", "make_stream", "sinusoid_stream", "sinusoid_tasks"]
