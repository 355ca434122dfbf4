"""Streams of pairs (x, y) whose truth is known, and recorded data as such streams. No learner is imported here.

- `stream`: what a stream is; `registry`: every stream by name.
- `sinusoid`, `teachers`: streams made of functions that are known; `recorded`: what river and scikit-learn bring.
- `transitions`: what happens in an environment, as pairs; `minari`: the same as data sets in Minari's format.
"""

from mole.datasets.registry import STREAMS, make_stream
from mole.datasets.sinusoid import sinusoid_stream, sinusoid_tasks
from mole.datasets.stream import Stream

__all__ = ["STREAMS", "Stream", "make_stream", "sinusoid_stream", "sinusoid_tasks"]
