"""Data parallel: one process per device, with all weights or a share of them. One process alone runs the same code."""

import os
import time
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .config import Config
from .data import Batch
from .run import RunError
from .throughput import process_memory


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
    def count(self) -> int:
        """Devices of all processes together."""
        return self.world

    @property
    def hardware(self) -> str:
        if self.device.type == "cuda":
            return f"{self.world} x {torch.cuda.get_device_name(self.device)}"
        return f"{self.world} x CPU with {torch.get_num_threads()} threads"

    def memory(self) -> dict[str, float]:
        """The most memory that was ever in use, in GiB: of this process' GPU, or else of this process."""
        if self.device.type != "cuda":
            return process_memory()
        return {"memory_peak_gib": torch.cuda.max_memory_allocated(self.device) / 2**30}

    def check_batch(self, config: Config) -> None:
        """Raise RunError if a batch cannot be shared out among the devices."""
        size, parts = config.data.batch_size, config.optim.accumulation_steps
        if size % (self.count * parts):
            raise RunError(
                f"data.batch_size ({size}) must be a multiple of {self.count * parts}: of {self.count} devices times "
                f"optim.accumulation_steps ({parts})"
            )

    def seed(self, seed: int) -> None:
        """Decide what this process draws at random from here on.

        (torch.manual_seed notes it for devices that are never used, too, again and again: slow for a small step.)
        """
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def put(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The inputs and labels on the device of this process."""
        inputs, labels = torch.from_numpy(batch.inputs), torch.from_numpy(batch.labels)
        if self.device.type == "cuda":  # from pinned memory the copy runs beside the computation
            inputs, labels = inputs.pin_memory(), labels.pin_memory()
        return inputs.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)

    def shard(self, model: nn.Module) -> nn.Module:
        """The model for training, divided in place (FSDP2): each process keeps a share of every weight.

        A block's weights are put together while it is computed, and its gradients averaged over all processes.
        """
        if self.world == 1:
            return model
        from torch.distributed.device_mesh import init_device_mesh  # only here, because the import takes a while
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(self.device.type, (self.world,))
        for part in [*model.get_submodule("blocks").children(), model]:
            fully_shard(part, mesh=mesh)
        return model

    def replicate(self, model: nn.Module, example: Batch) -> nn.Module:
        """The model for training: the same weights in every process, its gradients averaged over all of them.

        DistributedDataParallel groups the gradients anew after its first pass, and from then on sums them in another
        order. A pass over the `example` puts that behind it, or else a resumed run would end in other bits. (A layer
        that keeps statistics would have to forget those of this pass.)
        """
        if self.world == 1:
            return model
        replica = DistributedDataParallel(model)
        inputs, labels = self.put(example)
        replica(inputs, last=labels.shape[1]).sum().backward()
        model.zero_grad()
        return replica

    def read(self, pairs: list[tuple[Tensor, Tensor]]) -> list[tuple[float, float]]:
        """Scalars as numbers, each the mean over the processes. Waits until the device has computed them."""
        values = torch.stack([torch.stack(pair) for pair in pairs])
        if self.world > 1:  # gathered and added in one order: that of `all_reduce` depends on how many there are
            of_all = [torch.empty_like(values) for _ in range(self.world)]
            dist.all_gather(of_all, values)
            values = sum(of_all, torch.zeros_like(values))
        return [(first, second) for first, second in (values / self.world).tolist()]

    def any(self, flag: bool) -> bool:
        """Whether `flag` holds in any process: what all of them must do together has to be agreed on first."""
        if self.world == 1:
            return flag
        dist.all_reduce(votes := torch.tensor(int(flag)))  # on the CPU: a GPU does not wait for it
        return votes.item() > 0


def start(wanted: Literal["auto", "cpu", "gpu"] = "auto") -> Devices:
    """Join the other processes of the run, if any, and take one device. Raises RunError if there is none."""
    # torchrun's variables, which every launcher can set
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    device = torch.device("cpu")
    if wanted == "gpu" and not torch.cuda.is_available():
        raise RunError("device is gpu, and PyTorch finds none; look for it with nvidia-smi, or set device to auto")
    if wanted != "cpu" and torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("high")  # TensorFloat-32: much faster, 10 bits of mantissa
    if world > 1:
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    return Devices(rank, world, device)


def stop() -> None:
    """Leave the other processes, when all of them are done."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
        # DistributedDataParallel keeps the threads of the group, one of which may still have to free a tensor of the
        # last messages. If Python ended first, that would abort the process, long after all was done.
        time.sleep(0.2)


def whole(tensor: Any) -> Tensor:
    """The tensor put together, if it is divided among the processes: then all of them have to call this."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def divided(tensor: Tensor, like: Any) -> Tensor:
    """The share of this process in a tensor, if `like` is divided among the processes."""
    if not hasattr(like, "full_tensor"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)
