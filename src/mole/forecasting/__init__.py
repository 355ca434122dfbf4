"""Forecasts of a series some rows ahead: an `OnlineRegressor` on the series' own past, beside simple forecasts."""

from mole.forecasting.forecaster import OnlineForecaster

__all__ = ["OnlineForecaster"]
