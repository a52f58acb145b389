"""The Modal launcher of a generated repository: its app with the real package, without a network and an account.

Nobody runs it on Modal. What its function does is run here, and what its image would be made of is read, and followed.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tomllib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from environments import PythonOf, newest
from hosts.tools import POETRY, Tools
from locks import lock_commands
from repositories import STACK, choices, legal_combinations, resolve, write
from stand_ins import stand_in
from test_slurm import SLOW, Repository, commit
from tools import VERSIONS, uvx

pytestmark = pytest.mark.complete

BUILDERS = ("2025.06", "2026.10")  # what Modal calls the ways it makes images; older ones need modal in the lock
NOWHERE = {"MODAL_SERVER_URL": "http://127.0.0.1:9", "MODAL_TOKEN_ID": "", "MODAL_TOKEN_SECRET": ""}

# Imports the app of each folder, and says how its function is called and what its image is made of.
READER = """
import importlib.util, json, sys
import modal
from modal._image import _Image

steps = []
made = _Image._from_args
def noted(**given):
    steps.append(given)
    return made(**given)
_Image._from_args = staticmethod(noted)

given = {}
decorate = modal.App.function
def noted_too(self, **options):
    given.update(options)
    return decorate(self, **options)
modal.App.function = noted_too

found = {}
for folder in sys.argv[2:]:
    steps.clear()
    spec = importlib.util.spec_from_file_location("app", f"{folder}/launch/modal/app.py")
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    files = [step["dockerfile_function"](sys.argv[1]) for step in steps if "dockerfile_function" in step]
    function = app.train._spec_
    found[folder] = {
        "commands": [line for file in files for line in file.commands],
        "files": {name: str(path) for file in files for name, path in file.context_files.items()},
        "gpu": function.gpus, "cpu": function.cpu, "volumes": list(function.volumes),
        "timeout": given["timeout"], "retries": given["retries"].max_retries,
    }
print(json.dumps(found))
"""


def read(builder: str, *folders: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    words = uvx("modal", "python", "-c", READER, builder, *folders)
    done = subprocess.run(words, env={**environment, **NOWHERE}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("builder", BUILDERS)
def test_every_image_is_made_from_the_lock_of_the_build(builder: str, tools: Tools, tmp_path: Path) -> None:
    asked = ("framework", "package_manager", "accelerator")
    combinations = {tuple(each[name] for name in asked): each for each in legal_combinations()}
    written = {}
    for (framework, manager, accelerator), each in combinations.items():
        if accelerator not in {"rocm", "tpu"}:
            folder = tmp_path / f"{framework}-{manager}-{accelerator}"
            write(resolve({**each, "launchers": ["modal"]}), folder)
            (folder / "uv.lock").touch()
            written[folder] = manager, accelerator, each["python"]
    assert {manager for manager, *_ in written.values()} == set(choices("package_manager"))
    found = read(builder, *written, environment={**tools.environment, "GPU": "H100:8", "TIMEOUT": "60"})
    for folder, (manager, accelerator, python) in written.items():
        app = found[str(folder)]
        assert (app["gpu"], app["cpu"], app["volumes"]) == ("H100:8", 8, ["/code/runs"])
        assert app["timeout"] == 360
        assert app["retries"] == 10
        first, *commands = app["commands"]
        base = "FROM mambaorg/micromamba:" if manager == "conda" else f"FROM python:{python}"
        assert first.startswith(base)
        install = {
            "uv": "/.uv/uv sync --project=/.uv --no-install-workspace --compile-bytecode --no-dev --frozen",
            "pip": f"pip install --require-hashes --requirement /requirements/{accelerator}.txt",
            "conda": "micromamba install -f /environment.lock -n base --yes",
            "poetry": f"cd /environment && /poetry/bin/poetry install --no-root --without dev --extras {accelerator}",
        }[manager]
        assert f"RUN {install}" in [re.sub(" +", " ", command) for command in commands]
        copied = {"uv": {"uv.lock", "pyproject.toml"}, "conda": {"environment.lock"}}.get(manager, set())
        assert {Path(path).relative_to(folder).as_posix() for path in app["files"].values()} == copied
        if manager == "uv":
            manifest = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
            assert manifest["tool"]["uv"]["default-groups"] == ["dev", accelerator]
            assert f"COPY --from=ghcr.io/astral-sh/uv:{STACK['managers']['uv']} /uv /.uv/uv" in commands


@pytest.mark.parametrize("manager", ["uv", "pip", "poetry"])
def test_what_the_image_is_made_by_makes_an_environment_that_trains(
    manager: str, tools: Tools, python_of: PythonOf, tmp_path: Path
) -> None:
    """The commands are run here instead of in a container: what is copied to / is then below a folder."""
    python_of("pytorch")  # or there is no wheel of it here
    python = str(newest("pytorch"))
    folder, root = tmp_path / "demo", tmp_path / "image"
    write(resolve({"package_manager": manager, "python": python, "launchers": ["modal"]}), folder)
    for command in lock_commands(folder):
        tools.run(command, folder)
    app = read(BUILDERS[-1], folder, environment=tools.environment)[str(folder)]
    (root / ".uv").mkdir(parents=True)
    (root / ".uv" / "uv").symlink_to(str(shutil.which("uv", path=tools.environment["PATH"])))
    shutil.copytree(folder, root / "environment")
    if manager == "pip":
        shutil.copytree(folder / "requirements", root / "requirements")
    tools.run(f"uv venv --quiet --seed --python {python} {root / 'python'}", root)
    environment = {**tools.environment, "PATH": f"{root / 'python' / 'bin'}:{tools.environment['PATH']}"}
    own = app["commands"][app["commands"].index("FROM base") :]
    for command in own:
        here = re.sub(r"(?<![\w.])/(\.uv|requirements|poetry|environment)(?=/| |$)", rf"{root}/\1", command)
        kind, _, text = here.partition(" ")
        if kind == "RUN":
            tools.run(f"bash -euc {shlex.quote(text)}", root, environment)
        if "pip install poetry==" in text and "POETRY_PYPI_MIRROR_URL" in environment:
            tools.run(f"{root}/poetry/bin/pip install --quiet {POETRY[1]}", root, environment)
        if kind == "ENV":
            environment["PATH"] = text.removeprefix("PATH=").replace("$PATH", environment["PATH"])
        if kind == "COPY" and "--from" not in text and text != ". /":
            source, target = text.split()
            shutil.copy(app["files"][source], target)
    said = tools.run("python -m demo train debug", tmp_path, {**environment, "PYTHONPATH": str(folder / "src")})
    assert "2.13.0+cpu" in tools.run("python -c 'import torch; print(torch.__version__)'", tmp_path, environment)
    assert (tmp_path / "runs" / "debug" / "result.json").exists(), said


# What Modal would run

CALL = """
import importlib.util, sys
import modal

