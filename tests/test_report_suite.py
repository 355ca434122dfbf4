import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from fake_runs import altered, fake
from mole.control.episode import Segment
from mole.control.records import EpisodeRecord
from mole.control.stages import save_segments
from mole.experiment import stats
from mole.experiment.metrics import summarise
from mole.report import footage, write_suite_report
from mole.report.claims import CLAIMS, judge
from mole.report.digest import BEFORE, digest_of, find_records
from mole.report.groups import Group, group_runs
from mole.report.page import _path
from mole.report.style import method_colours
from mole.report.suite_figures import profiles
from mole.report.table_html import ablation_table, recall_table

CONFIGURATION = {"prior": "prior.mole sha256:aa", "planner": {"samples": 100}, "steps": 300}


def run(
    method, setting="swap", seed=0, *, reward=None, error=None, schedule="alternate", **meta
) -> EpisodeRecord:
    """A fake run with an exact return and one-step error, where they are given."""
    meta = {"family": "motors", "setting": setting, "configuration": CONFIGURATION} | meta
    one = fake(method, schedule, seed, 300, **meta)
    level = {} if reward is None else {"reward": np.full(300, reward)}
    return altered(one, **level, **({} if error is None else {"loss": np.full(300, error)}))


def group(*runs: EpisodeRecord) -> Group:
    return Group("motors", [digest_of(one) for one in runs], (Path(),))


def runs_of(method, reward, error=0.1, seeds=3, **more) -> list[EpisodeRecord]:
    """Runs whose returns are 1,000 times `reward`, give or take a little."""
    return [
        run(method, seed=s, reward=reward + 0.001 * s, error=error * (1 + 0.01 * s), **more)
        for s in range(seeds)
    ]


def verdict(name: str, *runs: EpisodeRecord):
    (found,) = [one for one in judge([group(*runs)]) if one.claim.name == name]
    return found


