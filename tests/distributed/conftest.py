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
# Workers run what users run: without the checks of annotations, and compiled as in the other tests.
os.environ["PYTHONWARNINGS"] = "default"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    made = small_cluster()
    yield made
    made.shutdown()
