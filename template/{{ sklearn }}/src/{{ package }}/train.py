"""Train: one loop, a random search that cross-validation scores."""

import os
import sys
from pathlib import Path

import numpy as np
from joblib import parallel_config
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import cross_validate
from sklearn.pipeline import Pipeline

from . import checkpoint
from .checkpoint import Score
from .config import Config
from .data import Fold, Split
from .evaluate import evaluate
from .model import Candidate, draw, make_model
from .run import Run, RunError, due


def train(config: Config, root: Path) -> dict[str, float] | None:
    """Search to the last step, from the newest checkpoint in the run's folder under `root` if there is one.

    Returns the metrics of the test split, which the best pipeline sees once, at the end; or None when asked to stop
    before, with the state saved. Raises RunError if the run cannot go on.
    """
    refuse_company()
    train_split = Split.load(config.data, "train", config.seed)
    test_split = Split.load(config.data, "test", config.seed)
    folds = train_split.folds(config.optim.folds, config.seed)
    run = Run(config, root, is_main=True)

    scores = checkpoint.restore(run.checkpoints)
    start = len(scores)
    run.begin(start, hardware=f"1 x CPU with {os.cpu_count()} cores", data=train_split.origin)
    if start == 0:
        guess = cross_validated(0, {}, Pipeline([("guess", DummyClassifier())]), train_split, folds, config.jobs)
        run.log(0, loss=guess.loss, accuracy=guess.accuracy)

    stop = False
    for step in range(start + 1, config.optim.steps + 1):
        candidate = draw(config, step)
        pipeline = make_model(config, train_split.columns, candidate)
        score = cross_validated(step, candidate, pipeline, train_split, folds, config.jobs)
        run.log(step, loss=score.loss, accuracy=score.accuracy, **candidate, **process_memory())
        if all(score.loss < other.loss for other in scores):
            checkpoint.save_best(run.checkpoints, step, pipeline.fit(train_split.columns, train_split.labels))
        scores.append(score)
        run.progress(step, config.optim.steps)

        stop = run.stop_requested
        if due(step, config.save_every, config.optim.steps) or stop:
            checkpoint.save(run.checkpoints, scores, keep=config.keep_checkpoints)
        if stop:
            break

    metrics = None if stop else finish(run, test_split, config.optim.steps)
    run.end(metrics)
    return metrics


def cross_validated(
    step: int,
    candidate: Candidate,
    pipeline: Pipeline,
    split: Split,
    folds: list[Fold],
    jobs: int,
) -> Score:
    """How well such a pipeline predicts each fold when it is fitted to the others."""
    try:
        with parallel_config("threading", n_jobs=jobs):  # what takes time is compiled, and holds no lock
            found = cross_validate(
                pipeline,
                split.columns,
                split.labels,
                cv=folds,
                scoring=("neg_log_loss", "accuracy"),
                error_score="raise",
            )
    except ValueError as error:
        raise RunError(f"the candidate of step {step} cannot be fitted ({str(error).splitlines()[0]})") from error
    losses, accuracies = (-found["test_neg_log_loss"]).tolist(), found["test_accuracy"].tolist()
    return Score(step=step, candidate=candidate, losses=losses, accuracies=accuracies)


def finish(run: Run, split: Split, step: int) -> dict[str, float]:
    """Measure the best pipeline, as it was saved, on the test split."""
    _, pipeline = checkpoint.load(run.path)
    metrics = evaluate(pipeline, split.columns, split.labels, run.path)
    if run.lowest("test_loss") == np.inf:  # else the run had come to its end before
        run.log(step, **metrics)
    return metrics


def refuse_company() -> None:
    """Raise RunError, in the first of them, if there are other processes of this run."""
    if (world := int(os.environ.get("WORLD_SIZE", "1"))) > 1:
        if int(os.environ.get("RANK", "0")):
            sys.exit(1)
        raise RunError(
            f"a search is one process, and {world} were started; leave --gpus, --processes and --nodes out, and raise "
            "jobs to fit several folds at the same time"
        )


def process_memory() -> dict[str, float]:
    """The most memory of this process that was ever in use, in GiB; on Windows it is not known."""
    if sys.platform == "win32":
        return {}
    import resource

    unit = 1 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    return {"memory_peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30}
