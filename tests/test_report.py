import re
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from fake_runs import METHODS, altered, fake
from mole.control.records import EpisodeRecord
from mole.report import figures, render_webp, side_by_side, style, tables, video, write_report
from mole.report.drawing import NARROW, WIDE, binned, new_figure, slot_colours, spread
from mole.report.page import inline_svg


def study(
    schedules=("alternate", "negative"), seeds=3, steps=400, methods=tuple(METHODS)
) -> list[EpisodeRecord]:
    return [fake(m, s, seed, steps) for s in schedules for m in methods for seed in range(seeds)]


HOSTILE = "<script>alert('x')</script>&\"$a_b$"


@pytest.fixture(scope="module")
def diverged_runs() -> list[EpisodeRecord]:
    run = fake("kshot", "alternate", steps=110, random_action_error=0.5)
    diverged = altered(run, loss=np.where(np.arange(110) < 60, run.loss, np.inf))
    return [diverged, fake("mole", steps=110, random_action_error=0.123)]


@pytest.fixture(scope="module")
def diverged_page(diverged_runs, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("diverged") / "r"
    return write_report(path, diverged_runs, title="t", commands=[]).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    runs = study(("alternate",), seeds=2, steps=300, methods=("mole", "kshot", "oracle"))
    runs += [fake(HOSTILE, "alternate", seed, 300) for seed in range(2)]
    runs += [
        fake("supervised", HOSTILE, 0, 50, complete=False, error=HOSTILE, prior=HOSTILE, machine=HOSTILE)
    ]
    folder = tmp_path_factory.mktemp("report")
    frames = [np.full((27, 48, 3), 40 * i, np.uint8) for i in range(4)]
    video = render_webp(frames, folder / "v.webp", 10)
    path = write_report(
        folder / "r.html", runs, title=HOSTILE, commands=["mole run", HOSTILE], videos={HOSTILE: video}
    )
    assert sorted(p.name for p in folder.iterdir()) == ["r.html", "v.webp"]
    return path.read_text(encoding="utf-8")


class Reader(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_loads_nothing_and_runs_nothing(page):
    seen = Reader(page)
    names = {tag for tag, _ in seen.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "base", "form"}
    assert sum(tag == "meta" and "default-src 'none'" in str(a.get("content")) for tag, a in seen.tags) == 1
    for tag, attributes in seen.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href", "xlink:href"):
            assert str(attributes.get(name, "#")).startswith(("#", "data:image/")), (tag, name)
    assert "url(" not in re.sub(r"url\(#[\w-]+\)", "", page)
    assert "@import" not in page


def test_every_string_from_data_is_escaped(page):
    assert "<script" not in page
    assert "alert('x')</script>" not in page
    words = "".join(Reader(page).words)
    # title, heading, table, figures, schedule, error, command, caption, prior, machine: as text, not as markup
    assert words.count(HOSTILE) >= 12


def test_inline_pictures_are_whole_and_their_ids_apart(page):
    pictures = re.findall(r"<svg.*?</svg>", page, flags=re.S)
    assert len(pictures) == 2 * (1 + 2 * 3 + 1)  # overview, three per schedule, bands for one of them
    ids: list[str] = []
    for picture in pictures:
        root = ElementTree.fromstring(picture)
        assert root.get("role") == "img"
        assert root.get("aria-label")
        ids += [element.get("id", "") for element in root.iter() if element.get("id")]
        for wanted in re.findall(r'(?:url\(#|href="#)([\w-]+)', picture):
            assert wanted in ids
    assert len(ids) == len(set(ids))


def test_every_colour_variable_is_defined_for_light_and_dark(page):
    light, dark = page.split("@media(prefers-color-scheme:dark)")[:2]
    for name in set(re.findall(r"var\((--[\w-]+)\)", page)) - {"--font", "--mono"}:
        assert f"{name}:#" in light.split("</style>")[0], name
        assert f"{name}:#" in dark.split("}")[0], name
    assert style.METHODS["mole"][0] not in "".join(re.findall(r"<svg.*?</svg>", page, flags=re.S))


def test_the_page_says_what_was_found(page):
    words = " ".join("".join(Reader(page).words).split())
    assert "Highest return: mole on 1 of 2 schedules, supervised on 1 of 2 schedules." in words
    assert "supervised on " + HOSTILE + ", seed 0: 50 steps; " + HOSTILE in words
    for expected in ("supervised †", "jax 0.10.2, mujoco 4.0.0", "mole run", "0.05 s", "Posture", "2 of 2"):
        assert expected in words, expected


def test_the_same_runs_give_the_same_page(diverged_runs, diverged_page, tmp_path):
    again = write_report(tmp_path / "again", diverged_runs, title="t", commands=[])
    assert again.read_text(encoding="utf-8") == diverged_page


def test_a_report_of_one_plain_run(tmp_path):
    run = fake("kshot", "negative", steps=40)
    blind = altered(run, upright=np.full(40, np.nan), true_task=np.full(40, -1))
    path = write_report(tmp_path / "r", [blind], title="t", commands=[], no_video="no video: no EGL here")
    words = "".join(Reader(path.read_text(encoding="utf-8")).words)
    assert "On negative, kshot earns " in words
    assert "One run per method and schedule: no intervals." in words
    assert "No video: no EGL here." in words
    for absent in ("Posture", "believes", "more than", "recalls"):
        assert absent not in words


def test_what_cannot_be_reported_is_refused(tmp_path):
    with pytest.raises(ValueError, match="got 0 runs and none has a step, expected at least one"):
        write_report(tmp_path / "r", [], title="t", commands=[])
    (tmp_path / "v.gif").write_bytes(b"GIF89a" + bytes(20))
    with pytest.raises(ValueError, match=r"v\.gif is no WebP image: make it with mole\.report\.render_webp"):
        run = fake("kshot", "negative", steps=20)
        write_report(tmp_path / "r", [run], title="t", commands=[], videos={"v": tmp_path / "v.gif"})
    assert not (tmp_path / "r").exists()
    with pytest.raises(ValueError, match="no run has a mixture"):
        figures.task_bands([fake("kshot", steps=20)])


def test_headline_does_not_claim_what_the_seeds_do_not_show():
    def run(method, seed, reward):
        return altered(fake(method, "negative", seed, 20), reward=np.full(20, reward))

    close = [run("mole", 0, 1.0), run("mole", 1, 0.5), run("kshot", 0, 0.6), run("kshot", 1, 0.8)]
    assert (
        "mole earns 750 per 1,000 steps; its lead on kshot (50 [−300..400]) is not resolved by 2 seeds"
        in (tables.headline(tables.rows_of(close))[0])
    )
    clear = [run("mole", 0, 1.0), run("mole", 1, 0.9), run("kshot", 0, 0.6), run("kshot", 1, 0.8)]
    assert ", 250 [100..400] more than kshot" in tables.headline(tables.rows_of(clear))[0]
    alone = [run("mole", 0, 1.0), run("kshot", 1, 0.6)]
    assert "400 more than kshot (too few seeds in common" in tables.headline(tables.rows_of(alone))[0]
    told = [*alone, run("oracle", 0, 9.0)]
    assert "mole earns 1,000" in tables.headline(tables.rows_of(told))[0]  # the oracle is not ranked
    assert "oracle, which is told the true task, earns 9,000" in tables.headline(tables.rows_of(told))[0]
    known = [*alone, run("simulator", 0, 9.0)]
    assert (
        "simulator, which plans with the true system, earns 9,000"
        in tables.headline(tables.rows_of(known))[0]
    )
    lost = [run("mole", 0, np.nan)]
    assert tables.headline(tables.rows_of(lost)) == [
        "No run has a finite return: there is nothing to compare."
    ]


def cells(page: str, method: str) -> dict[str, str]:
    """Head of the table of results → the cell of a method in it."""
    heads = re.findall(r'<th scope="col">(.*?)</th>', page)[1:]
    line = re.search(rf'<th scope="row">[^/]*</span>{method}</th>(.*?)</tr>', page)
    assert line is not None
    return dict(zip(heads, re.findall(r"<td.*?>(.*?)</td>", line[1]), strict=True))


def test_a_diverged_run_is_shown_as_such(diverged_page):
    assert cells(diverged_page, "kshot")["one-step error, all"] == "diverged"
    assert cells(diverged_page, "mole")["one-step error, all"] != "diverged"


def test_the_error_under_random_actions_has_a_column(diverged_page, page):
    head = "error, random actions"
    assert cells(diverged_page, "kshot")[head] == "0.500"
    assert cells(diverged_page, "mole")[head] == "0.123"
    assert cells(page, "mole")[head] == "–"  # these runs do not know it


def test_runs_that_never_were_finite_are_shown(tmp_path):
    run = fake("kshot", "alternate", steps=110)
    never = altered(run, loss=np.full(110, np.inf), reward=np.full(110, np.nan), upright=np.full(110, np.nan))
    words = write_report(tmp_path / "n", [never], title="t", commands=[]).read_text(encoding="utf-8")
    assert "No run has a finite return: there is nothing to compare." in words


def test_cut_runs_count_only_where_nothing_else_does():
    runs = [fake("mole", seed=0, steps=30), fake("mole", seed=1, steps=9, complete=False)]
    assert [len(run) for run in tables.usable(runs)] == [30]
    assert [len(run) for run in tables.usable(runs[1:])] == [9]
    assert tables.rows_of([fake("mole", steps=0)]) == []


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_figures_save_as_png_and_svg(tmp_path, width):
    methods = ("mole", "kshot", "oracle")
    runs = [fake(m, "alternate", seed, steps) for m in methods for seed, steps in ((0, 230), (1, 120))]
    rows = tables.rows_of(runs)
    drawn = [figures.returns_overview(rows, width=width)]
    makers = (figures.return_over_time, figures.errors, figures.task_bands, figures.posture)
    drawn += [make(runs, width=width) for make in makers]
    for figure in drawn:
        assert isinstance(figure, Figure)
        assert figure.get_size_inches()[0] == width
        figure.savefig(tmp_path / "f.png", dpi=40, facecolor="white")
        assert np.asarray(Image.open(tmp_path / "f.png").convert("L")).std() > 5  # something is drawn


def test_the_label_of_a_picture_is_escaped():
    figure = new_figure(2.0, 1.0)
    figure.subplots()
    root = ElementTree.fromstring(inline_svg(figure, label='a "b" <c>', prefix="x"))
    assert root.get("aria-label") == 'a "b" <c>'


def test_no_global_state_and_no_matplotlib_outside():
    code = (
        "import sys\n"
        "import mole, mole.control, mole.experiment.metrics, mole.experiment.stats\n"
        "assert 'matplotlib' not in sys.modules\n"
        "import mole.report\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_method_colours_agree_and_are_told_apart():
    names = ["mole", "zeta", "alpha", "kshot"]
    colours = style.method_colours(names)
    assert colours == style.method_colours(reversed(names))
    assert len(set(colours.values())) == 4
    assert style.ordered(names) == ["mole", "kshot", "alpha", "zeta"]
    # colour-vision deficiencies of Machado et al. 2009, on linear RGB
    deuteranopia = np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]])
    protanopia = np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]])
    for theme, ground in ((0, 1.0), (1, 0.012)):
        linear = np.array([_linear(pair[theme]) for pair in style.METHODS.values()])
        light = linear @ [0.2126, 0.7152, 0.0722]
        contrast = (np.maximum(light, ground) + 0.05) / (np.minimum(light, ground) + 0.05)
        assert contrast.min() > 3.0  # large text, WCAG 2
        for eye in (np.eye(3), deuteranopia, protanopia):
            seen = np.clip(linear @ eye.T, 0, 1)
            steps = np.linalg.norm(np.cbrt(seen)[:, None] - np.cbrt(seen)[None], axis=-1)
            assert steps[~np.eye(len(steps), dtype=bool)].min() > 0.09


