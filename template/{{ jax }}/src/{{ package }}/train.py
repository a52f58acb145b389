"""Train: one loop, the same for one device and for many hosts."""

import functools
import math
from pathlib import Path
from typing import Any

import jax
import optax
from flax import nnx
from jax import Array

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

    model = Transformer(config.model, classes=config.data.modulus, rngs=nnx.Rngs(config.seed))
    optimizer = make_optimizer(model, config.optim)
    devices.replicate(model, optimizer)
    start = checkpoint.restore(run.checkpoints, model, optimizer)
    update = nnx.cached_partial(train_step, model, optimizer)
    run.begin(start, devices.hardware)
    metrics = evaluate(model, test_split, devices)
    if start == 0:
        run.log(0, **metrics)

    recent: list[tuple[Array, Array]] = []
    stop = False
    for step in range(start + 1, config.optim.steps + 1):
        batch = train_split.batch(step, config.data.batch_size, shard=devices.rank, shards=devices.world)
        lr = learning_rate(step, config.optim)
        recent.append(update(*devices.put(batch), lr))

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


@nnx.jit
def train_step(
    model: Transformer, optimizer: nnx.Optimizer[Transformer], inputs: Array, labels: Array, lr: float
) -> tuple[Array, Array]:
    """One update in place. Returns the loss before it and the norm of the gradient before clipping."""

    def loss_of(model: Transformer) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(model(inputs), labels).mean()

    loss, grads = nnx.value_and_grad(loss_of)(model)
    optimizer.update(model, grads, lr=lr)
    return loss, optax.tree.norm(grads)


def make_optimizer(model: Transformer, config: OptimConfig) -> nnx.Optimizer[Transformer]:
    """AdamW that decays the matrices only: a gain or a bias has no scale to keep small."""
    transformation = adamw(config.beta2, config.weight_decay, config.grad_clip)
    return nnx.Optimizer(model, transformation, wrt=nnx.Param)


@functools.cache  # or else every new optimizer would have train_step compiled again
def adamw(beta2: float, weight_decay: float, grad_clip: float) -> optax.GradientTransformationExtraArgs:
    """Clipping and AdamW; `update` takes the learning rate as `lr`, so that another one needs no new compilation."""

    def is_matrix(parameters: Any) -> Any:
        return jax.tree.map(lambda parameter: parameter.ndim >= 2, parameters)

    def scale(updates: Any, state: Any, params: Any = None, **given: Any) -> tuple[Any, Any]:  # noqa: ARG001 (by Optax)
        return jax.tree.map(lambda update: given["lr"] * update, updates), state

    return optax.chain(
        optax.clip_by_global_norm(grad_clip or math.inf),
        optax.adamw(1.0, b2=beta2, weight_decay=weight_decay, mask=is_matrix),
        optax.GradientTransformationExtraArgs(optax.init_empty_state, scale),
    )


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
