"""The report of a stream: self-contained, honest about its numbers, and safe whatever the data holds."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from mole.pipeline.digest import RunDigest
from mole.pipeline.runner import StreamRun, StreamSettings, task_importances
from mole.pipeline.sources import Row
from mole.report.drawing import NARROW, WIDE
from mole.report.stream import write_stream_report
from mole.report.stream_figures import coverage, error_and_regimes, task_colour
from stream_fakes import FakeClassifier, FakeRegressor

HOSTILE = "<script>alert('x')</script>&\"$a_b$"
SCRIPTS = "温度 ‮<b>"  # letters that the figures' font lacks, and a change of direction


@pytest.fixture(scope="module")
def run() -> StreamRun:
    made = StreamRun(StreamSettings("y", "regression", level=0.8), FakeRegressor())
    rng = np.random.default_rng(0)
    for i in range(300):
        a, b = rng.normal(size=2)
        y = (2 * a - b) * (1 if i // 50 % 2 == 0 else -1)
        values = {HOSTILE: a, SCRIPTS: b, "word": HOSTILE, "y": HOSTILE if i % 97 == 5 else y}
        made.step(Row(i + 2, None if i == 7 else values, HOSTILE if i == 7 else "", {}))
    return made


@pytest.fixture(scope="module")
def page(run: StreamRun, tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(run, tmp_path_factory.mktemp("report") / "r.html")


def written(run: StreamRun, path: Path) -> str:
    importances = task_importances(run.estimator, list(run.digest.regimes))
    given = {"source": HOSTILE, "commands": ["mole stream", HOSTILE], "importances": importances}
    assert write_stream_report(path, run, **given) == path
    return path.read_text(encoding="utf-8")


class Reader(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def cells(page: str, heading: str) -> list[list[str]]:
    """The rows of the table in the card of this heading, as text."""
    card = page[page.index(f"<h3>{heading}</h3>") :]
    rows = re.findall(r"<tr>(.*?)</tr>", card[: card.index("</table>")], flags=re.S)
    return [["".join(Reader(cell).words) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in rows]


def test_the_page_loads_nothing_and_runs_nothing(page: str) -> None:
    seen = Reader(page)
    assert not {tag for tag, _ in seen.tags} & {
        "script",
        "link",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
        "b",
    }
    assert sum("default-src 'none'" in str(a.get("content")) for tag, a in seen.tags if tag == "meta") == 1
    for tag, attributes in seen.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href", "xlink:href"):
            assert str(attributes.get(name, "#")).startswith("#"), (tag, name)
    assert "url(" not in re.sub(r"url\(#[\w-]+\)", "", page)


def test_every_string_from_the_data_is_text(page: str) -> None:
    assert "<script" not in page
    words = "".join(Reader(page).words)
    assert "<b>" in words
    # source (twice), command, input column, bad rows (a line that cannot be read, and the words in the target)
    assert words.count(HOSTILE) >= 5
    assert words.count("<script>alert") >= 8


def test_the_pictures_are_whole_for_two_widths_and_two_schemes(page: str) -> None:
    pictures = re.findall(r"<svg.*?</svg>", page, flags=re.S)
    assert len(pictures) == 2 * 2
    for picture in pictures:
        assert ElementTree.fromstring(picture).get("role") == "img"
    assert page.count('<figure class="wide">') == page.count('<figure class="narrow">') == 2
    light, dark = page.split("@media(prefers-color-scheme:dark)")[:2]
    for name in set(re.findall(r"var\((--[\w-]+)\)", page)) - {"--font", "--mono"}:
        assert f"{name}:#" in light.split("</style>")[0], name
        assert f"{name}:#" in dark.split("}")[0], name


def test_the_numbers_are_those_of_the_run(page: str, run: StreamRun) -> None:
    total = run.digest.total
    words = " ".join("".join(Reader(page).words).split())
    assert (
        f"295 of 300 rows learned, root-mean-square error {np.sqrt(total.loss / total.scored):.4g}" in words
    )
    assert f"{100 * total.covered / total.judged:.1f} % of {total.judged:,} targets were inside" in words
    assert "Intervals of 80 %" in words
    bad = cells(page, "Bad rows")
    assert bad[1:] == [["target is no number", "4"], ["cannot be read", "1"]]
    assert "All 5" in words


def test_the_regimes_and_their_returns(page: str, run: StreamRun) -> None:
    rows = cells(page, "When each regime was active")
    assert [row[0] for row in rows[1:]] == [f"task {task}" for task in run.digest.regimes]
    for row, regime in zip(rows[1:], run.digest.regimes.values(), strict=True):
        assert row[1] == f"{regime.rows:,}"
        assert row[2] == f"{np.sqrt(regime.loss / regime.scored):.4g}"
        shown = [f"{first:,}–{last:,}" for first, last in regime.visits]
        assert row[3] == shown[0]
        assert row[4] == (", ".join(shown[1:8]) or "–")
    assert any(regime.n_visits > 1 for regime in run.digest.regimes.values())


def test_the_inputs_on_which_the_regimes_differ_come_first(page: str, run: StreamRun) -> None:
    rows = cells(page, "How the regimes differ")
    found = task_importances(run.estimator, list(run.digest.regimes))
    first, *_ = found
    assert rows[0] == ["", *(f"task {task}" for task in found)]
    spread = [np.ptp([float(cell) for cell in row[1:]]) for row in rows[1:]]
    assert spread == sorted(spread, reverse=True)
    assert [row[0] for row in rows[1:]] == [name[:60] for name in sorted(
        found[0], key=lambda name: -abs(found[1][name] - found[0][name])
    )]  # fmt: skip
    assert {row[0]: row[1] for row in rows[1:]} == {name[:60]: f"{v:.2f}" for name, v in found[first].items()}


def test_importances_are_summed_over_the_inputs_of_a_column_and_lost_tasks_left_out(run: StreamRun) -> None:
    raw = run.estimator.importance_(1)[0]
    sources = run.estimator.schema_.sources
    found = task_importances(run.estimator, [1, 7])
    assert list(found) == [1]
    assert found[1]["word"] == pytest.approx(
        sum(v for v, name in zip(raw, sources, strict=True) if name == "word")
    )


def test_the_same_run_gives_the_same_page(run: StreamRun, page: str, tmp_path: Path) -> None:
    assert written(run, tmp_path / "again.html") == page


def test_a_classification_has_shares_of_wrong_labels_and_no_intervals(tmp_path: Path) -> None:
    run = StreamRun(StreamSettings("y", "classification"), FakeClassifier())
    for i in range(40):
        run.step(Row(i, {"a": i, "y": ["u", "v", "u"][i % 3]}, "", {}))
    text = written(run, tmp_path / "r.html")
    words = " ".join("".join(Reader(text).words).split())
    assert "Intervals" not in words
    assert f"{100 * run.digest.total.hits / 39:.1f} % right" in words
    assert "There were none." in words
    figure = error_and_regimes(run.digest, classify=True)
    assert figure.axes[0].get_yscale() == "linear"


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_the_figures_draw_the_sums_of_the_digest(width: float) -> None:
    digest = RunDigest()
    for i in range(1000):
        digest.add(
            i + 1,
            task=i // 500,
            shares={i // 500: 0.75, -1: 0.25},
            loss=1e-4 if i < 500 else 4.0,
            width=2.0,
            covered=i % 5 > 0,
        )
    figure = error_and_regimes(digest, classify=False, width=width)
    above, below = figure.axes
    assert above.get_yscale() == "log"
    (line,) = above.lines
    x, y = np.asarray(line.get_data())
    assert (x[0], x[-1]) == (0, 1000)
    assert y[0] == pytest.approx(0.01)
    assert y[-1] == pytest.approx(2.0)
    colours = [task_colour(0), task_colour(1)]
    tops = [band.get_paths()[0].get_extents().y1 for band in below.collections]
    assert tops == pytest.approx([0.75, 0.75])
    marks = [(line.get_xdata()[0], line.get_color()) for line in below.lines]  # pyright: ignore
    assert marks == [(1, colours[0]), (501, colours[1])]
    inside, wide = coverage(digest, 0.9, width=width).axes
    assert np.asarray(inside.lines[1].get_ydata()) == pytest.approx(0.8, abs=0.05)
    assert np.asarray(wide.lines[0].get_ydata()) == pytest.approx(2.0)


def test_nothing_to_draw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got no row with a prediction and a target, expected at least one"):
        error_and_regimes(RunDigest(), classify=False)
    with pytest.raises(ValueError, match="got no row with an interval"):
        coverage(RunDigest(), 0.9)
    run = StreamRun(StreamSettings("y", "regression"), FakeRegressor())
    with pytest.raises(ValueError, match="got no row with a prediction"):
        written(run, tmp_path / "r.html")
    assert not list(tmp_path.iterdir())
