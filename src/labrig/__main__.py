"""The program `labrig`. Ctrl-C ends it quietly from the first moment on, while it is still being imported."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Run the command line."""
    try:
        from .cli import main as run

        code = run()
    except KeyboardInterrupt:
        print("\nStopped. Nothing was written.", file=sys.stderr)
        code = 130
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # there is nothing left to stop
    return code


if __name__ == "__main__":
    sys.exit(main())
