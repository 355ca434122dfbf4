"""MOLe as a scikit-learn classifier, on batches between which the two labels swap. Needs the extra streams."""

import numpy as np
from sklearn.linear_model import SGDClassifier

from mole.adapters.sklearn import MoleClassifier

BATCHES, ROWS, FIRST = 40, 50, 10
rng = np.random.default_rng(0)
models = {"SGDClassifier": SGDClassifier(loss="log_loss", random_state=0), "MoleClassifier": MoleClassifier()}
scores = {name: [] for name in models}
for batch in range(BATCHES):
    x = rng.normal(size=(ROWS, 4))
    side = 1 if batch % 2 else -1  # the models are not told
    y = np.where(side * (x[:, 0] + x[:, 1]) > 0, "left", "right")
    for name, model in models.items():
        model.partial_fit(x[:FIRST], y[:FIRST], classes=["left", "right"])  # ten rows show the current side
        scores[name].append(model.score(x[FIRST:], y[FIRST:]))
        model.partial_fit(x[FIRST:], y[FIRST:])

for name, found in scores.items():
    print(
        f"{name:>15}  {np.mean(found[BATCHES // 2 :]):.0%} right, {FIRST} rows after each change, in the second half"
    )
online = models["MoleClassifier"].model  # the OnlineClassifier: it has tasks, which scikit-learn lacks
print(f"{online.n_tasks_} tasks; task of each of the last batches: {online.history_['task'][::ROWS][-8:]}")
