"""The documentation is held to the code: snippets run, commands and names exist, tables list every setting."""

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
from mole import Info, MetaConfig, MetaPrior, Mixture, Normalizer, Rank1Rate, meta_train, save_prior
from mole.cli import main
from mole.control.records import EpisodeRecord
from mole.envs import parse_schedule
from mole.envs.cheetah.motors import DYNAMICS, SCHEDULES
from mole.experiment.learners import Priors, learner_for
from mole.experiment.methods import METHODS
from mole.meta.tasks import as_groups
from mole.priors.file import PriorHeader
from mole.priors.shipped import shipped_file

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}
SNIPPETS = [name for name, text in PAGES.items() if "```python" in text]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)


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
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with a tiny prior for the half-cheetah; training takes no time."""
    monkeypatch.chdir(tmp_path)
    prior = tiny_prior(jax.random.key(0), DYNAMICS.feature_dim, DYNAMICS.delta_dim)
    save_prior("prior.mole", prior, {"made by": "a test"})
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
        exec(compile(code, f"{page}, block {number}", "exec"), space)


# What makes an example short: its own numbers, and smaller ones in their place.
SHORTER = {
    "any_environment.py": {
        "ROLLOUTS, ROUNDS, STEPS = 80, 3, 600": "ROLLOUTS, ROUNDS, STEPS = 1, 0, 3",
        "width=64,": "width=8, samples=12,",
    },
    "stream.py": {"STEPS, PERIOD = 2000, 100": "STEPS, PERIOD = 440, 40"},
    "break_any_world.py": {},
    "control.py": {'"alternate:A,B:100", 1000': '"alternate:A,B:100", 3'},
    "pump.py": {},
    "river_pipeline.py": {"STEPS, PERIOD = 1000, 100": "STEPS, PERIOD = 120, 40"},
    "sklearn_stream.py": {"BATCHES, ROWS, FIRST = 40, 50, 10": "BATCHES, ROWS, FIRST = 4, 20, 5"},
    "train_own.py": {"ITERATIONS = 2000": "ITERATIONS = 3"},
}
PRINTS = {
    "any_environment.py": r"return_per_1000 +-\d+\.\d+\n",
    "stream.py": r"error \d+\.\d+, .* \d tasks\nrecall: \d of 6 returns",
    "break_any_world.py": r"step  60: task  1  \{'gravity': 1.62\}",
    "control.py": r"return_per_1000 +-?\d+\.\d+\n",
    "pump.py": r"pump.csv: 1,500 rows; from row on, mode: 1 \w+, \d+ \w+",
    "river_pipeline.py": r"MoleRegressor +MAE: \d+\.\d+\n\d tasks, now task \d",
    "sklearn_stream.py": r"MoleClassifier +\d+% right.*\n\d tasks",
    "train_own.py": r"mean loss of each visit .*\n.*task at the end of the visit \[\d \d \d \d \d\]",
}
PEERS = ("ns_gym.py",)  # needs what only tests/peers has, and runs there
EXAMPLES = sorted(path for path in (ROOT / "examples").glob("*.py") if path.name not in PEERS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs(
    path: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "mole.priors.file.shipped_file", lambda name: shipped_file(name) and workplace / "prior.mole"
    )
    code = path.read_text()
    for old, new in SHORTER[path.name].items():
        assert old in code, f"{path.name} no longer has {old!r}: shorten it in another way"
        code = code.replace(old, new)
    exec(compile(code, path.name, "exec"), {"__name__": "__main__"})
    assert re.search(PRINTS[path.name], capsys.readouterr().out)


# What follows reads the pages and runs nothing of them.


def commands() -> Iterator[tuple[str, list[str]]]:
    for page in PAGES:
        for block in blocks(page, "bash"):
            for line in block.splitlines():
                words = shlex.split(line)
                if words and words[0] == "mole":
                    yield f"{page}: {line}", words[1:]


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


def names() -> list[str]:
    """Every dotted name of the package that a page puts in backticks (also as a call)."""
    found = {name for text in PAGES.values() for name in re.findall(r"`(mole(?:\.\w+)+)[(`]", text)}
    return sorted(found)


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


@pytest.mark.parametrize("page", PAGES)
def test_links_and_files_exist(page: str) -> None:
    text = PAGES[page]
    for place in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        # The page of results is written from an evaluation, the others by hand.
        assert place == "results.md" or (ROOT / "docs" / place).exists(), place
    for place in re.findall(r"`((?:src|tests|examples|benchmarks|docs)/[\w./]+)`", text):
        assert (ROOT / place).exists(), place
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"`make ([\w-]+)`", text):
        assert target in targets, f"make {target}"


def test_the_table_of_the_mixture_lists_every_setting_with_its_values(unchecked: None) -> None:
    listed = table("algorithm.md", "Mixture")
    settings = dict(inspect.signature(Mixture.__init__).parameters)
    defaults = {name: settings[name].default for name in settings if name not in ("self", "prior")}
    prior = tiny_prior(jax.random.key(0), window=7)
    paper = {**defaults, **Mixture.paper.__func__(lambda prior, **given: given, prior)}  # pyright: ignore
    assert list(listed) == list(defaults)
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
        r"^\| `([\w-]+)` \| `([\w.]+)` \| (meta-trained|supervised) \|", PAGES["algorithm.md"], re.MULTILINE
    )
    assert tuple(row[0] for row in rows) == METHODS
    both = Priors(tiny_prior(jax.random.key(0)), tiny_prior(jax.random.key(1)))
    for method, cls, prior in rows:
        learner = learner_for(method, both)
        assert type(learner).__name__ == cls.split(".")[0]
        assert learner.prior is (both.meta if prior == "meta-trained" else both.supervised)


def test_the_schedules_of_the_page_can_be_read() -> None:
    lines = [line for block in blocks("schedules.md", "schedule") for line in block.split()]
    assert len(lines) >= 5
    for line in lines:
        assert parse_schedule(line, SCHEDULES).value(0).shape == (DYNAMICS.act_dim,)


def test_the_words_of_the_page_are_those_of_the_cheetah() -> None:
    listed = re.findall(r"^\| `([\w-]+?)(?::STEPS)?` \|", PAGES["schedules.md"], re.MULTILINE)
    assert sorted(listed) == sorted([*SCHEDULES.values, *SCHEDULES.samplers])


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.name)
def test_a_benchmark_uses_names_that_exist(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mole":
            for alias in node.names:
                assert resolve(f"{node.module}.{alias.name}") is not None
