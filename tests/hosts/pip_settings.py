"""Reads how this machine's pip is configured: where it finds packages besides PyPI."""

import functools
import subprocess


@functools.cache
def pip_settings() -> str:
    command = ["uv", "tool", "run", "--quiet", "pip", "config", "list"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def pip_setting(name: str) -> list[str]:
    """The values of a setting such as `find-links`, from pip's files and from the environment."""
    values: list[str] = []
    for line in pip_settings().splitlines():
        key, _, value = line.partition("=")
        if key.endswith(f".{name}"):
            values += value.strip("'\"").replace("\\n", " ").split()
    return values
