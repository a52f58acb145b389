"""Does the same to many repositories, on every core or on any executor of `concurrent.futures`."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any

from ..errors import UsageError

Batch = Callable[..., list[Any]]  # takes some members and the same arguments each time; gives one result for each

LARGEST_BATCH = 250  # repositories that are handed to a worker at once: what they share is opened once for all
WORKERS = 16  # of an executor that does not say how many it has


@contextmanager
def open_executor(name: str | None, jobs: int | None = None) -> Iterator[Executor | None]:
    """The executor that `name` leads to: MODULE:FUNCTION, called without arguments. None: this process alone."""
    if name is None:
        if (jobs or os.cpu_count() or 1) == 1:
            yield None
            return
        with ProcessPoolExecutor(jobs) as pool:
            yield pool
        return
    module, _, function = name.partition(":")
    try:
        executor = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"there is no executor '{name}'",
            cause=str(error),
            tip="MODULE:FUNCTION, where FUNCTION() gives an executor, for example dask.distributed's get_executor()",
        ) from None
    if not hasattr(executor, "submit"):
        raise UsageError(f"'{name}' gives no executor", cause=f"{type(executor).__name__} has no method submit")
    with executor:
        yield executor


def spread(batch: Batch, members: Sequence[Any], *arguments: Any, executor: Executor | None) -> Iterator[Any]:
    """`batch(members, *arguments)` in parts; the results as they come. Each must be one that can be pickled."""
    if executor is None:
        yield from batch(members, *arguments)
        return
    workers = getattr(executor, "_max_workers", WORKERS)
    size = min(LARGEST_BATCH, -(-len(members) // workers))
    parts = [members[start : start + size] for start in range(0, len(members), size)]
    waiting: list[Future[list[Any]]] = [executor.submit(batch, part, *arguments) for part in parts]
    for future in as_completed(waiting):
        yield from future.result()
