"""A decoder-only transformer: what follows each token, given the tokens before it.

Axes, as the suffix of a name spells them: B batch, T tokens, S the last of them, D width, H heads, K width of a head,
P tokens to choose from.
"""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from .attention import causal_attention
from .config import Config, ModelConfig


class Attention(nnx.Module):
    def __init__(self, width: int, heads: int, *, dtype: DTypeLike, rngs: nnx.Rngs) -> None:
        self.heads = heads
        self.qkv = nnx.Linear(width, 3 * width, use_bias=False, dtype=dtype, rngs=rngs)
        self.out = nnx.Linear(width, width, use_bias=False, dtype=dtype, rngs=rngs)

    def __call__(self, x_BTD: Array) -> Array:
        qkv_BT3HK = self.qkv(x_BTD).reshape(*x_BTD.shape[:2], 3, self.heads, -1)
        q_BTHK, k_BTHK, v_BTHK = jnp.moveaxis(qkv_BT3HK, 2, 0)
        y_BTHK = causal_attention(q_BTHK, k_BTHK, v_BTHK)
        return self.out(y_BTHK.reshape(x_BTD.shape))


class Block(nnx.Module):
    def __init__(self, width: int, heads: int, *, dtype: DTypeLike, rngs: nnx.Rngs) -> None:
        linear = partial(nnx.Linear, dtype=dtype, rngs=rngs)
        self.attention_norm = nnx.RMSNorm(width, dtype=dtype, rngs=rngs)
        self.attention = Attention(width, heads, dtype=dtype, rngs=rngs)
        self.mlp_norm = nnx.RMSNorm(width, dtype=dtype, rngs=rngs)
        self.mlp = nnx.Sequential(linear(width, 4 * width), nnx.gelu, linear(4 * width, width))

    def __call__(self, x_BTD: Array) -> Array:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD))
        return x_BTD + self.mlp(self.mlp_norm(x_BTD))


class Transformer(nnx.Module):
    def __init__(self, config: ModelConfig, vocabulary: int, context: int, *, rngs: nnx.Rngs) -> None:
        width, dtype = config.width, jnp.dtype(config.precision)
        self.embed = nnx.Embed(vocabulary, width, rngs=rngs)
        self.position = nnx.Param(0.02 * jax.random.normal(rngs.params(), (context, width)))
        self.blocks = nnx.List([Block(width, config.heads, dtype=dtype, rngs=rngs) for _ in range(config.depth)])
        self.norm = nnx.RMSNorm(width, dtype=dtype, rngs=rngs)
        zeros = nnx.initializers.zeros_init()  # the first loss is then exactly log(vocabulary)
        self.head = nnx.Linear(width, vocabulary, use_bias=False, dtype=dtype, kernel_init=zeros, rngs=rngs)

    def __call__(self, tokens_BT: Array, last: int) -> Array:
        """Logits float[B, S, P] of what follows each of the `last` tokens of int[B, T], each in [0, P)."""
        x_BTD = self.embed(tokens_BT) + self.position[: tokens_BT.shape[1]]
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return self.head(self.norm(x_BTD[:, -last:])).astype(jnp.float32)


def make_model(config: Config) -> Transformer:
    """The model of a run before its first step: the seed decides the weights."""
    return _make_model(config.model, config.data.vocabulary, config.data.context, config.seed)


@nnx.jit(static_argnums=(0, 1, 2))  # one program: compiling one for each parameter takes longer
def _make_model(config: ModelConfig, vocabulary: int, context: int, seed: int) -> Transformer:
    return Transformer(config, vocabulary, context, rngs=nnx.Rngs(jax.random.key(seed)))


def loss_of(logits_BSP: Array, labels_BS: Array) -> Array:
    """Mean cross-entropy in nats of the tokens that follow."""
    return optax.softmax_cross_entropy_with_integer_labels(logits_BSP, labels_BS).mean()
