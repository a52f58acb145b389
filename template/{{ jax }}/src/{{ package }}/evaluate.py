"""What a model has learned, measured on the test split."""

from pathlib import Path

import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array

from . import checkpoint, parallel
from .data import Split
from .model import Transformer
from .parallel import Devices
from .run import RunError, load_config


def evaluate(model: Transformer, split: Split, devices: Devices) -> dict[str, float]:
    """Mean loss in nats, and accuracy from 0 to 1, in one batch; every process computes the same."""
    loss, accuracy = measure(model, *devices.put(split.pairs, whole=True))
    return {"test_loss": loss.item(), "test_accuracy": accuracy.item()}


@nnx.jit
def measure(model: Transformer, inputs: Array, labels: Array) -> tuple[Array, Array]:
    """Mean loss and accuracy, on the device."""
    logits = model(inputs)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return loss, jnp.mean(logits.argmax(-1) == labels)


def evaluate_run(path: Path) -> dict[str, float]:
    """Evaluate the newest checkpoint of the run in the folder `path`."""
    config = load_config(path)
    devices = parallel.start()
    model = Transformer(config.model, classes=config.data.modulus, rngs=nnx.Rngs(config.seed))
    devices.replicate(model)
    step = checkpoint.restore(path / "checkpoints", model)
    if step == 0:
        raise RunError(f"{path} has no checkpoint yet")
    return {"step": step, **evaluate(model, Split.load(config.data, "test", config.seed), devices)}
