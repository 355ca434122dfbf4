"""Forecasts of recorded series: ours beside simple forecasts, river's and statsmodels'; a table and a file.

    python -m benchmarks.forecasts --out results/streams/forecasts.csv

Every method sees one value after another, forecasts the next rows, and then learns. Errors count from row 20 on. The
seasonal forecasts and the peers are told the season; ours finds it. Needs the extra ``streams``, and statsmodels.
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from benchmarks.kalman import Kalman
from mole import OnlineForecaster
from mole.datasets import make_stream

FROM = 20  # rows before are not counted
HORIZONS = (1, 2, 3, 6, 12, 24, 48)
SIMPLE = ("last value", "seasonal", "mean")
RIVER = ("river-snarimax", "river-holt-winters", "river-forest-lags", "river-linear-lags")


class Series(NamedTuple):
    """Values in order, and the rows of a season that the peers are told; 0 for none."""

    values: np.ndarray
    season: int


class Method(Protocol):
    """What runs through a series. A method that knows the next row alone returns one forecast."""

    def forecast(self, horizon: int) -> np.ndarray:
        """Of the next rows ``[horizon]`` or ``[1]``."""
        ...

    def learn(self, y: float) -> None:
        """The next value."""
        ...


def recorded() -> dict[str, Series]:
    """The series of river and statsmodels, as they come with the packages."""
    import statsmodels.api as sm
    from river import datasets

    def of_river(name: str) -> np.ndarray:
        return np.array([y for _, y in getattr(datasets, name)()], float)

    macro = sm.datasets.macrodata.load_pandas().data
    return {
        "airline": Series(of_river("AirlinePassengers"), 12),
        "water": Series(of_river("WaterFlow"), 24),
        "trump": Series(of_river("TrumpApproval"), 0),
        "sp500": Series(of_river("SP500Stocks"), 0),
        "sunspots": Series(sm.datasets.sunspots.load_pandas().data.SUNACTIVITY.to_numpy(), 11),
        "co2": Series(sm.datasets.co2.load_pandas().data.co2.to_numpy(), 52),
        "nile": Series(sm.datasets.nile.load_pandas().data.volume.to_numpy(), 0),
        **{
            f"macro-{name}": Series(macro[name].to_numpy(), 4) for name in ("realgdp", "cpi", "unemp", "infl")
        },
    }


class Simple:
    """The last value, the last one of the season, or the mean of all."""

    def __init__(self, kind: str, season: int) -> None:
        self.kind, self.season = kind, season
        self.values: list[float] = []

    def forecast(self, horizon: int) -> np.ndarray:
        if not self.values:
            return np.zeros(horizon)
        if self.kind == "mean":
            return np.full(horizon, np.mean(self.values))
        m = self.season if self.kind == "seasonal" and len(self.values) >= self.season > 0 else 1
        return np.resize(self.values[-m:], horizon)

    def learn(self, y: float) -> None:
        self.values.append(y)


class Ours:
    """`OnlineForecaster` with its defaults; also its intervals."""

    def __init__(self, horizon: int) -> None:
        self.model = OnlineForecaster(horizon)

    def forecast(self, horizon: int) -> np.ndarray:
        return self.model.forecast(horizon)

    def interval(self, horizon: int) -> tuple[np.ndarray, np.ndarray]:
        return self.model.forecast_interval(horizon)

    def learn(self, y: float) -> None:
        self.model.learn_one(y)


class Rivers:
    """A forecaster of river; what goes wrong in it before it has seen enough counts as the last value."""

    def __init__(self, model: Any) -> None:
        self.model, self.last, self.n = model, 0.0, 0

    def forecast(self, horizon: int) -> np.ndarray:
        if self.n <= 2 * FROM // 2:
            return np.full(horizon, self.last)
        try:
            found = np.array(self.model.forecast(horizon), float)
        except (IndexError, ValueError, ZeroDivisionError):
            return np.full(horizon, self.last)
        return np.where(np.isfinite(found), found, self.last)

    def learn(self, y: float) -> None:
        self.model.learn_one(y)
        self.last, self.n = y, self.n + 1


class Lags:
    """Any one-step learner on lags 1 to 3, the season and the row after it, for the change from the last value."""

    def __init__(
        self, season: int, predict: Callable[[np.ndarray], float], learn: Callable[..., None]
    ) -> None:
        self.lags = [1, 2, 3, 4, *([season - 1, season, season + 1] if season else [])]
        self.values: list[float] = []
        self.predict, self.teach = predict, learn

    def _row(self) -> np.ndarray:
        # Changes between neighbouring lags, in units of the usual change so far.
        past = np.array([self.values[-min(lag, len(self.values))] for lag in self.lags])
        return np.diff(past) / self._unit()

    def _unit(self) -> float:
        return float(np.mean(np.abs(np.diff(self.values[-200:])))) or 1.0

    def forecast(self, horizon: int) -> np.ndarray:
        if len(self.values) < 2:
            return np.array([self.values[-1] if self.values else 0.0])
        return np.array([self.values[-1] + self.predict(self._row()) * self._unit()])

    def learn(self, y: float) -> None:
        if len(self.values) >= 2:
            self.teach(self._row(), (y - self.values[-1]) / self._unit())
        self.values.append(y)


class Refitted:
    """A state-space model of statsmodels, refitted whenever the history has grown by half, filtered in between."""

    def __init__(self, make: Callable[[np.ndarray], Any]) -> None:
        self.make, self.values, self.next = make, [], FROM
        self.fitted: Any = None

    def forecast(self, horizon: int) -> np.ndarray:
        if self.fitted is None:
            return np.full(horizon, self.values[-1] if self.values else 0.0)
        found = np.asarray(self.fitted.forecast(horizon), float)
        return np.where(np.isfinite(found), found, self.values[-1])

    def learn(self, y: float) -> None:
        self.values.append(y)
        if len(self.values) >= self.next:
            self.next = int(1.5 * self.next)
            self.fitted = self.make(np.array(self.values[-500:]))
        elif self.fitted is not None:
            self.fitted = self.fitted.extend(np.array([y]))


class Smoothing:
    """Damped additive Holt-Winters, fitted by statsmodels whenever the history has grown by half."""

    def __init__(self, season: int) -> None:
        self.season, self.values, self.next = season, [], FROM
        self.state: Any = None

    def forecast(self, horizon: int) -> np.ndarray:
        if self.state is None:
            return np.full(horizon, self.values[-1] if self.values else 0.0)
        level, trend, season = self.state
        damped = np.cumsum(self.phi ** np.arange(1, horizon + 1))
        return level + trend * damped + np.resize(season, horizon)

    def learn(self, y: float) -> None:
        self.values.append(y)
        if len(self.values) >= self.next:
            self.next = int(1.5 * self.next)
            self._fit(np.array(self.values[-1000:]))
        elif self.state is not None:
            level, trend, season = self.state
            before, error_of = level + self.phi * trend, y - season[0]
            new = self.alpha * error_of + (1 - self.alpha) * before
            trend = self.beta * (new - level) + (1 - self.beta) * self.phi * trend
            first = self.gamma * (y - before) + (1 - self.gamma) * season[0]
            self.state = new, trend, np.append(season[1:], first)

    def _fit(self, values: np.ndarray) -> None:
        from statsmodels.tsa.holtwinters import ExponentialSmoothing

        m = self.season if len(values) >= 2 * self.season + 4 > 4 else 0
        model = ExponentialSmoothing(
            values, trend="add", damped_trend=True, seasonal="add" if m else None, seasonal_periods=m or None
        )
        found = model.fit()
        p = found.params
        self.alpha, self.beta, self.phi = p["smoothing_level"], p["smoothing_trend"], p["damping_trend"]
        self.gamma = p["smoothing_seasonal"] if m else 0.0
        season = np.asarray(found.season)[-m:] if m else np.zeros(1)
        self.state = float(found.level[-1]), float(found.trend[-1]), season


def methods(season: int, horizon: int) -> Mapping[str, Callable[[], Method]]:
    """Everything that is compared."""
    from river import forest, linear_model, preprocessing, time_series
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    def on_lags(model: Any) -> Lags:
        return Lags(
            season,
            lambda row: model.predict_one(dict(enumerate(row.tolist()))),
            lambda row, y: model.learn_one(dict(enumerate(row.tolist())), y),
        )

    def kalman() -> Lags:
        net = Kalman(3 + 3 * (season > 0), 16, 1, drift=1e-5)
        return Lags(
            season, lambda row: net.predict(np.float32(row)), lambda row, y: net.learn(np.float32(row), y)
        )

    def arima(values: np.ndarray) -> Any:
        seasonal = (0, 1, 1, season) if 1 < season <= 12 and len(values) > 3 * season else (0, 0, 0, 0)
        model = SARIMAX(values, order=(2, 1, 1), seasonal_order=seasonal)
        return model.fit(disp=False, maxiter=30)

    snarimax = {"p": 12, "d": 1, "q": 3, **({"m": season, "sp": 2, "sq": 1} if season else {})}
    return {
        "mole": lambda: Ours(horizon),
        **{kind: lambda kind=kind: Simple(kind, season) for kind in SIMPLE},
        "river-snarimax": lambda: Rivers(time_series.SNARIMAX(**snarimax)),
        "river-holt-winters": lambda: Rivers(
            time_series.HoltWinters(
                alpha=0.3, beta=0.1, **({"gamma": 0.3, "seasonality": season} if season else {})
            )
        ),
        "river-forest-lags": lambda: on_lags(forest.ARFRegressor(seed=0)),
        "river-linear-lags": lambda: on_lags(
            preprocessing.StandardScaler() | linear_model.LinearRegression()
        ),
        "kalman-lags": kalman,
        "ets": lambda: Smoothing(season),
        "arima": lambda: Refitted(arima),
    }


def errors(values: np.ndarray, method: Method, horizon: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Absolute errors and hits of the intervals ``[n, horizon]`` by the row that was forecast first; and seconds."""
    n, start = len(values), time.perf_counter()
    error, hit = np.full((2, n, horizon), np.nan)
    for t, y in enumerate(values.tolist()):
        if t >= FROM:
            ahead = min(horizon, n - t)
            found = method.forecast(horizon)[:ahead]
            truth = values[t : t + len(found)]
            error[t, : len(found)] = np.abs(found - truth)
            interval = getattr(method, "interval", None)
            if interval is not None:
                low, high = interval(horizon)
                hit[t, :ahead] = (low[:ahead] <= truth) & (truth <= high[:ahead])
        method.learn(y)
    return error, hit, time.perf_counter() - start


