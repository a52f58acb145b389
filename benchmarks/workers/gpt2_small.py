"""Times the named run gpt2_small of a generated repository as it is: its loop, its batches, its rows of metrics.

    python gpt2_small.py CORPUS DEVICE COMPILE BATCH ACCUMULATION_STEPS STEPS WARMUP_STEPS [SIZE...]

Prints what plain_gpt.py prints; a time is the mean of ROW steps, between which the loop does not wait for the GPU.
"""

import dataclasses
import json
import sys
import tempfile
import time
from pathlib import Path

started = time.perf_counter()

from demo import configs  # noqa: E402 - the imports are timed
from demo.run import read_rows  # noqa: E402
from demo.train import train  # noqa: E402

ROW = 5

corpus, device, compiled, *numbers = sys.argv[1:]
batch_size, accumulation_steps, steps, warmup_steps, *size = map(int, numbers)
config = configs.load("gpt2_small")
context, width, depth, heads, vocabulary = size or (
    config.data.context,
    config.model.width,
    config.model.depth,
    config.model.heads,
    config.data.vocabulary,
)
data = dataclasses.replace(
    config.data, corpus=corpus, test_examples=16, context=context, vocabulary=vocabulary, batch_size=batch_size
)
precision = "bfloat16" if device == "cuda" else "float32"
model = dataclasses.replace(config.model, width=width, depth=depth, heads=heads, precision=precision)
optim = dataclasses.replace(config.optim, steps=steps, warmup_steps=0, accumulation_steps=accumulation_steps)
config = dataclasses.replace(
    config,
    data=data,
    model=model,
    optim=optim,
    device="gpu" if device == "cuda" else "cpu",
    log_every=ROW,
    eval_every=steps,
    save_every=steps,
)
if hasattr(config, "compile"):
    config = dataclasses.replace(config, compile=compiled == "1")
with tempfile.TemporaryDirectory() as root:
    begun = time.perf_counter() - started
    train(config, Path(root))
    rows = [row for row in read_rows(Path(root) / config.name / "metrics.jsonl") if "loss" in row]
# The first row is late by the steps after the first one, which are as fast as those later.
first_step = begun + rows[0]["seconds"] - (ROW - 1) / rows[-1]["steps_per_second"]
times = [1_000 / row["steps_per_second"] for row in rows if row["step"] > warmup_steps]
memory = max(row["memory_peak_gib"] for row in rows) if device == "cuda" else None
print(json.dumps({"first_step_seconds": first_step, "step_ms": times, "memory_peak_gib": memory}))
