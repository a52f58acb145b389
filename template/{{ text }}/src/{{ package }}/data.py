"""Windows of bytes, and for each of their bytes the one that follows.

A batch is a pure function of (seed, step, shard): there is nothing to save in a checkpoint and nothing to skip on
resume, and every number of devices sees the same examples. The bytes stay on disk until they are needed.
"""

import hashlib
import io
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator, Sequence, Set, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from .config import DataConfig, SampleConfig
from .run import RunError

SAMPLE = SampleConfig(prompt="def ", length=500, temperature=0.8, seed=0)

CACHE = Path("data")
"""Where the files of a folder are kept, joined into one file for each split."""

Document = io.BufferedReader | io.BytesIO
"""A file, or what stands for one."""


class Batch(NamedTuple):
    inputs: NDArray[np.int64]
    """[B, T], bytes."""
    labels: NDArray[np.int64]
    """[B, T], the byte that follows each of them."""


@dataclass(frozen=True)
class Split:
    """The training or the test bytes. Which file falls where depends on the seed and on what is in the file."""

    tokens: NDArray[np.unsignedinteger[Any]]
    config: DataConfig
    seed: int
    origin: str
    """What the examples were read from: another one is another data set."""

    @classmethod
    def load(cls, config: DataConfig, name: Literal["train", "test"], seed: int) -> Self:
        """Raises RunError if there is no such corpus, or too little in it for this split."""
        root = Path(config.corpus or sysconfig.get_path("stdlib"))
        if root.is_file():
            origin = f"{root.name}, {root.stat().st_size} bytes"
            tokens = _map(root)
            cut = round((1 - config.test_fraction) * len(tokens))
            tokens = tokens[:cut] if name == "train" else tokens[cut:]
        elif root.is_dir():
            files = list(documents(root)) if config.corpus else python_library(root)
            versions = [version(file) for file in files] if config.corpus else sys.version
            origin = digest(config.test_fraction, seed, versions)
            tokens = joined((file.open("rb") for file in files), origin, name, config.test_fraction, seed)
        else:
            raise RunError(f"data.corpus ({config.corpus}) does not exist; give the path of a file or of a folder")
        check_length(tokens, f"data.corpus ({root})", name, config)
        return cls(tokens, config, seed, origin)

    def __len__(self) -> int:
        return len(self.tokens) - self.config.context

    def batch(self, step: int, size: int, *, shard: int = 0, shards: int = 1) -> Batch:
        """The part of batch `step` that belongs to `shard`; a batch is drawn with replacement.

        Raises ValueError if `size` is not a multiple of `shards`.
        """
        if size % shards:
            raise ValueError(f"a batch of {size} cannot be shared out among {shards}")
        starts = np.random.default_rng([1, step, self.seed]).integers(len(self), size=size)
        return self._windows(starts[shard * size // shards : (shard + 1) * size // shards])

    def whole(self) -> Iterator[Batch]:
        """Batches of one size that make up what an evaluation looks at."""
        starts = np.linspace(0, len(self) - 1, self.config.test_examples).astype(np.int64)
        for some in starts.reshape(-1, 16):
            yield self._windows(some)

    def _windows(self, starts: NDArray[np.int64]) -> Batch:
        windows = sliding_window_view(self.tokens, self.config.context + 1)[starts].astype(np.int64)
        return Batch(windows[:, :-1], windows[:, 1:])


def encode(prompt: str, config: DataConfig) -> list[int]:
    """The bytes of a text. Raises RunError if there are none: the model has to start from something."""
    if not prompt:
        raise RunError("prompt ('') must not be empty, such as 'def '")
    return list(prompt.encode())[-config.context :]


def decode(tokens: Sequence[int]) -> str:
    """The text of bytes."""
    return bytes(token for token in tokens if token < 256).decode(errors="replace")


def scores(loss: float, accuracy: float) -> dict[str, float]:
    """The metrics of the test split, from its mean loss in nats and the share of tokens that were predicted."""
    return {"test_loss": loss, "test_bits_per_byte": loss / float(np.log(2)), "test_accuracy": accuracy}


def documents(folder: Path, left_out: Set[str] = frozenset()) -> Iterator[Path]:
    """Every file below a folder, without hidden ones and names `left_out`, in an order that is the same everywhere."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in left_out:
            continue
        if path.is_dir():
            yield from documents(path, left_out)
        elif path.is_file():
            yield path


def python_library(folder: Path) -> Iterator[Path]:
    """The modules of the standard library. Some systems leave out its tests and its editor, so this does, too."""
    left_out = {"site-packages", "dist-packages", "test", "tests", "idlelib", "idle_test"}
    return (path for path in documents(folder, left_out) if path.suffix == ".py")


def joined(
    documents: Iterable[Document], origin: str, name: Literal["train", "test"], test_fraction: float, seed: int
) -> NDArray[np.uint8]:
    """The bytes of a split of some documents. They are joined once, to train.bin and test.bin in a folder `origin`."""
    folder = CACHE / origin
    if folder.exists():
        return _map(folder / f"{name}.bin")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="partial-", dir=folder.parent) as partial:
            whole = Path(partial) / "whole"
            whole.mkdir()
            with (whole / "train.bin").open("wb") as train, (whole / "test.bin").open("wb") as test:
                for document in documents:
                    with document:
                        # By what is in it: a copy under another name never falls into the other split.
                        share = int(digest(seed, hashlib.file_digest(document, "sha256").digest()), 16) / 16**32
                        document.seek(0)
                        shutil.copyfileobj(document, test if share < test_fraction else train)
            whole.rename(folder)
    except OSError as error:
        if not folder.exists():  # or another process of the run was first, with the same bytes
            raise RunError(
                f"the text cannot be joined in {folder.parent} ({error}); it has to be a folder with room for it"
            ) from error
    return _map(folder / f"{name}.bin")


def check_length(tokens: Sized, source: str, name: str, config: DataConfig, *, unit: str = "bytes") -> None:
    """Raise RunError if a split is too short for one example."""
    if len(tokens) <= config.context:
        raise RunError(
            f"{source} has {len(tokens)} {unit} for the {name} split, and one example takes {config.context + 1}, "
            "data.context and one more; give more text, or another data.test_fraction"
        )


def _map(file: Path) -> NDArray[np.uint8]:
    # An empty file cannot be mapped.
    return np.memmap(file, np.uint8, mode="r") if file.stat().st_size else np.zeros(0, np.uint8)


def version(file: Path) -> tuple[str, int, int]:
    return str(file), file.stat().st_size, file.stat().st_mtime_ns


def digest(*values: object) -> str:
    return hashlib.blake2b(repr(values).encode(), digest_size=16).hexdigest()
