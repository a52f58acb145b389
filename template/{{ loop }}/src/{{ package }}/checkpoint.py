"""Whole checkpoints only: written under another name, then renamed.

The file `00000500.pt` therefore always holds a complete state after step 500, whenever the process was killed, and
`best.pt` the weights that had the lowest test loss.
"""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn, optim

from .parallel import divided, whole
from .run import RunError, writing


def save(
    folder: Path, step: int, model: nn.Module, optimizer: optim.Optimizer, *, keep: int, is_main: bool = True
) -> None:
    """Write the state after `step`, then delete all but the `keep` newest checkpoints.

    All processes call it, and the main one writes. Raises RunError if it cannot; then the ones before are as they were.
    """
    state = _whole({"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()})
    if is_main:
        _write(folder / f"{step:08d}.pt", state)
        for old in steps(folder)[:-keep]:
            (folder / f"{old:08d}.pt").unlink()


def save_best(folder: Path, step: int, model: nn.Module, *, is_main: bool = True) -> None:
    """Write the weights after `step` in place of those that were the best before, as `save` does."""
    state = _whole({"step": step, "model": model.state_dict()})
    if is_main:
        _write(folder / "best.pt", state)


def restore(folder: Path, model: nn.Module, optimizer: optim.Optimizer) -> int:
    """Load the newest checkpoint in place and return its step; 0 when there is none.

    Raises RunError if it is damaged, or of another model.
    """
    if not (found := steps(folder)):
        return 0
    _read(folder / f"{found[-1]:08d}.pt", model, optimizer)
    return found[-1]


def load(run: Path, model: nn.Module, *, best: bool) -> int:
    """Load the weights of the newest checkpoint, or of the best one, of the run in a folder, and return their step.

    Raises RunError if there is none, or as `restore` does.
    """
    folder = run / "checkpoints"
    found = [folder / "best.pt"] if best else [folder / f"{step:08d}.pt" for step in steps(folder)]
    if not found or not found[-1].exists():
        raise RunError(f"{run} has no {'best ' if best else ''}checkpoint yet")
    return _read(found[-1], model)


def steps(folder: Path) -> list[int]:
    """The steps after which there is a checkpoint, oldest first."""
    return sorted(int(path.stem) for path in folder.glob("*.pt") if path.stem.isdigit())


def _write(path: Path, state: dict[str, Any]) -> None:
    with writing(path) as partial, partial.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # what the system said, such as that the disk is full
                raise error.__context__ from None
            raise


def _whole(state: Any) -> Any:
    """The state with every tensor put together that is divided among the processes."""
    if isinstance(state, dict):
        return {key: _whole(value) for key, value in state.items()}
    return whole(state).cpu() if isinstance(state, Tensor) else state


def _read(path: Path, model: nn.Module, optimizer: optim.Optimizer | None = None) -> int:
    if not _is_whole(path):
        raise RunError(f"{path} is damaged; delete it to go on from the checkpoint before it, or else from the start")
    try:
        # weights_only: a checkpoint is data, and loading one never runs code that somebody put into it.
        state = torch.load(path, map_location="cpu", weights_only=True)
        own = model.state_dict()
        model.load_state_dict({name: divided(saved, own.get(name, saved)) for name, saved in state["model"].items()})
        if optimizer is not None:
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            for index, values in state["optimizer"]["state"].items():
                for name in values.keys() - {"step"}:  # that is one number
                    values[name] = divided(values[name], weights[index])
            optimizer.load_state_dict(state["optimizer"])
        return int(state["step"])
    except (RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        what = str(error).splitlines()[0]
        raise RunError(f"{path} does not fit this model ({what}); check out the commit that code.json names") from error


def _is_whole(path: Path) -> bool:
    """Whether every part has the checksum that it was written with, which torch.load does not compare."""
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    except zipfile.BadZipFile:
        return False
