"""What a model says: tokens drawn one after the other, each given those before it."""

from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel

from . import checkpoint, parallel
from .config import SampleConfig
from .model import computing, make_model
from .run import load_config
from .tokens import decode, encode


@torch.no_grad()
def sample(model: PreTrainedModel, tokens: list[int], asked: SampleConfig) -> list[int]:
    """The tokens that follow int[T], `asked.length` of them."""
    torch.manual_seed(asked.seed)
    model.eval()
    context = model.config.max_position_embeddings
    generate: Any = model.generate  # the causal models have it
    said = list(tokens)
    while len(said) < len(tokens) + asked.length:
        # When the context is full, it goes on from the later half: `generate` keeps what it has computed for the rest.
        given = torch.tensor([said if len(said) <= context else said[-(context + 1) // 2 :]], device=model.device)
        room = context - given.shape[1] + 1
        how = GenerationConfig(
            max_new_tokens=min(room, len(tokens) + asked.length - len(said)),
            do_sample=asked.temperature > 0,
            temperature=asked.temperature or None,
            top_k=0,
            pad_token_id=0,
        )
        new = generate(given, attention_mask=torch.ones_like(given), generation_config=how, use_cache=True)
        said += new[0, given.shape[1] :].tolist()
    return said[len(tokens) :]


def sample_run(path: Path, asked: SampleConfig) -> str:
    """What the best checkpoint of the run in the folder `path` says after the prompt."""
    config = load_config(path)
    tokens = encode(asked.prompt, config)
    device = parallel.start().device
    model = make_model(config, device)
    checkpoint.load(path, model, best=True)
    with computing(config.model, device):
        return decode(sample(model, tokens, asked), config)
