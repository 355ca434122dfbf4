"""The service of ``examples/serve.py``: it predicts while another thread learns, and goes on after a restart."""

from __future__ import annotations

import runpy
import threading
import time
from pathlib import Path

import pytest

for name in ("fastapi", "httpx2"):
    pytest.importorskip(name, reason=f"{name} is not installed: pip install fastapi httpx2")
testclient = pytest.importorskip("fastapi.testclient")


def test_it_predicts_while_it_learns_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app = runpy.run_path(str(Path(__file__).parents[1] / "examples/serve.py"))["app"]
    row, answers = {"load": 2.0, "valve": "open"}, []
    with testclient.TestClient(app) as client:
        assert client.post("/predict", json=row).json()["prediction"] is None
        service = app.state.service
        held = threading.Event()
        for t in range(12):
            pair = {"row": {"load": t % 4, "valve": "open"}, "target": 3.0 * (t % 4)}
            assert client.post("/learn", json=pair).status_code == 202
        deadline = time.monotonic() + 300
        while service.published.n_seen_ < 12 and time.monotonic() < deadline:
            held.wait(0.05)
        # While the model that learns is busy, as in a refit, its copy answers.
        with service.learning._lock:
            thread = threading.Thread(target=lambda: answers.append(client.post("/predict", json=row).json()))
            thread.start()
            thread.join(60)
        assert answers[0]["prediction"] == pytest.approx(6.0, abs=1.0)
        assert answers[0]["low"] < answers[0]["high"]
        assert client.post("/learn", json={"row": {"load": [1]}, "target": 1.0}).status_code == 422
        assert (
            client.post("/learn", json={"row": {}, "target": 1e300}).status_code == 202
        )  # counted, not learned
        assert client.post("/predict", json=row).json()["prediction"] == answers[0]["prediction"]
    with testclient.TestClient(app) as client:
        assert client.post("/predict", json=row).json()["prediction"] == answers[0]["prediction"]
        assert app.state.service.learning.n_seen_ == 12
