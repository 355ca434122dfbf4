"""What users install works: the wheel, in an environment of its own, far from the repository."""

from __future__ import annotations

import email
import importlib.metadata
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fake_runs import fake
from mole.cli import COMMANDS
from test_imports import EXTRAS as PLACES

ROOT = Path(__file__).parents[1]
EXTRAS = {*PLACES, "pandas", "ray"} - {"matplotlib", "PIL", "tyro"}

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


def requirements(wheel: Path) -> set[str]:
    """The distributions that ``pip install WHEEL`` without extras installs, and what they need in turn."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        wanted = email.message_from_bytes(archive.read(name)).get_all("Requires-Dist") or []
    found: set[str] = set()
    todo = [(Requirement(text), "") for text in wanted]
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        if name not in found:
            found.add(name)
            needs = [Requirement(text) for text in importlib.metadata.requires(name) or []]
            todo += [(need, extra) for need in needs for extra in ("", *requirement.extras)]
    return found


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment as ``pip install mole-online`` makes it: the wheel and its requirements, and no extra.

    No index is asked: the requirements are links to what this environment has of them.
    """
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    where = ("-m", "pip", "--disable-pip-version-check", "--python", python)
    run(sys.executable, *where, "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=folder)
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    for name in requirements(wheel):
        installed = importlib.metadata.distribution(name)
        tops = {Path(str(file)).parts[0] for file in installed.files or []} - {"..", "__pycache__"}
        for top in tops:
            link = Path(site.strip()) / top
            if not link.exists():
                link.symlink_to(Path(str(installed.locate_file(top))))
    return folder / "venv"


def test_the_bare_environment_holds_no_extra(bare: Path, tmp_path: Path) -> None:
    extras = sorted(set(EXTRAS) - {"narwhals"})  # a requirement of the package, though it is imported late
    code = f"import importlib.util as u; print([n for n in {extras} if u.find_spec(n)])"
    assert run(bare / "bin/python", "-I", "-c", code, cwd=tmp_path) == "[]\n"


def test_the_wheel_works_outside_the_repository(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "smoke.py").write_text(SMOKE)
    python = bare / "bin/python"
    assert run(python, "-I", "-W", "error", "smoke.py", cwd=tmp_path) == "learned\n"
    code = "from importlib.metadata import version; import mole; print(version('mole-online') == mole.__version__)"
    assert run(python, "-I", "-c", code, cwd=tmp_path) == "True\n"


def test_all_commands_are_listed_without_jax_or_an_extra(bare: Path, tmp_path: Path) -> None:
    listed = run(bare / "bin/mole", "--help", cwd=tmp_path)
    assert all(f"• {name}" in listed for name in COMMANDS)
    code = "import sys; from mole.cli import main; main(['--help'])"
    code = f"try:\n    {code}\nexcept SystemExit:\n    print('jax' in sys.modules)"
    assert run(bare / "bin/python", "-I", "-W", "error", "-c", code, cwd=tmp_path).endswith("\nFalse\n")


@pytest.mark.parametrize("words", ["demo", "train motors", "eval motors --help"])
def test_a_command_without_its_extra_is_one_line(bare: Path, tmp_path: Path, words: str) -> None:
    """One of each file of commands; no command has imports of its own."""
    done = subprocess.run([bare / "bin/mole", *words.split()], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: mole {words.split()[0]} needs gymnasium, which is not installed. "
        "Install it with: pip install 'mole-online[control]'\n"
    )
    assert not list(tmp_path.iterdir())


def test_a_stream_is_learned_and_reported(bare: Path, tmp_path: Path) -> None:
    rows = "".join(f"{i % 7},{'ab'[i % 2]},{(i % 7) * (1 if i < 40 else -1)}\n" for i in range(80))
    (tmp_path / "data.csv").write_text("x,kind,y\n" + rows)
    mole = bare / "bin/mole"
    files = "--out out.csv --report report.html --checkpoint run.mole"
    said = run(mole, "stream", "data.csv", "--target", "y", *files.split(), cwd=tmp_path)
    assert "80 rows, 80 learned, 0 bad" in said
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 81
    assert "<svg" in (tmp_path / "report.html").read_text()
    assert "fit-prior" in run(mole, "fit-prior", "--help", cwd=tmp_path)


def test_a_parquet_file_without_its_extra_is_one_line(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "data.parquet").write_bytes(b"PAR1")
    words = [bare / "bin/mole", "stream", "data.parquet", "--target", "y"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.endswith("Install it with: pip install 'mole-online[parquet]'\n")
    assert done.stderr.count("\n") == 1


def test_records_are_reported_without_a_simulator(bare: Path, tmp_path: Path) -> None:
    for seed in range(2):
        fake("mole", seed=seed).save(tmp_path / f"mole--{seed}.npz")
    assert run(bare / "bin/mole", "report", ".", cwd=tmp_path) == "report: report.html\n"
    assert "<svg" in (tmp_path / "report.html").read_text()


def test_the_stream_example_of_the_readme_runs(bare: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (example,) = [block for block in blocks if "OnlineRegressor()" in block]
    stream = "stream = [({'x': i % 5, 'kind': 'ab'[i % 2]}, float(i % 5)) for i in range(30)]\n"
    (tmp_path / "example.py").write_text(stream + example)
    run(bare / "bin/python", "-I", "-W", "error", "example.py", cwd=tmp_path)
    assert (tmp_path / "model.mole").is_file()


def test_the_source_distribution_holds_what_it_needs(tmp_path: Path) -> None:
    """The package, what builds it and what explains it; the tests stay in the repository (see pyproject.toml)."""
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, ROOT, cwd=tmp_path)
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "pyproject.toml"} <= names
    source = ROOT / "src"
    files = {f"src/{path.relative_to(source)}" for path in (source / "mole").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == files
