"""Data parallel: one process per host or per device, one mesh over all devices. One alone runs the same code."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import numpy as np
from flax import nnx
from jax import Array
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jax.typing import ArrayLike
from numpy.typing import NDArray

from .config import Config
from .data import Batch
from .run import RunError
from .throughput import process_memory

COMPILED = Path("runs/.compiled")
"""Where compiled programs are kept, unless JAX_COMPILATION_CACHE_DIR says otherwise: the next start is faster."""


@dataclass(frozen=True)
class Devices:
    """This process among those of the run, and the devices of all of them."""

    rank: int
    world: int
    mesh: Mesh

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    @property
    def count(self) -> int:
        """Devices of all processes together."""
        return self.mesh.size

    @property
    def hardware(self) -> str:
        return f"{self.count} x {self.mesh.devices.flat[0].device_kind}, {self.world} processes"

    def memory(self) -> dict[str, float]:
        """The most memory that was ever in use, in GiB: of a GPU or TPU of this process, or else of this process."""
        peaks = [stats["peak_bytes_in_use"] for device in self.mesh.local_devices if (stats := device.memory_stats())]
        return {"memory_peak_gib": max(peaks) / 2**30} if peaks else process_memory()

    def check_batch(self, config: Config) -> None:
        """Raise RunError if a batch cannot be shared out among the devices."""
        size, parts = config.data.batch_size, config.optim.accumulation_steps
        if size % (self.count * parts):
            raise RunError(
                f"data.batch_size ({size}) must be a multiple of {self.count * parts}: of {self.count} devices times "
                f"optim.accumulation_steps ({parts})"
            )

    def put(self, batch: Batch, parts: int) -> tuple[ArrayLike, ArrayLike]:
        """The inputs and labels of this process in `parts` [A, B, ...], as its share of arrays over all devices."""

        def cut(array: NDArray[np.int64]) -> NDArray[np.int32]:
            return array.astype(np.int32).reshape(parts, -1, *array.shape[1:])

        inputs, labels = cut(batch.inputs), cut(batch.labels)
        if self.count == 1:
            return inputs, labels  # what is compiled takes them to the one device, and in less time
        sharding = NamedSharding(self.mesh, PartitionSpec(None, "batch"))
        return jax.make_array_from_process_local_data(sharding, (inputs, labels))

    def put_whole(self, batch: Batch) -> tuple[Array, Array]:
        """The inputs and labels, the same in every process, on every device."""
        inputs, labels = batch.inputs.astype(np.int32), batch.labels.astype(np.int32)
        return jax.device_put((inputs, labels), NamedSharding(self.mesh, PartitionSpec()))

    def shard(self, *parts: nnx.Pytree) -> None:
        """Divide the arrays of the model and its optimizer among the devices; XLA puts them together where needed.

        An array is divided along its first axis that comes out even; one without such an axis is put on every device.
        """

        def place(array: Array) -> Array:
            axis = next((axis for axis, size in enumerate(array.shape) if size % self.count == 0), None)
            spec = PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, "batch")
            return jax.device_put(array, NamedSharding(self.mesh, spec))

        for part in parts:
            nnx.update(part, jax.tree.map(place, nnx.state(part)))

    def replicate(self, *parts: nnx.Pytree) -> None:
        """Put the model and its optimizer on every device, so that XLA averages the gradients over all of them."""
        whole = NamedSharding(self.mesh, PartitionSpec())
        for part in parts:
            nnx.update(part, jax.device_put(nnx.state(part), whole))

    def read(self, pairs: list[tuple[Array, Array]]) -> list[tuple[float, float]]:
        """Scalars as numbers, each a mean over the whole batch already. Waits until the devices have computed them."""
        return [(first.item(), second.item()) for first, second in pairs]

    def any(self, flag: bool) -> bool:
        """Whether `flag` holds in any process: what all of them must do together has to be agreed on first."""
        if self.world == 1:
            return flag
        return bool(multihost_utils.process_allgather(flag).any())


def start(wanted: Literal["auto", "cpu", "gpu"] = "auto") -> Devices:
    """Join the other processes of the run, if any, and take all devices. Raises RunError if there is none."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(COMPILED.absolute()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # small programs, too: there are many
    if wanted == "cpu":
        jax.config.update("jax_platforms", "cpu")
    world = int(os.environ.get("WORLD_SIZE", "1"))  # torchrun's variables, which every launcher can set
    if world > 1 and not jax.distributed.is_initialized():
        address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        # Several processes on a host take one device each; one alone takes all. (By itself, JAX would ask a scheduler
        # that it knows, and give one device to a process that is alone.)
        one = os.environ.get("LOCAL_WORLD_SIZE", "1") != "1"
        jax.distributed.initialize(
            address,
            num_processes=world,
            process_id=int(os.environ["RANK"]),
            local_device_ids=int(os.environ["LOCAL_RANK"]) if one else None,
            cluster_detection_method="deactivate",
        )
    if wanted == "gpu" and jax.default_backend() != "gpu":
        raise RunError("device is gpu, and JAX finds none; look for it with nvidia-smi, or set device to auto")
    # Auto: XLA places what is in between. (The default, Explicit, makes nnx.Embed ask for a sharding.)
    mesh = jax.make_mesh((jax.device_count(),), ("batch",), axis_types=(AxisType.Auto,))
    return Devices(jax.process_index(), jax.process_count(), mesh)


def stop() -> None:
    """Leave the other processes, when all of them are done."""
    if jax.distributed.is_initialized():
        jax.distributed.shutdown()
