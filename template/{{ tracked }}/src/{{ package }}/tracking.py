"""Mirror runs in trackers, from the outside: a process for each follows the folder of the run.

    runs/<name>/trackers/<tracker>.log    since when it follows, and why something could not be sent
    runs/<name>/trackers/<tracker>/       what it has to remember, above all which run is this one there

Training does not know of it: it starts the processes and goes on, and they read what it writes. If a service is down or
slow, or a process is killed, only the mirror is behind, and `python -m PACKAGE track runs/NAME` brings the rest. No row
is sent twice, because a tracker asks its service first what is there.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from .run import RunError, load_config, writing
from .trackers import Mirror, Row, Subject, load, names

if sys.platform != "win32":
    import fcntl

CHOICE = "TRACKERS"
"""A variable with the trackers to use, such as `TRACKERS=one,another`; empty for none, and all unless it is there."""

RECORDS = ("config.json", "code.json", "metrics.jsonl", "result.json")
WEIGHTS = ("checkpoints/best.*", "checkpoints/best-*/model.safetensors")  # a file, or one in a folder

LOOK_SECONDS = 1.0
"""Between two looks into the folder; after a failure twice as long, and so on up to `LONGEST_SECONDS`."""
LONGEST_SECONDS = 120.0
LAST_SECONDS = 10.0
"""That a finished run waits for its trackers at most: a scheduler may end them with the run."""
GIVE_UP_SECONDS = 600.0
"""After the run that a tracker may still take to send the rest."""

followers: list[subprocess.Popen[bytes]] = []
"""The processes that this one has started."""

FACTS = ("commit", "hardware", "data", "python", "platform", "host")


def follow(folder: Path) -> None:
    """Let each tracker follow the run in `folder`, which this process is about to start or to resume.

    Only the main process of a run does so. The trackers end some time after this process, however it ends.
    """
    leave()  # a process that trains several runs trains one after the other
    if os.environ.get("RANK", "0") != "0":
        return
    command = [sys.executable, "-m", __name__, str(folder), str(len(starts(folder)))]
    # They need no GPU, and Ctrl-C at the terminal is for the run alone.
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    followers.extend(
        subprocess.Popen(
            [*command, name],
            stdin=subprocess.PIPE,  # nothing is ever written to it: it ends when this process does, killed or not
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        for name in chosen()
    )
    atexit.register(wait, folder)


def leave() -> None:
    """Let the followers know that the run has ended, in whatever way."""
    for process in followers:
        if process.stdin:
            process.stdin.close()


def wait(folder: Path) -> None:
    """Give the followers of a finished run some time, unless a person sits there, who may do something else."""
    leave()
    is_awaited = is_finished(folder) and not sys.stdout.isatty()
    deadline = time.monotonic() + (LAST_SECONDS if is_awaited else 0)
    while any(process.poll() is None for process in followers) and time.monotonic() < deadline:
        time.sleep(0.02)


def track(folders: Sequence[Path]) -> None:
    """Bring every tracker of these runs up to date. Raises RunError with what could not be."""
    for folder in folders:
        load_config(folder)  # raises RunError if it is no run
    failures = []
    for folder in folders:
        for name in chosen():
            with alone(folder, name) as is_alone:
                if not is_alone:
                    print(f"{folder}: {name} is following it just now", flush=True)
                    continue
                link = Link(folder, name)
                try:
                    link.send(last=True)
                except Exception as error:  # noqa: BLE001 (whatever the library of a service raises)
                    failures.append(f"{folder}: {name} {reason(error)}")
                else:
                    print(f"{folder}: {name} has all {link.count} rows", flush=True)
    if failures:
        raise RunError("; ".join(failures))


def main(arguments: Sequence[str]) -> None:
    """Follow a run, as one tracker, until the other end of the standard input is closed."""
    folder, known, name = Path(arguments[0]), int(arguments[1]), arguments[2]
    if sys.platform != "win32":
        os.nice(10)  # the run comes first
    ended = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.buffer.read()
        ended.set()
        time.sleep(GIVE_UP_SECONDS)
        os._exit(1)  # a library that waits for its service hears of nothing else

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    is_over = False
    while len(starts(folder)) <= known:  # until then it may be refused, and its rows may be those of a killed process
        if is_over:
            return
        is_over = ended.wait(0.1)
    with alone(folder, name, until=ended) as is_alone:
        if is_alone:
            follow_until(ended, Link(folder, name))


def follow_until(ended: threading.Event, link: Link) -> None:
    """Send what comes, and after the end once more."""
    said, pause, is_over = "", LOOK_SECONDS, False
    while not is_over:
        is_over = ended.is_set()  # before the look: what is written later is for another one
        try:
            link.send(last=is_over)
            said, pause = "", LOOK_SECONDS
        except Exception as error:  # noqa: BLE001 (whatever the library of a service raises)
            link.drop()
            if said != (said := reason(error)):
                link.note(f"{said}; python -m {__package__} track {link.folder} brings what is missing")
            pause = min(2 * pause, LONGEST_SECONDS)
        if not is_over:
            ended.wait(pause)
    if not said:
        link.note(f"has all {link.count} rows")


class Link:
    """Between the folder of a run and one tracker."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.count = 0
        self._name = name
        self._memory = memory_of(folder, name)
        self._offset = 0
        self._mirror: Mirror | None = None

    def send(self, *, last: bool) -> None:
        """Send what is new; if it is the `last` time, also the files, and close. May raise anything."""
        mirror = self._mirror or self._connect()
        if rows := self._new_rows():
            mirror.log(self.count, rows)
            self.count += len(rows)
        if last:
            finished = is_finished(self.folder)
            self._keep(mirror, *RECORDS, *(WEIGHTS if finished else ()))
            mirror.close(finished=finished)
            self._mirror = None

    def drop(self) -> None:
        """Leave the service alone, after it has failed; the next `send` begins anew."""
        mirror, self._mirror = self._mirror, None
        try:
            if mirror:
                mirror.close(finished=False)
        except Exception:  # noqa: BLE001, S110 (it has failed already, and why is noted)
            pass

    def note(self, sentence: str) -> None:
        with self._memory.with_suffix(".log").open("a") as file:
            file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {self._name} {sentence}\n")

    def _connect(self) -> Mirror:
        if not (key := self._recall().get("key")):
            key = secrets.token_hex(8)
            self._remember(key=key)
        known = starts(self.folder)
        subject = Subject(
            folder=self.folder,
            config=load_config(self.folder),
            key=key,
            facts={name: str(known[-1][name]) for name in FACTS if known[-1].get(name)},
            began=datetime.strptime(known[0]["started"], "%Y-%m-%dT%H:%M:%S%z").timestamp(),
            memory=self._memory,
        )
        self._mirror = load(self._name).connect(subject)
        self.count = self._offset = 0
        self._keep(self._mirror, "config.json", "code.json")
        return self._mirror

    def _new_rows(self) -> list[Row]:
        """The rows of metrics.jsonl since the last time, without a last one that is not written to its end yet."""
        with (self.folder / "metrics.jsonl").open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [json.loads(line) for line in whole.splitlines()]

    def _keep(self, mirror: Mirror, *patterns: str) -> None:
        """Send those files that are not there as they are now."""
        sent = self._recall().get("files", {})
        for file in sorted(file for pattern in patterns for file in self.folder.glob(pattern)):
            name, changed = str(file.relative_to(self.folder)), file.stat().st_mtime_ns
            if sent.get(name) != changed:
                mirror.keep(file)
                sent[name] = changed
        self._remember(files=sent)

    def _recall(self) -> dict[str, Any]:
        path = self._memory / "link.json"
        known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return known

    def _remember(self, **values: object) -> None:
        known = {**self._recall(), **values}
        with writing(self._memory / "link.json") as partial:
            partial.write_text(json.dumps(known, indent=2) + "\n")


