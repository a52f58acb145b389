"""A decoder-only transformer: what follows each token, given the tokens before it.

Axes, as the suffix of a name spells them: B batch, T tokens, S the last of them, D width, H heads, K width of a head,
P tokens to choose from.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import Config, ModelConfig


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        qkv_BTHK = self.qkv(x_BTD).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q_BHTK, k_BHTK, v_BHTK = (part_BTHK.transpose(1, 2) for part_BTHK in qkv_BTHK)
        y_BHTK = F.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK, is_causal=True)
        return self.out(y_BHTK.transpose(1, 2).flatten(-2))


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(width)
        self.attention = Attention(width, heads)
        self.mlp_norm = nn.RMSNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x_BTD: Tensor) -> Tensor:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD))
        return x_BTD + self.mlp(self.mlp_norm(x_BTD))


class Transformer(nn.Module):
    def __init__(self, config: ModelConfig, vocabulary: int, context: int) -> None:
        super().__init__()
        self.dtype = getattr(torch, config.precision)
        self.embed = nn.Embedding(vocabulary, config.width)
        self.position = nn.Parameter(0.02 * torch.randn(context, config.width))
        self.blocks = nn.Sequential(*(Block(config.width, config.heads) for _ in range(config.depth)))
        self.norm = nn.RMSNorm(config.width)
        self.head = nn.Linear(config.width, vocabulary, bias=False)
        nn.init.zeros_(self.head.weight)  # the first loss is then exactly log(vocabulary)

    def forward(self, tokens_BT: Tensor, last: int) -> Tensor:
        """Logits float[B, S, P] of what follows each of the `last` tokens of int[B, T], each in [0, P)."""
        with torch.autocast(tokens_BT.device.type, self.dtype, enabled=self.dtype != torch.float32):
            x_BTD = self.embed(tokens_BT) + self.position[: tokens_BT.shape[1]]
            x_BTD = self.blocks(x_BTD)
            logits_BSP = self.head(self.norm(x_BTD[:, -last:]))
        return logits_BSP.float()


def make_model(config: Config) -> Transformer:
    """The model of a run before its first step: the seed decides the weights."""
    torch.manual_seed(config.seed)
    return Transformer(config.model, config.data.vocabulary, config.data.context)


def loss_on(model: nn.Module, tokens_BT: Tensor, labels_BS: Tensor) -> Tensor:
    """The loss of a model on a batch. Compiled as one function, it holds no logits in float32."""
    return loss_of(model(tokens_BT, last=labels_BS.shape[1]), labels_BS)


def loss_of(logits_BSP: Tensor, labels_BS: Tensor) -> Tensor:
    """Mean cross-entropy in nats of the tokens that follow."""
    return F.cross_entropy(logits_BSP.flatten(0, 1), labels_BS.flatten())
