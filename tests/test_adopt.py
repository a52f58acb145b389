"""`labrig adopt`: repositories of every shape come under the template, and not one line of the user's is lost."""

from __future__ import annotations

import ast
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from test_interview import DOWN, ENTER, Terminal
from workshop import Content, Run, Workshop, git, put
from workshop import workshop as workshop  # noqa: PLC0414 - a fixture

from labrig import keys
from labrig.inference import GUESS, LIKELY, STATED, Files, infer
from labrig.render import ANSWERS_FILE, RenderedFile
from labrig.selection import Selection

Shape = Mapping[str, Content]

MIT = "MIT License\n\nCopyright (c) 2021-2024 Ada Lovelace\n\nPermission is hereby granted, free of charge, ...\n"
TESTS = """\
import warnings


def test_passes():
    warnings.warn("old", DeprecationWarning)  # with the template's settings this would be an error


def test_fails():
    assert 1 == 2
"""
NOTEBOOK = json.dumps(
    {
        "cells": [{"cell_type": "code", "source": ["%matplotlib inline\n", "import jax\n"], "metadata": {}}],
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
)
SRC: Shape = {
    "pyproject.toml": """\
# Lenses
[project]
name = "lens"   # short
version = "1.4.0"
description = "Learns to see."
requires-python = ">=3.11"
authors = [{ name = "Ada Lovelace", email = "ada@example.org" }]
dependencies = ["torch==2.4", "numpy<2"]

[dependency-groups]
dev = ["ruff==0.6.0", "ipython"]

[tool.ruff]
line-length = 88

[tool.ruff.lint]
select = ["E", "F"]

[tool.pyright]
typeCheckingMode = "basic"
""",
    "src/lens/__init__.py": "def load():\n    import torch\n\n    return torch\n",
    "src/lens/model.py": "import lens\n",
    "tests/test_model.py": "import lens\n" + TESTS,
    "README.md": "# lens\n\n[![ci](https://example.org/x.svg)](x)\n\nWe study how machines learn to see.\n",
    "LICENSE": MIT,
    ".gitignore": "*.ckpt\n__pycache__/\n!keep.ckpt",  # without a line end
    ".github/workflows/ci.yml": "name: mine\non: push\njobs: {test: {runs-on: ubuntu-24.04, steps: [run: pytest]}}\n",
    ".pre-commit-config.yaml": """\
repos:
- repo: https://github.com/psf/black
  rev: 24.1.0 # pinned
  hooks:
  - id: black
""",
    ".vscode/settings.json": '{\n    "editor.rulers": [88],\n    "python.testing.pytestEnabled": false\n}\n',
    "uv.lock": "version = 1\n",
    ".python-version": "3.12.4\n",
}
FLAT: Shape = {
    "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\n\n[project]\nname = "tide"\nversion = "0.1"\n',
    "tide/__init__.py": "",
    "tide/layers.py": "def jit():\n    import jax\n\n    return jax\n",
    "tests/test_tide.py": "import tide.layers\n" + TESTS,
    "docs/conf.py": "project = 'tide'\n",
    "ruff.toml": "line-length = 79\n",
    "mypy.ini": "[mypy]\nstrict = True\n",
    "README.rst": "tide\n====\n\nModels of the tide in *JAX*, for harbours.\n",
    "COPYING": "GNU GENERAL PUBLIC LICENSE\nVersion 3\n",
    ".gitlab-ci.yml": "test: {script: pytest}\n",
    ".gitignore": "# mine\n/.vscode/\n.env\n",
}
SCRIPTS: Shape = {
    "train.py": "import jax\nprint('never run')\n",
    "plot.py": "import matplotlib\n",
    "test_train.py": TESTS,
    "analysis.ipynb": NOTEBOOK,
    "requirements.txt": "jax[cuda12]==0.4.30\nmatplotlib\n",
    "README": "Scripts for the paper.\n",
}
SETUP: Shape = {
    "setup.py": """\
from pathlib import Path

from setuptools import find_packages, setup

Path("executed").write_text("this must never happen")
NAME = "ripple"
setup(
    name=NAME,
    version=Path("VERSION").read_text().strip(),
    description="Ripples that learn.",
    author="Grace Hopper",
    author_email="grace@example.org",
    python_requires=">=3.8,<3.13",
    packages=find_packages(),
    install_requires=Path("requirements.txt").read_text().splitlines(),
)
""",
    "setup.cfg": "[tool:pytest]\naddopts = --strict-markers\n\n[mypy]\nstrict = true\n",
    "VERSION": "2.0\n",
    "requirements.txt": "torch>=1.13\n",
    "ripple/__init__.py": "",
    "ripple/net.py": "def net():\n    import torch\n\n    return torch.nn\n",
    "ripple/test_net.py": "import ripple\n" + TESTS,
    "LICENSE.txt": "Apache License\nVersion 2.0, January 2004\n",
}
CONDA: Shape = {
    "environment.yml": """\
name: reef
channels: [conda-forge]
dependencies:
  - python=3.11
  - pytorch
  - pip:
    - timm
""",
    "scripts/train.py": "import torch\n",
    "jobs/train.sbatch": "#!/bin/sh\n#SBATCH --gpus=1\npython scripts/train.py\n",
    "tests/test_reef.py": TESTS,
    "CITATION.cff": "title: Reef\nauthors: [{given-names: Jane, family-names: Goodall}]\nmessage: Cite it.\n",
}
CRUFT: Shape = {
    ".cruft.json": json.dumps(
        {"template": "gh:x/y", "context": {"cookiecutter": {"project_slug": "crab", "author_name": "Mary Anning"}}}
    ),
    "pyproject.toml": """\
[tool.poetry]
name = "crab"
version = "0.3.0"
description = "Sideways."
authors = ["Mary Anning <mary@example.org>"]

[tool.poetry.dependencies]
python = "^3.11"
torch = "^2.2"

[tool.poetry.group.dev.dependencies]
ruff = "^0.5"

[build-system]
requires = ["poetry-core"]
build-backend = "poetry.core.masonry.api"
""",
    "crab/__init__.py": "",
    "crab/walk.py": "def walk():\n    import torch\n\n    return torch\n",
    "tests/test_crab.py": TESTS,
    "poetry.lock": "# lock\n",
    ".gitignore": "dist\n",
    ".vscode/settings.json": '{\n  // comments are no JSON\n  "editor.rulers": [88]\n}\n',
    ".github/workflows/docs.yml": "name: docs\non: push\njobs: {}\n",
}
SHAPES = {"src": SRC, "flat": FLAT, "scripts": SCRIPTS, "setup": SETUP, "conda": CONDA, "cruft": CRUFT}
FLAGS = {"scripts": ["--accelerator", "cpu"]}  # jax[cuda12] does not say which of the builds on offer it is


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, plain_template: Path) -> Path:
    """The template of this checkout as v1, and a v2 that changes, moves and adds what an update would."""
    folder = tmp_path_factory.mktemp("adopt") / "template"
    shutil.copytree(plain_template, folder)
    author = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    git(folder, "init", "--quiet")
    git(folder, "add", "--all", "--force")
    git(folder, *author, "commit", "--quiet", "--message", "v1")
    git(folder, "tag", "v1.0.0")
    for path, before, after in (
        ("stack.yml", ">=0.17,<0.18", ">=0.18,<0.19"),
        ("stack.yml", 'numpy: ">=2.1', 'numpy: ">=2.2'),
        ("template/README.md.jinja", "## Set up", "## Install"),
        ("template/.gitignore.jinja", "dist/", "dist/\n*.prof"),
        ("template/tools.toml.part", '"PT",  ', '"PT", "Q",'),
        ("template/{{ prek }}/.pre-commit-config.yaml.jinja", "id: large-file", "id: large-files"),
        ("template/{{ github }}/.github/workflows/ci.yml.jinja", "timeout-minutes: 20", "timeout-minutes: 30"),
    ):
        text = (folder / path).read_text()
        assert before in text, (path, before)
        (folder / path).write_text(text.replace(before, after))
    put(folder / "template", {"src/{{ package }}/more.py": '"""More."""\n', "tests/test_more.py": "import os\n"})
    git(folder, "add", "--all")
    git(folder, *author, "commit", "--quiet", "--message", "v2")
    git(folder, "tag", "v2.0.0")
    return folder


