"""Makes the lock of an update anew, beside the repository: whether it resolves, and what it then holds."""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath

from .. import environment
from ..errors import LabrigError
from ..merge import Entry
from ..report import Report
from ..update import Proposal

LARGEST_BYTES = 1_000_000  # of a file that a lock could depend on


class LockError(LabrigError):
    """The packages that the merged manifest asks for cannot be resolved together."""

    kind = "lock"


def stale(proposal: Proposal) -> str | None:
    """The lock whose manifest changes; None where there is none, or where only its own environment can make it."""
    known = environment.lock_step(proposal.new.answers)
    if known is None:
        return None
    step, manifest, lock = known
    made = manifest in proposal.change.files and lock in proposal.merge.result and not step.activated
    return lock if made else None


def refreshed(proposal: Proposal) -> tuple[str, Entry] | None:
    """The lock as it becomes, in the store of the merge; None where nothing has to be done. LockError."""
    lock = stale(proposal)
    known = environment.lock_step(proposal.new.answers)
    if lock is None or known is None:
        return None
    merge = proposal.merge
    with tempfile.TemporaryDirectory(prefix="labrig-lock-") as name:
        folder = Path(name)
        for path, entry in merge.result.items():
            if entry.is_file and ".." not in PurePosixPath(path).parts:
                content = merge.store.read(entry)
                if len(content) <= LARGEST_BYTES or path == lock:
                    (folder / path).parent.mkdir(parents=True, exist_ok=True)
                    (folder / path).write_bytes(content)
        try:
            environment.run_step(known[0], folder, Report(quiet=True))
        except environment.CommandError as error:
            cause = error.cause or error.message
            raise LockError(f"{lock} does not resolve", cause=cause, tip="see the requirements of both sides") from None
        content = (folder / lock).read_bytes()
    return lock, Entry(merge.result[lock].mode, merge.store.write(content))
