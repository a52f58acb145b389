"""The text in tokens: its bytes, or what the tokenizer of `model.hub` makes of it."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from transformers import AutoTokenizer

from . import data
from .config import Config
from .data import Split
from .model import check_commit
from .run import RunError

STRINGS = {"string", "large_string"}
"""What Arrow calls text."""


@dataclass(frozen=True)
class TokenSplit(Split):
    """A split in tokens of a tokenizer."""

    bytes_per_token: float


def load_split(config: Config, name: Literal["train", "test"]) -> Split:
    """The training or the test tokens. Raises RunError if there is no such text, or too little of it."""
    split = from_hub(config, name) if config.data.hub else Split.load(config.data, name, config.seed)
    if not config.model.hub:
        return split
    tokens = tokenize(split.tokens.tobytes(), config)
    data.check_length(tokens, "the text", name, config.data, unit="tokens")
    return TokenSplit(tokens, config.data, config.seed, split.origin, len(split.tokens) / len(tokens))


def from_hub(config: Config, name: Literal["train", "test"]) -> Split:
    """The bytes of `data.hub`, each row of it whole in one split. Raises RunError as `load_split` does."""
    asked, seed = config.data, config.seed
    rows = hub_rows(config)
    folder = Path(asked.hub)
    version = [data.version(file) for file in data.documents(folder)] if folder.is_dir() else asked.revision
    origin = data.digest(asked.test_fraction, seed, asked.hub, version, asked.column)
    documents = (io.BytesIO(text.encode()) for text in rows[asked.column])
    tokens = data.joined(documents, origin, name, asked.test_fraction, seed)
    data.check_length(tokens, f"data.hub ({asked.hub})", name, asked)
    return Split(tokens, asked, seed, origin)


def hub_rows(config: Config) -> Any:
    """The split `train` of `data.hub`, with its column of text; no code that comes with it is run."""
    import datasets  # only here, because the import takes a while
    from datasets.exceptions import DatasetsError

    datasets.disable_progress_bars()
    asked = config.data
    check_commit("data.revision", asked.revision, asked.hub)
    try:
        cache = str(data.CACHE / "hub")
        rows: Any = datasets.load_dataset(asked.hub, revision=asked.revision or None, split="train", cache_dir=cache)
    except (OSError, ValueError, DatasetsError) as error:
        what = str(error.__cause__ or error).splitlines()[0]
        raise RunError(f"data.hub ({asked.hub}) cannot be loaded ({what})") from error
    texts = [column for column, feature in rows.features.items() if getattr(feature, "dtype", "") in STRINGS]
    if asked.column not in texts:
        raise RunError(f"data.column ({asked.column!r}) must be a column with text of {asked.hub}: {', '.join(texts)}")
    return rows


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