@pytest.fixture
def adopter(workshop: Workshop, template: Path) -> Workshop:
    """A workshop whose template is that of this checkout, in two versions."""
    workshop.template = template
    return workshop


def start(adopter: Workshop, shape: Shape, name: str = "demo") -> None:
    """Commit a repository of the user's."""
    adopter.root = adopter.folder / name
    put(adopter.root, shape)
    git(adopter.root, "init", "--quiet")
    adopter.commit()


def adopt(adopter: Workshop, *words: str) -> Run:
    return adopter.labrig(
        "adopt", "--template", str(adopter.template), "--template-version", "v1.0.0", "--yes", "--json", *words
    )


def committed(folder: Path, revision: str) -> dict[str, bytes]:
    paths = git(folder, "ls-tree", "-r", "-z", "--name-only", revision).rstrip("\0").split("\0")
    return {
        path: subprocess.run(["git", "show", f"{revision}:{path}"], cwd=folder, capture_output=True, check=True).stdout
        for path in paths
    }


def lines(content: bytes) -> Counter[bytes]:
    return Counter(content.splitlines())


def require_nothing_lost(folder: Path, branch: str = "labrig-adopt") -> None:
    """Every line of the user's is on the branch, and what was valid before is valid still."""
    before, after = committed(folder, "main"), committed(folder, branch)
    assert before.keys() <= after.keys()
    for path, content in before.items():
        assert not lines(content) - lines(after[path]), path
        assert not path.endswith((".py", ".ipynb", ".cfg", ".txt", ".lock")) or after[path] == content
    for path, content in after.items():
        kind = keys.format_of(path)
        if kind in keys.WRITERS:
            keys.parse(kind, content.decode("utf-8-sig"))
        elif path.endswith(".py"):
            ast.parse(content)


