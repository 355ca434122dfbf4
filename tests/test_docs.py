"""The documentation is held to the code: snippets run, commands, options and names exist, tables list every setting."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pytest

from helpers import tiny_prior
from mole import (
    Fleet,
    Info,
    KeyedFleet,
    MetaConfig,
    MetaPrior,
    Mixture,
    Normalizer,
    OnlineClassifier,
    OnlineForecaster,
    OnlineRegressor,
    Rank1Rate,
    ReadoutMixture,
    meta_train,
    save_prior,
)
from mole._moved import KEPT, MOVED, RENAMED
from mole.cli import main
from mole.control import Agent
from mole.control.config import TrainingConfig
from mole.control.records import EpisodeRecord
from mole.envs import parse_schedule
from mole.envs.cheetah.motors import DYNAMICS, SCHEDULES
from mole.estimators.step import Step
from mole.experiment.learners import Priors, learner_for
from mole.experiment.methods import BY_NAME, TABLE
from mole.files import checkpoint
from mole.meta.tasks import as_groups
from mole.priors.file import PriorHeader
from mole.priors.shipped import shipped_file
from mole.readout import ReadoutPrior

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}
SNIPPETS = [name for name, text in PAGES.items() if "```python" in text]
# What is checked name by name: the pages, and the documents in the root. The changelog also tells of old names.
TEXTS = {
    **PAGES,
    **{name: (ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")},
}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXTS[page], re.MULTILINE | re.DOTALL)


def spans(text: str) -> list[str]:
    """The code spans of a page, without its code blocks."""
    return re.findall(
        r"`([^`\n]+(?:\n[^`\n]+)?)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    )


def table(page: str, head: str) -> dict[str, list[str]]:
    """First column (without backticks) → the other cells, of the table whose first heading is `head`."""
    lines = PAGES[page].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| `{head}` |"))
    rows = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        first, *rest = (cell.strip() for cell in line.strip("|").split("|"))
        rows[first.strip("`")] = rest
    return rows


def untrained(model: Any, trajectories: Any, *, config: MetaConfig, **others: Any) -> MetaPrior:
    """For `meta_train` and `supervised_train`, which have tests of their own: checks the call, trains nothing."""
    inspect.signature(meta_train).bind(model, trajectories, config=config, **others)
    (first, *_), *_ = as_groups(trajectories)
    norms = (Normalizer.identity(values.shape[1]) for values in first)
    rate = Rank1Rate(model, config.initial_rate)
    return MetaPrior(model, inner_rate=rate, window=config.window, x_norm=next(norms), y_norm=next(norms))


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """An empty working folder with a tiny prior for the half-cheetah, which is also `motors`; training takes no time.

    But for the page whose amounts are to be shown to work: its training is as small as it can be, and is made.
    """
    monkeypatch.chdir(tmp_path)
    prior = tiny_prior(jax.random.key(0), DYNAMICS.feature_dim, DYNAMICS.delta_dim)
    save_prior("prior.mole", prior, {"made by": "a test"})
    monkeypatch.setattr(
        "mole.priors.file.shipped_file",
        lambda name: tmp_path / "prior.mole" if name == "motors" else shipped_file(name),
    )
    if "own-environment.md" in request.node.name:
        return tmp_path
    for place in ("mole.meta_train", "mole.control.training.meta_train"):
        monkeypatch.setattr(place, untrained)
    monkeypatch.setattr("mole.control.jobs.supervised_train", untrained)
    return tmp_path


@pytest.mark.parametrize("page", SNIPPETS)
def test_the_snippets_of_a_page_run_one_after_another(page: str, workplace: Path) -> None:
    if "python examples/pump.py" in PAGES[page]:
        runpy.run_path(str(ROOT / "examples/pump.py"), run_name="__main__")
    space: dict[str, Any] = {"__name__": page}
    for number, code in enumerate(blocks(page, "python")):
        exec(compile(code, f"{page}, block {number}", "exec", dont_inherit=True), space)


def test_the_examples_of_the_readme_run(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream, control, world = blocks("README.md", "python")
    space: dict[str, Any] = {"stream": [({"load": 0.1 * t, "valve": "open"}, 0.2 * t) for t in range(6)]}
    for code in (stream, control.replace("steps=1000", "steps=3"), world):
        exec(compile(code, "README.md", "exec"), space)
        if "env" in space:
            space.pop("env").close()
    assert (workplace / "model.mole").exists()
    assert len(capsys.readouterr().out.splitlines()) == 2 * 6 + 1


# What makes an example short: its own numbers, and smaller ones in their place.
SHORTER = {
    "any_environment.py": {
        "ROLLOUTS, ROUNDS, STEPS = 80, 3, 600": "ROLLOUTS, ROUNDS, STEPS = 2, 0, 3",
        "width=64,": "width=8, samples=12,",
    },
    "stream.py": {"STEPS, PERIOD = 2000, 100": "STEPS, PERIOD = 440, 40"},
    "bearing.py": {},
    "break_any_world.py": {},
    "control.py": {"steps=1000": "steps=3"},
    "pump.py": {},
    "regimes.py": {},
    "river_pipeline.py": {"STEPS, PERIOD = 1000, 100": "STEPS, PERIOD = 120, 40"},
    "sklearn_stream.py": {"BATCHES, ROWS, FIRST = 40, 50, 10": "BATCHES, ROWS, FIRST = 4, 20, 5"},
    "train_own.py": {"ITERATIONS = 2000": "ITERATIONS = 3"},
}
PRINTS = {
    "any_environment.py": r"return_per_1000 +-\d+\.\d+\n",
    "stream.py": r"error \d+\.\d+, .* \d tasks\nrecall: \d of 6 returns",
    "break_any_world.py": r"step  60: task  1  \{'gravity': 1.62\}",
    "bearing.py": r"began +task 1 since row 18\d.*\nreturned task 0 since row 24\d",
    "control.py": r"return -?\d+\.\d, \d tasks found\n",
    "pump.py": r"pump.csv: 1,500 rows; from row on, mode: 1 \w+, \d+ \w+",
    "regimes.py": r"returned task 0 since row 12\d.*\nreturned task 1 since row 18\d",
    "river_pipeline.py": r"MoleRegressor +MAE: \d+\.\d+\n\d tasks, now task \d",
    "sklearn_stream.py": r"MoleClassifier +\d+% right.*\n\d tasks",
    "train_own.py": r"mean loss of each visit .*\n.*task at the end of the visit \[\d \d \d \d \d\]",
}
PEERS = (
    "ns_gym.py",
    "serve.py",
)  # one needs what only tests/peers has, the other a client: tests/test_serve.py
EXAMPLES = sorted(path for path in (ROOT / "examples").glob("*.py") if path.name not in PEERS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs(path: Path, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = path.read_text()
    for old, new in SHORTER[path.name].items():
        assert old in code, f"{path.name} no longer has {old!r}: shorten it in another way"
        code = code.replace(old, new)
    exec(compile(code, path.name, "exec"), {"__name__": "__main__"})
    assert re.search(PRINTS[path.name], capsys.readouterr().out)


# What follows reads the pages and runs nothing of them.


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every use of the command ``mole``: in blocks, and in code spans if it has options."""
    found: dict[str, list[str]] = {}
    for page, text in TEXTS.items():
        lines = [
            line for language in ("bash", "sh") for block in blocks(page, language) for line in in_full(block)
        ]
        for line in [*lines, *(span.replace("\n", " ") for span in spans(text) if "--" in span)]:
            words = shlex.split(line, comments=True)
            if words and words[0] == "mole":
                found[f"{page}: {line}"] = words[1:]
    yield from found.items()


