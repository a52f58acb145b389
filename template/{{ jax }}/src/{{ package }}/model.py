"""A transformer over the two terms of a sum.

Axes, as the suffix of a name spells them: B batch, T tokens (2), D width, H heads, K width of a head, P classes.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from .config import ModelConfig


class Attention(nnx.Module):
    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs) -> None:
        self.heads = heads
        self.qkv = nnx.Linear(width, 3 * width, use_bias=False, rngs=rngs)
        self.out = nnx.Linear(width, width, use_bias=False, rngs=rngs)

    def __call__(self, x_BTD: Array) -> Array:
        qkv_BT3HK = self.qkv(x_BTD).reshape(*x_BTD.shape[:2], 3, self.heads, -1)
        q_BTHK, k_BTHK, v_BTHK = jnp.moveaxis(qkv_BT3HK, 2, 0)
        y_BTHK = jax.nn.dot_product_attention(q_BTHK, k_BTHK, v_BTHK)
        return self.out(y_BTHK.reshape(x_BTD.shape))


class Block(nnx.Module):
    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs) -> None:
        self.attention_norm = nnx.RMSNorm(width, rngs=rngs)
        self.attention = Attention(width, heads, rngs=rngs)
        self.mlp_norm = nnx.RMSNorm(width, rngs=rngs)
        self.mlp = nnx.Sequential(
            nnx.Linear(width, 4 * width, rngs=rngs), nnx.gelu, nnx.Linear(4 * width, width, rngs=rngs)
        )

    def __call__(self, x_BTD: Array) -> Array:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD))
        return x_BTD + self.mlp(self.mlp_norm(x_BTD))


class Transformer(nnx.Module):
    def __init__(self, config: ModelConfig, classes: int, *, rngs: nnx.Rngs) -> None:
        self.embed = nnx.Embed(classes, config.width, rngs=rngs)
        self.position = nnx.Param(0.02 * jax.random.normal(rngs.params(), (2, config.width)))
        self.blocks = nnx.List([Block(config.width, config.heads, rngs=rngs) for _ in range(config.depth)])
        self.norm = nnx.RMSNorm(config.width, rngs=rngs)
        zeros = nnx.initializers.zeros_init()  # the first loss is then exactly log(classes)
        self.head = nnx.Linear(config.width, classes, use_bias=False, kernel_init=zeros, rngs=rngs)

    def __call__(self, tokens_BT: Array) -> Array:
        """Logits float[B, P] of the sum of the tokens int[B, T], each in [0, P)."""
        x_BTD = self.embed(tokens_BT) + self.position[...]
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return self.head(self.norm(x_BTD[:, -1]))
