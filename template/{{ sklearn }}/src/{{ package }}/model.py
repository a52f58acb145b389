"""The pipeline: from the columns of a table to a class. Numbers are filled in and scaled, categories become columns.

All of it is fitted together, to training rows alone.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import loguniform, randint, uniform
from sklearn.base import ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ParameterSampler
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from .config import Config, ModelConfig
from .data import numbers_of

Candidate = Mapping[str, float]
"""Settings of the estimator, by the names that scikit-learn gives them."""

SPACES: dict[str, dict[str, Any]] = {
    "logistic": {"C": loguniform(1e-4, 1e2)},
    "forest": {"max_features": uniform(0.05, 0.45), "min_samples_leaf": randint(1, 6)},
    "boosting": {
        "learning_rate": loguniform(0.02, 0.5),
        "max_leaf_nodes": randint(4, 65),
        "l2_regularization": loguniform(1e-6, 1e1),
    },
}
"""What the settings of each kind are drawn from."""


def draw(config: Config, step: int) -> Candidate:
    """The candidate of a step. It depends on the seed and the step alone, so a resumed search draws it again."""
    # The first number keeps this stream apart from that of the split and of the estimators.
    (state,) = np.random.SeedSequence([1, step, config.seed]).generate_state(1)
    (drawn,) = ParameterSampler(SPACES[config.model.kind], 1, random_state=int(state))
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in drawn.items()}


def make_model(config: Config, columns: pd.DataFrame, candidate: Candidate) -> Pipeline:
    """A pipeline for such columns that is not fitted yet."""
    numbers = numbers_of(columns)
    # A column without any number stays, so that there is nothing to warn of.
    fill = Pipeline([("fill", SimpleImputer(strategy="median", keep_empty_features=True)), ("scale", StandardScaler())])
    encode = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    words = [name for name in columns.columns if name not in numbers]
    prepare = ColumnTransformer([("numbers", fill, numbers), ("words", encode, words)])
    return Pipeline([("prepare", prepare), ("classify", make_estimator(config.model, candidate, config.seed))])


def make_estimator(config: ModelConfig, candidate: Candidate, seed: int) -> ClassifierMixin:
    if config.kind == "logistic":
        return LogisticRegression(max_iter=config.size, random_state=seed, **candidate)
    if config.kind == "forest":
        return ExtraTreesClassifier(n_estimators=config.size, random_state=seed, **candidate)
    return HistGradientBoostingClassifier(max_iter=config.size, early_stopping=False, random_state=seed, **candidate)
