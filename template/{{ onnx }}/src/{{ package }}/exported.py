"""A model as a file that ONNX Runtime runs, without the framework that trained it.

It takes `tokens`, int64[B, T], and gives `logits`, float32[B, P]: of what follows the last token of each row. B is any
number, T one of `lengths`, and its metadata says so, and which run and which code it is of.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from .run import RunError, writing

FILE = "model.onnx"

TOLERANCE = 1e-4
"""Largest difference between two logits that are the same, as a share of the largest logit.

A float32 has seven digits, and another order of its sums costs one or two of them.
"""

Logits = NDArray[np.float32]
Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class Exported:
    """An open model."""

    session: ort.InferenceSession
    about: Mapping[str, str]

    @classmethod
    def read(cls, content: bytes, name: str) -> Self:
        """Raises RunError, in which it is called `name`, if it is no model that `write` has written."""
        options = ort.SessionOptions()
        options.log_severity_level = 4  # what is wrong is raised, too
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a thread without work sleeps
        try:
            session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # those of ONNX Runtime have no common class
            raise RunError(f"{name} is not a model of ONNX ({_first_line(error)}); export it again") from error
        about = session.get_modelmeta().custom_metadata_map
        if missing := {"vocabulary", "shortest", "longest", "run", "step"} - about.keys():
            raise RunError(f"{name} does not say its {', '.join(sorted(missing))}; export it again")
        return cls(session, about)

    @property
    def vocabulary(self) -> int:
        """Number of different tokens."""
        return int(self.about["vocabulary"])

    @property
    def lengths(self) -> range:
        """Numbers of tokens that a row may have."""
        return range(int(self.about["shortest"]), int(self.about["longest"]) + 1)

    def logits(self, tokens: Tokens) -> Logits:
        """Logits float[B, P] of what follows int[B, T], each in [0, P)."""
        (logits,) = self.session.run(["logits"], {"tokens": tokens})
        return np.asarray(logits)

    def difference(self, tokens: Tokens, expected: Logits) -> float:
        """The largest between its logits and the expected ones, as a share of the largest of these."""
        return float(np.abs(self.logits(tokens) - expected).max() / (np.abs(expected).max() or 1))


def write(path: Path, model: Any, about: Mapping[str, str], examples: Iterable[tuple[Tokens, Logits]]) -> None:
    """Write a model of ONNX to `path`, if ONNX Runtime computes these logits from these tokens.

    Raises RunError if it does not, or cannot run the model; then the file is as it was.
    """
    import onnx  # only here: to run a model takes ONNX Runtime alone

    onnx.helper.set_model_props(model, dict(about))
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString()
    exported = Exported.read(content, f"what would be {path}")
    for tokens, logits in examples:
        try:
            difference = exported.difference(tokens, logits)
        except Exception as error:  # those of ONNX Runtime have no common class
            what = f"ONNX Runtime does not take tokens of shape {tokens.shape}"
            raise RunError(f"{path} is not written: {what} ({_first_line(error)})") from error
        if not difference <= TOLERANCE:  # not a number is refused, too
            raise RunError(
                f"{path} is not written: for tokens of shape {tokens.shape} ONNX Runtime's logits differ from the "
                f"framework's by {difference:.2g} of the largest, and at most {TOLERANCE:.2g} is taken for rounding"
            )
    with writing(path) as partial:
        partial.write_bytes(content)


def load(run: Path) -> Exported:
    """The exported model of the run in a folder. Raises RunError if there is none, or if it is damaged."""
    path = run / FILE
    command = f"python -m {__package__} export {run}"
    if not path.exists():
        raise RunError(f"{run} has no {FILE} yet; write it with {command}")
    try:
        return Exported.read(path.read_bytes(), str(path))
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror})") from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rpartition(" : ")[2]