def _linear(colour: str) -> np.ndarray:
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def test_slots_wear_the_colour_of_the_task_they_serve():
    run = fake("mole", "alternate", steps=200)
    swapped = altered(run, responsibilities=run.responsibilities[:, [2, 1, 0, 3, 4]])
    assert slot_colours(run) == {0: style.TASKS[0], 1: style.TASKS[1]}
    assert slot_colours(swapped) == {1: style.TASKS[1], 2: style.TASKS[0]}
    extra = np.array(run.responsibilities)
    extra[:20] = np.eye(5)[3]  # serves task 0, but less than slot 0 does
    mixed = slot_colours(altered(run, responsibilities=extra))
    assert mixed[0] == style.TASKS[0]
    assert mixed[3] not in (style.TASKS[0], style.TASKS[1])


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8), st.floats(0.01, 0.3))
@settings(max_examples=60, deadline=None)
def test_spread_keeps_order_gaps_and_the_centre(places, gap):
    places = np.sort(np.array(places))
    moved = spread(places, gap)
    assert (np.diff(moved) >= gap - 1e-9).all()
    assert moved.mean() == pytest.approx(places.mean())
    apart = np.arange(len(places)) * 2 * gap
    np.testing.assert_allclose(spread(apart, gap), apart)


def test_binned_against_a_loop():
    rng = np.random.default_rng(0)
    columns = [rng.normal(size=23), rng.normal(size=11)]
    columns[0][4:6] = np.nan
    steps, values = binned(columns, 10)
    assert steps.tolist() == [1.5 + 3 * i for i in range(8)]
    for index, value in enumerate(values):
        inside = np.concatenate([column[3 * index : 3 * index + 3] for column in columns])
        assert value == pytest.approx(np.nanmean(inside))


