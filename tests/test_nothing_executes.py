"""The sources hold nothing that could run what a file says, and what they write is private until it is whole."""

from __future__ import annotations

import ast
import os
import stat
from pathlib import Path

import pytest

from mole.control.records import Recorder
from mole.experiment.config import Cell
from mole.files.atomic import atomic_file
from mole.report.footage import replay_frames

SOURCE = Path(__file__).parents[1] / "src" / "mole"
FILES = sorted(SOURCE.rglob("*.py"))

MODULES = {
    "pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "ruamel", "code", "codeop",
    "runpy", "imp", "xmlrpc", "ctypes",
}  # fmt: skip
CALLS = {"eval", "exec", "compile", "__import__", "execfile"}
METHODS = {
    "literal_eval",
    "popen",
    "load_module",
    "exec_module",
    "read_pickle",
    "to_pickle",
    "loads_pickle",
}
# what may start a program or import by name, and why
ALLOWED = {
    (
        "_lazy.py",
        "importlib.import_module",
    ): "modules of this package, by the names in the packages' own files",
    ("_moved.py", "importlib.import_module"): "modules of this package, by the names in that file",
    ("cli.py", "importlib.import_module"): "modules of the commands, by the names in that file",
    (
        "control/jobs.py",
        "pickle",
    ): "the name of an error: what a worker gets must be one that can be sent",
    ("report/video.py", "subprocess"): "renders a test image with this Python: a driver may end the process",
    ("datasets/recorded.py", "importlib.import_module"): "river and scikit-learn, by the names in that file",
    ("commands/runs.py", "importlib.import_module"): "tells whether the extra for Parquet is there",
    (
        "experiment/worlds.py",
        "importlib.import_module",
    ): "MODULE:ID that the user typed; no file can name one",
}


def found(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module.split(".")[0], *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name):
                names.add(f"{function.id}()")
            elif isinstance(function, ast.Attribute):
                whole = ast.unparse(function)
                names |= {f".{function.attr}()", whole}
                if function.attr in ("load", "save", "savez", "savez_compressed") and whole.startswith("np."):
                    safe = any(
                        k.arg == "allow_pickle" and ast.unparse(k.value) == "False" for k in node.keywords
                    )
                    names |= set() if safe else {"np with pickle"}
            names |= {"shell=True" for k in node.keywords if k.arg == "shell"}
    return names


def complaints(file: Path, tree: ast.AST) -> list[str]:
    forbidden = MODULES | {f"{name}()" for name in CALLS} | {f".{name}()" for name in METHODS}
    forbidden |= {"subprocess", "importlib.import_module", "np with pickle", "shell=True", "os.system"}
    place = file.relative_to(SOURCE).as_posix()
    return sorted(name for name in found(tree) & forbidden if (place, name) not in ALLOWED)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(SOURCE).as_posix())
def test_no_source_can_run_what_a_file_says(file: Path) -> None:
    assert complaints(file, ast.parse(file.read_text())) == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("import pickle", "pickle"),
        ("from yaml import load", "yaml"),
        ("x = eval('1')", "eval()"),
        ("np.load(path)", "np with pickle"),
        ("np.savez(path, allow_pickle=True)", "np with pickle"),
        ("import ast\nast.literal_eval(x)", ".literal_eval()"),
        ("run(x, shell=True)", "shell=True"),
        ("import subprocess", "subprocess"),
        ("import importlib\nimportlib.import_module(x)", "importlib.import_module"),
    ],
)
def test_the_check_finds_them(text: str, what: str) -> None:
    assert what in complaints(SOURCE / "new.py", ast.parse(text))


def test_every_exception_is_still_needed() -> None:
    for place, name in ALLOWED:
        assert name in found(ast.parse((SOURCE / place).read_text()))


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX")
def test_a_file_is_private_until_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "file"
    for expected in (0o666 & ~_mask(), 0o640):
        with atomic_file(target) as file:
            (temporary,) = [path for path in tmp_path.iterdir() if path != target]  # the same folder
            assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
            file.write(b"x")
        assert stat.S_IMODE(target.stat().st_mode) == expected
        target.chmod(0o640)  # which the next one keeps


def _mask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def test_a_record_cannot_have_a_module_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "harmful.py").write_text("raise SystemExit('this ran')")
    monkeypatch.syspath_prepend(tmp_path)
    meta = {"env": "harmful:Env-v0", "method": "m", "schedule": "s", "seed": 0, "step_seconds": 0.05}
    with pytest.raises(
        ValueError, match=r"the module 'harmful', which is not imported; .*no file may name code"
    ):
        next(replay_frames(Recorder(meta).record(), tmp_path / "a.npz", steps=range(1)))


@pytest.mark.parametrize(
    "text", ["../../etc/passwd", "/etc/passwd", "a\\b", "..", "C:\\x", "a/../b", "\0", "x\n"]
)
def test_names_of_files_cannot_leave_their_folder(text: str) -> None:
    name = Cell(text, text, 0).name
    assert Path(name).name == name
    assert not set(name) & set("/\\:\0\n")
    assert name not in (".", "..")
