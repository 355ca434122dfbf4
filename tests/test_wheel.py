"""What users install works: the wheel, in an environment of its own, far from the repository."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

SMOKE = """
import sys
from pathlib import Path

import jax

import mole

assert Path(mole.__file__).is_relative_to(sys.prefix), f"{mole.__file__} is not from the wheel"
for name in getattr(mole, "__all__", []):
    getattr(mole, name)

from mole.learning.models import MLP, Normalizer
from mole.online import Continuous
from mole.learning.prior import MetaPrior

model = MLP(1, 1, width=16, depth=1, key=jax.random.key(0))
prior = MetaPrior(
    model, inner_rate=0.02, window=8, x_norm=Normalizer.identity(1), y_norm=Normalizer.identity(1)
)
learner = Continuous(prior, step_scale=1.0)
xs = jax.random.normal(jax.random.key(1), (64, 1))
_, info = jax.lax.scan(lambda state, x: learner.update(state, x, -2 * x), learner.init(), xs)
first, last = info.loss[:8].mean(), info.loss[-8:].mean()
assert last < first / 10, f"the stream was not learned: {first} before, {last} after"
print("learned")
"""


def run(*command: str | Path, cwd: Path) -> str:
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    source = ROOT / "src"
    files = {
        str(path.relative_to(source))
        for path in (source / "mole").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert "mole/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name for name in names if name.startswith("mole/")} == files


def test_the_wheel_works_outside_the_repository(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    where = ("-m", "pip", "--disable-pip-version-check", "--python", python)
    run(sys.executable, *where, "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=tmp_path)
    # The dependencies are borrowed. A folder named in a .pth file has its own .pth files ignored, so the
    # editable installation of mole cannot stand in for the wheel; the smoke script checks that it does not.
    site = Path(
        run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip()
    )
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (tmp_path / "smoke.py").write_text(SMOKE)
    assert run(python, "-I", "-W", "error", "smoke.py", cwd=tmp_path) == "learned\n"
    assert run(
        python,
        "-I",
        "-c",
        "from importlib.metadata import version; print(version('mole-online'))",
        cwd=tmp_path,
    )
