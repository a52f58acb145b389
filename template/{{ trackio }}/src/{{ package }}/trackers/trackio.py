"""Trackio: a database on this machine, in `runs/.trackio` or TRACKIO_DIR, which `trackio sync` sends to a Space."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import PROJECT, Mirror, Row, Subject


class Run:
    """The run in the database, where each row has a name of its own, so that it is there once."""

    def __init__(self, subject: Subject) -> None:
        # Before the import, which takes it as it is then.
        os.environ.setdefault("TRACKIO_DIR", str((subject.folder.parent / ".trackio").resolve()))
        from trackio import run, sqlite_storage

        self._database = sqlite_storage.SQLiteStorage
        self._subject = subject
        self._name = subject.config.name
        facts = {f"code.{name}": value for name, value in subject.facts.items()}
        self._run: Any = run.Run(
            None,
            PROJECT,
            None,
            self._name,
            subject.key,
            config={**subject.parameters, **facts},
            existing_runs=[],
            # It would measure this process, and not the one that trains.
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def log(self, first: int, rows: Sequence[Row]) -> None:
        self._database.bulk_log(
            PROJECT,
            self._name,
            [{name: value for name, value in row.items() if name != "step"} for row in rows],
            steps=[row["step"] for row in rows],
            timestamps=[_time(self._subject.time(row)) for row in rows],
            config={**self._run.config, "_Created": _time(self._subject.began)},
            log_ids=[f"{self._subject.key}-{number}" for number in range(first, first + len(rows))],
            run_id=self._subject.key,
        )

    def keep(self, path: Path) -> None:
        kind = "record" if path.parent == self._subject.folder else "model"
        self._run.log_artifact(path, name=f"{self._name}-{path.name}", type=kind)

    def close(self, *, finished: bool) -> None:  # noqa: ARG002 (a run has no end there)
        self._run.finish()


def connect(subject: Subject) -> Mirror:
    return Run(subject)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
