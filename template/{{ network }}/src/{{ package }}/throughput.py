"""How fast a run trains, and how much of what its devices can do it uses."""

import sys
import time

from .config import Config

PEAK_FLOPS = {
    "A100": 312e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "H200": 989e12,
    "B200": 2250e12,
    "L40S": 362e12,
    "MI300X": 1307e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
}
"""Most bfloat16 operations per second without sparsity, as the makers state them, by a part of the device's name."""


class Throughput:
    """The pace of training since `start`."""

    def __init__(self, config: Config, hardware: str, devices: int) -> None:
        self._tokens_per_step = config.data.batch_size * config.data.context
        self._flops_per_step = self._tokens_per_step * flops_per_token(config)
        peaks = [peak * devices for name, peak in PEAK_FLOPS.items() if name in hardware]
        self._peak_flops = peaks[0] if peaks and config.model.precision == "bfloat16" else None

    def start(self, step: int) -> None:
        """Count from after `step`: what was done until now was something else, such as an evaluation."""
        self._step, self._time = step, time.perf_counter()

    def rates(self, step: int) -> dict[str, float]:
        """The mean rates until after `step`. Utilization, from 0 to 1, is there if the devices' peak is known."""
        steps_per_second = (step - self._step) / (time.perf_counter() - self._time)
        rates = {"steps_per_second": steps_per_second, "tokens_per_second": steps_per_second * self._tokens_per_step}
        if self._peak_flops is not None:
            rates["model_flops_utilization"] = steps_per_second * self._flops_per_step / self._peak_flops
        return rates


def flops_per_token(config: Config) -> float:
    """Floating-point operations of a training step for each token, as PaLM counts them (arXiv:2204.02311, appendix B).

    6 for each weight that multiplies, and the products of attention over the whole context.
    """
    depth, width = config.model.depth, config.model.width
    weights = 12 * depth * width**2 + width * config.data.vocabulary
    return 6 * weights + 12 * depth * width * config.data.context


def process_memory() -> dict[str, float]:
    """The most memory of this process that was ever in use, in GiB; on Windows it is not known."""
    if sys.platform == "win32":
        return {}
    import resource

    unit = 1 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    return {"memory_peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30}