def rows_of(name: str, series: Series, only: list[str]) -> Iterator[dict[str, Any]]:
    """One row of the file for every method and horizon."""
    values = series.values[np.isfinite(series.values)]
    horizon = 48 if len(values) >= 1000 else 12
    for method, make in methods(series.season, horizon).items():
        if only and method not in only:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of fits that did not converge: what they forecast counts all the same
            error, hit, seconds = errors(values, make(), horizon)
        for h in HORIZONS:
            if h <= horizon and np.isfinite(error[:, h - 1]).any():
                covered = float(np.nanmean(hit[:, h - 1])) if np.isfinite(hit[:, h - 1]).any() else ""
                yield {
                    "series": name,
                    "rows": len(values),
                    "method": method,
                    "horizon": h,
                    "mae": f"{np.nanmean(error[:, h - 1]):.6g}",
                    "coverage": covered and f"{covered:.3f}",
                    "ms_per_row": f"{1e3 * seconds / len(values):.3g}",
                }


def table(found: list[dict[str, Any]]) -> None:
    """Print a line per series and horizon, and what it comes to."""
    by: dict[tuple[str, int], dict[str, dict[str, Any]]] = {}
    for row in found:
        by.setdefault((row["series"], int(row["horizon"])), {})[row["method"]] = row
    counts: dict[int, list[tuple[bool, bool, float]]] = {}
    print(
        f"{'series':14s} {'h':>3s} "
        + "".join(f"{name:>9s} " for name in ["mole", "simple", "river", "ets", "arima", "kalman"])
        + "cover"
    )
    for (name, h), row in by.items():
        mae = {method: float(one["mae"]) for method, one in row.items()}
        simple = min(mae[m] for m in SIMPLE)
        river = min(mae[m] for m in RIVER if m in mae)
        rest = [mae.get(m, np.nan) for m in ("ets", "arima", "kalman-lags")]
        cells = " ".join(f"{value:9.4g}" for value in (mae["mole"], simple, river, *rest))
        print(f"{name:14s} {h:3d} {cells} {row['mole']['coverage']}")
        best = min(value for method, value in mae.items() if method != "mole")
        counts.setdefault(h, []).append(
            (mae["mole"] <= best, mae["mole"] <= 1.02 * simple, mae["mole"] / simple)
        )
    for h, figures in sorted(counts.items()):
        best, close, ratio = np.array(figures, float).T
        print(
            f"h={h}: best on {best.sum():.0f} of {len(best)}, at most 2 % above the best simple one on "
            f"{close.sum():.0f}, mean ratio to it {np.exp(np.log(ratio).mean()):.3f}"
        )


