"""Launching on this machine. A launcher adds files, and changes nothing of what is there without it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from environments import PythonOf
from repositories import TEMPLATE, choices, resolve, write
from test_slurm import Repository, commit

LAUNCHERS = [name for name, *others in choices("launchers")[1:] if not others]


def test_launchers_add_files_and_change_no_code() -> None:
    def code(launchers: list[str]) -> dict[str, bytes]:
        files = TEMPLATE.render(resolve({"launchers": launchers}))
        return {path: file.content for path, file in files.items() if path.startswith(("src/", "tests/", "launch/"))}

    alone = {launcher: code([launcher]) for launcher in LAUNCHERS}
    for launchers in choices("launchers"):
        together = code([])
        for launcher in launchers:
            together |= alone[launcher]
        assert code(launchers) == together


@pytest.mark.parametrize("framework", choices("framework"))
def test_a_launcher_that_was_not_chosen_is_not_spoken_of(framework: str) -> None:
    for launchers in choices("launchers"):
        files = TEMPLATE.render(resolve({"launchers": launchers, "framework": framework}))
        for launcher in set(LAUNCHERS) - set(launchers):
            word = re.compile(rf"\b{launcher}\b", re.IGNORECASE)
            spoken_of = [path for path, file in files.items() if word.search(f"{path} {file.content.decode()}")]
            assert spoken_of == [], launcher


@pytest.mark.complete
@pytest.mark.parametrize("framework", [name for name in choices("framework") if name != "sklearn"])
def test_processes_on_this_machine_train_together(framework: str, python_of: PythonOf, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "demo", python_of(framework), {})
    write(resolve({"framework": framework}), repository.folder)
    commit(repository)
    repository.launch("--processes", "2", "--", "debug")
    assert "finished, step 6 of 6" in repository.launch("status", "debug")
    assert repository.starts("debug")[0]["hardware"].startswith("2 x")


@pytest.mark.complete
def test_a_search_in_two_processes_is_refused_in_one_sentence(python_of: PythonOf, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "demo", python_of("sklearn"), {})
    write(resolve({"framework": "sklearn"}), repository.folder)
    commit(repository)
    said = repository.launch("--processes", "2", "--", "debug", code=1)
    assert said.count("error: ") == 1
    assert "error: a search is one process, and 2 were started; leave --gpus, --processes" in said
