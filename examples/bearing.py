# %% [markdown]
"""
# A pump whose bearing wears

The vibration of a pump depends on its speed and its load. The bearing wears slowly, then fails; a new one brings the
old behaviour back. Two questions: is a reading odd, and is there a new regime?

This file is a script and a notebook: `jupytext --to ipynb examples/bearing.py`.
"""

# %%
import numpy as np

from mole import OnlineRegressor

ROWS, FAILS, REPAIRED, HIT = 300, 180, 240, 100
rng = np.random.default_rng(0)
speed, load = rng.uniform(1, 3, ROWS), rng.uniform(0, 1, ROWS)  # 1,000 turns a minute; share of the full load
row = np.arange(ROWS)
vibration = 0.5 + 0.8 * speed + 0.4 * load + 0.05 * rng.normal(size=ROWS)  # mm/s
vibration += np.where(row < FAILS, 0.001 * row, 0)  # it wears, a little more every row
vibration += np.where((row >= FAILS) & (row < REPAIRED), 2.0 * load, 0)
vibration[HIT] = 9.0  # somebody hit the sensor

# %% [markdown]
# Before a row is learned one can ask how odd its reading is: the probability of a less odd one. Here of the hit, of the
# last row with the worn bearing, and of the first one with the failed.

# %%
model, error = OnlineRegressor(memory=64), np.zeros(ROWS)
for t in range(ROWS):
    x = {"speed": speed[t], "load": load[t]}
    if t in (FAILS - 1, HIT, FAILS):
        print(f"row {t}: {vibration[t]:.2f} mm/s, score {model.anomaly_score_one(x, vibration[t]):.4f}")
    error[t] = model.step_one(x, vibration[t]).prediction - vibration[t]

for name, start, end in (
    ("wears", 50, FAILS),
    ("failed", FAILS + 10, REPAIRED),
    ("new", REPAIRED + 10, ROWS),
):
    print(f"{name:6s} median error {np.median(np.abs(error[start:end])):.2f} mm/s")

# %% [markdown]
# One wild reading is no regime, and slow wear is followed without one. The failure is a regime, since it lasts. The
# repair is a return: the old law is recalled. `model.explain_one` and `model.regime_` say more of both.

# %%
for event in model.events_:
    print(f"{event['event']:8s} task {event['task']} since row {event['row']}, noticed at {event['noticed']}")
