"""The house and its rooms: who may import whom, how long a file may be, where the extras stay."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "mole"
FILES = sorted(SOURCE.rglob("*.py"))
LONGEST = 300  # lines

# room -> rooms or single modules that it may import, all of them above it in the table; a room is a file or folder of
# src/mole, "mole" the root. A module of a folder may be a room of its own, which is then no part of the folder.
BASE = "_lazy _types _expect _float32"
MAY_IMPORT = {
    "_version": "",
    "_moved": "",
    "_lazy": "_moved",
    "_types": "",
    "_expect": "",
    "_float32": "",
    "files": f"_version {BASE}",
    "learning": BASE,
    "meta": f"{BASE} files learning",
    "online": f"{BASE} learning",
    "readout": f"{BASE} learning meta online",
    "rows": f"{BASE} learning",
    "datasets": BASE,
    "priors": f"{BASE} files learning meta online readout rows datasets",
    "planning": BASE,
    "envs": f"{BASE} datasets",
    "control": f"{BASE} files learning meta online readout datasets priors planning envs.spec",
    "estimators": f"{BASE} files learning online readout rows priors",
    "forecasting": f"{BASE} online rows estimators",
    "adapters": f"{BASE} rows estimators forecasting",
    "pipeline": f"{BASE} files rows estimators.step estimators.late",
    "experiment": f"{BASE} files learning online readout datasets priors planning envs control",
    "distributed": f"_version {BASE} files priors estimators",
    "report": f"{BASE} files control pipeline experiment",
    "commands": f"{BASE} files meta rows priors control estimators forecasting pipeline experiment report "
    "distributed",
    "cli": "files commands",
    "mole": f"_version _moved {BASE} files learning meta online readout priors estimators forecasting",
}
# package -> the rooms or modules that may import it when they are imported themselves or later
EXTRAS = {
    "gymnasium": "envs control experiment",
    "mujoco": "envs",
    "matplotlib": "report",
    "PIL": "report",
    "tyro": "cli commands",
    "pyarrow": "control.parquet pipeline.parquet",
    "zstandard": "pipeline.opening",
    "ray": "distributed",
    "minari": "datasets.minari",
    "h5py": "datasets.minari",
    "narwhals": "rows.frames adapters.river",
    "pandas": "",
    "polars": "",
    "sklearn": "adapters.sklearn adapters.sklearn_rows datasets.recorded",
    "river": "adapters.river datasets.recorded",
}


def module_of(file: Path) -> str:
    """``envs.spec`` for src/mole/envs/spec.py, ``envs`` for its __init__.py, ``mole`` for the root."""
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "mole"


def imports(tree: ast.AST, package: list[str]) -> Iterator[tuple[str, int]]:
    """Every dotted name that is imported anywhere in the file, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            # `from mole import planning` imports a room, `from mole import Mixture` the root
            yield from (
                (f"{base}.{alias.name}" if base == "mole" else base, node.lineno) for alias in node.names
            )


def only_for_types(tree: ast.AST) -> set[int]:
    """The lines under ``if TYPE_CHECKING:``, which run nothing."""
    guarded = [
        n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test).endswith("TYPE_CHECKING")
    ]
    return {line for n in guarded for line in range(n.body[0].lineno, (n.body[-1].end_lineno or 0) + 1)}


def within(module: str, places: str) -> bool:
    return any(module == place or module.startswith(place + ".") for place in places.split())


def room_of(module: str) -> str | None:
    """The innermost room that a module or place is in."""
    parts = module.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((name for name in names if name in MAY_IMPORT), None)


def complaints(file: Path, text: str) -> list[str]:
    module = module_of(file)
    room = room_of(module)
    if room is None:
        return [
            f"src/mole/{module.split('.')[0]} is in no room: add it to MAY_IMPORT with the rooms that it may import"
        ]
    tree = ast.parse(text)
    package = ["mole", *file.relative_to(SOURCE).parts[:-1]]
    type_lines = only_for_types(tree)
    found = []
    for name, line in imports(tree, package):
        top, _, rest = name.partition(".")
        if top == "mole":
            target = rest if rest and rest.split(".")[0] in MAY_IMPORT else "mole"
            if room_of(target) != room and not within(target, MAY_IMPORT[room]):
                allowed = MAY_IMPORT[room] or "nothing of mole"
                found.append(f"{module}, line {line}, imports {target}; {room} may import: {allowed}")
        elif top in EXTRAS and line not in type_lines and not within(module, EXTRAS[top]):
            found.append(f"{module}, line {line}, imports {top}, which belongs in: {EXTRAS[top]}")
    return found


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_imports_point_one_way(file: Path) -> None:
    assert complaints(file, file.read_text()) == []


def test_the_table_allows_nothing_that_nobody_needs() -> None:
    """So that it shows the rooms as they are; every room may use the vocabulary at the top."""
    used: dict[str, set[str]] = {}
    for file in FILES:
        package = ["mole", *file.relative_to(SOURCE).parts[:-1]]
        names = {name for name, _ in imports(ast.parse(file.read_text()), package)}
        inner = {name.partition(".")[2] or "mole" for name in names if name.split(".")[0] == "mole"}
        used.setdefault(room_of(module_of(file)) or "", set()).update(inner)
    unused = [
        f"{room} imports nothing of {place}: take it out of MAY_IMPORT"
        for room, allowed in MAY_IMPORT.items()
        for place in allowed.split()
        if place not in BASE.split() and not any(within(name, place) for name in used[room])
    ]
    assert unused == []


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_no_file_is_too_long(file: Path) -> None:
    lines = len(file.read_text().splitlines())
    assert lines <= LONGEST, f"{module_of(file)} has {lines} lines, expected at most {LONGEST}: split it"


