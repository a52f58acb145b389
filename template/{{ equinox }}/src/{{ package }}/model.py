"""A decoder-only transformer: what follows each token, given the tokens before it.

Axes, as the suffix of a name spells them: B batch, T tokens, S the last of them, D width, H heads, K width of a head,
P tokens to choose from. The parts are written for one example; the whole maps them over the batch.
"""

import math
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from equinox.nn import Embedding, Linear, RMSNorm
from jax import Array
from jax.typing import DTypeLike

from .attention import causal_attention
from .config import Config, ModelConfig


class Attention(eqx.Module):
    qkv: Linear
    out: Linear
    heads: int = eqx.field(static=True)

    def __init__(self, width: int, heads: int, *, key: Array) -> None:
        qkv_key, out_key = jax.random.split(key)
        self.qkv = linear(width, 3 * width, use_bias=False, key=qkv_key)
        self.out = linear(width, width, use_bias=False, key=out_key)
        self.heads = heads

    def __call__(self, x_TD: Array) -> Array:
        qkv_T3HK = apply(self.qkv, x_TD).reshape(len(x_TD), 3, self.heads, -1)
        q_THK, k_THK, v_THK = jnp.moveaxis(qkv_T3HK, 1, 0)
        y_1THK = causal_attention(q_THK[None], k_THK[None], v_THK[None])
        return apply(self.out, y_1THK.reshape(x_TD.shape))


class MLP(eqx.Module):
    up: Linear
    down: Linear

    def __init__(self, width: int, *, key: Array) -> None:
        up_key, down_key = jax.random.split(key)
        self.up = linear(width, 4 * width, key=up_key)
        self.down = linear(4 * width, width, key=down_key)

    def __call__(self, x_TD: Array) -> Array:
        return apply(self.down, jax.nn.gelu(apply(self.up, x_TD)))


class Block(eqx.Module):
    attention_norm: RMSNorm
    attention: Attention
    mlp_norm: RMSNorm
    mlp: MLP
    dtype: DTypeLike = eqx.field(static=True)

    def __init__(self, width: int, heads: int, *, dtype: DTypeLike, key: Array) -> None:
        attention_key, mlp_key = jax.random.split(key)
        self.attention_norm = RMSNorm(width, use_bias=False)
        self.attention = Attention(width, heads, key=attention_key)
        self.mlp_norm = RMSNorm(width, use_bias=False)
        self.mlp = MLP(width, key=mlp_key)
        self.dtype = dtype

    def __call__(self, x_TD: Array) -> Array:
        x_TD = x_TD + self.attention(jax.vmap(self.attention_norm)(x_TD).astype(self.dtype))
        return x_TD + self.mlp(jax.vmap(self.mlp_norm)(x_TD).astype(self.dtype))


class Transformer(eqx.Module):
    embed: Embedding
    position: Array
    blocks: list[Block]
    norm: RMSNorm
    head: Linear
    dtype: DTypeLike = eqx.field(static=True)

    def __init__(self, config: ModelConfig, vocabulary: int, context: int, *, key: Array) -> None:
        width, self.dtype = config.width, jnp.dtype(config.precision)
        embed_key, position_key, head_key, *block_keys = jax.random.split(key, 3 + config.depth)
        self.embed = Embedding(weight=jax.random.normal(embed_key, (vocabulary, width)) / math.sqrt(width))
        self.position = 0.02 * jax.random.normal(position_key, (context, width))
        self.blocks = [Block(width, config.heads, dtype=self.dtype, key=block_key) for block_key in block_keys]
        self.norm = RMSNorm(width, use_bias=False)
        head = Linear(width, vocabulary, use_bias=False, key=head_key)
        # Zeros: the first loss is then exactly log(vocabulary).
        self.head = eqx.tree_at(lambda layer: layer.weight, head, replace_fn=jnp.zeros_like)

    def __call__(self, tokens_BT: Array, last: int) -> Array:
        """Logits float[B, S, P] of what follows each of the `last` tokens of int[B, T], each in [0, P)."""
        return jax.vmap(partial(self.of_one, last=last))(tokens_BT)

    def of_one(self, tokens_T: Array, last: int) -> Array:
        """The same for one example: float[S, P] of int[T]."""
        x_TD = jax.vmap(self.embed)(tokens_T) + self.position[: len(tokens_T)]
        for block in self.blocks:
            x_TD = block(x_TD)
        return apply(self.head, jax.vmap(self.norm)(x_TD[-last:]).astype(self.dtype)).astype(jnp.float32)


def linear(inputs: int, outputs: int, *, use_bias: bool = True, key: Array) -> Linear:
    """A layer whose weights are normal, of variance 1 / inputs, and whose bias begins at zero."""
    layer = Linear(inputs, outputs, use_bias=use_bias, key=key)
    weight = jax.nn.initializers.lecun_normal(in_axis=1, out_axis=0)(key, layer.weight.shape)
    layer = eqx.tree_at(lambda layer: layer.weight, layer, weight)
    return eqx.tree_at(lambda layer: layer.bias, layer, replace_fn=jnp.zeros_like) if use_bias else layer


def apply(layer: Linear, x_TD: Array) -> Array:
    """The layer at all tokens, computed in the precision of `x_TD`; its weights are kept in float32.

    (One product of two matrices: the layer mapped over the tokens would take a fifth longer for a small step.)
    """
    y_TD = x_TD @ layer.weight.astype(x_TD.dtype).T
    return y_TD if layer.bias is None else y_TD + layer.bias.astype(x_TD.dtype)


def make_model(config: Config) -> Transformer:
    """The model of a run before its first step: the seed decides the weights."""
    return _make_model(config.model, config.data.vocabulary, config.data.context, config.seed)


@partial(jax.jit, static_argnums=(0, 1, 2))  # one program: compiling one for each parameter takes longer
def _make_model(config: ModelConfig, vocabulary: int, context: int, seed: int) -> Transformer:
    return Transformer(config, vocabulary, context, key=jax.random.key(seed))


def loss_of(logits_BSP: Array, labels_BS: Array) -> Array:
    """Mean cross-entropy in nats of the tokens that follow."""
    return optax.softmax_cross_entropy_with_integer_labels(logits_BSP, labels_BS).mean()
