"""A batch of windows over several devices, by JAX's own sharding under a plain `jax.jit`.

The windows are divided, θ and β are on every device, and the compiler sums the gradient: the mean over a batch is the
same mean, in another order.
"""

from __future__ import annotations

from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from mole._expect import expect_whole

__all__ = ["divided", "expect_devices", "expect_there", "on_default_device"]

T = TypeVar("T")
_AXIS = "windows"


def expect_devices(devices: int, batch: int) -> None:
    """Raise unless ``devices`` is a number that divides the batch; whether they are there is known to `divided`."""
    if batch % expect_whole("MetaConfig", "devices", devices):
        raise ValueError(
            f"MetaConfig got devices={devices} with batch={batch}; expected a number that divides the batch, so that "
            "every device has as many windows."
        )


def expect_there(devices: int) -> None:
    """Raise ValueError if JAX sees fewer devices."""
    if (there := jax.device_count()) < devices:
        raise ValueError(
            f"MetaConfig got devices={devices}; expected at most {there}, as many as JAX sees. A processor counts as "
            f"one unless JAX is started with JAX_NUM_CPU_DEVICES={devices} in the environment."
        )


def divided(windows: T, devices: int | None) -> T:
    """Within a compiled function: the windows ``[batch, ...]``, divided among the first devices; None leaves them.

    Raises:
        ValueError: (when traced) if there are fewer devices.
    """
    if devices is None:
        return windows
    expect_there(devices)
    mesh = jax.make_mesh((devices,), (_AXIS,), (AxisType.Auto,), devices=jax.devices()[:devices])
    return jax.lax.with_sharding_constraint(windows, NamedSharding(mesh, PartitionSpec(_AXIS)))


def on_default_device(tree: T) -> T:
    """A tree whose arrays are on every device of a mesh, as one whose arrays are on the default device."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)) if eqx.is_array(leaf) else leaf, tree)
