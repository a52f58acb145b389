"""Data parallel: one process per device, started by torchrun. One process alone runs the same code."""

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .data import Batch


@dataclass(frozen=True)
class Devices:
    """This process among those of the run."""

    rank: int
    world: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    @property
    def hardware(self) -> str:
        if self.device.type == "cuda":
            return f"{self.world} x {torch.cuda.get_device_name(self.device)}"
        return f"{self.world} x CPU with {torch.get_num_threads()} threads"

    def put(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The inputs and labels on the device of this process."""
        inputs, labels = torch.from_numpy(batch.inputs), torch.from_numpy(batch.labels)
        return inputs.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)

    def replicate(self, model: nn.Module) -> nn.Module:
        """The model for training: the same weights in every process, its gradients averaged over all of them."""
        return DistributedDataParallel(model) if self.world > 1 else model

    def read(self, pairs: list[tuple[Tensor, Tensor]]) -> list[tuple[float, float]]:
        """Scalars as numbers, each the mean over the processes. Waits until the device has computed them."""
        values = torch.stack([torch.stack(pair) for pair in pairs])
        if self.world > 1:
            dist.all_reduce(values)
        return [(first, second) for first, second in (values / self.world).tolist()]

    def any(self, flag: bool) -> bool:
        """Whether `flag` holds in any process: what all of them must do together has to be agreed on first."""
        if self.world == 1:
            return flag
        dist.all_reduce(votes := torch.tensor(int(flag)))  # on the CPU: a GPU does not wait for it
        return votes.item() > 0


def start() -> Devices:
    """Join the processes that torchrun has started, if any, and take one device."""
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("high")  # TensorFloat-32: much faster, 10 bits of mantissa
    if world > 1:
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    return Devices(rank, world, device)


def stop() -> None:
    """Leave the other processes."""
    if dist.is_initialized():
        dist.destroy_process_group()
