"""Folders that are built once per machine and shared by every later run, under `$LABRIG_TEST_CACHE`."""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(os.environ.get("LABRIG_TEST_CACHE") or Path.home() / ".cache" / "labrig-tests")
UNUSED_SECONDS = 7 * 24 * 3600


def built(name: str, build: Callable[[Path], None], made_from: Iterable[Path | str]) -> Path:
    """The folder that `build` fills, built anew when a text, or the name or content of a file, in `made_from` changes.

    It is built beside its place and renamed into it, so an interrupted run leaves no half of it, and of two runs at
    the same time the first to finish wins.
    """
    key = hashlib.sha256()
    for source in made_from:
        if isinstance(source, str):
            key.update(source.encode())
        else:
            with source.open("rb") as file:
                key.update(source.name.encode() + hashlib.file_digest(file, "sha256").digest())
    folder = ROOT / f"{name}-{key.hexdigest()[:16]}"
    if not folder.is_dir():
        ROOT.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=ROOT))
        try:
            build(aside)
            aside.rename(folder)
        except BaseException:
            shutil.rmtree(aside)
            if not folder.is_dir():  # not a run beside this one that was faster
                raise
    os.utime(folder)
    for other in ROOT.glob(f"{name}-*"):  # of an older script, or of a run that was killed
        if time.time() - other.stat().st_mtime > UNUSED_SECONDS:
            shutil.rmtree(other, ignore_errors=True)  # a run beside this one may remove it too
    return folder
