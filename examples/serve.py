"""A service that predicts while it learns: `uvicorn serve:app` in this folder (pip install fastapi uvicorn).

One thread alone learns, and after each batch of labels it publishes a copy of the model. Requests predict with the
newest copy, which nobody changes: they never wait for learning, nor for a refit of the prior, which takes seconds.
"""

import copy
import math
import queue
import threading
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from mole import OnlineRegressor

FILE = Path("serve.mole")
Row = dict[str, float | str | bool | None]


class Pair(BaseModel):
    """A row with its target."""

    row: Row
    target: float


class Service:
    """The model that learns, its newest copy, and the pairs that wait."""

    def __init__(self) -> None:
        """Go on where the last process ended."""
        self.learning = OnlineRegressor.load(FILE) if FILE.exists() else OnlineRegressor()
        self.published = copy.deepcopy(self.learning)
        self.pairs: queue.Queue[Pair | None] = queue.Queue(maxsize=10_000)
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        """Learn until None comes; then save."""
        while (pair := self.pairs.get()) is not None:
            try:
                self.learning.learn_one(pair.row, pair.target)
            except ValueError as error:
                print(error)  # a wrong pair must not end the thread
            if self.pairs.empty():  # a copy takes some milliseconds: one for a batch
                self.published = copy.deepcopy(self.learning)
        self.learning.save(FILE)


@asynccontextmanager
async def lifespan(app: FastAPI):
    """Begin with the process, and lose no pair at its end."""
    app.state.service = service = Service()
    service.thread.start()
    yield
    service.pairs.put(None)
    service.thread.join()


app = FastAPI(lifespan=lifespan)


@app.post("/predict")
def predict(row: Row) -> dict[str, float | int | None]:
    """Prediction with its interval; None while nothing is known."""
    step = app.state.service.published.step_one(row)  # without a target it predicts alone
    known, names = math.isfinite(step.low), ("prediction", "low", "high")
    return {"task": step.task, **{name: getattr(step, name) if known else None for name in names}}


@app.post("/learn", status_code=202)
def learn(pair: Pair) -> None:
    """Take in a pair; it is learned soon."""
    try:
        app.state.service.pairs.put_nowait(pair)
    except queue.Full:
        raise HTTPException(503, "10,000 pairs wait; send it again later") from None
