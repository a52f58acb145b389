"""The model as a graph of ONNX, which is what follows the last token of each row, and nothing else."""

from typing import Any

import numpy as np
import tensorflow as tf
from onnx import ModelProto
from tf2onnx.convert import from_function

from .exported import Logits, Tokens
from .model import Transformer


def following(model: Transformer, tokens: Tokens) -> Logits:
    """What TensorFlow computes, and the graph should."""
    return model(tokens, last=1)[:, 0].numpy()


def to_onnx(model: Transformer, lengths: range) -> ModelProto:
    """The model in the format of ONNX, for any number of rows, and each of these lengths."""
    tokens = tf.TensorSpec((None, None if len(lengths) > 1 else lengths[0]), tf.int64, "tokens")

    @tf.function(input_signature=[tokens])
    def graph(tokens_BT: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"logits": model(tokens_BT, last=1)[:, 0]}

    program, _ = from_function(graph, [tokens], custom_op_handlers={"Erfc": (erfc, [])})
    return program


def erfc(graph: Any, node: Any, name: str, _: list[Any]) -> None:
    """Make it 1 - erf(x): TensorFlow computes GELU by erfc, which neither ONNX nor its exporter has."""
    node.type = "Erf"
    (erf,) = node.output
    one = graph.make_const(f"{name}_one", np.array(1, np.float32))
    graph.insert_new_node_on_output("Sub", erf, f"{name}_sub", [*one.output, erf])
