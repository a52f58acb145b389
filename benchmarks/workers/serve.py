"""Times PyTorch, ONNX Runtime and the service in turn, in a repository with `serving: fastapi`. Prints a row per round.

python serve.py ROUNDS
"""

import http.client
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from demo import checkpoint, configs
from demo.data import Split
from demo.export import export_run
from demo.exported import load
from demo.model import make_model
from demo.train import train

CALLS = 300
"""Of each kind in a round, one after the other in turn."""


def main(rounds: int) -> None:
    config = configs.load("baseline")
    config = replace(config, optim=replace(config.optim, steps=3, warmup_steps=1))
    train(config, Path("runs"))
    run = Path("runs") / config.name
    export_run(run)
    exported, model = load(run), make_model(config)
    checkpoint.load(run, model, best=True)
    model.eval()
    tokens = next(Split.load(config.data, "test", config.seed).whole()).inputs
    tokens = tokens.repeat(1 + 64 // len(tokens), axis=0)
    body = json.dumps({"tokens": tokens[:1].tolist()})
    command = [sys.executable, "-m", "demo", "serve", str(run), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        found = re.search(r"http://([\d.]+):(\d+)", service.stdout.readline())
        assert found is not None
        connection = http.client.HTTPConnection(found[1], int(found[2]))

        def ask() -> None:
            connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()

        def compute(rows: int) -> None:
            with torch.inference_mode():
                model(torch.from_numpy(tokens[:rows]), last=1)

        for number in range(rounds + 1):  # the first warms up, and is forgotten
            one, other = timed(lambda: compute(1), lambda: exported.logits(tokens[:1]))
            many, more = timed(lambda: compute(64), lambda: exported.logits(tokens[:64]), calls=CALLS // 10)
            bare, asked = timed(lambda: exported.logits(tokens[:1]), ask)
            row = {
                "PyTorch, 1 rows": statistics.median(one),
                "ONNX Runtime, 1 rows": statistics.median(other),
                "PyTorch, 64 rows": statistics.median(many),
                "ONNX Runtime, 64 rows": statistics.median(more),
                "bare call, p50": statistics.median(bare),
                "bare call, p99": statistics.quantiles(bare, n=100)[-1],
                "service, p50": statistics.median(asked),
                "service, p99": statistics.quantiles(asked, n=100)[-1],
            }
            if number > 0:
                print(json.dumps(row), flush=True)
        service.terminate()
        service.communicate()


def timed(*kinds: Callable[[], object], calls: int = CALLS) -> list[list[float]]:
    """The times of many calls of each kind, in turn, in milliseconds."""
    times: list[list[float]] = [[] for _ in kinds]
    for _ in range(calls):
        for kind, taken in zip(kinds, times, strict=True):
            started = time.perf_counter()
            kind()
            taken.append(1_000 * (time.perf_counter() - started))
    return times


if __name__ == "__main__":
    main(int(sys.argv[1]))
