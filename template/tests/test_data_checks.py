"""Every check of data finds what it is for."""

import numpy as np
from data_checks import Column, contradictions, duplicates, rare_classes, violations

SCHEMA = {"inputs": Column(dtype=np.float32, shape=(2,), low=0, high=1)}


def test_what_is_not_as_the_schema_says_is_told_in_words() -> None:
    good = np.array([[0.0, 1.0], [0.5, 0.5]], np.float32)
    assert violations({"inputs": good}, SCHEMA) == []
    assert violations({"inputs": good, "labels": good}, SCHEMA) == ["labels is in one of data and schema only"]
    assert violations({"inputs": good.astype(np.float64)}, SCHEMA) == ["inputs is float64 instead of float32"]
    assert violations({"inputs": good[:, :1]}, SCHEMA) == [
        "an example of inputs has the shape (1,) instead of (2,)",
    ]
    for bad in (-1, 2, np.nan, np.inf):
        wrong = good.copy()
        wrong[1, 0] = bad
        assert violations({"inputs": wrong}, SCHEMA) == [f"inputs has {wrong[1, 0]} at (1, 0), which is not in [0, 1]"]


def test_an_input_in_both_splits_is_found() -> None:
    train = np.array([[1, 2], [3, 4]])
    assert duplicates(train, np.array([[2, 1], [4, 3]])) == []
    assert duplicates(train, np.array([[2, 1], [3, 4]], np.int32)) == [1]


def test_an_input_with_two_labels_is_found() -> None:
    inputs = np.array([[1, 2], [3, 4], [1, 2], [1, 2]])
    assert contradictions(inputs, np.array([0, 1, 0, 0])) == []
    assert contradictions(inputs, np.array([[0], [1], [0], [1]])) == [(0, 3)]


def test_a_class_with_too_few_labels_is_found() -> None:
    labels = np.array([[0], [2], [2], [3]])
    assert rare_classes(labels, 5) == {1: 0, 4: 0}
    assert rare_classes(labels, 4, least=2) == {0: 1, 1: 0, 3: 1}
