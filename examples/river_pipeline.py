"""MOLe as the last step of a river pipeline, on a stream that alternates between two laws. Needs the extra streams."""

import random

from river import evaluate, linear_model, metrics, preprocessing

from mole.adapters.river import MoleRegressor

STEPS, PERIOD = 1000, 100
rng = random.Random(0)
pairs = []
for t in range(STEPS):
    x = {"load": rng.uniform(0, 10), "valve": rng.uniform(0, 1)}
    heat = 2 * x["load"] if t // PERIOD % 2 else 30 - 1.5 * x["load"]  # the model is not told which
    pairs.append((x, heat + 5 * x["valve"] + rng.gauss(0, 0.5)))

for learner in (linear_model.LinearRegression(), MoleRegressor()):
    model = preprocessing.StandardScaler() | learner
    score = evaluate.progressive_val_score(pairs, model, metrics.MAE())  # predicts each pair, then learns it
    print(f"{type(learner).__name__:>16}  {score}")

scaled = model["StandardScaler"].transform_one({"load": 5.0, "valve": 0.5})
mole = model["MoleRegressor"].model  # the OnlineRegressor: it has tasks and intervals, which river lacks
low, high = mole.predict_interval_one(scaled)
print(f"{mole.n_tasks_} tasks, now task {mole.task_}; load 5, valve 0.5: {low:.1f} to {high:.1f}")