def words(page: str) -> str:
    reader = HTMLParser(convert_charrefs=True)
    found: list[str] = []
    reader.handle_data = found.append
    reader.feed(re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", page, flags=re.S))
    return " ".join("".join(found).split())


# digests


def test_a_digest_keeps_the_figures_and_the_curves_around_switches():
    record = run("mole")
    found = digest_of(record, Path("a/b.npz"))
    assert len(found) == 300
    np.testing.assert_equal(found.figures, summarise(record))
    assert (found.setting, found.truth_known, found.true_tasks) == ("swap", True, 2)
    assert found.longest_visit == pytest.approx(1 / 3)
    # switches at 100 and 200; the second is a return to the first task
    at = found.after_switch[0] / found.after_switch[1]
    np.testing.assert_allclose(at[BEFORE], record.loss[[100, 200]].mean())
    np.testing.assert_allclose(at[0], record.loss[[95, 195]].mean())
    np.testing.assert_allclose(found.after_return[0], record.loss[195:250])
    assert (found.after_switch[1] == 2).all()
    np.testing.assert_allclose(found.over_run, record.loss.reshape(150, 2).mean(axis=1))
    assert len(digest_of(altered_length(record, 0))) == 0


def altered_length(record: EpisodeRecord, steps: int) -> EpisodeRecord:
    arrays = {k: v[:steps] for k, v in vars(record).items() if k != "meta"}
    return EpisodeRecord(
        **arrays, meta={**record.meta, "complete": False, "error": "the simulation diverged"}
    )


def test_records_are_found_below_and_the_rest_is_passed_over(tmp_path):
    (tmp_path / "deep").mkdir()
    run("mole").save(tmp_path / "deep" / "a.npz")
    np.savez(tmp_path / "data.npz", x=np.zeros(3))
    np.savez(tmp_path / "a.actions.npz", x=np.zeros(3))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "deep" / "a.npz").read_bytes()[:999])
    found = find_records([tmp_path, tmp_path / "deep"])
    assert [one.meta["method"] for one in found.runs] == ["mole"]
    assert [path.name for path, _ in found.unreadable] == ["cut.npz"]
    with pytest.raises(FileNotFoundError, match=r"no folder .*absent: expected a folder of records"):
        find_records([tmp_path / "absent"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"found no record of a run in .*empty; expected \.npz files"):
        find_records([tmp_path / "empty"])


# groups


def test_runs_of_one_configuration_are_one_group_and_others_stand_apart(tmp_path):
    other = {**CONFIGURATION, "prior": "prior.mole sha256:bb"}
    places = {
        "a": [run("mole"), run("mole", "still")],
        "b": [run("kshot")],
        "c": [run("mole")],  # the same cell again
        "d": [run("oracle", configuration=other)],
        "e": [run("mole/no-meta", configuration=other), run("simulator", configuration={"steps": 9})],
        "f": [run("mole", family=None)],
    }
    digests = [digest_of(one, tmp_path / name / "x.npz") for name, runs in places.items() for one in runs]
    found = {one.name: {folder.name for folder in one.folders} for one in group_runs(digests)}
    place = tmp_path.name
    assert found == {
        f"motors · {place}/a, {place}/b, {place}/e": {"a", "b", "e"},
        f"motors · {place}/c": {"c"},
        f"motors · {place}/d": {"d"},
        "HalfCheetah-v5": {"f"},
    }


def test_normalised_returns_run_from_the_supervised_model_to_the_oracle():
    runs = [*runs_of("supervised", 0.1), *runs_of("oracle", 1.1), *runs_of("mole", 0.6)]
    runs += [*runs_of("oracle", 2.0, setting="b"), *runs_of("mole", 1.0, setting="b")]
    runs += runs_of("mole", 1.0, setting="drift")
    runs += [*runs_of("oracle", -2.0, setting="bad"), *runs_of("mole", 1.0, setting="bad")]
    found = group(*runs)
    assert found.scale.settings["swap"] == pytest.approx((101.0, 1101.0))
    assert found.scale.settings["b"] == pytest.approx((0.0, 2001.0))
    assert found.scale.left_out == {
        "drift": "no oracle",
        "bad": "the oracle earns no more than the lower end",
    }
    assert found.scale.zero == "the supervised model or, where that was not run, a return of 0"
    pooled = found.aggregate("mole")
    assert pooled is not None
    cells = [stats.normalised([600, 601, 602], 101, 1101), stats.normalised([1000, 1001, 1002], 0, 2001)]
    assert pooled.value == pytest.approx(stats.iqm(cells))
    gain = found.improvement("mole", "supervised")
    assert gain is not None
    assert (gain[0].value, gain[1]) == (1.0, 1)
    assert found.improvement("mole", "kshot") is None
    assert found.baselines == ["supervised"]


# claims


def test_every_claim_names_its_rule_and_needs():
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS)
    untested = judge([group(*runs_of("static", 1.0))])
    assert {one.word for one in untested} == {"not tested"}
    assert all(one.count.startswith("needs ") for one in untested)


def test_adaptation_is_needed_where_the_supervised_model_is_below_one_that_adapts():
    low, high = runs_of("supervised", 0.1), runs_of("kshot", 0.9)
    assert verdict("adaptation-needed", *low, *high).word == "shown"
    same = [*runs_of("supervised", 0.9, setting="b"), *runs_of("kshot", 0.9, setting="b")]
    both = verdict("adaptation-needed", *low, *high, *same)
    assert (both.word, both.count) == ("not shown", "holds on 1 of 2 settings")
    assert verdict("adaptation-needed", *low).word == "not tested"
    # one run has no interval: nothing to judge by
    assert verdict("adaptation-needed", *low[:1], *high[:1]).word == "not tested"


