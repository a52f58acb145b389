"""Train: one loop, the same for one process and, under torchrun, for many."""

import math
from pathlib import Path

import torch
from torch import Tensor, nn, optim
from torch.nn.parallel import DistributedDataParallel

from . import checkpoint, parallel
from .config import Config, OptimConfig
from .data import Split
from .evaluate import evaluate
from .model import loss_of, make_model
from .run import Run, due
from .throughput import Throughput
from .tracing import Trace


def train(config: Config, root: Path) -> dict[str, float] | None:
    """Train to the last step, from the newest checkpoint in the run's folder under `root` if there is one.

    Returns the final metrics, or None when asked to stop before the end, with the state saved.
    Raises FloatingPointError when the loss or its gradient is no longer finite, RunError if the run cannot go on.
    """
    devices = parallel.start(config.device)
    devices.check_batch(config)
    train_split = Split.load(config.data, "train", config.seed)
    test_split = Split.load(config.data, "test", config.seed)
    run = Run(config, root, is_main=devices.is_main)

    model = make_model(config).to(devices.device)
    if config.shard:
        devices.shard(model)
    optimizer = make_optimizer(model, config.optim)
    start = saved = checkpoint.restore(run.checkpoints, model, optimizer)
    if config.compile:
        model.compile()
    part = config.data.batch_size // config.optim.accumulation_steps
    example = train_split.batch(1, part, shard=devices.rank, shards=devices.world)
    replica = model if config.shard else devices.replicate(model, example)
    run.begin(start, hardware=devices.hardware, data=train_split.origin)
    metrics = evaluate(model, test_split, devices)
    if start == 0:
        run.log(0, **metrics)
    lowest = run.lowest("test_loss")

    recent: list[tuple[Tensor, Tensor]] = []
    stop = False
    trace = Trace(run.path / "trace") if config.profile and devices.is_main else None
    throughput = Throughput(config, devices.hardware, devices.count)
    throughput.start(start)
    for step in range(start + 1, config.optim.steps + 1):
        # For dropout and the like: drawn from (seed, step, rank), as the data is, it needs no place in a checkpoint.
        devices.seed((config.seed << 32) + step * devices.world + devices.rank)
        batch = train_split.batch(step, config.data.batch_size, shard=devices.rank, shards=devices.world)
        lr = learning_rate(step, config.optim)
        recent.append(train_step(replica, optimizer, *devices.put(batch), lr=lr, config=config.optim))
        if trace:
            trace.step()
        run.progress(step, config.optim.steps)

        stop = devices.any(run.stop_requested)
        log = due(step, config.log_every, config.optim.steps)
        save = due(step, config.save_every, config.optim.steps) or stop
        test = due(step, config.eval_every, config.optim.steps)
        if log or save or test:  # not at every step, because reading a number waits for the device
            loss, grad_norm = last_finite(devices.read(recent), step, saved)
            recent.clear()
            if log:
                rates = throughput.rates(step)
                run.log(step, loss=loss, grad_norm=grad_norm, lr=lr, **rates, **devices.memory())
            if test:
                metrics = evaluate(model, test_split, devices)
                run.log(step, **metrics)
            if test and devices.any(devices.is_main and metrics["test_loss"] < lowest):
                lowest = metrics["test_loss"]
                checkpoint.save_best(run.checkpoints, step, model, is_main=devices.is_main)
            if save:
                keep = config.keep_checkpoints
                checkpoint.save(run.checkpoints, step, model, optimizer, keep=keep, is_main=devices.is_main)
            saved = step if save else saved
            throughput.start(step)
        if stop:
            break

    if trace:
        trace.end()
    run.end(None if stop else metrics)
    del replica  # it holds the process group, whose threads it could wait for without end if it were the last to
    parallel.stop()
    return None if stop else metrics


def train_step(
    model: nn.Module, optimizer: optim.Optimizer, inputs: Tensor, labels: Tensor, *, lr: float, config: OptimConfig
) -> tuple[Tensor, Tensor]:
    """One update in place. Returns the loss before it and the norm of the gradient before clipping."""
    parts = config.accumulation_steps
    losses: list[Tensor] = []
    optimizer.zero_grad()
    for part, (x, y) in enumerate(zip(inputs.chunk(parts), labels.chunk(parts), strict=True), start=1):
        if isinstance(model, DistributedDataParallel):
            model.require_backward_grad_sync = part == parts  # once for the whole batch
        loss = loss_of(model(x, last=y.shape[1]), y) / parts
        loss.backward()
        losses.append(loss.detach())
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    grad_norm = parallel.whole(nn.utils.clip_grad_norm_(weights, config.grad_clip or math.inf))
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    return torch.stack(losses).sum(), grad_norm


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


def last_finite(recent: list[tuple[float, float]], step: int, saved: int) -> tuple[float, float]:
    """The last of the losses and gradient norms of the steps up to `step`, when the newest checkpoint is of `saved`.

    Raises FloatingPointError at the first step with one that is not finite.
    """
    for at, (loss, grad_norm) in enumerate(recent, start=step - len(recent) + 1):
        if not math.isfinite(loss + grad_norm):
            raise FloatingPointError(
                f"loss is {loss} and its gradient has norm {grad_norm} at step {at}, "
                f"{f'and the last good checkpoint is of step {saved}' if saved else 'before the first checkpoint'}; "
                "lower optim.lr or raise optim.warmup_steps, under another name"
            )
    return recent[-1]
