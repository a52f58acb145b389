"""How fast a named run trains here: the loop as it is, over some steps, in a folder that is thrown away."""

import contextlib
import dataclasses
import io
import statistics
import tempfile
from pathlib import Path

from .config import Config
from .run import RunError, read_rows
from .train import train

WARMUP_STEPS = 10
"""The first steps are left out: they compile, and find their memory."""

STEPS = 100

STEPS_PER_ROW = 5
"""Steps that are timed together: to wait for a GPU after each would slow it down."""


def benchmark(config: Config) -> dict[str, float]:
    """The median rates, the time of a step with the least and the most that it took, and the memory.

    It is empty in all but the main process. Raises RunError if the run is stopped, or cannot be trained.
    """
    steps = WARMUP_STEPS + STEPS
    optim = dataclasses.replace(config.optim, steps=steps, warmup_steps=min(config.optim.warmup_steps, steps - 1))
    timed = dataclasses.replace(config, optim=optim, log_every=STEPS_PER_ROW, eval_every=steps, save_every=steps)
    with tempfile.TemporaryDirectory() as root, contextlib.redirect_stdout(io.StringIO()):
        if train(timed, Path(root)) is None:
            raise RunError("stopped before the end, so there are no figures")
        logged = read_rows(Path(root) / config.name / "metrics.jsonl")
    rows = [row for row in logged if row["step"] > WARMUP_STEPS and "steps_per_second" in row]
    if not rows:
        return {}
    rates = [name for name in rows[0] if name.endswith("per_second") or name == "model_flops_utilization"]
    times = [1_000 / row["steps_per_second"] for row in rows]
    return {
        **{name: statistics.median(row[name] for row in rows) for name in rates},
        "step_ms": statistics.median(times),
        "least_step_ms": min(times),
        "most_step_ms": max(times),
        **{name: value for name, value in rows[-1].items() if name == "memory_peak_gib"},
    }
