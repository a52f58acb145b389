"""The text in tokens: its bytes, or what the tokenizer of `model.hub` makes of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from transformers import AutoTokenizer

from . import data
from .config import Config
from .data import Split
from .run import RunError


@dataclass(frozen=True)
class TokenSplit(Split):
    """A split in tokens of a tokenizer."""

    bytes_per_token: float


def load_split(config: Config, name: Literal["train", "test"]) -> Split:
    """The training or the test tokens. Raises RunError if there is no such corpus, or too little in it."""
    split = Split.load(config.data, name, config.seed)
    if not config.model.hub:
        return split
    tokens = tokenize(split.tokens.tobytes(), config)
    if len(tokens) <= config.data.context:
        raise RunError(
            f"data.corpus has {len(tokens)} tokens for the {name} split, and one example takes "
            f"{config.data.context + 1}, data.context and one more; give more text, or another data.test_fraction"
        )
    return TokenSplit(tokens, config.data, config.seed, split.origin, len(split.tokens) / len(tokens))


def tokenize(text: bytes, config: Config) -> NDArray[np.unsignedinteger[Any]]:
    """The tokens of a text, which is given to the tokenizer in pieces of some lines, to need less memory."""
    tokenizer = load_tokenizer(config)
    found = [tokenizer.encode(piece.decode(errors="replace"), add_special_tokens=False) for piece in pieces(text)]
    return np.concatenate([np.array(tokens, dtype=np.uint32) for tokens in found])


def pieces(text: bytes, size: int = 2**16) -> Iterator[bytes]:
    """The text in pieces that end with a line, each the first that is not shorter than `size`."""
    start = 0
    while start < len(text):
        end = text.find(b"\n", start + size) + 1 or len(text)
        yield text[start:end]
        start = end


def load_tokenizer(config: Config) -> Any:
    """The tokenizer of `model.hub`; no code that comes with it. Raises RunError if it cannot be loaded."""
    hub = config.model.hub
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            hub, revision=config.model.revision or "main", trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        what = str(error).splitlines()[0]
        raise RunError(f"the tokenizer of model.hub ({hub}) cannot be loaded ({what})") from error
    if not tokenizer.encode("text", add_special_tokens=False):  # without its files, an empty one is made
        raise RunError(f"model.hub ({hub}) has no tokenizer; name a model that has, or put the files of one beside it")
    return tokenizer


def encode(prompt: str, config: Config) -> list[int]:
    """The tokens of a text. Raises RunError if there are none: the model has to start from something."""
    tokens = data.encode(prompt, config.data)
    if not config.model.hub:
        return tokens
    return load_tokenizer(config).encode(prompt, add_special_tokens=False)[-config.data.context :]


def decode(tokens: Sequence[int], config: Config) -> str:
    """The text of tokens."""
    return str(load_tokenizer(config).decode(tokens)) if config.model.hub else data.decode(tokens)


def scores(split: Split, loss: float, accuracy: float) -> dict[str, float]:
    """The metrics of the test split, from its mean loss in nats per token and the share that was predicted."""
    found = data.scores(loss, accuracy)
    if isinstance(split, TokenSplit):
        found["test_bits_per_byte"] /= split.bytes_per_token
    return found
