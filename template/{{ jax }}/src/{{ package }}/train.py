"""Train: one loop, the same for one device and for many hosts."""

import functools
import math
from pathlib import Path

import jax
import jax.numpy as jnp
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
        recent.append(update(*devices.put(batch)))

        stop = devices.any(run.stop_requested)
        log = due(step, config.log_every, config.optim.steps)
        save = due(step, config.save_every, config.optim.steps) or stop
        if log or save:  # not at every step, because reading a number waits for the device
            loss, grad_norm = last_finite(devices.read(recent), step)
            recent.clear()
            if log:
                run.log(step, loss=loss, grad_norm=grad_norm, lr=learning_rate(step, config.optim).item())
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
    model: Transformer, optimizer: nnx.Optimizer[Transformer], inputs: Array, labels: Array
) -> tuple[Array, Array]:
    """One update in place. Returns the loss before it and the norm of the gradient before clipping."""

    def loss_of(model: Transformer) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(model(inputs), labels).mean()

    loss, grads = nnx.value_and_grad(loss_of)(model)
    optimizer.update(model, grads)
    return loss, optax.tree.norm(grads)


def make_optimizer(model: Transformer, config: OptimConfig) -> nnx.Optimizer[Transformer]:
    """AdamW that decays the matrices only: a gain or a bias has no scale to keep small."""
    return nnx.Optimizer(model, gradient_transformation(config), wrt=nnx.Param)


@functools.cache  # or else every new optimizer would have train_step compiled again
def gradient_transformation(config: OptimConfig) -> optax.GradientTransformation:
    return optax.chain(
        optax.clip_by_global_norm(config.grad_clip or math.inf),
        optax.adamw(
            lambda updates: learning_rate(jnp.asarray(updates) + 1, config),
            b2=config.beta2,
            weight_decay=config.weight_decay,
            mask=lambda parameters: jax.tree.map(lambda parameter: parameter.ndim >= 2, parameters),
        ),
    )


def learning_rate(step: int | Array, config: OptimConfig) -> Array:
    """Linear warm-up, then a cosine to 0 at the last step."""
    warm_up = step / max(config.warmup_steps, 1)
    progress = (step - config.warmup_steps) / (config.steps - config.warmup_steps)
    return config.lr * jnp.where(step < config.warmup_steps, warm_up, 0.5 * (1 + jnp.cos(math.pi * progress)))


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
