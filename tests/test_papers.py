"""What a repository has for a paper: an archive that names nobody and works, and a model card that the Hub reads."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import zipfile
from pathlib import Path

import pytest
from environments import PythonOf
from hosts.tools import Tools
from repositories import resolve, write
from tools import uvx

AUTHOR = {
    "author_name": "Mary Somerville",
    "author_email": "mary@orrery.example",
    "repository": "https://github.com/orrerylab/engine",
}
NAMES = re.compile(rf"somerville|orrery|germain|sophie|elastic|\b{re.escape(platform.node())}\b", re.IGNORECASE)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a paper, and a commit by somebody else on a remote of theirs."""
    folder = tmp_path / "demo"
    write(resolve({"framework": "jax", "paper": True, "license": "bsd-3-clause", **AUTHOR}), folder)
    for command in (
        "init --quiet --initial-branch main",
        "config user.name Sophie-Germain",
        "config user.email sophie@elastic.example",
        "remote add origin git@git.elastic.example:germain/engine.git",
        "add --all",
        "commit --quiet --message Begin",
    ):
        subprocess.run(["git", *command.split()], cwd=folder, check=True)
    return folder


def demo(python: Path, folder: Path, *arguments: str) -> str:
    variables = {**os.environ, "PYTHONPATH": str(folder / "src"), "HOME": str(folder.parent / "home")}
    command = [str(python), "-m", "demo", *arguments]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.complete
def test_an_archive_for_review_names_nobody_installs_and_passes_its_tests(
    repository: Path, python_of: PythonOf, tools: Tools, tmp_path: Path
) -> None:
    python = python_of("jax")
    demo(python, repository, "train", "debug")
    code = json.loads((repository / "runs" / "debug" / "code.json").read_text())
    assert code[0]["host"] == platform.node()
    archive = Path(demo(python, repository, "anonymize", "runs/debug").strip())
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "review")
    (root,) = (tmp_path / "review").iterdir()
    files = [path for path in root.rglob("*") if path.is_file()]
    assert root / "runs" / "debug" / "metrics.jsonl" in files
    for path in files:
        assert not (found := NAMES.search(path.read_text())), f"{path}: {found}"
    assert not (root / ".git").exists()
    environment = {**tools.environment, "UV_NO_SYNC": "1"}
    tools.run("uv sync --quiet", root)
    for task in ("lint", "types", "test"):
        tools.run(f"uv run poe {task}", root, environment)
    assert "runs/debug" in tools.run("uv run python -m demo compare runs/debug", root, environment)


CHECK = """
import sys
from huggingface_hub import ModelCard
card = ModelCard(sys.stdin.read(), ignore_metadata_errors=False)
result = card.data.eval_results[0]
print(card.data.license, card.data.model_name, len(card.data.eval_results), result.metric_type, result.metric_value)
"""


@pytest.mark.complete
def test_the_hub_reads_a_model_card(repository: Path, python_of: PythonOf) -> None:
    python = python_of("jax")
    demo(python, repository, "train", "debug")
    card = demo(python, repository, "card", "runs/debug")
    done = subprocess.run(
        [*uvx("huggingface-hub", "python", "-c", CHECK)], input=card, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (repository / "runs/debug/metrics.jsonl").read_text().splitlines()]
    best = min(row["test_loss"] for row in rows if "test_loss" in row and row["step"])
    _, name, count, metric, value = done.stdout.split()
    assert (name, count, metric) == ("debug", "2", "test_loss")
    assert float(value) == pytest.approx(best, rel=1e-5)
