"""Train: one loop, the same for one process and for many."""

import math
from pathlib import Path

import keras
import tensorflow as tf

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
    devices.check(config)
    train_split = Split.load(config.data, "train", config.seed)
    test_split = Split.load(config.data, "test", config.seed)
    run = Run(config, root, is_main=devices.is_main)

    model = make_model(config)
    optimizer = make_optimizer(model, config.optim)
    start = saved = checkpoint.restore(run.checkpoints, model, optimizer)
    run.begin(start, hardware=devices.hardware, data=train_split.origin)
    metrics = evaluate(model, test_split, devices)
    if start == 0:
        run.log(0, **metrics)
    lowest = run.lowest("test_loss")

    recent: list[tuple[tf.Tensor, tf.Tensor]] = []
    stop = False
    trace = Trace(run.path / "trace") if config.profile and devices.is_main else None
    throughput = Throughput(config, devices.hardware, devices.count)
    throughput.start(start)
    for step in range(start + 1, config.optim.steps + 1):
        batch = train_split.batch(step, config.data.batch_size, shard=devices.rank, shards=devices.world)
        lr = learning_rate(step, config.optim)
        parts = devices.put(batch, config.optim.accumulation_steps)
        recent.append(train_step(model, optimizer, *parts, tf.constant(lr)))
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
    parallel.stop()
    return None if stop else metrics


@tf.function
def train_step(
    model: Transformer,
    optimizer: keras.optimizers.Optimizer,
    inputs_ABT: tf.Tensor,
    labels_ABS: tf.Tensor,
    lr: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """One update in place. Returns the loss before it and the norm of the gradient before clipping.

    A is the number of parts of the batch, which are computed one after the other.
    """
    weights = [weight.value for weight in model.trainable_variables]

    def add_part(sums: list[tf.Tensor], part: tuple[tf.Tensor, tf.Tensor]) -> list[tf.Tensor]:
        inputs_BT, labels_BS = part
        with tf.GradientTape() as tape:
            loss = loss_of(model(inputs_BT, last=labels_BS.shape[1]), labels_BS)
        # An embedding's gradient comes as the rows that were looked up.
        grads = map(tf.convert_to_tensor, tape.gradient(loss, weights))
        return [total + value for total, value in zip(sums, [loss, *grads], strict=True)]

    zeros = [tf.zeros(()), *map(tf.zeros_like, weights)]
    sums = tf.foldl(add_part, (inputs_ABT, labels_ABS), zeros)
    loss, *grads = parallel.mean([total / inputs_ABT.shape[0] for total in sums])
    optimizer.learning_rate = lr
    optimizer.apply(grads, model.trainable_variables)
    return loss, tf.linalg.global_norm(grads)


def make_optimizer(model: Transformer, config: OptimConfig) -> keras.optimizers.Optimizer:
    """AdamW that decays the matrices only: a gain or a bias has no scale to keep small."""
    optimizer = keras.optimizers.AdamW(
        config.lr,
        weight_decay=config.weight_decay,
        beta_2=config.beta2,
        epsilon=1e-8,
        global_clipnorm=config.grad_clip or None,
        name="adamw",
    )
    vectors = [weight for weight in model.trainable_variables if len(weight.shape) < 2]
    optimizer.exclude_from_weight_decay(var_list=vectors)
    optimizer.build(model.trainable_variables)
    return optimizer


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
