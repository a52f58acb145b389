"""GPT-2 small and a plain training loop in one file, as nanoGPT has it, to measure the generated loop against.

    python plain_gpt.py CORPUS DEVICE COMPILE BATCH ACCUMULATION_STEPS STEPS WARMUP_STEPS [SIZE...]

SIZE is context, width, depth, heads and vocabulary: those of GPT-2 small unless given. Prints as JSON the seconds to
the first step, the milliseconds of each step after the warm-up, and the peak of memory in GiB.
"""

import contextlib
import json
import math
import sys
import time

started = time.perf_counter()

import numpy as np  # noqa: E402 - the imports are timed
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402, N812 - as everywhere
from torch import nn  # noqa: E402

corpus, device, compiled, *numbers = sys.argv[1:]
batch_size, accumulation_steps, steps, warmup_steps, *size = map(int, numbers)
context, width, depth, heads, vocabulary = size or (1_024, 768, 12, 12, 50_304)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width, bias=False) for _ in range(2)])
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x):
        q, k, v = (
            part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in self.qkv(self.norms[0](x)).chunk(3, dim=-1)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).flatten(-2))
        return x + self.down(F.gelu(self.up(self.norms[1](x))))


class GPT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList([Block() for _ in range(depth)])
        self.norm = nn.LayerNorm(width, bias=False)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight
        for parameter in self.parameters():
            if parameter.ndim >= 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, inputs, labels):
        x = self.tokens(inputs) + self.positions(torch.arange(inputs.shape[1], device=inputs.device))
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


is_gpu = device == "cuda"
data = np.memmap(corpus, np.uint8, mode="r")
part_size = batch_size // accumulation_steps


def get_part():
    starts = torch.randint(len(data) - context, (part_size,))
    x = torch.stack([torch.from_numpy(data[i : i + context].astype(np.int64)) for i in starts])
    y = torch.stack([torch.from_numpy(data[i + 1 : i + 1 + context].astype(np.int64)) for i in starts])
    if is_gpu:
        return x.pin_memory().to(device, non_blocking=True), y.pin_memory().to(device, non_blocking=True)
    return x, y


torch.manual_seed(1337)
torch.set_float32_matmul_precision("high")
model = GPT().to(device)
groups = [
    {"params": [one for one in model.parameters() if one.ndim >= 2], "weight_decay": 0.1},
    {"params": [one for one in model.parameters() if one.ndim < 2], "weight_decay": 0.0},
]
optimizer = torch.optim.AdamW(groups, lr=6e-4, betas=(0.9, 0.95), fused=True)
run = torch.compile(model) if compiled == "1" else model
autocast = torch.autocast("cuda", torch.bfloat16) if is_gpu else contextlib.nullcontext()

times = []
first_step = 0.0
part = get_part()
for step in range(1, steps + 1):
    begin = time.perf_counter()
    for group in optimizer.param_groups:
        group["lr"] = 6e-4 * 0.5 * (1 + math.cos(math.pi * step / steps))
    for _ in range(accumulation_steps):
        with autocast:
            loss = run(*part) / accumulation_steps
        part = get_part()  # the next one, while the GPU computes
        loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if is_gpu:
        torch.cuda.synchronize()
    if step == 1:
        first_step = time.perf_counter() - started
    if step > warmup_steps:
        times.append(1_000 * (time.perf_counter() - begin))
memory = torch.cuda.max_memory_allocated() / 2**30 if is_gpu else None
print(json.dumps({"first_step_seconds": first_step, "step_ms": times, "memory_peak_gib": memory}))
