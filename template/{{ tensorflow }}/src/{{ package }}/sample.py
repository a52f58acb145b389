"""What a model says: tokens drawn one after the other, each given those before it."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from . import checkpoint, parallel
from .config import SampleConfig
from .data import decode, encode
from .model import Transformer, make_model
from .run import load_config


def sample(model: Transformer, tokens: list[int], asked: SampleConfig) -> list[int]:
    """The tokens that follow int[T], `asked.length` of them."""
    context = model.position.shape[0]
    said = list(tokens)
    for number in range(asked.length):
        seen = said[-context:]
        padded = np.zeros((1, context), np.int32)  # of one length, to be compiled once; no token sees a later one
        padded[0, : len(seen)] = seen
        logits_P = logits_at(model, tf.constant(padded), tf.constant(len(seen) - 1))
        if asked.temperature == 0:
            token = tf.argmax(logits_P)
        else:
            scaled_1P = logits_P[tf.newaxis] / asked.temperature
            token = tf.random.stateless_categorical(scaled_1P, 1, seed=(asked.seed, number))[0, 0]
        said.append(int(token))
    return said[len(tokens) :]


@tf.function
def logits_at(model: Transformer, tokens_1T: tf.Tensor, at: tf.Tensor) -> tf.Tensor:
    """Logits float[P] of the token after the one at `at`."""
    return model(tokens_1T, last=tokens_1T.shape[1])[0, at]


def sample_run(path: Path, asked: SampleConfig) -> str:
    """What the best checkpoint of the run in the folder `path` says after the prompt."""
    config = load_config(path)
    tokens = encode(asked.prompt, config.data)
    parallel.start()
    model = make_model(config)
    checkpoint.load(path, model, best=True)
    return decode(sample(model, tokens, asked))