def chosen() -> list[str]:
    """The trackers to use. Raises RunError if one is asked for that there is not."""
    asked = os.environ.get(CHOICE)
    if asked is None:
        return names()
    found = [name for name in asked.replace(",", " ").split() if name != "none"]
    for name in found:
        if name not in names():
            raise RunError(f"{CHOICE} is {asked}, and there is no tracker {name}; there is {', '.join(names())}")
    return found


def starts(folder: Path) -> list[dict[str, str]]:
    """What the run in `folder` has noted at each of its starts."""
    path = folder / "code.json"
    found: list[dict[str, str]] = json.loads(path.read_text()) if path.exists() else []
    return found


def is_finished(folder: Path) -> bool:
    return (folder / "result.json").exists()


def memory_of(folder: Path, name: str) -> Path:
    """What a tracker remembers of a run."""
    memory = folder / "trackers" / name
    memory.mkdir(parents=True, exist_ok=True)
    return memory


@contextmanager
def alone(folder: Path, name: str, *, until: threading.Event | None = None) -> Generator[bool]:
    """Whether inside this is the only process that sends this run to this tracker; to be it, wait `until` something."""
    with (memory_of(folder, name) / "lock").open("w") as file:
        while not (is_alone := lock(file.fileno())) and until and not until.wait(LOOK_SECONDS):
            pass
        yield is_alone


def lock(file: int) -> bool:
    """Take a lock that is gone with this process, killed or not; False if another one has it."""
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            return True
    return True


def reason(error: Exception) -> str:
    """What an exception says, in a sentence and without secrets: libraries write addresses with passwords in them."""
    said = " ".join(str(error).split())[:500] or type(error).__name__
    if isinstance(error, ImportError):
        return f"is not installed ({said})"
    said = re.sub(r"(//[^/@\s:]*):[^/@\s]*@", r"\1:***@", said)
    for name, value in os.environ.items():
        if re.search("KEY|TOKEN|SECRET|PASSWORD", name) and len(value) >= 6:
            said = said.replace(value, "***")
    return f"could not send: {said}"


if __name__ == "__main__":
    main(sys.argv[1:])
