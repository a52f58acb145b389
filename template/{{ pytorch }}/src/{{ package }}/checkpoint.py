"""Whole checkpoints only: written under another name, then renamed.

The file `00000500.pt` therefore always holds a complete state after step 500, whenever the process was killed.
"""

import zipfile
from pathlib import Path

import torch
from torch import nn, optim

from .run import RunError, writing


def save(folder: Path, step: int, model: nn.Module, optimizer: optim.Optimizer, *, keep: int) -> None:
    """Write the state after `step`, then delete all but the `keep` newest checkpoints."""
    with writing(folder / f"{step:08d}.pt") as partial:
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, partial)
    for old in steps(folder)[:-keep]:
        (folder / f"{old:08d}.pt").unlink()


def restore(folder: Path, model: nn.Module, optimizer: optim.Optimizer | None = None) -> int:
    """Load the newest checkpoint in place and return its step; 0 when there is none.

    Raises RunError if it is damaged.
    """
    if not (found := steps(folder)):
        return 0
    path = folder / f"{found[-1]:08d}.pt"
    if not _is_whole(path):
        raise RunError(f"{path} is damaged; delete it to go on from the checkpoint before it, or else from the start")
    # weights_only: a checkpoint is data, and loading one never runs code that somebody put into it.
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    if optimizer is not None:
        optimizer.load_state_dict(state["optimizer"])
    return found[-1]


def steps(folder: Path) -> list[int]:
    """The steps after which there is a checkpoint, oldest first."""
    return sorted(int(path.stem) for path in folder.glob("*.pt"))


def _is_whole(path: Path) -> bool:
    """Whether every part has the checksum that it was written with, which torch.load does not compare."""
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    except zipfile.BadZipFile:
        return False
