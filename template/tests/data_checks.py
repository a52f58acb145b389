"""Checks of any data set, as functions of its arrays. They return what is wrong, so nothing is what one hopes for.

`test_data.py` runs them on the splits of this repository. An array [N, ...] has one example in each row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


@dataclass(frozen=True, kw_only=True)
class Column:
    """What holds for every example."""

    dtype: DTypeLike
    shape: tuple[int, ...]
    low: float
    high: float
    """The greatest value that is allowed, as `low` is the least."""


def violations(columns: Mapping[str, NDArray[Any]], schema: Mapping[str, Column]) -> list[str]:
    """What a data set has otherwise than its schema says, in words."""
    found = [f"{name} is in one of data and schema only" for name in sorted(columns.keys() ^ schema.keys())]
    for name in sorted(columns.keys() & schema.keys()):
        values, wanted = columns[name], schema[name]
        if values.dtype != wanted.dtype:
            found.append(f"{name} is {values.dtype} instead of {np.dtype(wanted.dtype)}")
        if values.shape[1:] != wanted.shape:
            found.append(f"an example of {name} has the shape {values.shape[1:]} instead of {wanted.shape}")
        outside = ~((values >= wanted.low) & (values <= wanted.high))  # true for nan, too
        if outside.any():
            at = tuple(int(index) for index in np.argwhere(outside)[0])
            found.append(f"{name} has {values[at]} at {at}, which is not in [{wanted.low}, {wanted.high}]")
    return found


def duplicates(train: NDArray[Any], test: NDArray[Any]) -> list[int]:
    """The rows of the test inputs that are among the training inputs, too."""
    known = {row.tobytes() for row in train}
    return [index for index, row in enumerate(test.astype(train.dtype)) if row.tobytes() in known]


def contradictions(inputs: NDArray[Any], labels: NDArray[Any]) -> list[tuple[int, int]]:
    """Pairs of rows with the same input and different labels: the first row with that input, and another one."""
    first: dict[bytes, int] = {}
    pairs = [(first.setdefault(row.tobytes(), index), index) for index, row in enumerate(inputs)]
    return [(one, other) for one, other in pairs if (labels[one] != labels[other]).any()]


def rare_classes(labels: NDArray[Any], classes: int, *, least: int = 1) -> dict[int, int]:
    """The classes, numbered from 0, with fewer than `least` labels, and how many each has."""
    counts = np.bincount(labels.ravel(), minlength=classes)
    return {number: int(count) for number, count in enumerate(counts) if count < least}
