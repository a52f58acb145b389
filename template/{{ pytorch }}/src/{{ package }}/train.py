"""Train: one loop, the same for one process and, under torchrun, for many."""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim

from . import checkpoint, parallel
from .config import Config, OptimConfig
from .data import Split
from .evaluate import evaluate
from .model import Transformer
from .run import Run, due


def train(config: Config, root: Path) -> dict[str, float] | None:
    """Train to the last step, from the newest checkpoint in the run's folder under `root` if there is one.

    Returns the final metrics, or None when asked to stop before the end, with the state saved.
    Raises FloatingPointError when the loss or its gradient is no longer finite, RunError if the folder cannot be used.
    """
    devices = parallel.start()
    run = Run(config, root, is_main=devices.is_main)
    train_split = Split.load(config.data, "train", config.seed)
    test_split = Split.load(config.data, "test", config.seed)

    torch.manual_seed(config.seed)
    model = Transformer(config.model, classes=config.data.modulus).to(devices.device)
    optimizer = make_optimizer(model, config.optim)
    start = checkpoint.restore(run.checkpoints, model, optimizer)
    replica = devices.replicate(model)
    run.begin(start, devices.hardware)
    metrics = evaluate(model, test_split, devices)
    if start == 0:
        run.log(0, **metrics)

    recent: list[tuple[Tensor, Tensor]] = []
    stop = False
    for step in range(start + 1, config.optim.steps + 1):
        # For dropout and the like: drawn from (seed, step, rank), as the data is, it needs no place in a checkpoint.
        torch.manual_seed((config.seed << 32) + step * devices.world + devices.rank)
        batch = train_split.batch(step, config.data.batch_size, shard=devices.rank, shards=devices.world)
        lr = learning_rate(step, config.optim)
        recent.append(train_step(replica, optimizer, *devices.put(batch), lr=lr, grad_clip=config.optim.grad_clip))

        stop = devices.any(run.stop_requested)
        log = due(step, config.log_every, config.optim.steps)
        save = due(step, config.save_every, config.optim.steps) or stop
        if log or save:  # not at every step, because reading a number waits for the device
            loss, grad_norm = last_finite(devices.read(recent), step)
            recent.clear()
            if log:
                run.log(step, loss=loss, grad_norm=grad_norm, lr=lr)
        if due(step, config.eval_every, config.optim.steps):
            metrics = evaluate(model, test_split, devices)
            run.log(step, **metrics)
        if save and devices.is_main:
            checkpoint.save(run.checkpoints, step, model, optimizer, keep=config.keep_checkpoints)
        if stop:
            break

    run.end(None if stop else metrics)
    parallel.stop()
    return None if stop else metrics


def train_step(
    model: nn.Module, optimizer: optim.Optimizer, inputs: Tensor, labels: Tensor, *, lr: float, grad_clip: float
) -> tuple[Tensor, Tensor]:
    """One update in place. Returns the loss before it and the norm of the gradient before clipping."""
    loss = F.cross_entropy(model(inputs), labels)
    optimizer.zero_grad()
    loss.backward()
    grad_norm = nn.utils.clip_grad_norm_(model.parameters(), grad_clip or math.inf)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    return loss.detach(), grad_norm


def make_optimizer(model: nn.Module, config: OptimConfig) -> optim.Optimizer:
    """AdamW that decays the matrices only: a gain or a bias has no scale to keep small."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return optim.AdamW(groups, lr=config.lr, betas=(0.9, config.beta2), fused=True)


def learning_rate(step: int, config: OptimConfig) -> float:
    """Linear warm-up, then a cosine to 0 at the last step."""
    if step < config.warmup_steps:
        return config.lr * step / config.warmup_steps
    progress = (step - config.warmup_steps) / (config.steps - config.warmup_steps)
    return config.lr * 0.5 * (1 + math.cos(math.pi * progress))


def last_finite(recent: list[tuple[float, float]], step: int) -> tuple[float, float]:
    """The last of the losses and gradient norms of the steps up to `step`.

    Raises FloatingPointError at the first step with one that is not finite.
    """
    for at, (loss, grad_norm) in enumerate(recent, start=step - len(recent) + 1):
        if not math.isfinite(loss + grad_norm):
            raise FloatingPointError(
                f"loss is {loss} and its gradient has norm {grad_norm} at step {at}; "
                "lower optim.lr or raise optim.warmup_steps"
            )
    return recent[-1]
