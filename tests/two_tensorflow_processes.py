"""Two processes of a generated TensorFlow repository; `test_generated.py` runs this there, as one of its tests.

Each imports TensorFlow and traces everything, which takes too long for the tests that a user runs all the time.
"""

import os
import socket
from collections.abc import Callable
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import pytest
from demo import parallel
from demo.config import Config
from demo.train import train
from test_train import assert_same, kill_after_step, longer, result, straight_longer, train_and_wait

__all__ = ["longer", "straight_longer"]  # fixtures


def train_as(rank: int, config: Config, root: Path, port: int, how: Callable[[Config, Path], object]) -> None:
    """Train as one of two processes, in the environment that torchrun makes for them."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    how(config, root)


def start_two(
    processes: ForkServerContext, config: Config, root: Path, how: Callable[[Config, Path], object] = train
) -> list[ForkServerProcess]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    pair = [processes.Process(target=train_as, args=(rank, config, root, port, how)) for rank in range(2)]
    for process in pair:
        process.start()
    return pair


def train_with_two(processes: ForkServerContext, config: Config, root: Path) -> None:
    pair = start_two(processes, config, root)
    for process in pair:
        process.join()
    assert [process.exitcode for process in pair] == [0, 0]


def test_two_processes_train_as_one_does_and_go_on_after_a_kill(
    processes: ForkServerContext, straight_longer: Path, longer: Config, tmp_path: Path
) -> None:
    train_with_two(processes, longer, tmp_path / "two")
    waiting = start_two(processes, longer, tmp_path / "killed", train_and_wait)
    kill_after_step(15, tmp_path / "killed" / longer.name, waiting)
    train_with_two(processes, longer, tmp_path / "killed")

    one, two, killed = (result(root, longer) for root in (straight_longer, tmp_path / "two", tmp_path / "killed"))
    assert_same(killed, two)
    assert len(two[0]) == len(one[0])
    for row, other in zip(one[0], two[0], strict=True):
        assert other == pytest.approx(row, rel=1e-3, abs=1e-4)  # the batch is summed in another order


def leave(_config: Config, _root: Path) -> None:
    """Process 0 is gone before the other one waits for it."""
    parallel.start()
    if os.environ["RANK"] == "1":
        parallel.stop()


def test_a_process_that_waits_for_one_that_is_done_and_gone_is_done_too(
    processes: ForkServerContext, longer: Config, tmp_path: Path
) -> None:
    pair = start_two(processes, longer, tmp_path, leave)
    for process in pair:
        process.join()
    assert [process.exitcode for process in pair] == [0, 0]
