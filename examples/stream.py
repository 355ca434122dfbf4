"""A stream that alternates between two regimes every 100 points. The model has no prior and is not told the changes."""

import numpy as np

from mole import OnlineRegressor

STEPS, PERIOD = 2000, 100
x = np.random.default_rng(0).uniform(-3, 3, size=(STEPS, 1))
y = np.sin(x[:, 0] + np.where(np.arange(STEPS) // PERIOD % 2, np.pi / 2, 0))

model, errors, tasks = OnlineRegressor(), np.zeros(STEPS), np.zeros(STEPS, int)
for t in range(STEPS):  # after 4, 8, 16, … points the model is refitted to all of them, and pauses
    step = model.step_one(x[t], y[t])  # predicts the point, then learns it
    errors[t], tasks[t] = step.prediction - y[t], step.task

starts = np.arange(STEPS // 2, STEPS, PERIOD)  # of visits to a regime that occurred before
recalled = (tasks[starts + 5] == tasks[starts - PERIOD - 1]) & (tasks[starts + 5] != tasks[starts - 1])
print(
    f"error {np.sqrt(np.mean(errors[STEPS // 2 :] ** 2)):.3f}, spread of y {y.std():.3f}, {model.n_tasks_} tasks"
)
print(f"recall: {recalled.sum()} of {len(starts)} returns, the old task chosen within 5 points")
