"""Whole checkpoints only: written under another name, then renamed.

The folder `00000500`, in the Trainer's format, therefore always holds a complete state after step 500, whenever the
process was killed, and the newest `best-00000500` the weights that had the lowest test loss. The model of either is
there for `from_pretrained` of Transformers, too. With `model.lora_rank` it is what was learned alone, for PEFT.
"""

import hashlib
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import optim
from transformers import PreTrainedModel, TrainerState
from transformers.utils import logging

from . import lora
from .run import RunError

logging.disable_progress_bar()  # of writing and reading weights

SUMS = "SHA256SUMS"
"""A file beside the others with the hash of each, which `sha256sum --check` reads: safetensors has none."""


def save(
    folder: Path,
    step: int,
    model: PreTrainedModel,
    optimizer: optim.Optimizer,
    schedule: optim.lr_scheduler.LRScheduler,
    state: TrainerState,
    *,
    keep: int,
) -> None:
    """Write the state after `step`, then delete all but the `keep` newest checkpoints.

    Raises RunError if it cannot; then the ones before are as they were.
    """
    with writing(folder / f"{step:08d}") as partial:
        _write(partial, model)
        torch.save(optimizer.state_dict(), partial / "optimizer.pt")
        torch.save(schedule.state_dict(), partial / "scheduler.pt")
        state.save_to_json(str(partial / "trainer_state.json"))
    for old in steps(folder)[:-keep]:
        _delete(folder / f"{old:08d}")


def save_best(folder: Path, step: int, model: PreTrainedModel) -> None:
    """Write the weights after `step`, then delete those that were the best before, as `save` does."""
    with writing(folder / f"best-{step:08d}") as partial:
        _write(partial, model)
    for old in _bests(folder)[:-1]:
        _delete(old)


def restore(folder: Path, model: PreTrainedModel) -> tuple[Path | None, int]:
    """Load the weights of the newest checkpoint in place, and return it and its step; None and 0 when there is none.

    Raises RunError if it is damaged, or of another model. The Trainer takes the rest of the state from it.
    """
    if not (found := steps(folder)):
        return None, 0
    path = folder / f"{found[-1]:08d}"
    return path, _read(path, model)


def load(run: Path, model: PreTrainedModel, *, best: bool) -> int:
    """Load the weights of the newest checkpoint, or of the best one, of the run in a folder, and return their step.

    Raises RunError if there is none, or as `restore` does.
    """
    folder = run / "checkpoints"
    found = _bests(folder) if best else [folder / f"{step:08d}" for step in steps(folder)]
    if not found:
        raise RunError(f"{run} has no {'best ' if best else ''}checkpoint yet")
    return _read(found[-1], model)


def steps(folder: Path) -> list[int]:
    """The steps after which there is a checkpoint, oldest first."""
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())


def _bests(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("best-*") if path.name.removeprefix("best-").isdigit())


def _write(path: Path, model: PreTrainedModel) -> None:
    if hasattr(model, "peft_config"):
        lora.save(path, model)
    else:
        model.save_pretrained(path)


def _read(path: Path, model: PreTrainedModel) -> int:
    if not _is_whole(path):
        raise RunError(f"{path} is damaged; delete it to go on from the checkpoint before it, or else from the start")
    try:
        if (path / lora.WEIGHTS).exists():
            lora.load(path, model)
        else:
            load_model(model, path / "model.safetensors", device=str(model.device))
    except (RuntimeError, SafetensorError) as error:
        what = str(error).splitlines()[0]
        raise RunError(f"{path} does not fit this model ({what}); check out the commit that code.json names") from error
    return int(path.name.removeprefix("best-"))


def _is_whole(path: Path) -> bool:
    """Whether every file is what it was when it was written."""
    sums = path / SUMS
    return sums.exists() and sums.read_text() == _sums(path)


def _sums(folder: Path) -> str:
    lines: list[str] = []
    for path in sorted(folder.iterdir()):
        if path.name != SUMS:
            with path.open("rb") as file:
                lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n")
    return "".join(lines)


@contextmanager
def writing(path: Path) -> Generator[Path]:
    """A folder beside `path` to write files to. It becomes `path` in one step at the end; on an error nothing changes.

    Raises RunError if the system cannot write it.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)  # a process that was killed may have left one
        partial.mkdir()
        yield partial
        (partial / SUMS).write_text(_sums(partial))
        for file in partial.iterdir():
            with file.open("rb+") as written:
                os.fsync(written.fileno())  # or a power failure could leave the new name on an empty file
        if path.exists():
            _delete(path)
        partial.replace(path)
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        cause = error.__context__ if isinstance(error, RuntimeError) else error
        if not isinstance(cause, OSError | SafetensorError):
            raise
        raise RunError(
            f"{path} cannot be written ({getattr(cause, 'strerror', cause)}), and what was saved before is whole; "
            "make room there, and the same command goes on"
        ) from error


def _delete(path: Path) -> None:
    """Delete a checkpoint as a whole: a process that is killed meanwhile leaves none that is half there."""
    gone = path.with_name(f"{path.name}.deleted")
    shutil.rmtree(gone, ignore_errors=True)
    shutil.rmtree(path.replace(gone))
