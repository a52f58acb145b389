"""Everything that decides what a run computes.

A run is one `Config`. The named ones live in `configs/`, one file each; the command line overrides single fields
(`optim.steps`); the resolved result is kept as `runs/<name>/config.json`. The fields have no defaults: a named
run states every value, so that its result stays valid when this file changes. (Give a field that you add later the
default under which the older runs stay what they were.)
"""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal, Self, get_type_hints

Kind = Literal["logistic", "forest", "boosting"]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    csv: str
    """File with the names of its columns, then one example per row; empty for the digits of scikit-learn."""
    target: str
    """Column with the class of each row. All others are what it is predicted from."""
    group: str
    """Column with what rows have in common, such as a patient: they are never divided; empty for none."""
    test_fraction: float
    """Share of the rows that is left for the test at the end, above 0 and at most 0.5, as one of equal parts."""

    def __post_init__(self) -> None:
        check(bool(self.target), "data.target must name the column with the class")
        check(self.group != self.target, f"data.group ({self.group}) must be another column than data.target, or empty")
        check(0 < self.test_fraction <= 0.5, f"data.test_fraction ({self.test_fraction}) must be above 0, at most 0.5")

    @property
    def parts(self) -> int:
        """The rows are divided in so many, and one of these is the test split."""
        return round(1 / self.test_fraction)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    kind: Kind
    """Logistic regression, extremely randomized trees, or boosted trees."""
    size: int
    """Trees of the forest, rounds of the boosting, or most iterations of the regression."""

    def __post_init__(self) -> None:
        check(self.size >= 1, f"model.size ({self.size}) must be at least 1")


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    steps: int
    """Steps of the whole search: each draws the settings of one candidate and scores it."""
    folds: int
    """Parts of the training rows: each is predicted once, by what was fitted to the others."""

    def __post_init__(self) -> None:
        check(self.steps >= 1, f"optim.steps ({self.steps}) must be at least 1")
        check(self.folds >= 2, f"optim.folds ({self.folds}) must be at least 2")


@dataclass(frozen=True, kw_only=True)
class Config:
    name: str
    """Name of the run, and of its folder under `runs/`."""
    seed: int
    """Decides the split, the folds, the candidates and what an estimator draws."""
    data: DataConfig
    model: ModelConfig
    optim: OptimConfig
    save_every: int
    """Steps between two checkpoints: the most work that a crash can cost."""
    keep_checkpoints: int
    """Number of newest checkpoints that are kept; the best pipeline is kept beside them."""
    jobs: int
    """Folds that are fitted at the same time, each in a thread; -1 is one per core. It decides no result."""

    def __post_init__(self) -> None:
        is_folder_name = self.name not in ("", ".", "..") and not set(self.name) & set('/\\:*?"<>|')
        check(is_folder_name, f"name ({self.name!r}) must be the name of one folder, such as baseline-2")
        check(0 <= self.seed < 2**31, f"seed ({self.seed}) must be at least 0 and below 2**31")
        for name in ("save_every", "keep_checkpoints"):
            check(getattr(self, name) >= 1, f"{name} ({getattr(self, name)}) must be at least 1")
        check(self.jobs >= 1 or self.jobs == -1, f"jobs ({self.jobs}) must be at least 1, or -1 for one per core")

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Inverse of `to_json`. Raises ValueError when the fields are not those of today, or a check fails."""
        return _build(cls, json.loads(text))


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """What `evaluate` asks for; no part of a run."""

    csv: str = ""
    """File with the columns of the training, to be measured on instead of the test split."""


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """What `predict` asks for; no part of a run."""

    csv: str = ""
    """File with the columns of the training but the class."""


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """What `compare` asks for; no part of a run."""

    metrics: tuple[str, ...] = ()
    """Which of metrics.jsonl to show; unless given, the loss and those of the test split."""
    plot: str = ""
    """File to draw the metrics to, a .png or an .svg; empty for none."""

    def __post_init__(self) -> None:
        check(not self.plot or self.plot.endswith((".png", ".svg")), f"plot ({self.plot}) must end in .png or .svg")


def differences(old: Config, new: Config) -> list[str]:
    """The fields in which two configurations decide otherwise, as `optim.folds is 5, now 10`."""
    before, after = flatten(dataclasses.asdict(old)), flatten(dataclasses.asdict(new))
    changed = [name for name in before if before[name] != after[name] and name != "jobs"]
    return [f"{name} is {before[name]}, now {after[name]}" for name in changed]


def flatten(part: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of a nested configuration by the names that the command line gives them: `optim.steps`."""
    flat: dict[str, Any] = {}
    for name, value in part.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def check(condition: bool, message: str) -> None:
    """Raise ValueError with `message` unless `condition` holds."""
    if not condition:
        raise ValueError(message)


def _build(kind: type[Any], values: dict[str, Any]) -> Any:
    types = get_type_hints(kind)
    required = {field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING}
    changed = sorted((values.keys() - types.keys()) | (required - values.keys()))
    check(not changed, f"{kind.__name__} no longer has the same fields: {', '.join(changed)}")
    nested = {name for name, field_type in types.items() if dataclasses.is_dataclass(field_type)}
    return kind(**values | {name: _build(types[name], values[name]) for name in nested})