def test_k_shot_is_insufficient_on_one_setting_with_both_errors_below_and_no_return_below():
    def runs(kshot, continuous=0.1, paid=1.0, setting="far"):
        return [
            *runs_of("mole", 1.0, 0.1, setting=setting),
            *runs_of("continuous", paid, continuous, setting=setting),
            *runs_of("kshot", 1.0, kshot, setting=setting),
        ]

    near = runs(0.1, setting="near")
    assert verdict("k-shot-insufficient", *near, *runs(0.3)).word == "shown"
    assert verdict("k-shot-insufficient", *near, *runs(0.3, continuous=0.4)).word == "not shown"
    assert verdict("k-shot-insufficient", *near, *runs(0.3, paid=0.5)).word == "not shown"
    assert verdict("k-shot-insufficient", *near).count == "holds on 0 of 1 setting"


def test_continuous_adaptation_is_judged_only_where_tasks_return():
    runs = [*runs_of("mole", 1.0), *runs_of("kshot", 0.9), *runs_of("continuous", 0.2)]
    assert verdict("continuous-detrimental", *runs).word == "shown"
    assert verdict("continuous-detrimental", *runs[:3], *runs_of("kshot", 0.1), *runs[6:]).word == "not shown"
    lasting = [*runs_of("mole", 1.0, schedule="negative"), *runs_of("continuous", 0.2, schedule="negative")]
    assert verdict("continuous-detrimental", *lasting).word == "not tested"


def test_the_mixture_must_lead_and_recall_soon():
    rest = [*runs_of("kshot", 0.9), *runs_of("continuous", 0.2)]
    found = verdict("mixture-recalls", *runs_of("mole", 1.0), *rest)
    assert found.word == "shown"
    assert found.evidence[0].reason == "3 of 3 returns recalled, median delay 1"
    assert verdict("mixture-recalls", *runs_of("mole", 0.5), *rest).word == "not shown"
    forgetful = [altered(one, task=np.zeros(300, int)) for one in runs_of("mole", 1.0)]
    assert verdict("mixture-recalls", *forgetful, *rest).evidence[0].reason.startswith("0 of 3")
    assert verdict("mixture-recalls", *forgetful, *rest).word == "not shown"
    late = [*runs_of("mole-paper", 1.0), *rest]
    assert verdict("paper-recalls", *late).word in ("shown", "not shown")
    assert verdict("mixture-recalls", *late).word == "not tested"


def test_where_one_task_lasts_mole_must_not_be_below_and_keep_few_tasks():
    def runs(reward, tasks=1):
        mole = runs_of("mole", reward, schedule="negative")
        mole = [altered(one, n_tasks=np.full(300, tasks)) for one in mole]
        return [*mole, *runs_of("continuous", 1.0, schedule="negative")]

    assert verdict("one-task", *runs(1.0)).word == "shown"
    assert verdict("one-task", *runs(0.9)).word == "not shown"
    assert verdict("one-task", *runs(1.0, tasks=3)).word == "not shown"
    assert verdict("one-task", *runs_of("mole", 1.0), *runs_of("continuous", 1.0)).word == "not tested"


def test_near_the_oracle_is_95_percent():
    near = verdict("near-oracle", *runs_of("mole", 0.96), *runs_of("oracle", 1.0))
    assert (near.word, near.evidence[0].reason) == ("shown", "96 % of the oracle's")
    assert verdict("near-oracle", *runs_of("mole", 0.9), *runs_of("oracle", 1.0)).word == "not shown"


# tables


def cell(table: str, method: str) -> list[str]:
    line = re.search(rf'<th scope="row">[^/]*(?:</span>)?{method}</th>(.*?)</tr>', table)
    assert line is not None
    return re.findall(r"<td.*?>(.*?)</td>", line[1])


def test_the_recall_table_counts_returns_and_true_tasks():
    found = group(*runs_of("mole", 1.0), *runs_of("kshot", 1.0), *runs_of("oracle", 1.0))
    table = recall_table(found.rows, method_colours(["mole"]))
    cells = cell(table, "mole")
    assert cells[:3] == ["3 of 3", "100 %", "1"]
    assert cells[3].startswith("1.00")
    assert cells[-1] == "2"
    assert "kshot" not in table
    assert "oracle" not in table
    assert recall_table(group(*runs_of("kshot", 1.0)).rows, {}) == ""


