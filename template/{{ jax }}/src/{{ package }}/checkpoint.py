"""Whole checkpoints only: Orbax writes under another name, then renames.

The folder `500` therefore always holds a complete state after step 500, whenever the process was killed.
"""

from pathlib import Path

import orbax.checkpoint as ocp
from flax import nnx

from .run import RunError


def save(folder: Path, step: int, model: nnx.Module, optimizer: nnx.Optimizer[nnx.Module], *, keep: int) -> None:
    """Write the state after `step`, then delete all but the `keep` newest checkpoints."""
    options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=False)
    with ocp.CheckpointManager(folder.absolute(), options=options) as manager:
        state = ocp.args.Composite(
            model=ocp.args.StandardSave(nnx.state(model)), optimizer=ocp.args.StandardSave(nnx.state(optimizer))
        )
        manager.save(step, args=state)


def restore(folder: Path, model: nnx.Module, optimizer: nnx.Optimizer[nnx.Module] | None = None) -> int:
    """Load the newest checkpoint in place and return its step; 0 when there is none.

    Raises RunError if it is damaged.
    """
    with ocp.CheckpointManager(folder.absolute()) as manager:
        step = manager.latest_step()
        if step is None:
            return 0
        parts = {"model": model} | ({} if optimizer is None else {"optimizer": optimizer})
        wanted = {name: ocp.args.StandardRestore(nnx.state(part)) for name, part in parts.items()}
        state = manager.restore(step, args=ocp.args.Composite(**wanted))
    for name, part in parts.items():
        nnx.update(part, state[name])
    return step
