"""Small real programs that take the place of ones that this machine lacks, or has working too well."""

from __future__ import annotations

import textwrap
from pathlib import Path


def stand_in(folder: Path, name: str, script: str) -> Path:
    """An executable shell script."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n" + textwrap.dedent(script))
    path.chmod(0o755)
    return path


def nvidia_smi(folder: Path, *, driver: str, gpus: dict[str, str]) -> Path:
    """An nvidia-smi that lists GPUs, given as name to compute capability."""
    rows = "\n".join(f"{driver}, {capability}, {name}" for name, capability in gpus.items())
    return stand_in(folder, "nvidia-smi", f"/bin/cat <<'ROWS'\n{rows}\nROWS\n")


def python(folder: Path, number: str, executable: str = "/opt/python") -> Path:
    """A python3.N that starts."""
    return stand_in(folder, f"python{number}", f"echo {number} {executable}{number}\n")
