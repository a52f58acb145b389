"""What a pipeline has learned, measured on the test split, and a report of it.

    runs/<name>/report.json      precision, recall and F1 of each class, and how often each was taken for which
    runs/<name>/report.txt       the same, to read
    runs/<name>/confusion.png    the same, to see

It is written at the end of a run, and again by `evaluate`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import classification_report, confusion_matrix, f1_score, log_loss
from sklearn.pipeline import Pipeline

from . import checkpoint
from .config import EvaluateConfig
from .data import Split, labels_of, read_csv, require
from .predict import columns_of
from .run import RunError, load_config, writing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def evaluate(
    pipeline: Pipeline, columns: pd.DataFrame, labels: NDArray[np.str_], folder: Path | None = None
) -> dict[str, float]:
    """The mean loss in nats, the accuracy, and the mean F1 of the classes; a report of them in `folder`, if given."""
    shares = pipeline.predict_proba(columns)
    found = pipeline.classes_[shares.argmax(axis=1)]
    if folder:
        write_report(folder, labels, found, pipeline.classes_)
    return {
        "test_loss": float(log_loss(labels, shares, labels=pipeline.classes_)),
        "test_accuracy": float((found == labels).mean()),
        "test_f1": float(f1_score(labels, found, labels=pipeline.classes_, average="macro", zero_division=0)),
    }


def write_report(folder: Path, labels: NDArray[np.str_], found: NDArray[np.str_], classes: NDArray[np.str_]) -> None:
    counts = confusion_matrix(labels, found, labels=classes)
    report = classification_report(labels, found, labels=classes, output_dict=True, zero_division=0)
    with writing(folder / "report.json") as partial:
        values = {"classes": report, "confusion": {"names": classes.tolist(), "counts": counts.tolist()}}
        partial.write_text(json.dumps(values, indent=2) + "\n")
    with writing(folder / "report.txt") as partial:
        partial.write_text(classification_report(labels, found, labels=classes, digits=3, zero_division=0))
    with writing(folder / "confusion.png") as partial:
        draw(counts, classes).savefig(partial, format="png")


def draw(counts: NDArray[np.int64], classes: NDArray[np.str_]) -> Figure:
    """How often each class was taken for which."""
    from matplotlib.figure import Figure  # only here, because the import takes longer than to measure

    figure = Figure(figsize=(0.5 * len(classes) + 2, 0.5 * len(classes) + 1.5), layout="constrained")
    panel = figure.subplots()
    panel.imshow(counts, cmap="Blues")
    for (row, column), count in np.ndenumerate(counts):
        shade = "white" if count > np.max(counts) / 2 else "black"
        panel.text(column, row, str(count), ha="center", va="center", color=shade)
    panel.set_xticks(range(len(classes)), classes)
    panel.set_yticks(range(len(classes)), classes)
    panel.set_xlabel("predicted")
    panel.set_ylabel("true")
    return figure


def evaluate_run(path: Path, asked: EvaluateConfig) -> dict[str, float]:
    """Evaluate the best pipeline of the run in the folder `path`, on the test split or on the rows of a CSV."""
    config = load_config(path)
    step, pipeline = checkpoint.load(path)
    if not asked.csv:
        split = Split.load(config.data, "test", config.seed)
        return {"step": step, **evaluate(pipeline, split.columns, split.labels, path)}
    frame = read_csv(asked.csv)
    require(frame, [config.data.target], asked.csv)
    labels = labels_of(frame, config.data.target, asked.csv)
    if strange := sorted({*labels} - {*pipeline.classes_}):
        raise RunError(f"{asked.csv} has the class {strange[0]}, and the pipeline knows {', '.join(pipeline.classes_)}")
    return {"step": step, **evaluate(pipeline, columns_of(pipeline, frame, asked.csv), labels)}
