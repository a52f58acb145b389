"""Train: one loop, the same for one device and for many hosts."""

import functools
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array

from . import checkpoint, parallel
from .config import Config, OptimConfig
from .data import Split
from .evaluate import evaluate
from .model import Transformer, loss_of, make_model
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

    model = make_model(config)
    optimizer = make_optimizer(model, config.optim)
    place = devices.shard if config.shard else devices.replicate
    place(model, optimizer)
    start = saved = checkpoint.restore(run.checkpoints, model, optimizer)
    arrays, tree = jax.tree.flatten((model, optimizer))  # a jit of nnx would do so at every step, which takes longer
    run.begin(start, hardware=devices.hardware, data=train_split.origin)
    metrics = evaluate(model, test_split, devices)
    if start == 0:
        run.log(0, **metrics)
    lowest = run.lowest("test_loss")

    recent: list[tuple[Array, Array]] = []
    stop = False
    trace = Trace(run.path / "trace") if config.profile and devices.is_main else None
    throughput = Throughput(config, devices.hardware, devices.count)
    throughput.start(start)
    for step in range(start + 1, config.optim.steps + 1):
        batch = train_split.batch(step, config.data.batch_size, shard=devices.rank, shards=devices.world)
        lr = learning_rate(step, config.optim)
        parts = devices.put(batch, config.optim.accumulation_steps)
        arrays, measured = train_step(tree, arrays, *parts, lr)
        recent.append(measured)
        if trace:
            trace.step(measured)
        run.progress(step, config.optim.steps)

        stop = devices.any(run.stop_requested)
        log = due(step, config.log_every, config.optim.steps)
        save = due(step, config.save_every, config.optim.steps) or stop
        test = due(step, config.eval_every, config.optim.steps)
        if log or save or test:  # not at every step, because reading a number waits for the device
            loss, grad_norm = last_finite(devices.read(recent), step, saved)
            recent.clear()
            model, optimizer = jax.tree.unflatten(tree, arrays)
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
    parallel.stop()
    return None if stop else metrics


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def train_step(
    tree: Any, arrays: list[Array], inputs_ABT: Array, labels_ABS: Array, lr: float
) -> tuple[list[Array], tuple[Array, Array]]:
    """One update of the model and its optimizer, which are given as their arrays, and taken: use those returned.

    With them come the loss before the update and the norm of the gradient before clipping. A is the number of parts
    of the batch, which are computed one after the other.
    """
    model, optimizer = jax.tree.unflatten(tree, arrays)
    graph, weights = nnx.split(model, nnx.Param)

    def part_loss(weights: Any, inputs_BT: Array, labels_BS: Array) -> Array:
        return loss_of(nnx.merge(graph, weights)(inputs_BT, last=labels_BS.shape[1]), labels_BS)

    def add_part(sums: Any, part: tuple[Array, Array]) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, sums, jax.value_and_grad(part_loss)(weights, *part)), None

    zeros = jnp.zeros(()), jax.tree.map(jnp.zeros_like, weights)
    sums, _ = jax.lax.scan(add_part, zeros, (inputs_ABT, labels_ABS))
    loss, grads = jax.tree.map(lambda total: total / len(inputs_ABT), sums)
    optimizer.update(model, grads, lr=lr)
    return jax.tree.leaves((model, optimizer)), (loss, optax.tree.norm(grads))


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
