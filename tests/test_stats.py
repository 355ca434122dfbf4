import itertools
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mole.experiment import stats


def rng(seed=0):
    return np.random.default_rng(seed)


def test_known_values():
    assert stats.mean([[1.0, 2.0], [6.0]]) == 3.0
    assert stats.iqm([[100.0, 1.0, 2.0, 3.0]]) == 2.5  # 1 and 100 are cut
    assert stats.iqm([[100.0, 1.0], [2.0, 3.0]]) == 2.5  # cells are pooled
    assert stats.iqm([[1.0, 2.0, 6.0]]) == 3.0  # nothing to cut


def test_interval_against_all_resamples():
    values = rng(4).normal(size=5)
    cases: list[tuple[str, Any]] = [
        ("mean", np.mean),
        ("iqm", lambda v: scipy_stats.trim_mean(v, 0.25)),
    ]
    for name, of in cases:
        every = [of(values[list(draw)]) for draw in itertools.product(range(5), repeat=5)]
        low, high = np.quantile(every, [0.05, 0.95])
        got = stats.bootstrap([values], rng=rng(), statistic=name, resamples=40_000, level=0.9)
        assert got.value == pytest.approx(of(values))
        assert got.low == pytest.approx(low, abs=0.03)
        assert got.high == pytest.approx(high, abs=0.03)


def test_strata_are_kept():
    # constant cells far apart: without strata the mean would vary wildly, with them not at all
    assert stats.bootstrap([[0.0] * 3, [100.0] * 3], rng=rng()) == (50.0, 50.0, 50.0)
    pooled = stats.bootstrap([[0.0] * 3 + [100.0] * 3], rng=rng())
    assert pooled.low < 20
    assert pooled.high > 80


@pytest.mark.parametrize("statistic", ["mean", "iqm"])
def test_coverage_on_normal_data(statistic):
    draw = rng(1)
    hits = 0
    for _ in range(300):
        cells = [draw.normal(3.0, 1.0, 12), draw.normal(5.0, 1.0, 12)]
        got = stats.bootstrap(cells, rng=draw, statistic=statistic, resamples=400)
        hits += got.low <= 4.0 <= got.high
    assert 0.86 < hits / 300 < 0.99


def test_pairing_removes_what_the_pairs_share():
    shared = rng(2).normal(0.0, 100.0, (2, 6))
    noise = rng(3).normal(0.0, 1.0, (2, 6))
    paired = stats.paired_difference(list(shared + noise + 5.0), list(shared), rng=rng())
    assert paired.value == pytest.approx(5.0 + noise.mean())
    assert 3.0 < paired.low < paired.value < paired.high < 7.0
    swapped = stats.paired_difference(list(shared), list(shared + noise + 5.0), rng=rng())
    assert swapped == pytest.approx((-paired.value, -paired.high, -paired.low))
    with pytest.raises(
        ValueError, match=r"paired cells have \[2\] and \[3\] runs, expected the same: pair the runs by seed"
    ):
        stats.paired_difference([[1.0, 2.0]], [[1.0, 2.0, 3.0]], rng=rng())


def test_probability_of_improvement_against_brute_force():
    a, b = [1.0, 3.0, 3.0], [0.0, 3.0, 5.0, 1.0]
    brute = np.mean([(x > y) + 0.5 * (x == y) for x in a for y in b])
    got = stats.probability_of_improvement([a], [b], rng=rng())
    assert got.value == pytest.approx(brute)
    assert 0.0 <= got.low < brute < got.high <= 1.0
    # both directions sum to one; a second cell that is always won moves the mean half-way to 1
    assert stats.probability_of_improvement([b], [a], rng=rng()).value == pytest.approx(1 - brute)
    assert (
        stats.probability_of_improvement([a, [9.0, 9.0]], [b, [1.0, 2.0]], rng=rng()).value == (brute + 1) / 2
    )


def test_probability_interval_against_normal_theory():
    draw = rng(5)
    a, b = draw.normal(1.0, 1.0, 400), draw.normal(0.0, 1.0, 400)
    got = stats.probability_of_improvement([a], [b], rng=rng(), resamples=200)
    assert got.low < scipy_stats.norm.cdf(1 / np.sqrt(2)) < got.high
    assert got.high - got.low < 0.1


def test_same_generator_same_interval():
    cells = [rng(7).normal(size=5)]
    assert stats.bootstrap(cells, rng=rng(1)) == stats.bootstrap(cells, rng=rng(1))
    assert stats.bootstrap(cells, rng=rng(1)) != stats.bootstrap(cells, rng=rng(2))


