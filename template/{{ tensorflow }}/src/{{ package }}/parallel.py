"""Data parallel: one process per device, each with all weights. One process alone runs the same code."""

import contextlib
import functools
import json
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from .config import Config
from .data import Batch
from .run import RunError
from .throughput import process_memory

PATIENCE = 600.0
"""Seconds in which the processes of a run must have found each other."""


@dataclass(frozen=True)
class Devices:
    """This process among those of the run."""

    rank: int
    world: int
    device: tf.config.PhysicalDevice

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    @property
    def count(self) -> int:
        """Devices of all processes together."""
        return self.world

    @property
    def hardware(self) -> str:
        if self.device.device_type == "GPU":
            return f"{self.world} x {tf.config.experimental.get_device_details(self.device)['device_name']}"
        return f"{self.world} x CPU with {os.cpu_count()} cores"

    def memory(self) -> dict[str, float]:
        """The most memory that was ever in use, in GiB: of this process' GPU, or else of this process."""
        if self.device.device_type != "GPU":
            return process_memory()
        return {"memory_peak_gib": tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**30}

    def check(self, config: Config) -> None:
        """Raise RunError if a batch cannot be shared out among the devices, or the weights are to be divided."""
        size, parts = config.data.batch_size, config.optim.accumulation_steps
        if size % (self.count * parts):
            raise RunError(
                f"data.batch_size ({size}) must be a multiple of {self.count * parts}: of {self.count} devices times "
                f"optim.accumulation_steps ({parts})"
            )
        if config.shard:
            raise RunError(
                "shard divides the weights among the devices, which is not to be had with Keras on TensorFlow; leave "
                "it out, and raise optim.accumulation_steps if memory is short"
            )

    def put(self, batch: Batch, parts: int) -> tuple[tf.Tensor, tf.Tensor]:
        """The inputs and labels of this process in `parts`: [A, B, ...]."""

        def cut(array: NDArray[np.int64]) -> tf.Tensor:
            return tf.constant(array.reshape(parts, -1, *array.shape[1:]), tf.int32)

        return cut(batch.inputs), cut(batch.labels)

    def read(self, pairs: list[tuple[tf.Tensor, tf.Tensor]]) -> list[tuple[float, float]]:
        """Scalars as numbers, each a mean over the whole batch already. Waits until the device has computed them."""
        return [(float(first), float(second)) for first, second in pairs]

    def any(self, flag: bool) -> bool:
        """Whether `flag` holds in any process: what all of them must do together has to be agreed on first."""
        if self.world == 1:
            return flag
        return bool(_any(tf.constant(float(flag))))


def start(wanted: Literal["auto", "cpu", "gpu"] = "auto") -> Devices:
    """Join the other processes of the run, if any, and take one device. Raises RunError if there is none."""
    if (backend := keras.backend.backend()) != "tensorflow":
        raise RunError(
            f"Keras computes with {backend}, as KERAS_BACKEND or ~/.keras/keras.json says; it must be tensorflow"
        )
    gpus = tf.config.list_physical_devices("GPU")
    if wanted == "gpu" and not gpus:
        raise RunError("device is gpu, and TensorFlow finds none; look for it with nvidia-smi, or set device to auto")
    mine = [] if wanted == "cpu" or not gpus else [gpus[int(os.environ.get("LOCAL_RANK", "0"))]]
    tf.config.set_visible_devices(mine, "GPU")
    for gpu in mine:
        tf.config.experimental.set_memory_growth(gpu, True)  # or it would take all the memory at once
    if not mine:
        tf.config.experimental.enable_op_determinism()  # a GPU would be slower for it
    if world_size() > 1:
        strategy()
    return Devices(int(os.environ.get("RANK", "0")), world_size(), [*mine, *tf.config.list_physical_devices("CPU")][0])


def stop() -> None:
    """Leave the other processes, when all of them are done."""
    if world_size() > 1:
        # One that has heard from all may be gone before it was heard by all: then, too, all of them have come here.
        with contextlib.suppress(tf.errors.UnavailableError):
            _any(tf.constant(0.0))


def mean(values: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
    """The mean of each tensor over all processes, the same bits in each of them; all of them have to call this."""
    if world_size() == 1:
        return values
    summed: Sequence[tf.Tensor] = strategy().run(_sum, (values,))
    return [value / world_size() for value in summed]


def world_size() -> int:
    """How many processes the run has, as torchrun tells it, and every launcher can."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@functools.cache  # TensorFlow connects a process once
def strategy() -> Any:
    """The other processes, connected with this one."""
    rank = int(os.environ["RANK"])
    addresses = meet(rank, world_size(), os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
    cluster = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": addresses}), task_type="worker", task_id=rank
    )
    return tf.distribute.MultiWorkerMirroredStrategy(cluster)


def meet(rank: int, world: int, host: str, port: int) -> list[str]:
    """The address of every process, which TensorFlow asks for: the first one, whose address all know, tells it them.

    Raises RunError if they do not find each other.
    """
    with socket.create_server(("", 0)) as mine:  # kept until all have one, so that no two take the same
        own: int = mine.getsockname()[1]
        try:
            if rank == 0:
                return _gather(world, f"{host}:{own}", port)
            with _connect(host, port) as first, first.makefile("rw") as lines:
                lines.write(json.dumps([rank, f"{first.getsockname()[0]}:{own}"]) + "\n")
                lines.flush()
                addresses: list[str] = json.loads(lines.readline())
                return addresses
        except (OSError, ValueError) as error:
            raise RunError(
                f"the {world} processes of this run did not find each other at {host}:{port} within {PATIENCE:.0f} "
                f"seconds ({error}); MASTER_ADDR and MASTER_PORT must be a place where process 0 can listen"
            ) from error


def _gather(world: int, own: str, port: int) -> list[str]:
    addresses = {0: own}
    with contextlib.ExitStack() as opened:
        server = opened.enter_context(socket.create_server(("", port)))
        server.settimeout(PATIENCE)
        connections = [opened.enter_context(server.accept()[0]) for _ in range(world - 1)]
        others = [opened.enter_context(connection.makefile("rw")) for connection in connections]
        for lines in others:
            rank, address = json.loads(lines.readline())
            addresses[rank] = address
        ordered = [addresses[rank] for rank in range(world)]
        for lines in others:
            lines.write(json.dumps(ordered) + "\n")
    return ordered


def _connect(host: str, port: int) -> socket.socket:
    """A connection to the first process, which may start last."""
    gives_up = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection((host, port), timeout=PATIENCE)
        except OSError:
            if time.monotonic() > gives_up:
                raise
            time.sleep(0.1)


def _sum(values: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
    replica = tf.distribute.get_replica_context()
    # tf.identity: in a compiled function a value has no place yet, and one is asked for here.
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, [tf.identity(value) for value in values])


@tf.function
def _any(flag: tf.Tensor) -> tf.Tensor:
    (votes,) = strategy().run(_sum, ([flag],))
    return votes > 0
