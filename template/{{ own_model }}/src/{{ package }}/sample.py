"""What a model says: tokens drawn one after the other, each given those before it."""

from pathlib import Path

import torch

from . import checkpoint, parallel
from .config import SampleConfig
from .data import decode, encode
from .model import Transformer, make_model
from .run import load_config


@torch.no_grad()
def sample(model: Transformer, tokens: list[int], asked: SampleConfig) -> list[int]:
    """The tokens that follow int[T], `asked.length` of them."""
    device, context = model.position.device, len(model.position)
    generator = torch.Generator(device).manual_seed(asked.seed)
    model.eval()
    said = list(tokens)
    for _ in range(asked.length):
        logits_P = model(torch.tensor([said[-context:]], device=device), last=1)[0, 0]
        if asked.temperature == 0:
            token = logits_P.argmax()
        else:
            token = torch.multinomial((logits_P / asked.temperature).softmax(-1), 1, generator=generator)
        said.append(int(token.item()))
    return said[len(tokens) :]


def sample_run(path: Path, asked: SampleConfig) -> str:
    """What the best checkpoint of the run in the folder `path` says after the prompt."""
    config = load_config(path)
    tokens = encode(asked.prompt, config.data)
    model = make_model(config).to(parallel.start().device)
    checkpoint.load(path, model, best=True)
    return decode(sample(model, tokens, asked))
