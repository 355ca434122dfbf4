"""One token for all clusters of these tests, in a private temporary folder, and one cluster of three nodes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks.chaos import private_token, small_cluster

# Before Ray is imported: else it would put a token into the home folder.
_FOLDER = tempfile.TemporaryDirectory(prefix="mole-test-")
private_token(Path(_FOLDER.name))
# As everywhere on a cluster, the modules of the caller must be importable on its machines.
_ROOT = Path(__file__).parents[2]
os.environ["PYTHONPATH"] = os.pathsep.join(map(str, (_ROOT, _ROOT / "tests", _ROOT / "tests/distributed")))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    made = small_cluster()
    yield made
    made.shutdown()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Nodes of a test cluster are started by a fork, after JAX: they are other programs at once.
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(r"ignore:os.fork\(\) was called:RuntimeWarning"))
