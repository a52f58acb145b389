"""Whole checkpoints only: written under another name, then renamed.

The file `00000005.json` therefore always holds the scores of all candidates up to step 5, whenever the process was
killed, and `best.skops` the pipeline of the one with the lowest loss, fitted to all training rows.

skops and not pickle: what a file holds is looked at before anything is made of it. It may hold what scikit-learn and
NumPy consist of, and nothing that could run, so that a model of somebody else can be loaded.
"""

import dataclasses
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.pipeline import Pipeline
from skops import io

from .model import Candidate
from .run import RunError, writing

TRUSTED = {
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
}
"""What skops does not trust by itself, and the pipelines of model.py consist of."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """What is known of a candidate."""

    step: int
    candidate: Candidate
    losses: list[float]
    """Mean log loss in nats of each fold."""
    accuracies: list[float]

    @property
    def loss(self) -> float:
        return float(np.mean(self.losses))

    @property
    def accuracy(self) -> float:
        return float(np.mean(self.accuracies))


def save(folder: Path, scores: list[Score], *, keep: int) -> None:
    """Write the scores up to now, then delete all but the `keep` newest checkpoints.

    Raises RunError if they cannot be written; then the checkpoints from before are as they were.
    """
    with writing(folder / f"{scores[-1].step:08d}.json") as partial:
        partial.write_text(json.dumps([dataclasses.asdict(score) for score in scores], indent=2) + "\n")
    for old in steps(folder)[:-keep]:
        (folder / f"{old:08d}.json").unlink()


def save_best(folder: Path, step: int, pipeline: Pipeline) -> None:
    """Write the pipeline of a step in place of the one that was the best before, as `save` does."""
    with writing(folder / "best.skops") as partial, partial.open("wb") as file:
        io.dump({"step": step, "pipeline": pipeline}, file)


def restore(folder: Path) -> list[Score]:
    """The scores in the newest checkpoint; none when there is none. Raises RunError if it is damaged."""
    if not (found := steps(folder)):
        return []
    path = folder / f"{found[-1]:08d}.json"
    try:
        scores = [Score(**score) for score in json.loads(path.read_text())]
    except (ValueError, TypeError) as error:
        raise RunError(
            f"{path} is damaged; delete it to go on from the checkpoint before it, or else from the start"
        ) from error
    return scores


def load(run: Path) -> tuple[int, Pipeline]:
    """The step and the pipeline that are the best of the run in a folder.

    Raises RunError if there is none, or the file is damaged, or holds something else.
    """
    path = run / "checkpoints" / "best.skops"
    if not path.exists():
        raise RunError(f"{run} has no best pipeline yet")
    if not _is_whole(path):
        raise RunError(f"{path} is damaged, or no file of skops; train the run again, under another name")
    try:
        if strange := sorted({*io.get_untrusted_types(file=path)} - TRUSTED):
            raise RunError(f"{path} holds {strange[0]}, which no pipeline here consists of, so it is not loaded")
        found = io.load(path, trusted=sorted(TRUSTED))
        step, pipeline = found["step"], found["pipeline"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{path} holds no pipeline ({error}); check out the commit that code.json names") from error
    if not isinstance(pipeline, Pipeline):
        raise RunError(f"{path} holds no pipeline; check out the commit that code.json names")
    return int(step), pipeline


def steps(folder: Path) -> list[int]:
    """The steps after which there is a checkpoint, oldest first."""
    return sorted(int(path.stem) for path in folder.glob("*.json") if path.stem.isdigit())


def _is_whole(path: Path) -> bool:
    """Whether every part has the checksum that it was written with."""
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    except zipfile.BadZipFile:
        return False
