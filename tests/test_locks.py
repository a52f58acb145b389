"""Every package manager, asked for any accelerator, takes that build of the framework and each library once."""

from pathlib import Path
from typing import Any

import pytest
from hosts import conda
from hosts.conda_channel import PYTHON
from hosts.tools import Tools
from locks import check_lock
from rattler.exceptions import SolverError
from repositories import STACK, legal_combinations, resolve, write

from labrig.render import Answers

COMBINATIONS = [
    resolve(combination)
    for combination in legal_combinations()
    if (combination["python"], combination["type_checker"], combination["ci"]) == (PYTHON, "pyright", "github")
]
# What a library requires is the same for every accelerator: each is locked once more, for the CPU.
COMBINATIONS += [
    resolve({name: answers[name] for name in ("framework", "package_manager", "python")} | {"library": library})
    for answers in COMBINATIONS
    if answers["accelerator"] == "cpu"
    for library in STACK["libraries"][answers["framework"]][1:]
]
# The same holds of what serves a model.
COMBINATIONS += [
    resolve({name: answers[name] for name in ("framework", "package_manager", "python")} | {"serving": "fastapi"})
    for answers in COMBINATIONS
    if answers["library"] in {"loop", "keras"} and answers["accelerator"] == "cpu"
]
PYPI = [answers for answers in COMBINATIONS if answers["package_manager"] != "conda"]
CONDA = [answers for answers in COMBINATIONS if answers["package_manager"] == "conda"]


def name_of(answers: Answers) -> str:
    served = ["serving"] if answers["serving"] != "none" else []
    names = ["package_manager", "framework", "library", "accelerator", *served]
    return "-".join(str(answers[name]) for name in names)


@pytest.mark.parametrize(
    "answers",
    [
        # The default run asks uv alone: it answers in a second.
        pytest.param(answers, id=name_of(answers), marks=[] if answers["uv"] else [pytest.mark.complete])
        for answers in PYPI
    ],
)
def test_a_lock_holds_the_build_that_was_asked_for_and_each_library_once(
    answers: Answers, tools: Tools, tmp_path: Path
) -> None:
    write(answers, tmp_path)
    check_lock(answers, tools, tmp_path)


@pytest.mark.complete
@pytest.mark.parametrize("answers", CONDA, ids=name_of)
def test_conda_takes_the_build_that_was_asked_for(answers: Answers, channels: Path, tmp_path: Path) -> None:
    write(answers, tmp_path)
    chosen: Any = answers["build"]
    driver = chosen.get("cuda")
    if driver is None:
        assert conda_build(answers, "environment.yml", None, channels, tmp_path) == "cpu"
        assert not list(tmp_path.glob("environment-*.yml"))
        return
    build = f"cuda{driver.replace('.', '')}"
    assert answers["accelerator"] == build.replace("cuda", "cu")
    assert conda_build(answers, "environment-gpu.yml", driver, channels, tmp_path) == build
    with pytest.raises(SolverError, match="__cuda"):
        conda_build(answers, "environment-gpu.yml", None, channels, tmp_path)
    for cuda in (None, driver):
        assert conda_build(answers, "environment-cpu.yml", cuda, channels, tmp_path) == "cpu"
    assert conda_build(answers, "environment.yml", None, channels, tmp_path) == "cpu"
    assert conda_build(answers, "environment.yml", driver, channels, tmp_path) == build


def conda_build(answers: Answers, name: str, driver: str | None, channels: Path, folder: Path) -> str:
    """The variant of the framework in the environment of a file, on a machine whose driver supports a CUDA."""
    other_names = {"jax": "jaxlib", "sklearn": "scikit-learn"}
    framework = other_names.get(str(answers["framework"]), str(answers["framework"]))
    records = conda.solve(conda.EnvironmentFile.read(folder / name), channels, driver)
    (found,) = [str(record.build) for record in records if record.name.normalized == framework]
    return "cpu" if framework == "scikit-learn" else found.partition("_")[0]  # it has one build, which names no device
