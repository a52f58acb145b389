"""MLflow: a server, if MLFLOW_TRACKING_URI names one, and else a database under `runs/`."""

import os
from collections.abc import Sequence
from pathlib import Path

# Before the import: an unreachable server is to be noted at once, and MLflow would report its use to its makers.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from mlflow.entities import Experiment, Metric, Param
from mlflow.tracking.client import MlflowClient

from . import PROJECT, Mirror, Row, Subject

MOST_PARAMETERS = 100
MOST_METRICS = 1000
"""That MLflow takes at once."""


class Run:
    """The run on the server, which is found by a tag of its own."""

    def __init__(self, subject: Subject) -> None:
        folder = (subject.folder.parent / ".mlflow").resolve()
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            folder.mkdir(exist_ok=True)
        self._client = MlflowClient(tracking_uri=uri or f"sqlite:///{folder / 'mlflow.db'}")
        experiment = self._experiment(None if uri else (folder / "artifacts").as_uri())
        found = self._client.search_runs([experiment], f"tags.key = '{subject.key}'")
        tags = {f"code.{name}": value for name, value in subject.facts.items()}
        if found:
            self._id = found[0].info.run_id
        else:
            began = round(1000 * subject.began)
            name = subject.config.name
            new = self._client.create_run(experiment, began, {"key": subject.key, **tags}, run_name=name)
            self._id = new.info.run_id
        self._client.update_run(self._id, status="RUNNING")
        for name, value in tags.items():
            self._client.set_tag(self._id, name, value)
        parameters = [Param(name, str(value)) for name, value in subject.parameters.items()]
        for start in range(0, len(parameters), MOST_PARAMETERS):
            self._client.log_batch(self._id, params=parameters[start : start + MOST_PARAMETERS])
        self._known = {
            (name, metric.step)
            for name in (found[0].data.metrics if found else ())
            for metric in self._client.get_metric_history(self._id, name)
        }
        self._subject = subject

    def log(self, first: int, rows: Sequence[Row]) -> None:  # noqa: ARG002 (a metric is known by its step)
        new: dict[tuple[str, int], Metric] = {}
        for row in rows:
            step, time = row["step"], round(1000 * self._subject.time(row))
            for name, value in row.items():
                if name != "step" and (name, step) not in self._known:
                    new.setdefault((name, step), Metric(name, value, time, step))
        metrics = list(new.values())
        for start in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(self._id, metrics=metrics[start : start + MOST_METRICS])
        self._known |= new.keys()

    def keep(self, path: Path) -> None:
        parent = path.parent.relative_to(self._subject.folder)
        self._client.log_artifact(self._id, str(path), str(parent) if parent.name else None)

    def close(self, *, finished: bool) -> None:
        self._client.set_terminated(self._id, "FINISHED" if finished else "KILLED")

    def _experiment(self, artifacts: str | None) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        known: Experiment | None = self._client.get_experiment_by_name(name)
        return known.experiment_id if known else self._client.create_experiment(name, artifact_location=artifacts)


def connect(subject: Subject) -> Mirror:
    return Run(subject)
