"""The classes of new rows."""

from pathlib import Path

import pandas as pd
from sklearn.pipeline import Pipeline

from . import checkpoint
from .config import PredictConfig
from .data import read_csv, require, typed
from .run import RunError, load_config


def columns_of(pipeline: Pipeline, frame: pd.DataFrame, source: str) -> pd.DataFrame:
    """The columns that the pipeline was fitted to. Raises RunError if one is missing, or has no numbers any more."""
    names = [*pipeline.feature_names_in_]
    require(frame, names, source)
    (_, _, numbers), *_ = pipeline.named_steps["prepare"].transformers_
    return typed(frame[names], numbers, source)


def predict_run(path: Path, asked: PredictConfig) -> str:
    """The class of each row of a CSV, and the probability of that class, as lines of a CSV."""
    load_config(path)
    if not asked.csv:
        raise RunError("there are no rows to predict; name their file, such as --csv rows.csv")
    _, pipeline = checkpoint.load(path)
    shares = pipeline.predict_proba(columns_of(pipeline, read_csv(asked.csv), asked.csv))
    found = pd.DataFrame({"class": pipeline.classes_[shares.argmax(axis=1)], "probability": shares.max(axis=1)})
    return found.to_csv(index=False, float_format="%.4g").rstrip("\n")
