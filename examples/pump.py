"""Write pump.csv, rows for `mole stream`: a pump in three hidden modes.

The pressure behind a pump depends on its speed, on the valve, on the temperature, and on the mode of the pump: well,
worn, or with air in the water. Each mode lasts a few hours, and all modes return. Some temperatures are missing, and in
three rows the speed is not a number.

    python examples/pump.py             writes pump.csv, and pump-history.csv of the weeks before
    mole stream pump.csv --target pressure --report report.html
"""

import csv
import datetime
from pathlib import Path

import numpy as np

ROWS = 1500
MODES = ("well", "worn", "air")
VALVE = {"open": 0.0, "half": 0.8, "narrow": 1.6}


def pressure(mode: str, speed: float, valve: str, temperature: float) -> float:
    """The pressure without noise, in bar; speed in revolutions a minute, temperature in °C."""
    turns, warm = speed / 1000, (temperature - 20) / 10
    if mode == "well":
        return 1.5 + 1.4 * turns + VALVE[valve]
    if mode == "worn":
        return 1.0 + 0.5 * turns + 0.3 * VALVE[valve] - 0.3 * warm
    return 5.0 - 0.9 * turns - 0.8 * warm


def write(path: str, start: datetime.datetime, seed: int) -> None:
    """Write one segment, a row a minute, and print the rows at which the mode changed."""
    rng = np.random.default_rng(seed)
    mode, until, changes = "", 0, []
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["time", "speed", "valve", "temperature", "pressure"])
        for row in range(ROWS):
            if row == until:
                mode = str(rng.choice([other for other in MODES if other != mode]))
                until += int(rng.integers(120, 260))
                changes.append(f"{row + 1} {mode}")
            speed, valve = rng.uniform(800, 3000), str(rng.choice(list(VALVE)))
            temperature = 20 + 6 * np.sin(2 * np.pi * row / 1440) + rng.normal()
            found = pressure(mode, speed, valve, temperature) + 0.1 * rng.normal()
            time = start + datetime.timedelta(minutes=row)
            shown = "" if rng.random() < 0.05 else f"{temperature:.1f}"
            speed_shown = "ERR" if row in (400, 401, 900) else f"{speed:.0f}"
            rows.writerow([time.isoformat(), speed_shown, valve, shown, f"{found:.2f}"])
    print(f"{path}: {ROWS:,} rows; from row on, mode: {', '.join(changes)}")


if __name__ == "__main__":
    write("pump.csv", datetime.datetime(2026, 3, 2), seed=0)
    write("pump-history.csv", datetime.datetime(2026, 2, 16), seed=1)
