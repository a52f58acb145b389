"""Pairs (a, b) with the label (a + b) mod p.

A batch is a pure function of (seed, step, shard): there is nothing to save in a checkpoint and nothing to skip on
resume, and every number of devices sees the same examples.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .config import DataConfig


class Batch(NamedTuple):
    inputs: NDArray[np.int64]
    """[B, 2], the two terms, each in [0, p)."""
    labels: NDArray[np.int64]
    """[B], their sum, in [0, p)."""


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
        return cls(Batch(inputs, inputs.sum(axis=1) % p), seed)

    def __len__(self) -> int:
        return len(self.pairs.labels)

    def batch(self, step: int, size: int, *, shard: int = 0, shards: int = 1) -> Batch:
        """The part of batch `step` that belongs to `shard`; a batch is drawn with replacement.

        Raises ValueError if `size` is not a multiple of `shards`.
        """
        if size % shards:
            raise ValueError(f"data.batch_size ({size}) must be a multiple of the number of processes ({shards})")
        # The first number keeps this stream apart from the one that made the split.
        rows = np.random.default_rng([1, step, self.seed]).integers(len(self), size=size)
        mine = rows[shard * size // shards : (shard + 1) * size // shards]
        return Batch(self.pairs.inputs[mine], self.pairs.labels[mine])
