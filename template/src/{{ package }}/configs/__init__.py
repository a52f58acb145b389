"""The named runs, one file each: its name is the run's, its docstring says what to expect, `config()` says the rest.

Once a run has a result, do not edit its file: write another one.
"""

import importlib
import pkgutil

from ..config import Config


def names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Config:
    """The configuration of one of `names()`."""
    config: Config = importlib.import_module(f"{__name__}.{name}").config()
    return config


def expectation(name: str) -> str:
    """What the docstring of the run says: hardware, time, result."""
    return importlib.import_module(f"{__name__}.{name}").__doc__ or ""