def test_an_ablation_is_compared_with_its_own_method_seed_by_seed():
    # a common part by seed that only pairing removes
    whole = [run("mole", seed=s, reward=s, error=0.1) for s in range(4)]
    part = [run("mole/no-crp", seed=s, reward=s - 0.2, error=0.4, ablation="no <prior>") for s in range(4)]
    alone = [run("mole-paper/no-crp", seed=0, reward=1.0)]
    cells = cell(ablation_table(group(*whole, *part, *alone)), "mole/no-crp")
    assert cells[0] == "no &lt;prior&gt;"
    assert cells[1] == "4"
    assert cells[2].startswith("<b>−200</b><br><small>[−200..−200]")
    assert cells[3].startswith("<b>+0.300</b>")
    assert "mole-paper" not in ablation_table(group(*whole, *part, *alone))
    assert ablation_table(group(*whole)) == ""


# the page


HOSTILE = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("suite")
    runs = [one for method in ("mole", "kshot", "supervised") for one in runs_of(method, 1.0, seeds=2)]
    runs += [*runs_of("oracle", 2.0, seeds=2), *runs_of("mole/no-crp", 0.5, seeds=2)]
    runs += runs_of(
        "mole", 1.0, seeds=2, family=HOSTILE, setting=HOSTILE, schedule="negative", command="mole " + HOSTILE
    )
    runs += [
        altered_length(run("kshot", seed=7, family=HOSTILE, setting=HOSTILE), steps) for steps in (0, 40)
    ]
    for number, one in enumerate(runs):
        place = folder / ("a" if one.meta["family"] == "motors" else "b")
        place.mkdir(exist_ok=True)
        one.save(place / f"{number}.npz")
    (folder / "b" / "cut.npz").write_bytes(b"PK")
    path = write_suite_report(folder / "r.html", [folder], videos=False)
    return path.read_text(encoding="utf-8"), folder


def test_the_page_is_one_safe_file(made):
    page, _ = made
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert not re.findall(r'(?:src|href)="(?!#|data:image/)', page)
    anchors = set(re.findall(r'href="#([\w-]+)"', page))
    ids = re.findall(r' id="([\w-]+)"', page)
    assert anchors <= set(ids)
    assert len(ids) == len(set(ids))
    for picture in re.findall(r"<svg.*?</svg>", page, flags=re.S):
        ElementTree.fromstring(picture)
    assert len(page) < 600_000


def test_the_page_says_what_was_run_and_what_was_shown(made):
    text = words(made[0])
    for expected in (
        "0 of the paper’s 6 claims shown. 14 runs in 2 settings of 2 groups; 2 did not finish.",
        "Adaptation is needed. not shown",
        "Runs that did not finish",
        "kshot on " + HOSTILE + ", seed 7: 40 steps; the simulation diverged",
        "cut.npz is not a readable .npz archive",
        "What each part is worth",
        "Probability that mole improves on it",
        "Performance profiles",
        "No video: not asked for.",
        "mole " + HOSTILE,
        "mole eval HalfCheetah-v5 --methods",
        "jax 0.10.2, mujoco 4.0.0",
        "2 cores of an x86-64 CPU",
    ):
        assert expected in text, expected


def test_figures_are_saved_for_papers_and_change_nothing(tmp_path):
    run("mole").save(tmp_path / "a.npz")
    page = write_suite_report(tmp_path / "r.html", [tmp_path], videos=False)
    again = write_suite_report(tmp_path / "s.html", [tmp_path], figures=tmp_path / "figures", videos=False)
    assert page.read_text(encoding="utf-8") == again.read_text(encoding="utf-8")
    stems = {f"motors-{name}" for name in ("returns", "errors", "swap-adaptation", "swap-tasks")}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")
    }