def test_webp_plays_the_frames_at_their_speed(tmp_path):
    frames = [np.full((18, 32, 3), value, np.uint8) for value in (0, 80, 160, 240)]
    path = render_webp(iter(frames), tmp_path / "v.webp", fps=20)
    with Image.open(path) as image:
        assert (image.format, image.size, getattr(image, "n_frames", 1)) == ("WEBP", (32, 18), 4)
        for index, value in enumerate((0, 80, 160, 240)):
            image.seek(index)
            assert abs(float(np.asarray(image.convert("RGB")).mean()) - value) < 6
            assert image.info["duration"] == 50
    assert list(tmp_path.iterdir()) == [path]


def test_webp_gives_up_quality_to_keep_to_its_size(tmp_path):
    noise = list(np.random.default_rng(0).integers(0, 255, (5, 60, 80, 3), dtype=np.uint8))
    rich = render_webp(noise, tmp_path / "a", 10, bytes_per_second=10**9).stat().st_size
    poor = render_webp(noise, tmp_path / "b", 10, bytes_per_second=rich // 2).stat().st_size
    assert poor < 0.7 * rich


def test_bad_frames_are_refused(tmp_path):
    with pytest.raises(ValueError, match="got no frames, expected at least one image"):
        render_webp([], tmp_path / "v", 10)
    with pytest.raises(
        ValueError, match=r"frame 0 is \[4, 4, 3\] float64, expected \[height, width, 3\] uint8"
    ):
        render_webp([np.zeros((4, 4, 3))], tmp_path / "v", 10)
    with pytest.raises(ValueError, match=r"frame 1 is .* and the shape \[4, 4, 3\] of frame 0"):
        render_webp([np.zeros((4, 4, 3), np.uint8), np.zeros((5, 4, 3), np.uint8)], tmp_path / "v", 10)
    with pytest.raises(ValueError, match="fps is 0, expected frames per second above 0"):
        render_webp([np.zeros((4, 4, 3), np.uint8)], tmp_path / "v", 0)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="frames are 4 and 5 high, expected the same"):
        next(side_by_side([np.zeros((4, 4, 3), np.uint8)], [np.zeros((5, 4, 3), np.uint8)], ("a", "b")))