def outcomes(folder: Path) -> set[str]:
    """How each test of a repository ends."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}:{folder / 'src'}", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        line.partition(" - ")[0] for line in done.stdout.splitlines() if line.startswith(("PASSED", "FAILED", "ERROR"))
    }


@pytest.mark.parametrize(
    "name", [name if name in {"src", "scripts"} else pytest.param(name, marks=pytest.mark.complete) for name in SHAPES]
)
def test_a_repository_of_any_shape_comes_under_the_template_and_follows_it(name: str, adopter: Workshop) -> None:
    start(adopter, SHAPES[name], f"{name}-net")
    before, results = adopter.state(), outcomes(adopter.root)
    assert {line.split()[0] for line in results} == {"PASSED", "FAILED"}
    done = adopt(adopter, *FLAGS.get(name, []))
    assert done.code == 0, done
    assert adopter.state() == before
    assert git(adopter.root, "for-each-ref", "--format=%(refname)") == "refs/heads/labrig-adopt\nrefs/heads/main"
    assert "pyproject.toml" in done.object["files"]
    require_nothing_lost(adopter.root)
    git(adopter.root, "merge", "--quiet", "--ff-only", "labrig-adopt")
    assert outcomes(adopter.root) == results
    findings = adopter.labrig("check", "--ignore", "LR001", "--json").object["repositories"][0]["findings"]
    assert findings == []
    updated = adopter.labrig("update", "--yes", "--no-lock", "--json")
    assert updated.code == 0, updated
    changed = set(updated.object["files"])
    assert ".gitignore" in changed
    assert not any(path.startswith(("src/", "tests/", "README")) for path in changed)
    assert adopter.record()["_commit"] == "v2.0.0"


def answers(shape: Shape, remote: str = "", folder: str = "demo") -> dict[str, tuple[object, str]]:
    """What is found in a repository: each answer and how far it can be trusted."""
    contents = {
        path: content.encode() if isinstance(content, str) else content or b"" for path, content in shape.items()
    }
    files = Files(contents, contents.__getitem__, folder=folder, remote=remote)
    found = infer(files, {"python": ["3.11", "3.12", "3.13", "3.14"]})
    assert all(each.source for each in found.values())
    return {name: (each.value, each.confidence) for name, each in found.items()}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "src",
            {
                "project_name": ("lens", STATED),
                "package": ("lens", STATED),
                "description": ("Learns to see.", STATED),
                "author_email": ("ada@example.org", STATED),
                "license": ("mit", STATED),
                "framework": ("pytorch", STATED),
                "package_manager": ("uv", STATED),
                "python": ("3.12", STATED),
                "type_checker": ("pyright", STATED),
                "ci": ("github", STATED),
                "editor": ("vscode", STATED),
            },
        ),
        (
            "flat",
            {
                "package": ("tide", STATED),
                "description": ("Models of the tide in JAX, for harbours.", LIKELY),
                "license": ("none", STATED),  # the GPL, which the template does not write
                "framework": ("jax", STATED),
                "package_manager": ("uv", LIKELY),
                "type_checker": ("mypy", STATED),
                "ci": ("gitlab", STATED),
            },
        ),
        (
            "scripts",
            {
                "project_name": ("demo", LIKELY),
                "framework": ("jax", STATED),
                "package_manager": ("pip", LIKELY),
                "accelerator": ("cu12", STATED),
                "license": ("none", LIKELY),
                "type_checker": ("none", LIKELY),
            },
        ),
        (
            "setup",
            {
                "project_name": ("ripple", STATED),
                "author_name": ("Grace Hopper", STATED),
                "python": ("3.12", LIKELY),
                "license": ("apache-2.0", STATED),
                "package_manager": ("pip", LIKELY),
            },
        ),
        (
            "conda",
            {
                "project_name": ("demo", LIKELY),
                "author_name": ("Jane Goodall", STATED),
                "framework": ("pytorch", STATED),
                "package_manager": ("conda", STATED),
                "python": ("3.11", STATED),
                "launchers": (["slurm"], LIKELY),
            },
        ),
        ("cruft", {"package": ("crab", STATED), "package_manager": ("poetry", STATED), "python": ("3.12", LIKELY)}),
    ],
)
def test_what_a_repository_says_of_itself_is_found(name: str, expected: dict[str, tuple[object, str]]) -> None:
    found = answers(SHAPES[name])
    assert {question: found.get(question) for question in expected} == expected


@pytest.mark.parametrize(
    ("shape", "question", "expected"),
    [
        ({"a.py": "import torch\n", "b.py": "import jax\n"}, "framework", ("pytorch", GUESS)),
        ({"a.py": "print 'old'\nimport torch\n"}, "framework", ("pytorch", STATED)),
        ({"a.py": "x = 'import torch'\n"}, "framework", ("pytorch", GUESS)),
        ({"requirements.txt": "flax\n"}, "framework", ("jax", LIKELY)),
        ({"a.py": "import torch\nfrom lightning.pytorch import Trainer\n"}, "library", ("lightning", LIKELY)),
        ({"a.py": "import torch\nfrom transformers import Trainer\n"}, "library", ("transformers", GUESS)),
        ({"a.py": "import jax\nimport equinox as eqx\n"}, "library", ("equinox", LIKELY)),
        ({"a.py": "import keras\n"}, "framework", ("tensorflow", STATED)),
        ({"requirements.txt": "tensorflow[and-cuda]==2.21.0\n"}, "framework", ("tensorflow", LIKELY)),
        ({"requirements.txt": "tensorflow[and-cuda]==2.21.0\n"}, "accelerator", ("cu129", LIKELY)),
        ({"a.py": "from sklearn.svm import SVC\n"}, "framework", ("sklearn", STATED)),
        ({"requirements.txt": "scikit-learn\n"}, "framework", ("sklearn", LIKELY)),
        ({"a.py": "import torch\n", "b.py": "import sklearn\n"}, "framework", ("pytorch", STATED)),
        ({"uv.lock": "", "poetry.lock": ""}, "package_manager", ("uv", GUESS)),
        ({"environment.yml": "", "requirements.txt": ""}, "package_manager", ("conda", LIKELY)),
        ({"pyproject.toml": '[project]\nrequires-python = ">=3.8,<3.10"\n'}, "python", (">=3.8,<3.10", GUESS)),
        ({"pyproject.toml": '[project]\nrequires-python = ">=3.13"\n'}, "python", ("3.14", LIKELY)),
        ({".python-version": "3.9\n"}, "python", ("3.9", STATED)),
        (
            {"requirements.txt": "--index-url https://download.pytorch.org/whl/cu128\n"},
            "accelerator",
            ("cu128", STATED),
        ),
        ({"environment.yml": "dependencies: [pytorch-cuda=12.1]\n"}, "accelerator", ("cu121", STATED)),
        ({"MyNet/__init__.py": ""}, "package", ("mynet", LIKELY)),
        ({"one/__init__.py": "", "two/__init__.py": "", "two/a.py": ""}, "package", ("two", LIKELY)),
        ({"tests/__init__.py": "", "docs/__init__.py": ""}, "package", None),
        ({"setup.cfg": "[metadata]\nname = odd\nauthor = Ada\n"}, "project_name", ("odd", STATED)),
        ({"LICENSE": "Redistribution ...\nNeither the name of ...\n"}, "license", ("bsd-3-clause", STATED)),
        ({"pyproject.toml": '[project]\nname = "x"\ndescription = "a\\u001b[2Jb"\n'}, "description", ("a[2Jb", STATED)),
        ({"train.sh": "#!/bin/sh\n#SBATCH -t 1\n"}, "launchers", (["slurm"], LIKELY)),
        ({"train.sh": "#!/bin/sh\necho '#SBATCH'\n"}, "launchers", None),
        ({"a.py": "import mlflow\nimport wandb\n"}, "trackers", (["wandb", "mlflow"], LIKELY)),
        ({"requirements.txt": "tensorboardX==2.6\n"}, "trackers", (["tensorboard"], LIKELY)),
        ({"a.py": "x = 'import wandb'\n"}, "trackers", None),
        ({"a.py": "import hydra\n"}, "config", ("hydra", LIKELY)),
    ],
)
def test_evidence_is_weighed(shape: Shape, question: str, expected: tuple[object, str] | None) -> None:
    assert answers(shape).get(question) == expected


@pytest.mark.parametrize(
    "content",
    [
        "project = 3\ntool = []\n",
        '[project]\nname = 3\nauthors = ["Ada"]\ndependencies = "torch"\nlicense = []\nrequires-python = ["3"]\n',
        "[tool.poetry]\nauthors = [[1]]\ndependencies = 1\n",
        "\ufeff[project]\r\nname = 'bom'\r\n",
        "[project\n",
    ],
)
def test_a_manifest_of_any_form_is_read(content: str) -> None:
    found = answers({"pyproject.toml": content, "setup.cfg": "[x", "setup.py": "(", "environment.yml": "- a\n- {b: [}"})
    assert found["project_name"] == (("bom", STATED) if "bom" in content else ("demo", LIKELY))


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        ("https://ada:secret@github.com/ada/lens.git", "https://github.com/ada/lens"),
        ("git@gitlab.example.org:group/sub/lens.git", "https://gitlab.example.org/group/sub/lens"),
        ("ssh://git@example.org:2222/ada/lens", "https://example.org/ada/lens"),
        ("/home/ada/lens.git", None),
        ("../lens", None),
    ],
)
def test_the_address_of_the_remote_is_told_without_a_password(remote: str, expected: str | None) -> None:
    found = answers({}, remote=remote)
    assert found.get("repository") == ((expected, STATED) if expected else None)
    assert "secret" not in str(found)
    assert found["project_name"] == ("lens", LIKELY)


@pytest.mark.parametrize(
    ("shape", "author", "expected"),
    [
        ({}, ("Ada", "ada@example.org"), [("Ada", LIKELY), ("ada@example.org", LIKELY)]),
        ({}, ("Ada", "ada@laptop"), [("Ada", LIKELY), None]),
        ({}, ("Ada", "1+ada@users.noreply.github.com"), [("Ada", LIKELY), None]),
        ({}, ("", ""), [None, None]),
        (
            {"LICENSE": MIT},
            ("Ada Lovelace", "ada@example.org"),
            [("Ada Lovelace", LIKELY), ("ada@example.org", LIKELY)],
        ),
        ({"LICENSE": MIT}, ("Bob", "bob@example.org"), [("Ada Lovelace", LIKELY), None]),
    ],
)
def test_who_made_most_commits_is_the_author_where_nobody_is_named(
    shape: Shape, author: tuple[str, str], expected: list[tuple[str, str] | None]
) -> None:
    contents = {path: str(content).encode() for path, content in shape.items()}
    found = infer(Files(contents, contents.__getitem__, folder="demo", remote="", author=author), {})
    named = [found.get("author_name"), found.get("author_email")]
    assert [each and (each.value, each.confidence) for each in named] == expected


@pytest.mark.parametrize(
    ("shape", "words", "present", "absent"),
    [
        (
            SRC,
            ["--level", "answers"],
            [".github/workflows/template.yml"],
            ["CITATION.cff", "AGENTS.md", "EXPERIMENTS.md"],
        ),
        (SCRIPTS, ["--level", "full"], ["src/demo/train.py", "AGENTS.md", "requirements/cpu.txt"], ["README.md"]),
        pytest.param(FLAT, ["--level", "full"], ["pyproject.toml"], ["src/tide/train.py"], marks=pytest.mark.release),
    ],
)
def test_a_level_says_how_much_is_taken(
    shape: Shape, words: list[str], present: list[str], absent: list[str], adopter: Workshop
) -> None:
    start(adopter, shape)
    done = adopt(adopter, "--accelerator", "cpu", *words)
    assert done.code == 0, done
    files = committed(adopter.root, "labrig-adopt")
    assert set(present) <= files.keys()
    assert not set(absent) & files.keys()
    assert "lint" in tomllib.loads(files["pyproject.toml"].decode())["tool"]["poe"]["tasks"]
    require_nothing_lost(adopter.root)


@pytest.mark.parametrize(
    "manifest",
    [
        '[dependency-groups]\ndev = [\n  "Ruff==0.5",\n]\n',
        '[dependency-groups]\nlint = ["ruff"]\n',
        '[project]\nname = "x"\nversion = "1"\ndependencies = ["ruff[extra]<0.6 ; python_version > \'3\'"]\n',
        '[project]\nname = "x"\nversion = "1"\n\n[project.optional-dependencies]\ndev = ["ruff~=0.5"]\n',
        '[tool.uv]\ndev-dependencies = ["ruff==0.5"]\n',
        '[tool.pdm.dev-dependencies]\nlint = ["ruff"]\n',
        '[tool.poetry.dependencies]\nruff = "^0.5"\n',
        '[tool.poetry.dev-dependencies]\nruff = "^0.5"\n',
        '[tool.poetry.group.lint.dependencies]\nruff = {version = "^0.5"}\n',
    ],
)
def test_a_tool_that_is_asked_for_already_is_not_asked_for_twice(manifest: str) -> None:
    contents = {"pyproject.toml": manifest.encode(), "a/__init__.py": b""}
    files = Files(contents, contents.__getitem__, folder="demo", remote="")
    theirs = '[dependency-groups]\ndev = [\n  "poethepoet>=0.45,<1",\n  "ruff>=0.17,<0.18",\n]\n'
    selection = Selection(files, (), "tools", with_project=False)
    file, standing = selection.taken("pyproject.toml", RenderedFile(theirs.encode(), False), unite=True)
    assert tomllib.loads(file.content.decode()) == {"dependency-groups": {"dev": ["poethepoet>=0.45,<1"]}}
    assert standing.keys() == {"pyproject.toml:dependency-groups.dev.ruff"}


def test_what_is_left_of_a_list_is_recorded_and_is_no_drift(adopter: Workshop) -> None:
    group = '\n[dependency-groups]\ndev = [\n  "ruff==0.5",\n]\n'
    start(adopter, {**FLAT, "pyproject.toml": f"{FLAT['pyproject.toml']!s}{group}"})
    done = adopt(adopter)
    assert done.object["left"]["pyproject.toml:dependency-groups.dev.ruff"] == "yours stands"
    git(adopter.root, "merge", "--quiet", "--ff-only", "labrig-adopt")
    assert '"ruff==0.5",\n' in adopter.read("pyproject.toml")
    assert '"poethepoet' in adopter.read("pyproject.toml")
    assert adopter.labrig("check", "--ignore", "LR001").code == 0
    assert adopter.labrig("update", "--yes", "--no-lock").code == 0
    assert '"ruff==0.5",\n' in adopter.read("pyproject.toml")


def test_settings_of_the_editor_are_united_and_the_users_stand(adopter: Workshop) -> None:
    mine = """\
{
    // Mine, with a comma too many.
    "[python]": {
        "editor.defaultFormatter": "mine.black"
    },
    "python.testing.pytestEnabled": false,
}
"""
    listed = '{\n\t"recommendations": [\n\t\t"ms-python.python"\n\t]\n}\n'
    start(adopter, {**FLAT, ".vscode/settings.json": mine, ".vscode/extensions.json": listed, ".gitignore": ""})
    done = adopt(adopter)
    assert done.code == 0, done
    require_nothing_lost(adopter.root)
    git(adopter.root, "merge", "--quiet", "--ff-only", "labrig-adopt")
    settings = keys.parse("jsonc", adopter.read(".vscode/settings.json"))
    assert settings["python.testing.pytestEnabled"] is False
    assert settings["[python]"] == {
        "editor.codeActionsOnSave": {"source.organizeImports.ruff": "explicit"},
        "editor.defaultFormatter": "mine.black",
        "editor.formatOnSave": True,
    }
    assert settings["python.analysis.typeCheckingMode"] == "off"
    assert json.loads(adopter.read(".vscode/extensions.json")) == {
        "recommendations": [
            "charliermarsh.ruff",
            "ms-python.debugpy",
            "ms-python.mypy-type-checker",
            "ms-python.python",
        ]
    }
    left = {name for name in done.object["left"] if name.startswith(".vscode")}
    assert left == {
        ".vscode/launch.json",
        ".vscode/tasks.json",
        ".vscode/settings.json:python.editor.defaultFormatter",
        ".vscode/settings.json:python.testing.pytestEnabled",
    }
    assert adopter.labrig("check", "--ignore", "LR001").code == 0


def test_settings_that_are_not_valid_are_left(adopter: Workshop) -> None:
    start(adopter, {**FLAT, ".vscode/settings.json": '{"a": }\n', ".gitignore": ""})
    done = adopt(adopter)
    assert done.object["left"][".vscode/settings.json"].startswith("yours cannot be merged: ")
    assert committed(adopter.root, "labrig-adopt")[".vscode/settings.json"] == b'{"a": }\n'


@pytest.mark.parametrize("other", ["renovate.json", ".renovaterc", ".github/renovate.json5"])
def test_no_second_renovate_is_configured(other: str, adopter: Workshop) -> None:
    start(adopter, {**SRC, other: "{}\n"})
    assert adopt(adopter).object["left"][".github/renovate.json"] == f"you have {other}"


@pytest.mark.parametrize(("words", "expected"), [([], False), (["--with-project"], True)])
def test_no_project_is_put_beside_a_setup_py_without_consent(
    words: list[str], expected: bool, adopter: Workshop
) -> None:
    start(adopter, SETUP)
    assert adopt(adopter, "--level", "full", *words).code == 0
    manifest = tomllib.loads(committed(adopter.root, "labrig-adopt")["pyproject.toml"].decode())
    assert ("project" in manifest) == ("build-system" in manifest) == expected
    assert "pytest" not in manifest["tool"]
    assert not list(adopter.folder.rglob("executed")), "setup.py was run"


def test_hostile_files_are_kept_byte_for_byte(adopter: Workshop) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n"
    other = adopter.folder / "other"
    put(other, {"a": "b\n"})
    git(other, "init", "--quiet")
    git(other, "add", "--all")
    git(other, "commit", "--quiet", "--message", "x")
    files = {
        "train.py": "import torch\n# caf\xe9\n".encode("latin-1"),
        "pyproject.toml": b"\xef\xbb\xbf[tool.black]\r\nline-length = 90 # mine\r\n",
        ".gitignore": "*.log\r\n# gr\xfc\xdfe\r\n".encode("latin-1"),
        "data.bin": pointer.encode(),
        ".gitattributes": b"*.bin filter=lfs diff=lfs merge=lfs -text\n",
        "citation.CFF": b"cff-version: 1.2.0\n",
        "Readme.md": b"# Mine\n",
        ".pre-commit-config.yaml": b"x: &a 1\ny: *a\n",
        ".vscode": b"a file where the template has a folder\n",
    }
    start(adopter, files)
    git(adopter.root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), ".github")
    (adopter.root / "launch").symlink_to("Readme.md")
    adopter.commit()
    before = adopter.state()
    done = adopt(adopter, "--level", "full", "--editor", "vscode")
    assert done.code == 0, done
    assert adopter.state() == before
    changed = git(adopter.root, "diff", "--name-only", "main", "labrig-adopt", "--diff-filter=a").split()
    assert changed == [".gitignore", "pyproject.toml"]
    manifest = subprocess.run(
        ["git", "show", "labrig-adopt:pyproject.toml"], cwd=adopter.root, capture_output=True, check=True
    ).stdout
    assert manifest.startswith(files["pyproject.toml"])
    assert manifest.count(b"\n") == manifest.count(b"\r\n") > 20
    tomllib.loads(manifest.decode("utf-8-sig"))
    ignored = subprocess.run(
        ["git", "show", "labrig-adopt:.gitignore"], cwd=adopter.root, capture_output=True, check=True
    ).stdout
    assert ignored.endswith(files[".gitignore"])
    paths = git(adopter.root, "ls-tree", "-r", "--name-only", "labrig-adopt").split()
    assert len({path.casefold() for path in paths}) == len(paths)
    left = done.object["left"]
    assert left[".pre-commit-config.yaml"] == "yours cannot be merged: it uses anchors"
    assert left["CITATION.cff"] == "you have citation.CFF"


def test_what_is_not_committed_is_neither_read_nor_touched(adopter: Workshop) -> None:
    start(adopter, SRC)
    put(adopter.root, {"README.md": "changed\n", "new.py": "import jax\n"})
    git(adopter.root, "add", "README.md")
    before = adopter.state()
    done = adopt(adopter)
    assert done.code == 0
    assert adopter.state() == before
    assert "what is not committed was not looked at: changes in 1 files" in done.object["notes"]
    assert done.object["answers"]["framework"] == "pytorch"


@pytest.mark.release
def test_a_folder_of_a_larger_repository_can_be_adopted(adopter: Workshop) -> None:
    start(adopter, {f"lens/{path}": content for path, content in SRC.items()} | {"other.txt": "x\n"})
    done = adopter.labrig("adopt", "lens", "--template", str(adopter.template), "--template-version", "v1.0.0", "--yes")
    assert done.code == 0, done
    changed = git(adopter.root, "diff", "--name-only", "main", "labrig-adopt").split()
    assert changed
    assert all(path.startswith("lens/") for path in changed)


def test_a_plan_shows_everything_and_writes_nothing(adopter: Workshop) -> None:
    start(adopter, SCRIPTS)
    objects = sorted((adopter.root / ".git").rglob("*"))
    done = adopter.labrig("adopt", "--plan", "--template", str(adopter.template), "--template-version", "v1.0.0")
    assert done.code == 0
    assert "+[tool.ruff]" in done.out
    assert "accelerator: requirements.txt says cu12, which cannot be taken" in done.err
    assert done.err.rstrip().endswith("Nothing was written.")
    assert sorted((adopter.root / ".git").rglob("*")) == objects


def test_a_weak_answer_stops_and_names_its_flag(adopter: Workshop) -> None:
    start(adopter, {"a.py": "import numpy\n", ".python-version": "3.9\n"})
    done = adopt(adopter)
    assert done.code == 3
    error = done.object["error"]
    assert error["kind"] == "decision"
    assert "framework: nothing imports PyTorch, JAX, TensorFlow or scikit-learn" in error["cause"]
    assert "python: .python-version says 3.9, which cannot be taken; choose 3.11, 3.12, 3.13, 3.14" in error["cause"]
    assert "--framework ... --python ... --yes" in error["tip"]
    assert adopt(adopter, "--framework", "jax", "--set", "python=3.11").code == 0
    assert re.search(r"framework +jax +stated: you\n", git(adopter.root, "log", "-1", "--format=%B", "labrig-adopt"))
    record = yaml.safe_load(committed(adopter.root, "labrig-adopt")[ANSWERS_FILE])
    assert (record["framework"], record["python"], record["_commit"]) == ("jax", "3.11", "v1.0.0")


def refused(adopter: Workshop, *words: str) -> str:
    """The whole error of an adoption that is refused; nothing may be changed by it."""
    before = adopter.state(), git(adopter.root, "for-each-ref")
    done = adopter.labrig("adopt", *words)
    assert done.code == 2, done
    assert (adopter.state(), git(adopter.root, "for-each-ref")) == before
    assert "error: " in done.err
    assert "tip: " in done.err or "cause: " in done.err
    return done.err


def test_every_refusal_says_what_why_and_what_next(adopter: Workshop, plain_template: Path) -> None:
    start(adopter, SRC)
    words = ["--template", str(adopter.template), "--yes"]
    assert "labrig adopt --plan" in refused(adopter, *words[:2])
    assert "has no versions" in refused(adopter, "--template", str(plain_template), "--yes")
    assert "cannot be the name of a branch" in refused(adopter, *words, "--branch", "a..b")
    assert "Did you mean" in refused(adopter, *words, "--framework", "jaxx")
    put(adopter.root, {"CITATION.cff": "mine\n"})
    assert "files that git does not know are in the way: CITATION.cff" in refused(adopter, *words)
    (adopter.root / "CITATION.cff").unlink()
    git(adopter.root, "branch", "labrig-adopt")
    assert "there is a branch labrig-adopt already" in refused(adopter, *words)
    adopter.change({ANSWERS_FILE: "_src_path: gh:somebody/template\n_commit: v1\n"})
    assert f"git mv {ANSWERS_FILE}" in refused(adopter, *words)
    adopter.change({ANSWERS_FILE: f"_src_path: {adopter.template}\n_commit: v1\n"})
    assert "is under this template already" in refused(adopter, *words)


def test_a_repository_without_a_commit_is_refused(adopter: Workshop) -> None:
    adopter.root.mkdir()
    git(adopter.root, "init", "--quiet")
    done = adopt(adopter)
    assert done.code == 2
    assert "has no commit yet" in done.object["error"]["message"]


def test_another_template_needs_the_question_that_records_what_is_left(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": "x\n"})
    start(workshop, {"a.txt": "y\n"})
    words = ["adopt", "--template", str(workshop.template), "--yes"]
    done = workshop.labrig(*words)
    assert done.code == 1
    assert "it has no question 'exclude'" in done.err
    questions = (
        "name: {type: str, default: demo}\nframework: {type: str, default: jax}\nexclude: {type: str, default: ''}\n"
    )
    workshop.release("v2", {"a.txt": "z\n"}, questions)
    done = workshop.labrig(*words, "--framework", "jax")
    assert done.code == 1
    assert "does not heed" in done.err


def test_the_branch_explains_itself_and_what_was_left_can_be_taken_later(adopter: Workshop) -> None:
    start(adopter, SRC)
    done = adopt(adopter)
    commits = git(adopter.root, "log", "--reverse", "--format=%H", "main..labrig-adopt").split()
    assert done.object["commits"] == commits
    kinds = [set(git(adopter.root, "show", "--format=", "--name-status", commit).split()[::2]) for commit in commits]
    assert kinds == [{"A"}, {"M"}, {"A"}]
    message = git(adopter.root, "log", "-1", "--format=%B", "labrig-adopt")
    assert "stated: pyproject.toml" in message
    assert re.search(r"pyproject\.toml:tool\.ruff\.line-length.*: yours stands", message)
    git(adopter.root, "merge", "--quiet", "--ff-only", "labrig-adopt")
    words = adopter.record()["exclude"].split()
    assert adopter.labrig("why", "README.md:1").out == "README.md:1: yours\n"
    line = adopter.read("pyproject.toml").splitlines().index("[tool.ruff.lint.per-file-ignores]") + 1
    assert "template/tools.toml.part" in adopter.labrig("why", f"pyproject.toml:{line}").out
    assert "+# Experiments" in adopter.labrig("diff", f"exclude={' '.join(set(words) - {'EXPERIMENTS.md'})}").out
    assert adopter.labrig("set", f"exclude={' '.join(set(words) - {'EXPERIMENTS.md'})}").code == 0
    assert adopter.status() == ["M  .copier-answers.yml", "A  EXPERIMENTS.md"]


def test_on_a_terminal_what_is_open_is_asked_and_everything_can_be_changed(adopter: Workshop) -> None:
    start(adopter, {"a.py": "import numpy\n"})
    words = ["adopt", "--template", str(adopter.template), "--template-version", "v1.0.0"]
    terminal = Terminal(adopter.root, *words, variables={"GIT_CONFIG_GLOBAL": str(adopter.folder / "home/.gitconfig")})
    terminal.expect("nothing imports PyTorch, JAX, TensorFlow or scikit-learn")
    terminal.expect("Which framework?")
    terminal.press(DOWN, ENTER)
    terminal.expect("Go on with these answers")
    terminal.press(ENTER)
    code, shown = terminal.end()
    assert code == 0
    assert "yours is as it was" in shown
    assert yaml.safe_load(committed(adopter.root, "labrig-adopt")[ANSWERS_FILE])["framework"] == "jax"


def test_without_a_name_for_the_commits_nothing_is_written(adopter: Workshop) -> None:
    start(adopter, SRC)
    (adopter.folder / "home/.gitconfig").write_text("[user]\n\tuseConfigOnly = true\n")
    done = adopt(adopter)
    assert done.code == 1
    assert "git config --global user.name" in done.object["error"]["tip"]
    assert git(adopter.root, "for-each-ref", "--format=%(refname)") == "refs/heads/main"


@pytest.mark.release
@pytest.mark.parametrize("name", SHAPES)
def test_plain_copier_leaves_out_the_same_files(name: str, adopter: Workshop) -> None:
    start(adopter, SHAPES[name], f"{name}-net")
    assert adopt(adopter, *FLAGS.get(name, [])).code == 0
    git(adopter.root, "merge", "--quiet", "--ff-only", "labrig-adopt")
    done = adopter.copier("--vcs-ref", "v2.0.0")
    assert done.returncode == 0, done.stderr
    copy = adopter.folder / "demo-copier"
    changed = git(copy, "status", "--porcelain", "--untracked-files=all").splitlines()
    assert changed
    assert not [line for line in changed if line[3:].startswith(("src/", "tests/", "README", "LICENSE"))]


HOSTILE = {
    "apply.whitespace": "error",
    "commit.gpgSign": "true",
    "core.hooksPath": "hooks",
    "diff.external": "false",
    "diff.noprefix": "true",
    "gpg.program": "false",
    "log.showSignature": "true",
    "merge.conflictStyle": "diff3",
}


@pytest.mark.parametrize("line_ends", ["true", pytest.param("input", marks=pytest.mark.release)])
def test_no_setting_of_git_changes_an_adoption(line_ends: str, adopter: Workshop) -> None:
    start(adopter, FLAT)
    assert adopt(adopter, "--branch", "plain").code == 0
    for name, value in {**HOSTILE, "core.autocrlf": line_ends}.items():
        git(adopter.root, "config", name, value)
    put(adopter.folder, {"hooks/pre-commit": "#!/bin/sh\nexit 1\n"})
    done = adopt(adopter)
    assert done.code == 0, done
    assert committed(adopter.root, "labrig-adopt") == committed(adopter.root, "plain")


@pytest.mark.parametrize("kind", ["detached", "worktree", "sparse", "shallow", "partial", "merging"])
def test_a_repository_in_any_state_is_adopted_and_left_as_it_was(kind: str, adopter: Workshop) -> None:
    start(adopter, FLAT)
    origin, copy = adopter.root, adopter.folder / "copy"
    adopter.change({"README.rst": "tide\n====\n\nModels of the tide in *JAX*, for all harbours.\n"})
    expected = committed(origin, "main")
    git(origin, "config", "uploadpack.allowFilter", "true")
    if kind in {"shallow", "partial"}:
        words = ["--depth=1"] if kind == "shallow" else ["--filter=blob:none", "--no-checkout"]
        git(adopter.folder, "clone", "--quiet", *words, f"file://{origin}", str(copy))
        adopter.root = copy
    elif kind == "worktree":
        git(origin, "worktree", "add", "--quiet", "-b", "other", str(copy))
        adopter.root = copy
    elif kind == "detached":
        git(origin, "checkout", "--quiet", "--detach")
    elif kind == "sparse":
        git(origin, "sparse-checkout", "set", "tide")
    else:
        git(origin, "checkout", "--quiet", "-b", "side", "HEAD~1")
        adopter.change({"README.rst": "mine\n"})
        git(origin, "checkout", "--quiet", "main")
        subprocess.run(["git", "merge", "--quiet", "side"], cwd=origin, capture_output=True, check=False)
        assert (origin / ".git/MERGE_HEAD").exists()
    before = (git(adopter.root, "status", "--porcelain"), git(adopter.root, "rev-parse", "HEAD"))
    done = adopt(adopter)
    assert done.code == 0, done
    assert (git(adopter.root, "status", "--porcelain"), git(adopter.root, "rev-parse", "HEAD")) == before
    after = committed(adopter.root, "labrig-adopt")
    assert after.keys() > expected.keys()
    for path, content in expected.items():
        assert not lines(content) - lines(after[path]), path


@pytest.mark.release
def test_a_kill_at_any_moment_leaves_the_whole_branch_or_none(adopter: Workshop) -> None:
    start(adopter, FLAT)
    before = adopter.state()
    words = ["adopt", "--template", str(adopter.template), "--template-version", "v1.0.0", "--yes", "--quiet"]
    command = [sys.executable, "-m", "labrig", *words]
    began = time.monotonic()
    subprocess.run(command, cwd=adopter.root, check=True, capture_output=True)
    seconds = time.monotonic() - began
    whole = git(adopter.root, "rev-parse", "labrig-adopt^{tree}")
    chance = random.Random(3)
    for _ in range(20):
        git(adopter.root, "branch", "--quiet", "-D", "labrig-adopt")
        process = subprocess.Popen(
            command, cwd=adopter.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(chance.uniform(0.2, 1.1) * seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert adopter.state() == before
        if not git(adopter.root, "branch", "--list", "labrig-adopt"):
            assert adopt(adopter).code == 0
        assert git(adopter.root, "rev-parse", "labrig-adopt^{tree}") == whole


@pytest.mark.parametrize("limit", [1000, 4000, 100_000])
def test_a_full_disk_leaves_no_half_of_a_branch(adopter: Workshop, limit: int) -> None:
    start(adopter, FLAT)
    before = adopter.state()

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    words = ["adopt", "--template", str(adopter.template), "--template-version", "v1.0.0", "--yes", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", "labrig", *words],
        cwd=adopter.root,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=small_files,
    )
    assert "Traceback" not in done.stderr
    assert adopter.state() == before
    if limit < 100_000:  # for which the longest file is too long
        assert done.returncode == 1, done.stderr
        assert not git(adopter.root, "branch", "--list", "labrig-adopt")
        assert adopt(adopter).code == 0
    assert adopter.state() == before


def test_what_an_environment_of_conda_lacks_is_named(adopter: Workshop) -> None:
    start(adopter, CONDA)
    notes = adopt(adopter).object["notes"]
    assert "add to your environment: poethepoet, prek, pytest, ruff" in notes
