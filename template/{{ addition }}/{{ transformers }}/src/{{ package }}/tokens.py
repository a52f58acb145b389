"""Numbers in tokens: each is the token with that number, of every model."""

from collections.abc import Sequence
from typing import Literal

from . import data
from .config import Config
from .data import Split


def load_split(config: Config, name: Literal["train", "test"]) -> Split:
    """The training or the test pairs."""
    return Split.load(config.data, name, config.seed)


def encode(prompt: str, config: Config) -> list[int]:
    """The tokens of `2 + 3`. Raises RunError unless it names two terms below p."""
    return data.encode(prompt, config.data)


def decode(tokens: Sequence[int], config: Config) -> str:  # noqa: ARG001 (other data needs its tokenizer)
    """What tokens mean: `5`."""
    return data.decode(tokens)


def scores(split: Split, loss: float, accuracy: float) -> dict[str, float]:  # noqa: ARG001 (as above)
    """The metrics of the test split, from its mean loss in nats and the share of tokens that were predicted."""
    return data.scores(loss, accuracy)
