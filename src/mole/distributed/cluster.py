"""The only door to Ray: joining or starting a cluster, safely by default, and actors that may be lost.

Ray moves functions and objects by cloudpickle. Whoever can reach a cluster and has its token can run anything on it.
"""

from __future__ import annotations

import atexit
import os
import re
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from mole.files.processes import Failure, available_cores

__all__ = ["Link", "LostError", "RayLink", "joined", "pin_to_a_core", "raised"]

_OBJECT_STORE = 256 << 20  # bytes; batches are small, and Ray would take 30 % of the memory
_TOKEN = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


class LostError(Exception):
    """An actor, or the answer of a call, is lost. The call may have been carried out or not."""


@runtime_checkable
class Link(Protocol):
    """Actors and calls of them. Calls of one actor are carried out one after the other."""

    def start(self) -> Any:
        """A new actor, started again elsewhere whenever it dies."""
        ...

    def call(self, actor: Any, method: str, *args: Any, again: bool = False) -> Any:
        """Begin a call; with ``again`` it is repeated if the actor dies meanwhile."""
        ...

    def wait(self, calls: Sequence[Any], seconds: float) -> list[Any]:
        """Those calls that have ended; returns when one has, or after some seconds."""
        ...

    def get(self, call: Any) -> Any:
        """The answer of a call that has ended; raises what the call raised, or `LostError`."""
        ...


class RayLink:
    """The `Link` over Ray."""

    def __init__(self, ray: Any, kind: type, *args: Any) -> None:
        """Actors of class ``kind``, made with ``args``."""
        self._ray, self._args = ray, args
        # Spread: two actors on one machine while another is idle share its cores and its fate. No retries by Ray: a
        # batch that is repeated by itself may overtake the one before it.
        self._kind = ray.remote(kind).options(
            num_cpus=1, max_restarts=-1, max_task_retries=0, scheduling_strategy="SPREAD"
        )

    def start(self) -> Any:
        """See `Link`."""
        return self._kind.remote(*self._args)

    def call(self, actor: Any, method: str, *args: Any, again: bool = False) -> Any:
        """See `Link`."""
        return getattr(actor, method).options(max_task_retries=-1 if again else 0).remote(*args)

    def wait(self, calls: Sequence[Any], seconds: float) -> list[Any]:
        """See `Link`."""
        return self._ray.wait(list(calls), num_returns=1, timeout=seconds)[0]

    def get(self, call: Any) -> Any:
        """See `Link`."""
        try:
            return self._ray.get(call)
        except self._ray.exceptions.RayError as error:
            found = raised(error) if isinstance(error, self._ray.exceptions.RayTaskError) else None
            # The rest is about the actor, its machine, or the network between.
            raise found or LostError(f"{type(error).__name__}: {error}") from None


def raised(error: Any) -> Exception | None:
    """What a task or actor raised, out of Ray's wrapping; None if it raised nothing itself."""
    # Also where the arguments of a call cannot be read: that is an error of Ray then, with the traceback in its text.
    missing = re.search(r"No module named '([\w.]+)'", str(error))
    if missing is not None:
        return Failure(
            f"a machine of the cluster has no module {missing[1]!r}: install the same packages on all of them, and "
            "keep functions of your own in a module that all of them can import"
        )
    if not hasattr(error, "cause"):
        return None
    return error.cause if isinstance(error.cause, Exception) else Failure(str(error))


@contextmanager
def joined(address: str | None, cores: int) -> Iterator[Any]:
    """The module ``ray``, connected to a cluster.

    A connection that the process has already is used, and kept.

    Args:
        address: ``host:port`` of a cluster; None starts one on this machine, which ends with the block.
        cores: that a cluster of this machine offers at least.

    Raises:
        ModuleNotFoundError: if Ray is not installed.
        Failure: if the cluster cannot be joined.
    """
    # Ray reads these when it is imported. Nobody is told that it runs, and a call without the token is refused.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if "ray" not in sys.modules:
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    if address is None and not any(name in os.environ for name in _TOKEN):
        os.environ["RAY_AUTH_TOKEN_PATH"] = _private_token()
    try:
        import ray  # pyright: ignore[reportMissingImports] - an extra with an environment of its own
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise ModuleNotFoundError(
            "mole.distributed needs Ray, which is not installed: pip install 'mole-online[distributed]'",
            name="ray",
        ) from error
    if ray.is_initialized():
        yield ray
        return
    if address is not None and "://" in address:
        raise ValueError(
            f"got the address {address!r}; expected host:port of the cluster, and to run on one of its machines: "
            "Ray's client protocol cannot repeat calls"
        )
    # Ray replaces the handler of SIGTERM by one that ends the process at once.
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM) if main else None
    try:
        if address is None:
            # JAX warns of every fork; the processes of Ray are other programs at once, and touch nothing of JAX.
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
                # Not ray.init(): that joins any cluster that it finds. No dashboard: it is one more open port.
                ray.init(
                    "local",
                    num_cpus=max(cores, available_cores()),
                    include_dashboard=False,
                    object_store_memory=_OBJECT_STORE,
                    logging_level="warning",
                )
        else:
            ray.init(address, logging_level="warning")
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        where = "start Ray on this machine" if address is None else f"join the Ray cluster at {address}"
        raise Failure(
            f"cannot {where}: {str(error)[:500]}. A cluster wants the same versions of Python and Ray, and its token "
            "in RAY_AUTH_TOKEN or in the file RAY_AUTH_TOKEN_PATH"
        ) from error
    finally:
        if main:
            signal.signal(signal.SIGTERM, handler)
    try:
        yield ray
    finally:
        ray.shutdown()


def _private_token() -> str:
    """The file of a new token, which ends with this process and nobody else can read."""
    # By itself Ray would leave it in ~/.ray/auth_token for all clusters, readable as the mask allows.
    folder = tempfile.mkdtemp(prefix="mole-ray-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder, "token")
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    return str(path)


_cores: list[Any] = []  # the lock of this process's core, held until it ends


def pin_to_a_core() -> None:
    """Pin this process to one core that no other such process of the machine has; does nothing where none is free.

    Two pools of XLA on the same cores slow each other down, and with one thread each, results do not depend on how many
    processes there are (as in `mole.files.processes.worker_pool`). To be called before JAX makes its first array.
    """
    if _cores or not hasattr(os, "sched_setaffinity"):
        return
    import fcntl

    for core in sorted(os.sched_getaffinity(0)):
        # Ray gives a process a number of cores and no particular one: whoever holds the lock of a core has it.
        place = Path(tempfile.gettempdir(), f"mole-core-{os.getuid()}-{core}.lock")
        file = os.fdopen(os.open(place, os.O_RDWR | os.O_CREAT, 0o600), "r+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        _cores.append(file)
        os.sched_setaffinity(0, {core})
        return
    # More processes than cores: each has one thread all the same.
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[os.getpid() % available_cores()]})
