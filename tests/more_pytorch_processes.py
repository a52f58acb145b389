"""Several processes of a generated PyTorch repository; `test_generated.py` runs this there, as some of its tests.

It starts many processes, each with a long import, which takes too long for the tests that a user runs all the time.
"""

import dataclasses
import os
import socket
from multiprocessing.context import ForkServerContext
from pathlib import Path

import torch
from demo import parallel
from demo.config import Config
from test_train import assert_same, kill_after_step, longer, result, start_two, train_and_wait, train_with_two

__all__ = ["longer"]  # a fixture


def test_two_processes_that_divide_the_weights_go_on_after_a_kill(
    processes: ForkServerContext, longer: Config, tmp_path: Path
) -> None:
    sharded = dataclasses.replace(longer, shard=True)
    train_with_two(processes, sharded, tmp_path / "two")
    waiting = start_two(processes, sharded, tmp_path / "killed", train_and_wait)
    kill_after_step(15, tmp_path / "killed" / longer.name, waiting)
    train_with_two(processes, sharded, tmp_path / "killed")
    assert_same(result(tmp_path / "killed", sharded), result(tmp_path / "two", sharded))


def read_as(rank: int, world: int, port: int) -> None:
    """Read numbers as one of so many processes: all at once, as after a pause of logging, and one by one."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    devices = parallel.start()
    pairs = torch.randn(100, 2, generator=torch.Generator().manual_seed(rank))
    of_steps = [(loss, grad_norm) for loss, grad_norm in pairs]
    assert devices.read(of_steps) == [pair for step in of_steps for pair in devices.read([step])]
    parallel.stop()


def test_a_mean_over_processes_does_not_depend_on_how_many_steps_are_read_at_once(
    processes: ForkServerContext,
) -> None:
    """A run that is resumed reads at other steps. With two processes there is one order alone in which to add."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    readers = [processes.Process(target=read_as, args=(rank, 4, port)) for rank in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert [reader.exitcode for reader in readers] == [0] * 4
