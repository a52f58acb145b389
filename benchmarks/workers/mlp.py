"""A multilayer perceptron in place of the transformer of a generated repository, as somebody would put it there."""

from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812 - as everywhere
from torch import Tensor, nn

from .config import Config


class MLP(nn.Module):
    def __init__(self, vocabulary: int, context: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        sizes = (context * width, width, width)
        hidden = [layer for one, other in pairwise(sizes) for layer in (nn.Linear(one, other), nn.GELU())]
        self.layers = nn.Sequential(*hidden, nn.Linear(width, vocabulary))

    def forward(self, tokens: Tensor, last: int) -> Tensor:
        """Logits float[B, 1, P] of what follows int[B, T]."""
        assert last == 1
        return self.layers(self.embed(tokens).flatten(1)).unsqueeze(1)


def make_model(config: Config) -> MLP:
    torch.manual_seed(config.seed)
    return MLP(config.data.vocabulary, config.data.context, config.model.width)


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy in nats of the tokens that follow."""
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def loss_on(model: nn.Module, tokens: Tensor, labels: Tensor) -> Tensor:
    """The loss of a model on a batch."""
    return loss_of(model(tokens, last=labels.shape[1]), labels)
