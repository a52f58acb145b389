"""The model of a run as a file of ONNX, if ONNX Runtime computes with it what the framework computes."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from . import checkpoint
from .compare import Record
from .data import Split
from .exported import FILE, Logits, Tokens, write
from .graph import following, to_onnx
from .model import Transformer, make_model
from .run import load_config

ROWS = (1, 2, 64)
"""Sizes of the batches that are compared."""


def export_run(path: Path) -> Path:
    """Write `model.onnx` of the best checkpoint of the run in the folder `path`, and return where it is.

    Raises RunError if ONNX Runtime does not compute what the framework does; then the file is as it was.
    """
    config = load_config(path)
    model = make_model(replace(config, model=replace(config.model, precision="float32")))
    step = checkpoint.load(path, model, best=True)
    inputs, labels = next(Split.load(config.data, "test", config.seed).whole())
    # Of how many tokens something was to follow in training: of fewer, the model knows nothing.
    lengths = range(inputs.shape[1] - labels.shape[1] + 1, inputs.shape[1] + 1)
    about = {
        "run": config.name,
        "step": str(step),
        "commit": " ".join(Record.read(path).commits),
        "config": hashlib.sha256(config.to_json().encode()).hexdigest(),
        "vocabulary": str(config.data.vocabulary),
        "shortest": str(lengths[0]),
        "longest": str(lengths[-1]),
    }
    write(path / FILE, to_onnx(model, lengths), about, examples(model, inputs, lengths))
    return path / FILE


def examples(model: Transformer, inputs: Tokens, lengths: range) -> Iterator[tuple[Tokens, Logits]]:
    for rows in ROWS:
        for length in {lengths[0], lengths[-1]}:
            tokens = np.ascontiguousarray(inputs[:rows, :length])
            yield tokens, following(model, tokens)