def test_records_without_a_step_are_no_report(tmp_path):
    altered_length(run("mole"), 0).save(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="got 1 records and none has a step, expected at least one"):
        write_suite_report(tmp_path / "r.html", [tmp_path])
    assert not (tmp_path / "r.html").exists()


# videos


def filmed(folder: Path, methods=("mole", "kshot"), **meta) -> Group:
    found = []
    for method in methods:
        record = run(method, **meta)
        path = record.save(folder / f"{method}.npz")
        segment = Segment(np.zeros((301, 18), np.float32), np.zeros((300, 6), np.float32))
        save_segments(folder / f"{method}.actions.npz", [segment])
        found.append(digest_of(record, path))
    return Group("motors", found, (folder,))


def test_a_video_shows_a_return_and_is_made_once(monkeypatch, tmp_path):
    calls = []

    def frames(record, actions, *, steps, width, height):
        calls.append((record.meta["method"], actions.name, steps))
        return (np.full((height, width, 3), 90, np.uint8) for _ in steps)

    monkeypatch.setattr(footage, "replay_frames", frames)
    monkeypatch.setattr(footage, "rendering_available", lambda: (True, ""))
    found = filmed(tmp_path)
    card = footage.film(found, tmp_path / "r.html", wanted=True)
    assert "mole beside kshot: swap, seed 0, steps 160 to 300; a known task returns at step 200" in card
    assert "data:image/webp;base64," in card
    assert calls == [(m, f"{m}.actions.npz", range(160, 300)) for m in ("mole", "kshot")]
    assert footage.film(found, tmp_path / "r.html", wanted=True) == card
    assert len(calls) == 2


def test_without_a_video_one_line_says_why(monkeypatch, tmp_path):
    monkeypatch.setattr(footage, "rendering_available", lambda: (False, "no video: no EGL <here>"))
    target = tmp_path / "r.html"
    assert "No video: no EGL &lt;here&gt;." in footage.film(filmed(tmp_path), target, wanted=True)
    assert "not asked for" in footage.film(filmed(tmp_path), target, wanted=False)
    assert "no setting has mole and one of kshot" in footage.film(
        filmed(tmp_path, ("kshot",)), target, wanted=True
    )
    monkeypatch.setattr(footage, "rendering_available", lambda: (True, ""))
    unknown = filmed(tmp_path, env="Nowhere-v0")
    assert "No video: ValueError: unknown environment" in footage.film(unknown, target, wanted=True)


# pictures


def test_slim_paths_are_the_same_line():
    rng = np.random.default_rng(0)
    points = np.round(rng.normal(0.0, 40.0, (200, 2)), 1)
    points[50:60, 0], points[70:80, 1], points[90:95] = 3.0, -0.4, 7.0
    text = "".join(f"{'L' if i else 'M'} {x} {y} \n" for i, (x, y) in enumerate(points))
    slim = re.sub(r' d="([^"]*)"', _path, f' d="{text}"')
    assert len(slim) < 0.8 * len(text)
    here, seen = np.zeros(2), []
    for letter, numbers in re.findall(r"([Mlhv])([^A-Za-z\"]*)", slim[4:-1]):
        values = [float(value) for value in re.findall(r"-?(?:\d+\.?\d*|\.\d+)", numbers)]
        wide = {"h": 1, "v": 1}.get(letter, 2)
        for start in range(0, len(values), wide):
            step = {"h": [values[start], 0.0], "v": [0.0, values[start]]}.get(
                letter, values[start : start + 2]
            )
            here = np.array(step) if letter == "M" else here + step
            seen.append(here)
    changed = np.append(True, (np.diff(points, axis=0) != 0).any(axis=1))
    np.testing.assert_allclose(seen, points[changed], atol=1e-9)


def test_profiles_draw_every_method_with_a_scale():
    found = group(*runs_of("supervised", 0.1), *runs_of("oracle", 1.1), *runs_of("mole", 0.6))
    figure = profiles(found, colours=method_colours(found.methods))
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["oracle", "mole", "supervised"]
