"""What a model has learned, measured on the test split."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from . import checkpoint, parallel
from .data import Split
from .model import Transformer
from .parallel import Devices
from .run import RunError, load_config


@torch.no_grad()
def evaluate(model: nn.Module, split: Split, devices: Devices) -> dict[str, float]:
    """Mean loss in nats, and accuracy from 0 to 1, in one batch; every process computes the same."""
    inputs, labels = devices.put(split.pairs)
    model.eval()
    logits = model(inputs)
    model.train()
    return {
        "test_loss": F.cross_entropy(logits, labels).item(),
        "test_accuracy": (logits.argmax(-1) == labels).float().mean().item(),
    }


def evaluate_run(path: Path) -> dict[str, float]:
    """Evaluate the newest checkpoint of the run in the folder `path`."""
    config = load_config(path)
    devices = parallel.start()
    model = Transformer(config.model, classes=config.data.modulus).to(devices.device)
    step = checkpoint.restore(path / "checkpoints", model)
    if step == 0:
        raise RunError(f"{path} has no checkpoint yet")
    return {"step": step, **evaluate(model, Split.load(config.data, "test", config.seed), devices)}