def with_columns(length: int) -> Iterator[tuple[str, dict[str, float]]]:
    """One row ahead with columns beside the series: the forecaster, the regressor alone, and a forest on both."""
    from river import forest

    from mole import OnlineRegressor

    for name in (
        "trump-approval",
        "sp500",
        "chick-weights",
        "friedman-recurring",
        "linear-returning",
        "mlp-returning",
    ):
        stream = make_stream(name, length, seed=0)
        y = np.asarray(stream.y, float)[:, 0]
        rows = [
            {f"x{place}": float(value) for place, value in enumerate(x)} for x in np.asarray(stream.x, float)
        ]
        ours, alone, trees = OnlineForecaster(1), OnlineRegressor(), forest.ARFRegressor(seed=0)
        said = {
            method: np.zeros(len(y)) for method in ("mole", "regressor", "river-forest-lags", *SIMPLE[::2])
        }
        for t, value in enumerate(y.tolist()):
            past = {f"lag{lag}": float(y[max(t - lag, 0)]) if t else 0.0 for lag in (1, 2, 3)}
            said["river-forest-lags"][t] = trees.predict_one({**rows[t], **past})
            trees.learn_one({**rows[t], **past}, value)
            said["mole"][t] = ours.step_one(value, rows[t]).prediction
            said["regressor"][t] = alone.step_one(rows[t], value).prediction
            said["last value"][t] = y[max(t - 1, 0)]
            said["mean"][t] = y[:t].mean() if t else 0.0
        yield name, {method: float(np.abs(found - y)[FROM:].mean()) for method, found in said.items()}


def main() -> None:
    """Run what was asked for, print the table and write the file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forecasts", description=__doc__)
    parser.add_argument("--series", nargs="+", default=[])
    parser.add_argument("--methods", nargs="+", default=[])
    parser.add_argument(
        "--columns", type=int, default=0, help="rows of each stream with columns; none by default"
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found: list[dict[str, Any]] = []
    for name, series in recorded().items():
        if not options.series or name in options.series:
            begun = time.perf_counter()
            found += rows_of(name, series, options.methods)
            print(f"{name}: {time.perf_counter() - begun:.0f} s", flush=True)
    if options.columns:
        for name, figures in with_columns(options.columns):
            print(name, " ".join(f"{method} {error:.4g}" for method, error in figures.items()), flush=True)
            found += [
                {"series": f"{name} with columns", "rows": options.columns, "method": method, "horizon": 1,
                 "mae": f"{error:.6g}", "coverage": "", "ms_per_row": ""}
                for method, error in figures.items()
            ]  # fmt: skip
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        with options.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, found[0])
            writer.writeheader()
            writer.writerows(found)
    table([row for row in found if "columns" not in row["series"]])


if __name__ == "__main__":
    main()