def test_side_by_side_labels_the_corners_and_leaves_the_rest():
    left = [np.full((90, 160, 3), 10, np.uint8)] * 3
    right = [np.full((90, 120, 3), 200, np.uint8)] * 2
    both = list(side_by_side(left, right, ("mole", "kshot")))
    assert [frame.shape for frame in both] == [(90, 160 + 4 + 120, 3)] * 2
    assert (both[0][40:, :160] == 10).all()
    assert (both[0][40:, 164:] == 200).all()
    assert both[0][:30, :80].max() == 255  # the text
    assert (left[0] == 10).all()  # the caller's frames are untouched


@pytest.mark.parametrize(
    ("probe", "expected"),
    [
        (
            "raise RuntimeError('no display')",
            "MuJoCo cannot render with EGL (RuntimeError: no display); install",
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ended by signal 9"),
        ("raise ModuleNotFoundError(\"No module named 'mujoco'\")", "install mole-online[control]"),
        ("pass", "MuJoCo renders with EGL"),
    ],
)
def test_rendering_is_tried_in_a_process_of_its_own(monkeypatch, probe, expected):
    monkeypatch.setattr(video, "_PROBE", probe)
    video.rendering_available.cache_clear()
    available, message = video.rendering_available()
    video.rendering_available.cache_clear()
    assert available == (probe == "pass")
    assert expected in message
    assert "\n" not in message