def test_the_table_points_one_way() -> None:
    """Each room may import only rooms above it in the table: no circles."""
    above: set[str | None] = set()
    for room, allowed in MAY_IMPORT.items():
        assert {room_of(place) for place in allowed.split()} <= above, room
        above.add(room)


MODULES = {f"mole.{module_of(file)}": file for file in FILES}
MODULES["mole"] = MODULES.pop("mole.mole")


def imported_with(module: str, text: str) -> set[str]:
    """The modules of this package that are imported while ``module`` is; those that a function imports are later."""
    tree = ast.parse(text)
    later = only_for_types(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            later |= set(range(node.lineno, (node.end_lineno or 0) + 1))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and node.lineno not in later:
            if isinstance(node, ast.ImportFrom):  # a module, or a name in it
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                names = [name if name in MODULES else node.module or "" for name in names]
            else:
                names = [alias.name for alias in node.names]
            # Packages run before what is in them. They are left out: their names are lazy, or they import only what
            # is their own, which does not ask them for anything.
            found |= {name for name in names if name in MODULES and not module.startswith(f"{name}.")}
    return found - {module}


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of one circle, the first one once more at the end; empty if there is none."""
    clean: set[str] = set()

    def visit(module: str, way: list[str]) -> list[str]:
        if module in way:
            return [*way[way.index(module) :], module]
        if module not in clean:
            for target in sorted(graph[module]):
                if found := visit(target, [*way, module]):
                    return found
            clean.add(module)
        return []

    return next((found for module in sorted(graph) if (found := visit(module, []))), [])


def test_there_is_no_circle() -> None:
    graph = {module: imported_with(module, file.read_text()) for module, file in MODULES.items()}
    assert " → ".join(circle(graph)) == ""


def test_a_circle_is_found() -> None:
    guard = "from mole.online.base import OnlineLearner\n\ndef late():\n    import mole.online.oracle"
    assert imported_with("mole.online.guard", guard) == {"mole.online.base"}
    typed = "if TYPE_CHECKING:\n    from mole.online import guard\nfrom mole.online import stack"
    assert imported_with("mole.online.base", typed) == {"mole.online.stack"}
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_the_rooms_that_the_documentation_names_exist() -> None:
    """The first column of the table of rooms in docs/rooms.md."""
    text = (SOURCE.parents[1] / "docs/rooms.md").read_text()
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `mole.")]
    named = {name for row in rows for name in re.findall(r"`(mole\.[\w.]+)`", row)}
    assert len(named) >= 10
    assert named - set(MODULES) == set()


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        (
            "learning/models.py",
            "import mole.online",
            "learning.models, line 1, imports online; learning may import: _lazy _types _expect",
        ),
        (
            "learning/models.py",
            "def f():\n    from mole import priors",
            "learning.models, line 2, imports priors",
        ),
        ("envs/new.py", "from ..online.base import Learner", "envs.new, line 1, imports online.base"),
        (
            "control/new.py",
            "from mole.envs.schedules.schedule import Schedule",
            "imports envs.schedules.schedule; control may import",
        ),
        ("pipeline/sources.py", "import sklearn.base", "imports sklearn, which belongs in: adapters.sklearn"),
        ("pipeline/new.py", "from mole.estimators import Fleet", "pipeline.new, line 1, imports estimators"),
        (
            "estimators/new.py",
            "import mole.pipeline.runner",
            "estimators.new, line 1, imports pipeline.runner",
        ),
        ("rows/encoding.py", "from ..priors import file", "rows.encoding, line 1, imports priors"),
        ("utils.py", "", "src/mole/utils is in no room: add it to MAY_IMPORT"),
    ],
)
def test_a_wrong_import_is_found(file: str, text: str, complaint: str) -> None:
    (found,) = complaints(SOURCE / file, text)
    assert complaint in found


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("control/new.py", "from mole.envs.spec import DynamicsSpec"),
        ("envs/new.py", "from .spec import DynamicsSpec"),
        ("estimators/new.py", "from mole.rows.encoding import Schema"),
        ("adapters/river.py", "import river.base\nfrom mole.estimators import OnlineRegressor"),
        ("online/new.py", "if TYPE_CHECKING:\n    import gymnasium\nfrom mole._types import Array"),
    ],
)
def test_a_right_import_is_not(file: str, text: str) -> None:
    assert complaints(SOURCE / file, text) == []


def test_a_plain_import_needs_no_extra() -> None:
    code = (
        "import sys, mole; [getattr(mole, name) for name in mole.__all__]; "
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    # JAX takes Zstandard for its compilation cache, wherever it is installed.
    loaded = set(result.stdout.split()) - {"zstandard"}
    assert "mole" in loaded
    assert loaded.isdisjoint(EXTRAS), f"import mole loads {sorted(loaded & set(EXTRAS))}"


def test_a_name_is_imported_when_it_is_first_asked_for() -> None:
    """Neither the estimators nor an optimiser for somebody who plans; every name is there all the same."""
    code = (
        "import sys, mole; assert 'jax' not in sys.modules; from mole import Mixture; "
        "assert mole.Mixture is Mixture and mole.online.Mixture is Mixture; "
        "assert not {'optax', 'mole.estimators', 'scipy.stats'} & set(sys.modules); "
        "assert set(mole.__all__) <= set(dir(mole))"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    import mole

    with pytest.raises(AttributeError, match="module 'mole' has no attribute 'Mixtures'"):
        mole.Mixtures  # noqa: B018
