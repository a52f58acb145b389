"""The model of a run as a file of ONNX, if ONNX Runtime computes with it what PyTorch computes."""

import hashlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from onnx import ModelProto
from torch import Tensor, nn
from torch.export import Dim

from . import checkpoint
from .compare import Record
from .config import Config
from .data import Split
from .exported import FILE, Logits, Tokens, write
from .model import Transformer, make_model
from .run import RunError, load_config

ROWS = (1, 2, 64)
"""Sizes of the batches that are compared."""


class Next(nn.Module):
    """What follows the last token of each row, and nothing else."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits float[B, P] of int[B, T]."""
        return self.model(tokens_BT, last=1)[:, 0]


def export_run(path: Path) -> Path:
    """Write `model.onnx` of the best checkpoint of the run in the folder `path`, and return where it is.

    Raises RunError if ONNX Runtime does not compute what PyTorch does; then the file is as it was.
    """
    config = load_config(path)
    model = make_model(replace(config, model=replace(config.model, precision="float32")))
    step = checkpoint.load(path, model, best=True)
    inputs, labels = next(Split.load(config.data, "test", config.seed).whole())
    # Of how many tokens something was to follow in training: of fewer, the model knows nothing.
    longest, shortest = inputs.shape[1], inputs.shape[1] - labels.shape[1] + 1
    about = {
        "run": config.name,
        "step": str(step),
        "commit": " ".join(Record.read(path).commits),
        "config": hashlib.sha256(config.to_json().encode()).hexdigest(),
        "vocabulary": str(config.data.vocabulary),
        "shortest": str(shortest),
        "longest": str(longest),
    }
    following = Next(model).eval()
    write(path / FILE, to_onnx(following, config, shortest), about, examples(following, inputs, shortest))
    return path / FILE


def to_onnx(model: Next, config: Config, shortest: int) -> ModelProto:
    """The model in the format of ONNX, for any number of rows, and any length from the shortest on."""
    length = {1: Dim("length", min=shortest, max=config.data.context)} if shortest < config.data.context else {}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it names packages that are not there, and not needed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the exporter uses what PyTorch itself deprecates
        program = torch.onnx.export(
            model,
            (torch.zeros(2, config.data.context, dtype=torch.int64),),
            dynamo=True,
            dynamic_shapes=({0: Dim("batch"), **length},),
            input_names=["tokens"],
            output_names=["logits"],
            verbose=False,
        )
    if program is None:
        raise RunError("PyTorch has exported nothing")
    return program.model_proto


@torch.no_grad()
def examples(model: Next, inputs: Tokens, shortest: int) -> Iterator[tuple[Tokens, Logits]]:
    for rows in ROWS:
        for length in {shortest, inputs.shape[1]}:
            tokens = np.ascontiguousarray(inputs[:rows, :length])
            yield tokens, model(torch.from_numpy(tokens)).numpy()