def in_full(block: str) -> list[str]:
    """The lines of a shell block, with those that go on on the next line in one."""
    return [line.strip() for line in block.replace("\\\n", " ").splitlines()]


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    """The help of each subcommand that the pages use."""
    return {}


@pytest.mark.parametrize(
    ("line", "words"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_command_has_the_options_that_a_page_gives_it(
    line: str,
    words: list[str],
    helps: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    if words[0] not in helps:
        with pytest.raises(SystemExit, match="0"):
            main([words[0], "--help"])
        helps[words[0]] = capsys.readouterr().out
    for option in (word for word in words if word.startswith("--")):
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", helps[words[0]]), f"mole {words[0]} has no {option}"


@pytest.mark.parametrize("page", TEXTS)
def test_an_option_in_the_text_belongs_to_a_command(page: str) -> None:
    sources = "".join(
        path.read_text()
        for folder in ("benchmarks", "fuzz", "docs")
        for path in (ROOT / folder).rglob("*.py")
    )
    every = {option for words in dict(commands()).values() for option in words if option.startswith("--")}
    fields = "".join(path.read_text() for path in (ROOT / "src/mole").rglob("*.py"))
    for option in {
        word for span in spans(TEXTS[page]) for word in span.split() if re.match(r"--[a-z]", word)
    }:
        # an option of `mole` is a field or an argument of that name; others are in the parser of a script
        name = (
            option.removeprefix("--").split("=")[0].rpartition(".")[2].replace("-", "_").removeprefix("no_")
        )
        known = (
            option in every or f'"{option}"' in sources or re.search(rf"^\s+{name}: ", fields, re.MULTILINE)
        )
        assert known, f"{page}: {option}"


# Objects that the documents call by a name → what they are.
OBJECTS = {
    "model": OnlineRegressor(),
    "forecaster": OnlineForecaster(),
    "fleet": Fleet,
    "step": Step(*[None] * len(Step._fields)),  # pyright: ignore[reportArgumentType]
    "keyed": KeyedFleet,
    "learner": Mixture(tiny_prior(jax.random.key(0))),
    "prior": tiny_prior(jax.random.key(0)),
    "agent": Agent,
    "checkpoint": checkpoint,
    "Agent": Agent,
    "Fleet": Fleet,
    "Info": Info,
    "KeyedFleet": KeyedFleet,
    "MetaConfig": MetaConfig,
    "Mixture": Mixture,
    "OnlineClassifier": OnlineClassifier,
    "OnlineForecaster": OnlineForecaster,
    "OnlineRegressor": OnlineRegressor,
    "ReadoutMixture": ReadoutMixture,
    "TrainingConfig": TrainingConfig,
}


def missing_attributes(text: str) -> list[str]:
    """``model.x`` in a code span, where the model has no x; and ``x_`` where no estimator has it."""
    wrong = []
    for span in spans(text):
        for name, attribute in re.findall(r"(?<![\w./])(\w+)\.(\w+)", span):
            # a name with an ending is a file, as model.mole
            if name in OBJECTS and attribute not in ("mole", "py") and attribute not in dir(OBJECTS[name]):
                wrong.append(f"{name}.{attribute}")
        if re.fullmatch(r"[a-z_]+_", span) and span not in {
            *dir(OnlineRegressor()),
            *dir(OnlineClassifier()),
            *dir(OnlineForecaster()),
        }:
            wrong.append(span)
    return wrong


@pytest.mark.parametrize("page", TEXTS)
def test_an_attribute_of_a_documented_object_exists(page: str) -> None:
    assert missing_attributes(TEXTS[page]) == []


def test_an_attribute_that_does_not_exist_is_found() -> None:
    text = "`model.info`, `model.n_tasks_`, `learner.margin`, `learner.margins`, `faults_`, `fault_`, `model.mole`"
    assert missing_attributes(text) == ["model.info", "learner.margins", "fault_"]


def names() -> list[str]:
    """Every dotted name of the package that a document puts in backticks (also as a call), but for old ones."""
    texts = [text for page, text in TEXTS.items() if page != "changes.md"]
    return sorted({name for text in texts for name in re.findall(r"`(mole(?:\.\w+)+)[(`]", text)})


def resolve(name: str) -> Any:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise AttributeError(name)


@pytest.mark.parametrize("name", names())
def test_a_name_in_backticks_exists(name: str) -> None:
    assert resolve(name) is not None


def test_a_name_that_does_not_exist_is_found() -> None:
    with pytest.raises(AttributeError):
        resolve("mole.online.Blend")


def test_the_page_of_changes_lists_what_moved() -> None:
    rows = re.findall(r"^\| `(mole[\w.]+)` \| `(mole[\w.]+)` \|$", PAGES["changes.md"], re.MULTILINE)
    assert dict(rows) == {**MOVED, **RENAMED}
    for _, new in rows:
        assert resolve(new) is not None
    assert [old for old in KEPT if f"`{old}" not in PAGES["changes.md"]] == []


@pytest.mark.parametrize("page", TEXTS)
def test_links_and_files_exist(page: str) -> None:
    text, home = TEXTS[page], ROOT / "docs" if page in PAGES else ROOT
    for place in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (home / place).exists(), place
    for place, title in re.findall(r"\]\(([\w./-]*)#([\w-]+)\)", text):
        heads = re.findall(r"^#+ (.*)", (home / place).read_text() if place else text, re.MULTILINE)
        assert title in [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads], title
    for place in re.findall(r"`((?:src|tests|examples|benchmarks|docs|fuzz|results)/[\w./*-]+)`", text):
        assert list(ROOT.glob(place)), place
    for module in re.findall(r"python -m ((?:benchmarks|fuzz)[.\w]*)", text):
        path = ROOT / module.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").exists(), module
    for script in re.findall(r"python ((?:docs|examples|benchmarks)/[\w/]+\.py)", text):
        assert (ROOT / script).exists(), script
    tests = "".join(path.read_text() for path in sorted((ROOT / "tests").glob("test_*.py")))
    for name in re.findall(r"`(test_\w+)(?:\.py)?`", text):
        assert (ROOT / f"tests/{name}.py").exists() or f"def {name}(" in tests, name
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"^make ([\w-]+)|`make ([\w-]+)", text, re.MULTILINE):
        assert "".join(target) in targets, f"make {target}"


def test_the_table_of_the_mixture_lists_every_setting_with_its_values(unchecked: None) -> None:
    listed = table("algorithm.md", "Mixture")
    settings = dict(inspect.signature(Mixture.__init__).parameters)
    defaults = {name: settings[name].default for name in settings if name not in ("self", "prior")}
    prior = tiny_prior(jax.random.key(0), window=7)
    paper = {**defaults, **Mixture.paper.__func__(lambda prior, **given: given, prior)}  # pyright: ignore
    assert sorted(listed) == sorted(defaults)  # they are passed by name: their order is that of the page
    ours = {**defaults, "window": "the prior's", "margin": "5 + 2 dy"}
    theirs = {**paper, "window": "the prior's", "likelihood_window": "k", "stay": "not used"}
    assert paper["likelihood_window"] == 7
    for name, (default, authors, _) in listed.items():
        assert (default, authors) == (str(ours[name]), str(theirs[name])), name


def test_the_default_margin_is_the_one_in_the_table() -> None:
    assert float(Mixture(tiny_prior(jax.random.key(0), dy=3)).margin) == 5 + 2 * 3


def test_the_table_of_meta_training_lists_every_setting_with_its_default() -> None:
    defaults = {field.name: str(field.default) for field in dataclasses.fields(MetaConfig)}
    assert {name: cells[0] for name, cells in table("algorithm.md", "MetaConfig").items()} == defaults


@pytest.mark.parametrize(
    ("page", "head", "fields"),
    [
        ("algorithm.md", "Info", Info._fields),
        ("algorithm.md", "EpisodeRecord", [field.name for field in dataclasses.fields(EpisodeRecord)]),
        ("files.md", "PriorHeader", [field.name for field in dataclasses.fields(PriorHeader)]),
    ],
)
def test_a_table_of_fields_is_complete(page: str, head: str, fields: list[str]) -> None:
    assert list(table(page, head)) == list(fields)


def test_the_methods_are_the_classes_and_priors_that_the_table_says() -> None:
    rows = re.findall(
        r"^\| `([\w-]+)` \| `?([\w.]+)`? \| (meta-trained|supervised|readouts|none) \|",
        PAGES["algorithm.md"],
        re.MULTILINE,
    )
    assert tuple(row[0] for row in rows) == tuple(method.name for method in TABLE)
    readouts = ReadoutPrior.untrained(
        x_norm=Normalizer.identity(3), y_norm=Normalizer.identity(2), key=jax.random.key(2)
    )
    priors = Priors(tiny_prior(jax.random.key(0)), tiny_prior(jax.random.key(1)), readout=readouts)
    starts = {"meta-trained": priors.meta, "supervised": priors.supervised, "readouts": priors.readout}
    for method, cls, prior in rows:
        if cls == "none":
            assert BY_NAME[method].learner is None
            continue
        learner = learner_for(method, priors)
        assert type(learner).__name__ == cls.split(".")[0]
        assert learner.prior is starts[prior]


def test_the_schedules_of_the_page_can_be_read() -> None:
    lines = [line for block in blocks("schedules.md", "schedule") for line in block.split()]
    assert len(lines) >= 5
    for line in lines:
        assert parse_schedule(line, SCHEDULES).value(0).shape == (DYNAMICS.act_dim,)


def test_the_words_of_the_page_are_those_of_the_cheetah() -> None:
    listed = re.findall(r"^\| `([\w-]+?)(?::STEPS)?` \|", PAGES["schedules.md"], re.MULTILINE)
    assert sorted(listed) == sorted([*SCHEDULES.values, *SCHEDULES.samplers])


TOOLS = sorted(path for folder in ("benchmarks", "fuzz") for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", TOOLS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_tool_uses_names_that_exist(path: Path) -> None:
    tree = ast.parse(path.read_text())
    # What is imported where a first import failed are names of an older version, to compare with.
    older = {
        part for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) for part in ast.walk(node)
    }
    ours = ("mole", "benchmarks", "fuzz")
    for node in (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node not in older):
        if (node.module or "").split(".")[0] in ours:
            for alias in node.names:
                assert resolve(f"{node.module}.{alias.name}") is not None
