"""A request to stop: a signal of the scheduler, which waits until the loop asks for it.

A scheduler may send its signal to every process of a job, to those that load data too, and they would die of it before
the state is saved. So the signals are blocked before anything else is started: threads and child processes inherit
that. A blocked signal interrupts nothing. It waits, and the training loop looks between two steps.
"""

import signal
from collections.abc import Generator
from contextlib import contextmanager

STOPPED_EXIT_CODE = 75
"""Saved on request before the end, at least one step further: start me again. (EX_TEMPFAIL of sysexits.h)"""

SIGNALS = frozenset(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""What schedulers send some time before they kill."""

CAN_WAIT = hasattr(signal, "pthread_sigmask")  # not on Windows, where no scheduler sends them either


@contextmanager
def signals_held() -> Generator[None]:
    """Inside, a stop signal waits. At the end it is forgotten, and the next one has its usual meaning."""
    before = hold_signals()
    try:
        yield
    finally:
        release_signals(before)


def hold_signals() -> set[int]:
    """Let stop signals wait from here on. Returns what `release_signals` needs to undo it."""
    if not CAN_WAIT:
        return set()
    from multiprocessing import resource_tracker  # only here, because the import takes a while

    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    resource_tracker.ensure_running()  # multiprocessing starts it at some time, and SIGTERM is unblocked after that
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    return {int(number) for number in before}


def release_signals(before: set[int]) -> None:
    if CAN_WAIT:
        for number in waiting_signals():
            signal.sigwait({number})
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def waiting_signals() -> set[int]:
    """The stop signals that have come since they are held."""
    return {int(number) for number in signal.sigpending() & SIGNALS} if CAN_WAIT else set()
