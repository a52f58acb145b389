"""Whole checkpoints only: written under another name, then renamed.

The file `00000500.npz` therefore always holds a complete state after step 500, whenever the process was killed, and
`best.npz` the weights that had the lowest test loss.
"""

import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .run import RunError, writing


def save(
    folder: Path,
    step: int,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    *,
    keep: int,
    is_main: bool = True,
) -> None:
    """Write the state after `step`, then delete all but the `keep` newest checkpoints.

    All processes call it, and the main one writes. Raises RunError if it cannot; then the ones before are as they were.
    """
    if is_main:
        _write(folder / f"{step:08d}.npz", step, variables(model, optimizer))
        for old in steps(folder)[:-keep]:
            (folder / f"{old:08d}.npz").unlink()


def save_best(folder: Path, step: int, model: keras.Model, *, is_main: bool = True) -> None:
    """Write the weights after `step` in place of those that were the best before, as `save` does."""
    if is_main:
        _write(folder / "best.npz", step, variables(model))


def restore(folder: Path, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> int:
    """Load the newest checkpoint in place and return its step; 0 when there is none.

    Raises RunError if it is damaged, or of another model.
    """
    if not (found := steps(folder)):
        return 0
    _read(folder / f"{found[-1]:08d}.npz", variables(model, optimizer))
    return found[-1]


def load(run: Path, model: keras.Model, *, best: bool) -> int:
    """Load the weights of the newest checkpoint, or of the best one, of the run in a folder, and return their step.

    Raises RunError if there is none, or as `restore` does.
    """
    folder = run / "checkpoints"
    found = [folder / "best.npz"] if best else [folder / f"{step:08d}.npz" for step in steps(folder)]
    if not found or not found[-1].exists():
        raise RunError(f"{run} has no {'best ' if best else ''}checkpoint yet")
    return _read(found[-1], variables(model))


def steps(folder: Path) -> list[int]:
    """The steps after which there is a checkpoint, oldest first."""
    return sorted(int(path.stem) for path in folder.glob("*.npz") if path.stem.isdigit())


def variables(*parts: keras.Model | keras.optimizers.Optimizer) -> dict[str, keras.Variable]:
    """All that training changes, by its name: weights, the optimizer's state, and what random layers draw from."""
    return {variable.path: variable for part in parts for variable in part.variables}


def _write(path: Path, step: int, state: dict[str, keras.Variable]) -> None:
    arrays: dict[str, Any] = {name: variable.numpy() for name, variable in state.items()}
    with writing(path) as partial, partial.open("wb") as file:
        np.savez(file, step=step, **arrays)


def _read(path: Path, state: dict[str, keras.Variable]) -> int:
    if not _is_whole(path):
        raise RunError(f"{path} is damaged; delete it to go on from the checkpoint before it, or else from the start")
    try:
        # allow_pickle: a checkpoint is data, and loading one never runs code that somebody put into it.
        with np.load(path, allow_pickle=False) as arrays:
            step = int(arrays["step"])
            saved = {name: arrays[name] for name in state}
        for name, variable in state.items():
            if saved[name].shape != variable.shape:
                raise ValueError(f"{name} has the shape {saved[name].shape} instead of {variable.shape}")
    except (ValueError, KeyError) as error:
        what = str(error.args[0])
        raise RunError(f"{path} does not fit this model ({what}); check out the commit that code.json names") from error
    for name, variable in state.items():
        variable.assign(saved[name])
    return step


def _is_whole(path: Path) -> bool:
    """Whether every part has the checksum that it was written with."""
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    except zipfile.BadZipFile:
        return False
