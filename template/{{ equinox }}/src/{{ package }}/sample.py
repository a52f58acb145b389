"""What a model says: tokens drawn one after the other, each given those before it."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from . import checkpoint
from .config import SampleConfig
from .data import decode, encode
from .model import Transformer, make_model
from .run import load_config


def sample(model: Transformer, tokens: list[int], asked: SampleConfig) -> list[int]:
    """The tokens that follow int[T], `asked.length` of them."""
    context = len(model.position)
    said = list(tokens)
    for number in range(asked.length):
        seen = said[-context:]
        padded = np.zeros((1, context), np.int32)  # of one length, to be compiled once; no token sees a later one
        padded[0, : len(seen)] = seen
        said.append(draw(model, jnp.asarray(padded), len(seen) - 1, asked.seed, number, asked.temperature).item())
    return said[len(tokens) :]


@jax.jit
def draw(model: Transformer, tokens: Array, at: int, seed: int, number: int, temperature: float) -> Array:
    """A token for the place after `at`."""
    logits_P = model(tokens, last=tokens.shape[1])[0, at]
    key = jax.random.fold_in(jax.random.key(seed), number)
    drawn = jax.random.categorical(key, logits_P / jnp.maximum(temperature, 1e-6))
    return jnp.where(temperature == 0, logits_P.argmax(), drawn)


def sample_run(path: Path, asked: SampleConfig) -> str:
    """What the best checkpoint of the run in the folder `path` says after the prompt."""
    config = load_config(path)
    tokens = encode(asked.prompt, config.data)
    model, _ = checkpoint.load(path, make_model(config), best=True)
    return decode(sample(model, tokens, asked))
