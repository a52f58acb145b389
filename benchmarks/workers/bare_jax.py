"""What train.py of a generated repository does for each step, as one would write it by hand for one device.

    python bare_jax.py RUN STEPS WARMUP_STEPS LOG_EVERY

The model, the batches and the named run are the repository's. Prints a row for every LOG_EVERY steps, and at the end
the milliseconds of a step after the warm-up.
"""

import functools
import json
import math
import sys
import tempfile
import time

import jax
import numpy as np
import optax
from demo import configs
from demo.data import Split
from demo.model import make_model

name, steps, warmup_steps, log_every = sys.argv[1], *map(int, sys.argv[2:])
config = configs.load(name)
optim = config.optim
split = Split.load(config.data, "train", config.seed)
weights, tree = jax.tree.flatten(make_model(config))  # a list of arrays goes through jit in the least time
adamw = optax.chain(
    optax.clip_by_global_norm(optim.grad_clip),
    optax.adamw(
        1.0,
        b2=optim.beta2,
        weight_decay=optim.weight_decay,
        mask=lambda tree: jax.tree.map(lambda one: one.ndim >= 2, tree),
    ),
)
state = jax.jit(adamw.init)(weights)


@functools.partial(jax.jit, donate_argnums=(0, 1))
def update(weights, state, inputs, labels, lr):
    def loss_of(weights):
        logits = jax.tree.unflatten(tree, weights)(inputs, last=labels.shape[1])
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    loss, grads = jax.value_and_grad(loss_of)(weights)
    updates, state = adamw.update(grads, state, weights)
    weights = jax.tree.map(lambda weight, change: weight + lr * change, weights, updates)
    return weights, state, loss, optax.tree.norm(grads)


recent = []
begin = started = time.perf_counter()
with tempfile.TemporaryFile("w") as metrics:
    for step in range(1, steps + 1):
        batch = split.batch(step, config.data.batch_size)
        lr = optim.lr * min(step / max(optim.warmup_steps, 1), 0.5 + 0.5 * math.cos(math.pi * step / steps))
        inputs, labels = batch.inputs.astype(np.int32), batch.labels.astype(np.int32)
        weights, state, loss, grad_norm = update(weights, state, inputs, labels, lr)
        recent.append((loss, grad_norm))
        if step % log_every == 0:
            values = [(loss.item(), grad_norm.item()) for loss, grad_norm in recent]
            recent.clear()
            assert all(math.isfinite(value) for pair in values for value in pair)
            row = {"step": step, "seconds": time.perf_counter() - started, "loss": values[-1][0], "lr": lr}
            metrics.write(json.dumps(row) + "\n")
            metrics.flush()
            print("  ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True)
        if step == warmup_steps:
            begin = time.perf_counter()
print(1_000 * (time.perf_counter() - begin) / max(steps - warmup_steps, 1))
