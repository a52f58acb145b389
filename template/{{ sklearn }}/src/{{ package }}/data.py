"""A table, and splits of it that leak nothing.

Rows of one group, and rows that are equal, are never divided: not between training and test, and not between the folds
of a cross-validation. What is learned from columns (medians, scales, categories) is a part of the pipeline in model.py,
and so is learned from the rows alone that it is fitted to.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype
from pandas.util import hash_pandas_object
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from .config import DataConfig
from .run import RunError

Fold = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class Split:
    """The training or the test rows. Which row falls where depends on the seed, the groups and the classes."""

    columns: pd.DataFrame
    """What the class is predicted from: numbers as floats, and all else as text."""
    labels: NDArray[np.str_]
    groups: NDArray[np.int64]
    """The number of each row's group: what is in one group is never divided."""
    origin: str
    """What the rows were read from: another one is another data set."""

    @classmethod
    def load(cls, config: DataConfig, name: Literal["train", "test"], seed: int) -> Self:
        """Raises RunError if the table cannot be read or divided."""
        whole = cls.read(config)
        rows = whole.folds(config.parts, seed)[0][0 if name == "train" else 1]
        split = whole.take(rows)
        if missing := sorted({*whole.labels} - {*split.labels}):
            raise RunError(
                f"no row of the class {missing[0]} is in the {name} split, as too few groups have it; "
                "join classes, or choose another data.test_fraction"
            )
        return split

    @classmethod
    def read(cls, config: DataConfig) -> Self:
        """The whole table. Raises RunError if it cannot be read."""
        if not config.csv:
            frame, origin = load_digits(as_frame=True).frame, "digits of scikit-learn"
            frame = frame.rename(columns={"target": "digit"})
        else:
            frame, origin = read_csv(config.csv), f"sha256 {hashlib.sha256(Path(config.csv).read_bytes()).hexdigest()}"
        source = config.csv or origin
        require(frame, [name for name in (config.target, config.group) if name], source)
        labels = labels_of(frame, config.target, source)
        if len({*labels}) < 2:
            raise RunError(f"column {config.target} of {source} has one class, and there is nothing to tell apart")
        columns = frame.drop(columns=[name for name in (config.target, config.group) if name])
        if columns.columns.empty:
            raise RunError(f"{source} has no column beside {config.target} to predict it from")
        columns = typed(columns, numbers_of(columns), source)
        return cls(columns, labels, groups_of(columns, frame[config.group] if config.group else None), origin)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> Self:
        return type(self)(self.columns.iloc[rows], self.labels[rows], self.groups[rows], self.origin)

    def folds(self, count: int, seed: int) -> list[Fold]:
        """The rows in `count` parts with the same share of each class, each as (all other rows, its own).

        Raises RunError if a class has fewer rows, or the table fewer groups.
        """
        rarest, rows = min(Counter(self.labels.tolist()).items(), key=lambda item: item[1])
        if rows < count:
            raise RunError(
                f"the class {rarest} has {rows} rows, which cannot be divided in {count} parts; "
                "join classes, or take fewer optim.folds or a larger data.test_fraction"
            )
        groups = len(np.unique(self.groups))
        if groups < count:
            raise RunError(f"there are {groups} groups of rows, which cannot be divided in {count} parts")
        if groups == len(self):  # each row by itself, which is much faster
            return [*StratifiedKFold(count, shuffle=True, random_state=seed).split(self.columns, self.labels)]
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        return [*splitter.split(self.columns, self.labels, self.groups)]


def read_csv(path: str) -> pd.DataFrame:
    """Raises RunError if it is no table."""
    try:
        frame = pd.read_csv(path)
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror or error})") from error
    except ValueError as error:  # what pandas raises is one
        raise RunError(f"{path} is not a CSV file: {str(error).splitlines()[0]}") from error
    if frame.empty:
        raise RunError(f"{path} has no rows")
    if not frame.index.equals(pd.RangeIndex(len(frame))):  # pandas has taken the first value of each for its name
        raise RunError(f"{path} has more values in a row than names of columns in its first line")
    return frame


def require(frame: pd.DataFrame, names: Sequence[str], source: str) -> None:
    """Raise RunError unless the table has these columns."""
    if missing := [name for name in names if name not in frame.columns]:
        there = ", ".join(map(str, frame.columns[:20])) + (", ..." if len(frame.columns) > 20 else "")
        raise RunError(f"{source} lacks the column {', '.join(missing)}; it has {there}")


def labels_of(frame: pd.DataFrame, target: str, source: str) -> NDArray[np.str_]:
    """The class of each row, as text. Raises RunError if one is missing."""
    if (missing := frame[target].isna()).any():
        raise RunError(f"row {int(missing.argmax()) + 1} of {source} has no class in column {target}; leave it out")
    return frame[target].astype(str).to_numpy(dtype=np.str_)


def numbers_of(columns: pd.DataFrame) -> list[str]:
    """The columns that are numbers. All others are categories."""
    return [name for name in columns.columns if is_numeric_dtype(columns[name])]


def typed(columns: pd.DataFrame, numbers: Sequence[str], source: str) -> pd.DataFrame:
    """The columns as the pipeline takes them: floats, where missing is nan, and text, where missing is empty.

    Raises RunError if one of `numbers` holds something else.
    """
    found: dict[str, Any] = {}
    for name in columns.columns:
        column = columns[name]
        if name in numbers:
            found[name] = pd.to_numeric(column, errors="coerce").astype(float)
            if (wrong := ~np.isfinite(found[name]) & column.notna()).any():
                row = int(wrong.argmax())
                raise RunError(
                    f"column {name} of {source} has {column.iloc[row]} in row {row + 1}, which is no finite number"
                )
        else:
            found[name] = column.astype(object).where(column.notna(), "").astype(str).astype(object)
    return pd.DataFrame(found)


def groups_of(columns: pd.DataFrame, group: pd.Series | None) -> NDArray[np.int64]:
    """A number for each row, the same for those with one value of `group`, and for those that are equal."""
    equal, _ = pd.factorize(hash_pandas_object(columns, index=False))
    if group is None:
        return equal
    given, _ = pd.factorize(group.astype(str))
    # Groups that share equal rows are one: the parts of a graph whose edges are the rows.
    size = int(equal.max()) + 1
    rows = len(equal)
    edges = coo_array((np.ones(rows), (equal, given + size)), shape=(size + rows, size + rows))
    return connected_components(edges, directed=False)[1][equal].astype(np.int64)
