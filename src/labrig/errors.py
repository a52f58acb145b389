"""Every failure that a user can act on: what went wrong, why, and the next command."""

from __future__ import annotations


class LabrigError(Exception):
    """One refusal or failure, shown as `error:`, `cause:` and `tip:`; never as a traceback.

    `kind` is a stable word for programs (`--json`); `exit_code` follows docs: 1 something failed or is off,
    2 wrong use and nothing written, 3 a conflict needs a person.
    """

    kind = "failed"
    exit_code = 1

    def __init__(self, message: str, *, cause: str | None = None, tip: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.tip = tip


class UsageError(LabrigError):
    """The command cannot be carried out as it was given; nothing was written."""

    kind = "usage"
    exit_code = 2
