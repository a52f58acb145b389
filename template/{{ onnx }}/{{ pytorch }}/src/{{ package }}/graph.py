"""The model as a graph of ONNX, which is what follows the last token of each row, and nothing else."""

import logging
import warnings

import torch
from onnx import ModelProto
from torch import Tensor, nn
from torch.export import Dim

from .exported import Logits, Tokens
from .model import Transformer
from .run import RunError


class Next(nn.Module):
    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits float[B, P] of int[B, T]."""
        return self.model(tokens_BT, last=1)[:, 0]


@torch.no_grad()
def following(model: Transformer, tokens: Tokens) -> Logits:
    """What PyTorch computes, and the graph should."""
    return Next(model).eval()(torch.from_numpy(tokens)).numpy()


def to_onnx(model: Transformer, lengths: range) -> ModelProto:
    """The model in the format of ONNX, for any number of rows, and each of these lengths."""
    length = {1: Dim("length", min=lengths[0], max=lengths[-1])} if len(lengths) > 1 else {}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it names packages that are not there, and not needed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the exporter uses what PyTorch itself deprecates
        program = torch.onnx.export(
            Next(model).eval(),
            (torch.zeros(2, lengths[-1], dtype=torch.int64),),
            dynamo=True,
            dynamic_shapes=({0: Dim("batch"), **length},),
            input_names=["tokens"],
            output_names=["logits"],
            verbose=False,
        )
    if program is None:
        raise RunError("PyTorch has exported nothing")
    return program.model_proto
