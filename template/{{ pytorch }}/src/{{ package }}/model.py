"""A transformer over the two terms of a sum.

Axes, as the suffix of a name spells them: B batch, T tokens (2), D width, H heads, K width of a head, P classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import ModelConfig


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        q_BHTK, k_BHTK, v_BHTK = self.qkv(x_BTD).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y_BHTK = F.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK)
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
    def __init__(self, config: ModelConfig, classes: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(classes, config.width)
        self.position = nn.Parameter(0.02 * torch.randn(2, config.width))
        self.blocks = nn.Sequential(*(Block(config.width, config.heads) for _ in range(config.depth)))
        self.norm = nn.RMSNorm(config.width)
        self.head = nn.Linear(config.width, classes, bias=False)
        nn.init.zeros_(self.head.weight)  # the first loss is then exactly log(classes)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits float[B, P] of the sum of the tokens int[B, T], each in [0, P)."""
        x_BTD = self.embed(tokens_BT) + self.position
        x_BTD = self.blocks(x_BTD)
        return self.head(self.norm(x_BTD[:, -1]))
