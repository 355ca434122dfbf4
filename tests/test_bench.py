"""The benchmark's own parts: interleaved rounds, ratios, and the pipes to other libraries."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks import peer_client
from benchmarks.timing import Remote, Skipped, Spread, interleaved, row


def test_a_ratio_is_taken_round_by_round():
    """Twice as slow in every round is a ratio of exactly two, however much the rounds differ."""
    reference = np.array([1.0, 5.0, 2.0, 9.0, 3.0])
    found = row("g", "ours", 2.0 * reference, "theirs", reference, limit=("products", 0.5 * reference))
    assert found.ratio == Spread(2.0, 2.0, 2.0, 2.0, 2.0)
    assert found.reached is not None and found.reached.median == 0.25
    assert found.limit_ms == 1500.0 and found.ms.median == 6000.0


def test_rounds_alternate_their_order_and_ask_others_for_their_own_time():
    calls = []
    remote = Remote(lambda: calls.append("b") or 7.0)
    seconds = interleaved([lambda: calls.append("a"), remote], rounds=4, warm_up=1)
    assert (seconds[1] == 7.0).all() and (seconds[0] < 1.0).all()
    once = re.sub("a+", "a", "".join(calls))  # what is quick is called several times in a row
    assert once.endswith("babbab")  # b a, a b, b a, a b


def test_a_peer_is_timed_in_its_own_process_and_an_absent_one_is_a_line(monkeypatch):
    """The development environment stands in for that of the peers: river is there, deep-river is not."""
    monkeypatch.setattr(peer_client, "PYTHON", Path(sys.executable))
    pairs = [([0.1 * i], float(i % 2)) for i in range(20)]
    peers = peer_client.Peers()
    try:
        asked = [
            ("trees", "streams.hoeffding", {"pairs": pairs}),
            ("nets", "streams.deep_river", {"pairs": pairs, "width": 4, "depth": 1}),
        ]
        there, skipped = peer_client.prepared(peers, "streams", asked)
        assert skipped == [Skipped("streams", "nets", "No module named 'deep_river'")]
        ((name, remote),) = there
        assert name.startswith("trees (river ") and "rmse" in name
        assert 0.0 < remote.seconds() < 1.0
        assert peers.peak_mb() > 10.0
    finally:
        peers.close()


def test_without_an_environment_of_peers_their_rows_are_skipped(monkeypatch, tmp_path):
    monkeypatch.setattr(peer_client, "PYTHON", tmp_path / "python")
    with pytest.raises(peer_client.Absent, match="make bench-peers installs the peers"):
        peer_client.Peers()
    there, skipped = peer_client.prepared(None, "meta", [("torchopt", "torch_meta.torchopt", {})])
    assert there == [] and skipped == [Skipped("meta", "torchopt", peer_client.NO_PEERS)]
