"""The named runs as configs of Hydra, structured by the dataclasses of config.py.

The parts of a run are choices of the groups that are called like its fields: `model=debug` is the model of the run
`debug`. A file such as `configs/optim/slow.yaml` is one more choice: `defaults: [baseline]`, and what differs from it.
"""

import dataclasses
import enum
import functools
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, get_args, get_origin, get_type_hints

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from . import configs
from .config import Config

SETTINGS = (
    "hydra.run.dir=runs/${name}",  # where a run keeps its configuration and its command itself
    "hydra.output_subdir=null",
    "hydra/job_logging=none",
    "hydra/hydra_logging=none",
)
"""What differs from Hydra's own settings."""


def compose(name: str, overrides: Sequence[str]) -> Config:
    """The run called `name` with these overrides. Raises what Hydra, OmegaConf and the checks in config.py raise."""
    with _initialized():
        return _build(hydra.compose(name, [*overrides]))


def run(task: Callable[[Config], None], name: str, overrides: Sequence[str], *, several: bool) -> None:
    """Let Hydra call `task` with the run, or with each of several, by the sweeper and the launcher that it is told."""

    def job(composed: DictConfig) -> None:
        task(_build(composed))

    with _initialized():
        main: Any = GlobalHydra.instance().hydra
        (main.multirun if several else main.run)(name, job, [*SETTINGS, *overrides])


def kinds(kind: type[Any] = Config, prefix: str = "") -> dict[str, Any]:
    """The type of each field, by the name that an override has for it."""
    found: dict[str, Any] = {}
    for name, of in get_type_hints(kind).items():
        found |= kinds(of, f"{prefix}{name}.") if has_fields(of) else {f"{prefix}{name}": of}
    return found


def groups() -> list[str]:
    """The fields whose value has fields of its own."""
    return [name for name, of in get_type_hints(Config).items() if has_fields(of)]


def has_fields(of: object) -> bool:
    return dataclasses.is_dataclass(of)


def _initialized() -> AbstractContextManager[Any]:
    # Not hydra.main: its parser fails on the newest Python (facebookresearch/hydra#3121), and speaks in tracebacks.
    _store_runs()
    context: AbstractContextManager[Any] = hydra.initialize_config_module(
        f"{__package__}.configs", job_name=str(__package__), version_base="1.3"
    )
    return context


def _build(composed: DictConfig) -> Config:
    return Config.from_json(json.dumps(OmegaConf.to_container(composed, resolve=True, enum_to_str=True)))


@functools.cache
def _store_runs() -> None:
    store, parts = ConfigStore.instance(), groups()
    for name in configs.names():
        values = dataclasses.asdict(configs.load(name))
        for group in parts:
            part = OmegaConf.structured(_schema(get_type_hints(Config)[group]))
            store.store(group=group, name=name, node=OmegaConf.merge(part, values.pop(group)))
        values["defaults"] = ["_self_", *({group: name} for group in parts)]
        store.store(name=name, node=OmegaConf.merge(OmegaConf.structured(_schema(Config, "defaults")), values))


@functools.cache
def _schema(kind: type[Any], *lists: str) -> type[Any]:
    """The same fields for OmegaConf, which knows no Literal and lets nobody override what is frozen."""
    fields: list[tuple[str, Any, Any]] = [(name, list[Any], dataclasses.field(default_factory=list)) for name in lists]
    fields += [(name, _plain(of), dataclasses.field(default="???")) for name, of in get_type_hints(kind).items()]
    return dataclasses.make_dataclass(kind.__name__, fields)


def _plain(of: Any) -> Any:
    if get_origin(of) is Literal:
        choices: Any = enum.Enum
        return choices("Literal", [(value, value) for value in get_args(of)])
    return _schema(of) if has_fields(of) else of
