"""What a model has learned, measured on the test split."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from . import checkpoint, parallel
from .data import Split, scores
from .model import Transformer, loss_of, make_model
from .parallel import Devices
from .run import load_config


def evaluate(model: Transformer, split: Split, devices: Devices) -> dict[str, float]:
    """The mean loss and accuracy as data.py names them; every process computes the same."""
    pairs = [measure(model, *devices.put(batch, parts=1)) for batch in split.whole()]
    loss, accuracy = np.mean(devices.read(pairs), axis=0).tolist()
    return scores(loss, accuracy)


@tf.function
def measure(model: Transformer, inputs_1BT: tf.Tensor, labels_1BS: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean loss and accuracy of a batch, on the device."""
    labels_BS = labels_1BS[0]
    logits_BSP = model(inputs_1BT[0], last=labels_BS.shape[1])
    found_BS = tf.argmax(logits_BSP, axis=-1, output_type=labels_BS.dtype)
    return loss_of(logits_BSP, labels_BS), tf.reduce_mean(tf.cast(found_BS == labels_BS, tf.float32))


def evaluate_run(path: Path, *, best: bool) -> dict[str, float]:
    """Evaluate the newest checkpoint of the run in the folder `path`, or its best one."""
    config = load_config(path)
    devices = parallel.start()
    model = make_model(config)
    step = checkpoint.load(path, model, best=best)
    return {"step": step, **evaluate(model, Split.load(config.data, "test", config.seed), devices)}
