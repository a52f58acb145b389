"""Data parallel: one process per host, and one mesh over the devices of all. One device alone runs the same code."""

import os
from dataclasses import dataclass

import jax
from flax import nnx
from jax import Array
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from .data import Batch


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
    def hardware(self) -> str:
        return f"{self.mesh.size} x {self.mesh.devices.flat[0].device_kind}"

    def put(self, batch: Batch, *, whole: bool = False) -> tuple[Array, Array]:
        """The inputs and labels of this process, as its part of arrays that are split over all devices.

        With `whole`, every process gives the same batch, and every device gets all of it.
        """
        sharding = NamedSharding(self.mesh, PartitionSpec() if whole else PartitionSpec("batch"))
        inputs = jax.make_array_from_process_local_data(sharding, batch.inputs)
        labels = jax.make_array_from_process_local_data(sharding, batch.labels)
        return inputs, labels

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


def start() -> Devices:
    """Join the other processes of the run, if any, and take all devices."""
    world = int(os.environ.get("WORLD_SIZE", "1"))  # torchrun's variables, which every launcher can set
    if world > 1 and not jax.distributed.is_initialized():
        address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        jax.distributed.initialize(address, num_processes=world, process_id=int(os.environ["RANK"]))
    # Auto: XLA places what is in between. (The default, Explicit, makes nnx.Embed ask for a sharding.)
    mesh = jax.make_mesh((jax.device_count(),), ("batch",), axis_types=(AxisType.Auto,))
    return Devices(jax.process_index(), jax.process_count(), mesh)


def stop() -> None:
    """Leave the other processes."""
    if jax.distributed.is_initialized():
        jax.distributed.shutdown()
