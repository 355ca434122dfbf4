"""The jobs of an evaluation or a training as tasks of a Ray cluster, instead of processes of one machine.

A job reads and writes files and says nothing else that counts, so it does not matter who does it: what one machine has
begun, a cluster goes on with, and back. The folders must be on storage that all machines share, under the same names.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from mole._version import __version__
from mole.distributed.cluster import joined, pin_to_a_core, raised
from mole.files.generations import tell_in_one_line
from mole.files.processes import Failure, WorkerLost, Workers, available_cores
from mole.files.programs import use_compilation_cache

__all__ = ["ray_workers"]

_LEAVE_SECONDS = 20.0  # for running jobs to write their checkpoints, when the command is stopped


@contextmanager
def ray_workers(address: str | None = None) -> Iterator[Workers]:
    """What takes the place of the processes of this machine: every task has one core of the cluster.

    Args:
        address: ``host:port`` of a cluster; None starts Ray on this machine.

    Raises:
        Failure: if the cluster cannot be joined.
    """
    with joined(address, available_cores()) as ray:

        @contextmanager
        def pool(
            count: int, start: Callable[..., None] | None = None, *args: Any, platform: str | None = None
        ) -> Iterator[Executor]:
            # `count` is the number of cores of the cluster, which Ray knows.
            executor = _Tasks(ray, _Beginning(start, args, platform))
            try:
                yield executor
            except BaseException:
                executor.shutdown(cancel_futures=True)
                raise

        yield Workers(pool, lambda: _Ticks(ray), int(ray.cluster_resources().get("CPU", 1)))


class _Beginning:
    """What a worker process does before its first job of a pool; sent with every job."""

    def __init__(
        self, start: Callable[..., None] | None, args: tuple[Any, ...], platform: str | None
    ) -> None:
        self.pool = secrets.token_hex(8)
        self.start, self.args, self.platform = start, args, platform
        self.version, self.folder = __version__, str(Path.cwd())
        self.caches = bool(jax.config.jax_compilation_cache_dir)  # pyright: ignore[reportAttributeAccessIssue]

    def __call__(self) -> None:
        global _begun
        if _begun == self.pool:
            return
        if self.version != __version__:
            raise Failure(
                f"a machine of the cluster has mole-online {__version__}, the one that asks {self.version}: install "
                "the same version on all of them"
            )
        try:
            os.chdir(self.folder)
        except OSError as error:
            raise Failure(
                f"a machine of the cluster has no folder {self.folder}: start the command in a folder on storage that "
                "all machines share"
            ) from error
        tell_in_one_line()
        pin_to_a_core()
        if self.caches:
            use_compilation_cache()
        if self.platform is not None:
            jax.config.update("jax_platforms", self.platform)
        if self.start is not None:
            self.start(*self.args)
        _begun = self.pool


_begun = ""  # in a worker process: the pool whose beginning is done


def _work(begin: _Beginning, work: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    begin()
    return work(*args)


class _Tasks(Executor):
    """An executor whose jobs are tasks. If a machine is lost, its tasks begin again elsewhere, at their checkpoints."""

    def __init__(self, ray: Any, begin: _Beginning) -> None:
        self._ray, self._begin, self._calls = ray, ray.put(begin), list[Any]()
        self._task = ray.remote(_work).options(num_cpus=1, max_retries=3)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:
        call, future = self._task.remote(self._begin, fn, args), Future[Any]()
        self._calls.append(call)

        def ended(inner: Future[Any]) -> None:
            error = inner.exception()
            if error is None:
                future.set_result(inner.result())
                return
            lost = WorkerLost(
                f"a task was lost with its machine, again and again ({str(error)[:500]}). What was finished is kept: "
                "run it again to go on"
            )
            future.set_exception(raised(error) or lost)

        call.future().add_done_callback(ended)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        for call in self._calls if cancel_futures else ():
            self._ray.cancel(call)  # a running job has a Ctrl-C: it saves, and leaves
        if wait and self._calls:
            self._ray.wait(self._calls, num_returns=len(self._calls), timeout=_LEAVE_SECONDS)


class _Ticks:
    """A queue between processes of many machines, with the methods of one between processes that are used here."""

    def __init__(self, ray: Any) -> None:
        from ray.util.queue import Queue  # pyright: ignore[reportMissingImports]

        self._queue = Queue(actor_options={"num_cpus": 0})

    def put(self, item: Any) -> None:
        self._queue.put(item)

    def get_nowait(self) -> Any:
        return self._queue.get_nowait()  # its Empty is that of `queue`

    def cancel_join_thread(self) -> None:
        """Nothing of it holds the end of a process up."""
