"""Everything that decides what a run computes.

A run is one `Config`. The named ones live in `configs/`, one file each; the command line overrides single fields
(`--optim.lr 3e-4`); the resolved result is kept as `runs/<name>/config.json`. The fields have no defaults: a named
run states every value, so that its result stays valid when this file changes. (Give a field that you add later the
default under which the older runs stay what they were.)
"""

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any, Self, get_type_hints


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    modulus: int
    """p in (a + b) mod p; also the number of tokens and of classes."""
    train_fraction: float
    """Share of the p * p pairs that is trained on, between 0 and 1; the rest is the test split."""
    batch_size: int
    """Pairs per optimizer step, summed over all devices."""

    def __post_init__(self) -> None:
        check(self.modulus >= 2, f"data.modulus ({self.modulus}) must be at least 2")
        check(self.batch_size >= 1, f"data.batch_size ({self.batch_size}) must be at least 1")
        check(
            0 < self.train_pairs < self.modulus**2,
            f"data.train_fraction ({self.train_fraction}) must be between 0 and 1, and leave some of "
            f"the {self.modulus**2} pairs on either side",
        )

    @property
    def train_pairs(self) -> int:
        """Size of the training split."""
        return round(self.train_fraction * self.modulus**2) if math.isfinite(self.train_fraction) else 0


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    width: int
    """Size of the residual stream."""
    depth: int
    """Number of blocks, each attention and then an MLP."""
    heads: int
    """Attention heads per block; `width` is divided among them."""

    def __post_init__(self) -> None:
        for name in ("width", "depth", "heads"):
            check(getattr(self, name) >= 1, f"model.{name} ({getattr(self, name)}) must be at least 1")
        check(
            self.width % self.heads == 0,
            f"model.width ({self.width}) must be a multiple of model.heads ({self.heads})",
        )


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    steps: int
    """Optimizer steps of the whole run."""
    lr: float
    """Peak learning rate of AdamW: reached after `warmup_steps`, then lowered along a cosine to 0."""
    warmup_steps: int
    """Steps in which the learning rate rises linearly from 0; less than `steps`."""
    beta2: float
    """Decay per step of the running mean of squared gradients, at least 0 and below 1."""
    weight_decay: float
    """Decoupled weight decay of the matrices, in units of the learning rate; gains and biases have none."""
    grad_clip: float
    """Largest global norm of the gradient, which is scaled down to it; 0 turns clipping off."""

    def __post_init__(self) -> None:
        check(self.steps >= 1, f"optim.steps ({self.steps}) must be at least 1")
        check(0 < self.lr < math.inf, f"optim.lr ({self.lr}) must be above 0 and finite")
        check(
            0 <= self.warmup_steps < self.steps,
            f"optim.warmup_steps ({self.warmup_steps}) must be at least 0 and below optim.steps ({self.steps})",
        )
        check(0 <= self.beta2 < 1, f"optim.beta2 ({self.beta2}) must be at least 0 and below 1")
        check(0 <= self.weight_decay < math.inf, f"optim.weight_decay ({self.weight_decay}) must be at least 0")
        check(0 <= self.grad_clip < math.inf, f"optim.grad_clip ({self.grad_clip}) must be at least 0 (0 is off)")


@dataclass(frozen=True, kw_only=True)
class Config:
    name: str
    """Name of the run, and of its folder under `runs/`."""
    seed: int
    """Decides the split, the batches and the initial weights."""
    data: DataConfig
    model: ModelConfig
    optim: OptimConfig
    log_every: int
    """Steps between two rows with the training loss."""
    eval_every: int
    """Steps between two evaluations on the test split."""
    save_every: int
    """Steps between two checkpoints: the most work that a crash can cost."""
    keep_checkpoints: int
    """Number of newest checkpoints that are kept."""

    def __post_init__(self) -> None:
        is_folder_name = self.name not in ("", ".", "..") and not set(self.name) & set('/\\:*?"<>|')
        check(is_folder_name, f"name ({self.name!r}) must be the name of one folder, such as baseline-2")
        check(0 <= self.seed < 2**31, f"seed ({self.seed}) must be at least 0 and below 2**31")
        for name in ("log_every", "eval_every", "save_every", "keep_checkpoints"):
            check(getattr(self, name) >= 1, f"{name} ({getattr(self, name)}) must be at least 1")

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Inverse of `to_json`. Raises ValueError when the fields are not those of today, or a check fails."""
        return _build(cls, json.loads(text))


def differences(old: Config, new: Config) -> list[str]:
    """The fields in which two configurations differ, as `optim.lr is 0.001, now 0.0003`."""
    before, after = _flatten(old), _flatten(new)
    return [f"{name} is {before[name]}, now {after[name]}" for name in before if before[name] != after[name]]


def check(condition: bool, message: str) -> None:
    """Raise ValueError with `message` unless `condition` holds."""
    if not condition:
        raise ValueError(message)


def _build(kind: type[Any], values: dict[str, Any]) -> Any:
    types = get_type_hints(kind)
    changed = sorted(values.keys() ^ types.keys())
    check(not changed, f"{kind.__name__} no longer has the same fields: {', '.join(changed)}")
    nested = {name for name, field_type in types.items() if dataclasses.is_dataclass(field_type)}
    return kind(**values | {name: _build(types[name], values[name]) for name in nested})


def _flatten(part: Any, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(part):
        name, value = f"{prefix}{field.name}", getattr(part, field.name)
        flat |= _flatten(value, f"{name}.") if dataclasses.is_dataclass(value) else {name: value}
    return flat
