"""A trace of a few steps: when each operation ran, on the processor and on the GPU."""

from pathlib import Path

import tensorflow as tf

WARMUP_STEPS = 3
"""The first steps of a start are left out: they compile, and find their memory."""

STEPS = 3


class Trace:
    """Writes what happens in some steps of a run to a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._steps = 0
        self._is_recording = False

    def step(self) -> None:
        """To be called after every step."""
        self._steps += 1
        if self._steps == WARMUP_STEPS:
            tf.profiler.experimental.start(str(self._folder))
            self._is_recording = True
        elif self._steps == WARMUP_STEPS + STEPS:
            self.end()

    def end(self) -> None:
        """Write it, unless that is done; to be called after the last step, too."""
        if self._is_recording:
            tf.profiler.experimental.stop()
            self._is_recording = False
            traced = self._steps - WARMUP_STEPS
            print(f"{self._folder}: a trace of {traced} steps; open it with xprof --logdir {self._folder}", flush=True)
        elif self._steps < WARMUP_STEPS:
            print(f"note: no trace, which begins after {WARMUP_STEPS} steps: these were {self._steps}", flush=True)
