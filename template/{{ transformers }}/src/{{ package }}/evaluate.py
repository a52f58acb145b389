"""What a model has learned, measured on the test split."""

from pathlib import Path

import torch
from torch import nn

from . import checkpoint, parallel
from .config import Config
from .data import Split
from .model import logits_of, loss_of, make_model
from .parallel import Devices
from .run import load_config
from .tokens import load_split, scores


@torch.no_grad()
def evaluate(model: nn.Module, split: Split, devices: Devices, config: Config) -> dict[str, float]:
    """The mean loss and accuracy as tokens.py names them; every process computes the same."""
    model.eval()
    sums, batches = torch.zeros(2, dtype=torch.float64), 0
    for batch in split.whole():
        inputs, labels = devices.put(batch)
        logits = logits_of(model, inputs, labels.shape[1], config.model)
        accuracy = (logits.argmax(-1) == labels).float().mean()
        sums += torch.stack([loss_of(logits, labels), accuracy]).cpu()
        batches += 1
    model.train()
    loss, accuracy = (sums / batches).tolist()
    return scores(split, loss, accuracy)


def evaluate_run(path: Path, *, best: bool) -> dict[str, float]:
    """Evaluate the newest checkpoint of the run in the folder `path`, or its best one."""
    config = load_config(path)
    devices = parallel.start()
    model = make_model(config, devices.device)
    step = checkpoint.load(path, model, best=best)
    return {"step": step, **evaluate(model, load_split(config, "test"), devices, config)}
