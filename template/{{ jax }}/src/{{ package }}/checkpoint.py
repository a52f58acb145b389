"""Whole checkpoints only: written under another name, then renamed.

The file `00000500.npz` therefore always holds a complete state after step 500, whenever the process was killed.
Every device has all of the state here, so one process can write it; Orbax is for a state that is split over hosts.
"""

import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.tree_util import keystr
from numpy.typing import NDArray

from .run import RunError, writing


def save(folder: Path, step: int, model: nnx.Module, optimizer: nnx.Optimizer[Any], *, keep: int) -> None:
    """Write the state after `step`, then delete all but the `keep` newest checkpoints."""
    state = {"model": nnx.state(model), "optimizer": nnx.state(optimizer)}
    arrays: dict[str, Any] = {keystr(at): _to_numpy(value) for at, value in jax.tree.leaves_with_path(state)}
    with writing(folder / f"{step:08d}.npz") as partial, partial.open("wb") as file:
        np.savez(file, **arrays)
    for old in steps(folder)[:-keep]:
        (folder / f"{old:08d}.npz").unlink()


def restore(folder: Path, model: nnx.Module, optimizer: nnx.Optimizer[Any] | None = None) -> int:
    """Load the newest checkpoint in place and return its step; 0 when there is none.

    Raises RunError if it is damaged.
    """
    if not (found := steps(folder)):
        return 0
    path = folder / f"{found[-1]:08d}.npz"
    if not _is_whole(path):
        raise RunError(f"{path} is damaged; delete it to go on from the checkpoint before it, or else from the start")
    state = {"model": nnx.state(model)} | ({} if optimizer is None else {"optimizer": nnx.state(optimizer)})
    # allow_pickle: a checkpoint is data, and loading one never runs code that somebody put into it.
    with np.load(path, allow_pickle=False) as arrays:
        state = jax.tree.map_with_path(lambda at, old: _to_jax(arrays[keystr(at)], old), state)
    nnx.update(model, state["model"])
    if optimizer is not None:
        nnx.update(optimizer, state["optimizer"])
    return found[-1]


def steps(folder: Path) -> list[int]:
    """The steps after which there is a checkpoint, oldest first."""
    return sorted(int(path.stem) for path in folder.glob("*.npz"))


def _to_numpy(array: Array) -> NDArray[Any]:
    is_key = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(array) if is_key else array)


def _to_jax(saved: NDArray[Any], old: Array) -> Array:
    """`saved` on the devices of `old`, and of its type, of which a file keeps only the width if it is a bfloat16."""
    if jnp.issubdtype(old.dtype, jax.dtypes.prng_key):
        return jax.device_put(jax.random.wrap_key_data(jnp.asarray(saved)), old.sharding)
    return jax.device_put(saved.view(old.dtype), old.sharding)


def _is_whole(path: Path) -> bool:
    """Whether every part has the checksum that it was written with."""
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    except zipfile.BadZipFile:
        return False