spec = importlib.util.spec_from_file_location("app", f"{sys.argv[1]}/launch/modal/app.py")
app = importlib.util.module_from_spec(spec)
spec.loader.exec_module(app)
try:
    print("returned", app.train.local(*sys.argv[2:]))
except BaseException as error:
    print("raised", type(error).__name__)
"""


class Machine:
    """A machine of Modal, which is this one: it calls the function of a frozen app."""

    def __init__(self, repository: Repository, folder: Path, tools: Tools) -> None:
        self.repository = repository
        packages = folder / "packages"
        install = f"uv pip install --quiet --python {repository.python} --target {packages}"
        tools.run(f"{install} modal=={VERSIONS['modal']}", folder)
        said = json.loads((folder / "asked").read_text())
        self.arguments = said["words"][said["words"].index("--") + 1 :]
        self.code = repository.folder / Path(said["words"][said["words"].index("--") - 1]).parents[2]
        given = {name: said[name] for name in ("PROCESSES", "TIMEOUT")}
        self.environment = {**repository.environment, **NOWHERE, **given, "PYTHONPATH": str(packages)}

    def call(self, *more: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.repository.python, "-c", CALL, self.code, *self.arguments, *more],
            cwd=self.repository.folder,
            env={**self.environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def end(call: subprocess.Popen[str]) -> str:
    """How a call has ended: what it has returned or raised."""
    said, _ = call.communicate(timeout=240)
    found = re.findall(r"^(?:returned|raised) .*$", said, re.MULTILINE)
    assert len(found) == 1, said
    return str(found[0])


def has_started(repository: Repository, before: int) -> bool:
    """Whether the run has been started more often than that."""
    return len(repository.starts("with space")) > before


ASKED = """
import json, os, sys
print(json.dumps({**os.environ, "words": sys.argv[1:]}), file=open(os.environ["ASKED"], "w"))
print("ap-1")
"""


@pytest.mark.parametrize("framework", ["pytorch", "jax"])
def test_a_run_that_modal_interrupts_ends_like_one_by_hand(
    framework: str, python_of: PythonOf, tools: Tools, tmp_path: Path
) -> None:
    folder = tmp_path / "demo"
    write(resolve({"framework": framework, "launchers": ["modal"]}), folder)
    (folder / "uv.lock").touch()
    python = python_of(framework)
    (tmp_path / "note.py").write_text(ASKED)
    stand_in(tmp_path / "tools", "modal", f'exec {python} {tmp_path}/note.py "$@"')
    path = f"{tmp_path / 'tools'}:{os.environ['PATH']}"
    repository = Repository(folder, python, {"PATH": path, "ASKED": str(tmp_path / "asked")})
    commit(repository)
    training = ("debug", "--optim.steps", "400", *SLOW)
    repository.run(python, "-m", "demo", "spawn", "2", "train", *training, "--name", "by hand")
    repository.launch("--on", "modal", "--processes", "2", "--", *training, "--name", "with space")
    repository.edit("src/demo/train.py", '"""', 'raise SystemExit("half-written")\n"""')
    machine = Machine(repository, tmp_path, tools)

    for number, raised in ((signal.SIGINT, "KeyboardInterrupt"), (signal.SIGUSR1, "InputCancellation")):
        call = machine.call()
        starts = len(repository.starts("with space"))
        repository.wait(partial(has_started, repository, starts), "with space")
        call.send_signal(number)
        assert end(call) == f"raised {raised}"
    assert end(machine.call("--optim.steps", "399")) == "returned 1", "a failure is left at that"
    assert end(machine.call()) == "returned 0"
    after = [start["after_step"] for start in repository.starts("with space")]
    assert 0 == after[0] < after[1] < after[2] < 400
    assert repository.losses("with space") == repository.losses("by hand")

    long = ("--name", "long", "--optim.steps", "1000000")
    assert end(machine.call(*long, TIMEOUT="30")) == "raised StartAgainError"
    assert end(machine.call(*long, TIMEOUT="30")) == "raised StartAgainError"
    first, second = repository.starts("long")
    assert 0 == first["after_step"] < second["after_step"]
