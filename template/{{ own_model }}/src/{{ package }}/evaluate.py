"""What a model has learned, measured on the test split."""

from pathlib import Path

import torch
from torch import nn

from . import checkpoint, parallel
from .data import Split, scores
from .model import loss_of, make_model
from .parallel import Devices
from .run import load_config


@torch.no_grad()
def evaluate(model: nn.Module, split: Split, devices: Devices) -> dict[str, float]:
    """The mean loss and accuracy as data.py names them; every process computes the same."""
    model.eval()
    sums, batches = torch.zeros(2, dtype=torch.float64), 0
    for batch in split.whole():
        inputs, labels = devices.put(batch)
        logits = model(inputs, last=labels.shape[1])
        accuracy = (logits.argmax(-1) == labels).float().mean()
        sums += torch.stack([loss_of(logits, labels), accuracy]).cpu()
        batches += 1
    model.train()
    loss, accuracy = (sums / batches).tolist()
    return scores(loss, accuracy)


def evaluate_run(path: Path, *, best: bool) -> dict[str, float]:
    """Evaluate the newest checkpoint of the run in the folder `path`, or its best one."""
    config = load_config(path)
    devices = parallel.start()
    model = make_model(config).to(devices.device)
    step = checkpoint.load(path, model, best=best)
    return {"step": step, **evaluate(model, Split.load(config.data, "test", config.seed), devices)}
