"""Two processes of a generated PyTorch repository that divide the weights; `test_generated.py` runs this there.

It starts many processes, each with a long import, which takes too long for the tests that a user runs all the time.
"""

import dataclasses
from multiprocessing.context import ForkServerContext
from pathlib import Path

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
