"""What a model has learned, measured on the test split."""

from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import Array

from . import checkpoint, parallel
from .data import Split, scores
from .model import Transformer, loss_of, make_model
from .parallel import Devices
from .run import load_config


def evaluate(model: Transformer, split: Split, devices: Devices) -> dict[str, float]:
    """The mean loss and accuracy as data.py names them; every process computes the same."""
    pairs = [measure(model, *devices.put_whole(batch)) for batch in split.whole()]
    loss, accuracy = np.mean(devices.read(pairs), axis=0).tolist()
    return scores(loss, accuracy)


@eqx.filter_jit
def measure(model: Transformer, inputs: Array, labels: Array) -> tuple[Array, Array]:
    """Mean loss and accuracy of a batch, on the device."""
    logits = model(inputs, last=labels.shape[1])
    return loss_of(logits, labels), jnp.mean(logits.argmax(-1) == labels)


def evaluate_run(path: Path, *, best: bool) -> dict[str, float]:
    """Evaluate the newest checkpoint of the run in the folder `path`, or its best one."""
    config = load_config(path)
    devices = parallel.start()
    model, step = checkpoint.load(path, devices.replicate(make_model(config)), best=best)
    return {"step": step, **evaluate(model, Split.load(config.data, "test", config.seed), devices)}
