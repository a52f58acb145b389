"""A decoder-only transformer: what follows each token, given the tokens before it.

Axes, as the suffix of a name spells them: B batch, T tokens, S the last of them, D width, H heads, K width of a head,
P tokens to choose from. Every layer has a name of its own, by which a checkpoint finds its weights again.
"""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from .config import Config, ModelConfig


class Attention(layers.Layer):
    def __init__(self, width: int, heads: int, *, dtype: str, name: str) -> None:
        super().__init__(dtype=dtype, name=name)
        self.qkv = layers.Dense(3 * width, use_bias=False, dtype=dtype, name="qkv")
        self.split = layers.Reshape((-1, 3, heads, width // heads), dtype=dtype, name="split")
        self.join = layers.Reshape((-1, width), dtype=dtype, name="join")
        self.out = layers.Dense(width, use_bias=False, dtype=dtype, name="out")

    def call(self, x_BTD: tf.Tensor) -> tf.Tensor:
        q_BTHK, k_BTHK, v_BTHK = tf.unstack(self.split(self.qkv(x_BTD)), axis=2)
        y_BTHK = ops.dot_product_attention(q_BTHK, k_BTHK, v_BTHK, is_causal=True)
        return self.out(self.join(y_BTHK))


class Block(layers.Layer):
    def __init__(self, width: int, heads: int, *, dtype: str, name: str) -> None:
        super().__init__(name=name)
        self.attention_norm = layers.RMSNormalization(dtype=dtype, name="attention_norm")
        self.attention = Attention(width, heads, dtype=dtype, name="attention")
        self.mlp_norm = layers.RMSNormalization(dtype=dtype, name="mlp_norm")
        self.mlp_in = layers.Dense(4 * width, activation="gelu", dtype=dtype, name="mlp_in")
        self.mlp_out = layers.Dense(width, dtype=dtype, name="mlp_out")

    def call(self, x_BTD: tf.Tensor) -> tf.Tensor:
        x_BTD += tf.cast(self.attention(self.attention_norm(x_BTD)), tf.float32)
        return x_BTD + tf.cast(self.mlp_out(self.mlp_in(self.mlp_norm(x_BTD))), tf.float32)


class Transformer(keras.Model):
    def __init__(self, config: ModelConfig, vocabulary: int, context: int) -> None:
        super().__init__(name="transformer")
        width = config.width
        # What Keras calls mixed: computed with bfloat16, while the weights are float32.
        dtype = "mixed_bfloat16" if config.precision == "bfloat16" else "float32"
        self.embed = layers.Embedding(vocabulary, width, name="embed")
        small = keras.initializers.RandomNormal(stddev=0.02)
        self.position = self.add_weight(shape=(context, width), initializer=small, name="position")
        self.blocks = [Block(width, config.heads, dtype=dtype, name=f"block_{n}") for n in range(config.depth)]
        self.norm = layers.RMSNormalization(dtype=dtype, name="norm")
        # The first loss is then exactly log(vocabulary).
        self.head = layers.Dense(vocabulary, use_bias=False, kernel_initializer="zeros", dtype=dtype, name="head")

    def call(self, tokens_BT: tf.Tensor, last: int) -> tf.Tensor:
        """Logits float[B, S, P] of what follows each of the `last` tokens of int[B, T], each in [0, P)."""
        x_BTD = self.embed(tokens_BT) + self.position[: tf.shape(tokens_BT)[1]]
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return tf.cast(self.head(self.norm(x_BTD[:, -last:])), tf.float32)


def make_model(config: Config) -> Transformer:
    """The model of a run before its first step: the seed decides the weights."""
    keras.utils.set_random_seed(config.seed)
    model = Transformer(config.model, config.data.vocabulary, config.data.context)
    model(np.zeros((1, config.data.context), np.int32), last=1)  # Keras makes the weights at the first call
    return model


def loss_of(logits_BSP: tf.Tensor, labels_BS: tf.Tensor) -> tf.Tensor:
    """Mean cross-entropy in nats of the tokens that follow."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels_BS, logits_BSP))
