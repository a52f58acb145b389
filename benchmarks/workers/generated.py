"""Times the loop of a generated repository as it is.

python generated.py RUN STEPS WARMUP_STEPS LOG_EVERY    the milliseconds of a step after the warm-up, logging included
python generated.py batches                             tokens per second of batches of 64 times 256 bytes
"""

import dataclasses
import sys
import tempfile
import time
from pathlib import Path

from demo import configs
from demo.data import Split
from demo.run import read_rows
from demo.train import train


def steps(name: str, steps: int, warmup_steps: int, log_every: int) -> float:
    config = configs.load(name)
    optim = dataclasses.replace(config.optim, steps=steps, warmup_steps=min(config.optim.warmup_steps, steps - 1))
    timed = dataclasses.replace(config, optim=optim, log_every=log_every, eval_every=steps, save_every=steps)
    with tempfile.TemporaryDirectory() as root:
        train(timed, Path(root))
        rows = read_rows(Path(root) / name / "metrics.jsonl")
    seconds = {row["step"]: row["seconds"] for row in rows if "loss" in row}  # the row before that of the last test
    return 1_000 * (seconds[steps] - seconds[warmup_steps]) / (steps - warmup_steps)


def batches() -> float:
    split = Split.load(dataclasses.replace(configs.load("baseline").data, context=256), "train", 0)
    for step in range(100):
        split.batch(step, 64)
    begin, count = time.perf_counter(), 3_000
    for step in range(count):
        split.batch(step, 64)
    return count * 64 * 256 / (time.perf_counter() - begin)


if sys.argv[1] == "batches":
    print(batches())
else:
    print(steps(sys.argv[1], *map(int, sys.argv[2:])))
