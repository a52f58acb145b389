"""What train.py of a generated repository does for each step, as one would write it by hand for one process on a CPU.

    python bare_pytorch.py RUN STEPS WARMUP_STEPS LOG_EVERY

The model, the batches and the named run are the repository's. Prints a row for every LOG_EVERY steps, and at the end
the milliseconds of a step after the warm-up.
"""

import json
import math
import sys
import tempfile
import time

import torch
import torch.nn.functional as F  # noqa: N812 - as everywhere
from demo import configs
from demo.data import Split
from demo.model import make_model

name, steps, warmup_steps, log_every = sys.argv[1], *map(int, sys.argv[2:])
config = configs.load(name)
optim = config.optim
split = Split.load(config.data, "train", config.seed)
model = make_model(config)
groups = [
    {"params": [one for one in model.parameters() if one.ndim >= 2], "weight_decay": optim.weight_decay},
    {"params": [one for one in model.parameters() if one.ndim < 2], "weight_decay": 0.0},
]
optimizer = torch.optim.AdamW(groups, lr=optim.lr, betas=(0.9, optim.beta2), fused=True)
weights = list(model.parameters())

recent = []
begin = started = time.perf_counter()
with tempfile.TemporaryFile("w") as metrics:
    for step in range(1, steps + 1):
        batch = split.batch(step, config.data.batch_size)
        inputs, labels = torch.from_numpy(batch.inputs), torch.from_numpy(batch.labels)
        lr = optim.lr * min(step / max(optim.warmup_steps, 1), 0.5 + 0.5 * math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs, last=labels.shape[1]).flatten(0, 1), labels.flatten())
        loss.backward()
        grad_norm = torch.nn.utils.clip_grad_norm_(weights, optim.grad_clip)
        optimizer.step()
        recent.append(torch.stack([loss.detach(), grad_norm]))
        if step % log_every == 0:
            values = torch.stack(recent).tolist()
            recent.clear()
            assert all(math.isfinite(value) for pair in values for value in pair)
            row = {"step": step, "seconds": time.perf_counter() - started, "loss": values[-1][0], "lr": lr}
            metrics.write(json.dumps(row) + "\n")
            metrics.flush()
            print("  ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True)
        if step == warmup_steps:
            begin = time.perf_counter()
print(1_000 * (time.perf_counter() - begin) / max(steps - warmup_steps, 1))
