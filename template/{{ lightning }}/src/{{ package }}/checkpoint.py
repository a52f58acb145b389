"""Whole checkpoints only: written under another name, then renamed.

The file `00000500.ckpt`, in Lightning's format, therefore always holds a complete state after step 500, whenever the
process was killed, and `best.ckpt` the weights that had the lowest test loss.
"""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.plugins import TorchCheckpointIO
from torch import nn

from .run import RunError, writing

PREFIX = "model."
"""What Lightning puts before the name of each weight: the attribute of the module that has the model."""


class WholeFiles(TorchCheckpointIO):
    """How the Trainer writes and reads its checkpoints."""

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: Any,
        storage_options: Any = None,  # noqa: ARG002
    ) -> None:
        """Raises RunError if it cannot be written; then the ones before are as they were."""
        with writing(Path(path)) as partial, partial.open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:
                if isinstance(error.__context__, OSError):  # what the system said, such as that the disk is full
                    raise error.__context__ from None
                raise

    def load_checkpoint(
        self,
        path: Any,
        map_location: Any = "cpu",
        weights_only: bool | None = True,  # noqa: ARG002
    ) -> dict[str, Any]:
        """Raises RunError if it is damaged."""
        if not _is_whole(path):
            raise RunError(
                f"{path} is damaged; delete it to go on from the checkpoint before it, or else from the start"
            )
        # weights_only: a checkpoint is data, and loading one never runs code that somebody put into it.
        state: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
        return state


def save(folder: Path, step: int, trainer: Trainer, *, keep: int) -> None:
    """Write the state after `step`, then delete all but the `keep` newest checkpoints.

    All processes call it, and the main one writes. Raises RunError if it cannot; then the ones before are as they were.
    """
    trainer.save_checkpoint(folder / f"{step:08d}.ckpt")
    if trainer.is_global_zero:
        for old in steps(folder)[:-keep]:
            (folder / f"{old:08d}.ckpt").unlink()


def save_best(folder: Path, trainer: Trainer) -> None:
    """Write the weights in place of those that were the best before, as `save` does."""
    trainer.save_checkpoint(folder / "best.ckpt", weights_only=True)


def restore(folder: Path, model: nn.Module) -> tuple[Path | None, int]:
    """Load the weights of the newest checkpoint in place, and return it and its step; None and 0 when there is none.

    Raises RunError if it is damaged, or of another model. The Trainer takes the rest of the state from it.
    """
    if not (found := steps(folder)):
        return None, 0
    path = folder / f"{found[-1]:08d}.ckpt"
    return path, _read(path, model)


def load(run: Path, model: nn.Module, *, best: bool) -> int:
    """Load the weights of the newest checkpoint, or of the best one, of the run in a folder, and return their step.

    Raises RunError if there is none, or as `restore` does.
    """
    folder = run / "checkpoints"
    found = [folder / "best.ckpt"] if best else [folder / f"{step:08d}.ckpt" for step in steps(folder)]
    if not found or not found[-1].exists():
        raise RunError(f"{run} has no {'best ' if best else ''}checkpoint yet")
    return _read(found[-1], model)


def steps(folder: Path) -> list[int]:
    """The steps after which there is a checkpoint, oldest first."""
    return sorted(int(path.stem) for path in folder.glob("*.ckpt") if path.stem.isdigit())


def _read(path: Path, model: nn.Module) -> int:
    try:
        state = WholeFiles().load_checkpoint(path)
        model.load_state_dict({name.removeprefix(PREFIX): value for name, value in state["state_dict"].items()})
        return int(state["global_step"])
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
