"""The processes of one run on this machine, one per device.

They get the names that torchrun gives: RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT. One
machine of several is told so by NNODES, NODE_RANK, MASTER_ADDR and MASTER_PORT. Unlike torchrun, this hands on the exit
code (75: saved, start me again), waits as long as saving takes, and needs no framework.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from .stop import STOPPED_EXIT_CODE

PATIENCE = 10.0
"""Seconds that the others get once a process has failed: they may wait for it for ever."""


def run(
    command: Sequence[str], count: int, variables: Mapping[str, str] | None = None, *, folder: Path | None = None
) -> int:
    """Run `command` in `count` processes, with more `variables`, and return the exit code of all of them together.

    It is 0 when all have ended well, 75 when all that have not were stopped and saved, and else that of the first to
    fail. SIGTERM and SIGUSR1 are handed on. Ctrl-C asks for the same as SIGTERM, and the second time it kills.
    """
    environment = {**os.environ, **(variables or {})}
    processes = [
        subprocess.Popen(command, cwd=folder, env={**environment, **place}, start_new_session=True)
        for place in places(count, environment)
    ]
    asked = False

    def hand_on(number: int, _: FrameType | None) -> None:
        nonlocal asked
        kills = number == signal.SIGINT and asked
        asked = True
        for process in processes:
            if process.poll() is None:
                process.kill() if kills else process.send_signal(signal.SIGTERM if number == signal.SIGINT else number)

    heard = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]
    before = {number: signal.signal(number, hand_on) for number in heard}
    try:
        return _first_failure(processes)
    finally:
        for process in processes:
            process.kill()
            process.wait()
        for number, handler in before.items():
            signal.signal(number, handler)


def _first_failure(processes: Sequence[subprocess.Popen[bytes]]) -> int:
    """Wait for all, but not for ever once one has failed. The exit code of all of them together."""
    failed, patience_ends = 0, 0.0
    while any(process.poll() is None for process in processes):
        time.sleep(0.02)
        failed = failed or next((process.returncode for process in processes if is_failure(process.poll())), 0)
        patience_ends = patience_ends or (time.monotonic() + PATIENCE if failed else 0.0)
        if failed and time.monotonic() > patience_ends:
            print(f"error: a process has failed ({failed}), and others still run: they are killed", file=sys.stderr)
            break
    codes = [process.poll() for process in processes]
    code = failed or next((code for code in codes if is_failure(code)), 0) or max(code or 0 for code in codes)
    return 128 - code if code < 0 else code  # killed by a signal: as a shell says it


def is_failure(code: int | None) -> bool:
    return code not in (None, 0, STOPPED_EXIT_CODE)


def places(count: int, environment: Mapping[str, str]) -> list[dict[str, str]]:
    """What each process on this machine is told about its place among all. Raises ValueError if that is incomplete."""
    nodes, node = int(environment.get("NNODES", "1")), int(environment.get("NODE_RANK", "0"))
    if nodes > 1 and not {"MASTER_ADDR", "MASTER_PORT"} <= environment.keys():
        raise ValueError(f"NNODES is {nodes}, so MASTER_ADDR and MASTER_PORT must say where the first process listens")
    if count == nodes == 1:
        return [{}]
    shared = {
        "WORLD_SIZE": str(nodes * count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": environment.get("MASTER_ADDR", "127.0.0.1"),
        "MASTER_PORT": environment.get("MASTER_PORT") or str(_free_port()),
        # else every process would start a thread per core
        "OMP_NUM_THREADS": environment.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // count)),
    }
    return [{**shared, "RANK": str(node * count + local), "LOCAL_RANK": str(local)} for local in range(count)]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
