"""Whole checkpoints only: written under another name, then renamed.

The file `00000500.npz` therefore always holds a complete state after step 500, whenever the process was killed, and
`best.npz` the weights that had the lowest test loss.
The state is put together and one process writes it; Orbax is for a state that is too large for that.
"""

import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.experimental import multihost_utils
from jax.tree_util import keystr
from numpy.typing import NDArray

from .run import RunError, writing


def save(
    folder: Path, step: int, model: nnx.Module, optimizer: nnx.Optimizer[Any], *, keep: int, is_main: bool = True
) -> None:
    """Write the state after `step`, then delete all but the `keep` newest checkpoints.

    All processes call it, and the main one writes. Raises RunError if it cannot; then the ones before are as they were.
    """
    state = _whole({"model": nnx.state(model), "optimizer": nnx.state(optimizer)})
    if is_main:
        _write(folder / f"{step:08d}.npz", step, state)
        for old in steps(folder)[:-keep]:
            (folder / f"{old:08d}.npz").unlink()


def save_best(folder: Path, step: int, model: nnx.Module, *, is_main: bool = True) -> None:
    """Write the weights after `step` in place of those that were the best before, as `save` does."""
    state = _whole({"model": nnx.state(model)})
    if is_main:
        _write(folder / "best.npz", step, state)


def restore(folder: Path, model: nnx.Module, optimizer: nnx.Optimizer[Any]) -> int:
    """Load the newest checkpoint in place and return its step; 0 when there is none.

    Raises RunError if it is damaged, or of another model.
    """
    if not (found := steps(folder)):
        return 0
    _read(folder / f"{found[-1]:08d}.npz", model, optimizer)
    return found[-1]


def load(run: Path, model: nnx.Module, *, best: bool) -> int:
    """Load the weights of the newest checkpoint, or of the best one, of the run in a folder, and return their step.

    Raises RunError if there is none, or as `restore` does.
    """
    folder = run / "checkpoints"
    found = [folder / "best.npz"] if best else [folder / f"{step:08d}.npz" for step in steps(folder)]
    if not found or not found[-1].exists():
        raise RunError(f"{run} has no {'best ' if best else ''}checkpoint yet")
    return _read(found[-1], model)


def steps(folder: Path) -> list[int]:
    """The steps after which there is a checkpoint, oldest first."""
    return sorted(int(path.stem) for path in folder.glob("*.npz") if path.stem.isdigit())


def _write(path: Path, step: int, arrays: dict[str, Any]) -> None:
    with writing(path) as partial, partial.open("wb") as file:
        np.savez(file, step=step, **arrays)


def _whole(state: dict[str, Any]) -> dict[str, Any]:
    """The arrays by their names, each put together if it is divided among the processes."""
    return {keystr(at): _to_numpy(value) for at, value in jax.tree.leaves_with_path(state)}


def _read(path: Path, model: nnx.Module, optimizer: nnx.Optimizer[Any] | None = None) -> int:
    if not _is_whole(path):
        raise RunError(f"{path} is damaged; delete it to go on from the checkpoint before it, or else from the start")
    state = {"model": nnx.state(model)} | ({} if optimizer is None else {"optimizer": nnx.state(optimizer)})
    try:
        # allow_pickle: a checkpoint is data, and loading one never runs code that somebody put into it.
        with np.load(path, allow_pickle=False) as arrays:
            step = int(arrays["step"])
            state = jax.tree.map_with_path(lambda at, old: _to_jax(arrays[keystr(at)], old), state)
    except (ValueError, KeyError) as error:
        what = str(error.args[0])
        raise RunError(f"{path} does not fit this model ({what}); check out the commit that code.json names") from error
    nnx.update(model, state["model"])
    if optimizer is not None:
        nnx.update(optimizer, state["optimizer"])
    return step


def _to_numpy(array: Array) -> NDArray[Any]:
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    here = array.is_fully_addressable or array.is_fully_replicated
    return np.asarray(array if here else multihost_utils.process_allgather(array, tiled=True))


def _to_jax(saved: NDArray[Any], old: Array) -> Array:
    """`saved` on the devices of `old`, and of its type, of which a file keeps only the width if it is a bfloat16."""
    if jnp.issubdtype(old.dtype, jax.dtypes.prng_key):
        return jax.device_put(jax.random.wrap_key_data(jnp.asarray(saved)), old.sharding)
    if saved.shape != old.shape:
        raise ValueError(f"a part has the shape {saved.shape} instead of {old.shape}")
    return jax.device_put(saved.view(old.dtype), old.sharding)


def _is_whole(path: Path) -> bool:
    """Whether every part has the checksum that it was written with."""
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    except zipfile.BadZipFile:
        return False
