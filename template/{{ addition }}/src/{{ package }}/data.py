"""Pairs (a, b) with the label (a + b) mod p.

A batch is a pure function of (seed, step, shard): there is nothing to save in a checkpoint and nothing to skip on
resume, and every number of devices sees the same examples.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .config import DataConfig, SampleConfig
from .run import RunError

SAMPLE = SampleConfig(prompt="2 + 3", length=1, temperature=0.0, seed=0)


class Batch(NamedTuple):
    inputs: NDArray[np.int64]
    """[B, 2], the two terms, each in [0, p)."""
    labels: NDArray[np.int64]
    """[B, 1], their sum, in [0, p): what follows the second term."""


@dataclass(frozen=True)
class Split:
    """The training or the test pairs. Which pair falls where depends on the seed and on nothing else."""

    pairs: Batch
    seed: int

    @classmethod
    def load(cls, config: DataConfig, name: Literal["train", "test"], seed: int) -> Self:
        p = config.modulus
        pairs = np.indices((p, p)).reshape(2, p * p).T
        order = np.random.default_rng([0, seed]).permutation(p * p)
        rows = order[: config.train_pairs] if name == "train" else order[config.train_pairs :]
        inputs = pairs[rows]
        return cls(Batch(inputs, inputs.sum(axis=1, keepdims=True) % p), seed)

    def __len__(self) -> int:
        return len(self.pairs.labels)

    @property
    def origin(self) -> str:
        """What the examples were read from: another one is another data set."""
        return "computed"

    def batch(self, step: int, size: int, *, shard: int = 0, shards: int = 1) -> Batch:
        """The part of batch `step` that belongs to `shard`; a batch is drawn with replacement.

        Raises ValueError if `size` is not a multiple of `shards`.
        """
        if size % shards:
            raise ValueError(f"a batch of {size} cannot be shared out among {shards}")
        # The first number keeps this stream apart from the one that made the split.
        rows = np.random.default_rng([1, step, self.seed]).integers(len(self), size=size)
        mine = rows[shard * size // shards : (shard + 1) * size // shards]
        return Batch(self.pairs.inputs[mine], self.pairs.labels[mine])

    def whole(self) -> Iterator[Batch]:
        """Batches of one size that make up what an evaluation looks at: here one with every pair."""
        yield self.pairs


def encode(prompt: str, config: DataConfig) -> list[int]:
    """The tokens of `2 + 3`. Raises RunError unless it names two terms below p."""
    terms = [int(number) for number in re.findall(r"\d+", prompt)]
    if len(terms) != 2 or max(terms) >= config.modulus:
        raise RunError(f"prompt ({prompt!r}) must name two numbers below {config.modulus}, such as '2 + 3'")
    return terms


def decode(tokens: Sequence[int]) -> str:
    """What tokens mean: `5`."""
    return " ".join(map(str, tokens))


def scores(loss: float, accuracy: float) -> dict[str, float]:
    """The metrics of the test split, from its mean loss in nats and the share of tokens that were predicted."""
    return {"test_loss": loss, "test_accuracy": accuracy}