@pytest.mark.parametrize("call", [stats.mean, stats.iqm, lambda cells: stats.bootstrap(cells, rng=rng())])
def test_bad_cells_are_refused(call):
    with pytest.raises(ValueError, match="got no cells"):
        call([])
    with pytest.raises(ValueError, match=r"cell 1 has shape \(0,\)"):
        call([[1.0, 2.0], []])
    with pytest.raises(ValueError, match=r"cell 0 has shape \(1, 2\)"):
        call([[[1.0, 2.0]]])
    with pytest.raises(
        ValueError, match=r"one array of shape \(3,\), expected a sequence of cells: pass \[values\]"
    ):
        call(np.ones(3))
    with pytest.raises(ValueError, match="cell 0 has 2 values that are not finite: drop undefined figures"):
        call([[1.0, np.nan, np.inf]])


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match=r"at least 2: an interval needs runs to compare, add seeds"):
        stats.bootstrap([[1.0]], rng=rng())
    with pytest.raises(ValueError, match="level is 95, expected a coverage between 0 and 1"):
        stats.bootstrap([[1.0, 2.0]], rng=rng(), level=95)
    with pytest.raises(ValueError, match="statistic is 'median', expected 'mean' or 'iqm'"):
        stats.bootstrap([[1.0, 2.0]], rng=rng(), statistic="median")
    with pytest.raises(ValueError, match="got 1 cells and 2, expected as many"):
        stats.probability_of_improvement([[1.0, 2.0]], [[1.0, 2.0]] * 2, rng=rng())


def test_profile_against_counting_and_its_band_against_binomial_theory():
    cells = [rng(8).normal(0.0, 1.0, 200), rng(9).normal(1.0, 1.0, 100)]
    at = np.array([-1.0, 0.0, 0.5, 9.0])
    got = stats.performance_profile(cells, at, rng=rng())
    everything = np.concatenate(cells)
    np.testing.assert_allclose(got.value, [(everything > tau).mean() for tau in at])
    shares = [np.array([(cell > tau).mean() for tau in at]) for cell in cells]
    # strata: the variance within the cells alone
    variance = sum((len(c) / 300) ** 2 * s * (1 - s) / len(c) for c, s in zip(cells, shares, strict=True))
    np.testing.assert_allclose(got.high - got.low, 2 * 1.96 * np.sqrt(variance), atol=0.012)
    assert (got.value[-1], got.low[-1], got.high[-1]) == (0.0, 0.0, 0.0)
    # a score at the threshold is not above it
    assert stats.performance_profile([[1.0, 1.0]], [1.0], rng=rng()).value[0] == 0.0
    with pytest.raises(ValueError, match=r"thresholds have shape \(0,\), expected \[points\]"):
        stats.performance_profile([[1.0, 2.0]], [], rng=rng())


def test_curve_band_is_the_bootstrap_at_every_point():
    curves = rng(10).normal(2.0, 1.0, (12, 3)) + np.array([0.0, 10.0, 20.0])[None]
    got = stats.curve_band(curves, rng=rng(), resamples=20_000)
    for point in range(3):
        one = stats.bootstrap([curves[:, point]], rng=rng(3), resamples=20_000)
        assert (got.value[point], got.low[point], got.high[point]) == pytest.approx(tuple(one), abs=0.04)


def test_curve_band_leaves_out_what_few_runs_know():
    curves = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan], [2.0, 7.0, 4.0]])
    got = stats.curve_band(curves, rng=rng())
    np.testing.assert_allclose(got.value, [2.0, 6.0, np.nan])
    assert got.low[0] <= 2.0 <= got.high[0]
    assert 5.0 <= got.low[1] <= got.high[1] <= 7.0
    alone = stats.curve_band(curves[2:], rng=rng())
    assert alone.value.tolist() == [2.0, 7.0, 4.0]
    assert np.isnan(alone.low).all()
    with pytest.raises(ValueError, match=r"curves have shape \(3,\), expected \[runs, points\]"):
        stats.curve_band(np.ones(3), rng=rng())
    with pytest.raises(ValueError, match="infinite values: leave diverged runs out"):
        stats.curve_band(np.array([[np.inf]]), rng=rng())


def test_normalised_scores():
    np.testing.assert_allclose(stats.normalised([10.0, 30.0, 40.0], 10.0, 30.0), [0.0, 1.0, 1.5])
    with pytest.raises(ValueError, match="got floor 3 and ceiling 3, expected a ceiling above the floor"):
        stats.normalised([1.0], 3.0, 3.0)
