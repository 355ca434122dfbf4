# %% [markdown]
"""
# Regimes in a stream

A heater in two modes. Its power depends on the outside temperature and on a valve, and each mode has its own law. No
column names the mode. We predict each row before it is learned, look at what was found, and ask what changed.

This file is a script and a notebook: `jupytext --to ipynb examples/regimes.py`.
"""

# %%
import numpy as np

from mole import OnlineRegressor

ROWS, VISIT = 240, 60  # a row a minute, an hour in each mode
rng = np.random.default_rng(0)
outside, valve = rng.uniform(-5, 15, ROWS), rng.choice(["open", "shut"], ROWS)
first = np.arange(ROWS) // VISIT % 2 == 0
power = np.where(first, 8.0 - 0.4 * outside, 3.0 - 0.1 * outside) + 1.5 * (valve == "open")
power += 0.1 * rng.normal(size=ROWS)  # kW

# %% [markdown]
# `step_one` predicts a row, then learns it, and returns the prediction with its interval.

# %%
model, error = OnlineRegressor(memory=64), np.zeros(ROWS)
for t in range(ROWS):
    step = model.step_one({"outside": outside[t], "valve": valve[t]}, power[t])
    error[t] = step.prediction - power[t]

for start in range(0, ROWS, VISIT):
    early, late = error[start : start + 20], error[start + 20 : start + VISIT]
    print(f"from row {start:3d}: {early.std():.2f} kW in the first 20 rows, then {late.std():.2f}")

# %% [markdown]
# The first visit to a mode costs some rows: a new law must be seen before it is believed. When the mode returns, its
# law is recalled. `events_` says when each began.

# %%
for event in model.events_:
    print(f"{event['event']:8s} task {event['task']} since row {event['row']}, noticed at {event['noticed']}")

# %% [markdown]
# What is different between the two? `effect` is how far the power moves with a column as a rule, in kW; `sd` is how
# uncertain the difference is. The valve does the same in both modes.

# %%
for column in model.regime_(1, before=0)["columns"]:
    print(
        f"{column['column']:8s} {column['effect_before']:5.2f} -> {column['effect']:5.2f} ± {column['sd']:.2f}"
    )

# %% [markdown]
# Was it worth it? A linear law for all rows, fitted afterwards with everything known, leaves this error:

# %%
inputs = np.column_stack([np.ones(ROWS), outside, valve == "open"])
rest = power - inputs @ np.linalg.lstsq(inputs, power, rcond=None)[0]
print(f"one linear law {rest.std():.2f} kW, mole {error[20:].std():.2f} kW")
