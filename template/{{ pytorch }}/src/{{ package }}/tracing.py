"""A trace of a few steps: when each operation ran, on the processor and on the GPU."""

from pathlib import Path

from torch.profiler import profile

WARMUP_STEPS = 3
"""The first steps of a start are left out: they compile, and find their memory."""

STEPS = 3


class Trace:
    """Writes what happens in some steps of a run to a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._steps = 0
        self._profile: profile | None = None

    def step(self) -> None:
        """To be called after every step."""
        self._steps += 1
        if self._steps == WARMUP_STEPS:
            self._profile = profile(record_shapes=True, profile_memory=True)
            self._profile.start()
        elif self._steps == WARMUP_STEPS + STEPS:
            self.end()

    def end(self) -> None:
        """Write it, unless that is done; to be called after the last step, too."""
        if self._profile:
            self._profile.stop()
            self._folder.mkdir(exist_ok=True)
            self._profile.export_chrome_trace(str(self._folder / "trace.json.gz"))
            self._profile = None
            traced = self._steps - WARMUP_STEPS
            print(f"{self._folder}: a trace of {traced} steps; open it at https://ui.perfetto.dev", flush=True)
        elif self._steps < WARMUP_STEPS:
            print(f"note: no trace, which begins after {WARMUP_STEPS} steps: these were {self._steps}", flush=True)
