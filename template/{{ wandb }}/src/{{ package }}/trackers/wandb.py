"""Weights & Biases: its server; or, with WANDB_MODE=offline, folders that `wandb sync` sends later."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import wandb

from ..run import writing
from . import PROJECT, Mirror, Row, Subject

SECONDS = 60
"""That its server may take to answer."""


class Run:
    """The run as W&B has it. Each row of the metrics is one step of its history, which tells how many are there."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._offline = Offline(subject.memory)
        mode: Any = os.environ.get("WANDB_MODE") or "online"
        is_offline = mode == "offline"
        if not is_offline and (waiting := self._offline.waiting()):
            raise RuntimeError(f"{len(waiting)} offline runs wait: wandb sync {' '.join(map(str, waiting))}")
        self._offline.forget_half()
        os.environ.setdefault("WANDB_DATA_DIR", str(subject.memory.resolve()))  # or copies would lie in the home folder
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            id=subject.key,
            name=subject.config.name,
            mode=mode,
            resume=None if is_offline else "allow",
            reinit="create_new",  # not the one that was given up after a failure
            dir=str(subject.memory),
            config={**subject.parameters, "code": dict(subject.facts)},
            settings=wandb.Settings(
                silent=True,
                console="off",
                # These would tell of this process, and not of the one that trains.
                disable_git=True,
                save_code=False,
                x_disable_meta=True,
                x_disable_stats=True,
                init_timeout=SECONDS,
                finish_timeout=SECONDS,
                finish_timeout_raises=True,
            ),
        )
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        if is_offline:
            self._there = self._offline.rows
            self._offline.note(self._there, half=Path(self._run.settings.sync_dir).name)
        else:
            self._there = self._run.starting_step

    def log(self, first: int, rows: Sequence[Row]) -> None:
        for number, row in enumerate(rows, first):
            if number >= self._there:
                self._run.log({**row, "_timestamp": self._subject.time(row)}, step=number)
                self._there = number + 1

    def keep(self, path: Path) -> None:
        is_record = path.parent == self._subject.folder
        artifact = wandb.Artifact(f"{self._subject.key}-{path.name}", type="record" if is_record else "model")
        # What is not copied has to stay as it is until it is sent; weights of a finished run do.
        artifact.add_file(str(path), skip_cache=True, policy="mutable" if is_record else "immutable")
        self._run.log_artifact(artifact)

    def close(self, *, finished: bool) -> None:
        self._run.finish(exit_code=0 if finished else 1)
        self._offline.note(self._there)


class Offline:
    """How many rows are sent, or lie in whole offline runs; and which of these runs is not whole yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "wandb"
        self._path = folder / "rows.json"
        state: dict[str, Any] = json.loads(self._path.read_text()) if self._path.exists() else {}
        self.rows: int = state.get("rows", 0)
        self._half: str = state.get("half", "")

    def note(self, rows: int, *, half: str = "") -> None:
        self.rows, self._half = rows, half
        with writing(self._path) as partial:
            partial.write_text(json.dumps({"rows": rows, "half": half}) + "\n")

    def forget_half(self) -> None:
        """Delete the offline run that a killed process has left: its rows come again, in the next one."""
        if self._half:
            shutil.rmtree(self._folder / self._half, ignore_errors=True)
            self.note(self.rows)

    def waiting(self) -> list[Path]:
        """The whole offline runs that were not sent yet."""
        found = sorted(self._folder.glob("offline-run-*"))
        return [path for path in found if path.name != self._half and not list(path.glob("*.synced"))]


def connect(subject: Subject) -> Mirror:
    return Run(subject)
