"""TensorBoard: event files beside the metrics, in the folder of the run. It keeps no weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from . import Mirror, Row, Subject

# They are made when these modules are imported, so that a type checker does not see them.
Event: Any = vars(event_pb2)["Event"]
Summary: Any = vars(summary_pb2)["Summary"]


class Events:
    """A new event file, for what those before it do not have."""

    def __init__(self, subject: Subject) -> None:
        files = sorted(subject.folder.glob("events.out.tfevents.*"))
        self._known = {
            (value.tag, event.step)
            for file in files
            for event in EventFileLoader(str(file)).Load()
            for value in event.summary.value
        }
        self._subject = subject
        self._writer = EventFileWriter(str(subject.folder))
        if not files:
            self._writer.add_event(Event(wall_time=subject.began, summary=hparams_pb(subject.parameters)))

    def log(self, first: int, rows: Sequence[Row]) -> None:  # noqa: ARG002 (a metric is known by its step)
        for row in rows:
            step = row["step"]
            new = [name for name in row if name != "step" and (name, step) not in self._known]
            values = [Summary.Value(tag=name, simple_value=row[name]) for name in new]
            if values:
                time, summary = self._subject.time(row), Summary(value=values)
                self._writer.add_event(Event(step=step, wall_time=time, summary=summary))
            self._known |= {(name, step) for name in new}
        self._writer.flush()

    def keep(self, path: Path) -> None:
        if path.suffix == ".json":
            text = "".join(f"    {line}\n" for line in path.read_text().splitlines())  # as code in Markdown
            self._writer.add_event(Event(wall_time=self._subject.began, summary=text_pb(path.name, text)))

    def close(self, *, finished: bool) -> None:  # noqa: ARG002 (event files have no end)
        self._writer.close()


def connect(subject: Subject) -> Mirror:
    return Events(subject)
