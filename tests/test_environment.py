"""Setting environments up with the real package managers, and what is said when that fails."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts.tools import Tools
from repositories import ROOT
from stand_ins import stand_in
from uv import find_uv_bin

from labrig.environment import CommandError, commands, install, last_evaluation, plan, silent_hosts, train, training
from labrig.render import Template
from labrig.report import Report

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

PYPROJECT = """\
[project]
name = "tiny"
version = "0.1.0"
requires-python = ">=3.11"

[tool.poe.tasks]
test = { cmd = "pytest -p no:cacheprovider" }
"""

GROUPS = """\
[dependency-groups]
dev = ["poethepoet>=0.45,<1", "pytest>=9,<10"]
cpu = ["six>=1.17,<2"]
cu130 = ["six>=1.16,<1.17"]

[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"
"""

COMPILE = f"uv pip compile pyproject.toml --group dev --python-version {PYTHON} --generate-hashes --no-header"

MANIFESTS = {
    "uv": GROUPS
    + """
[tool.uv]
default-groups = ["dev", "cu130"]
conflicts = [[{ group = "cpu" }, { group = "cu130" }]]
""",
    "pip": GROUPS
    + f"""
[tool.poe.tasks.lock]
sequence = [
  {{ cmd = "{COMPILE} --group cpu -o requirements/cpu.lock" }},
  {{ cmd = "{COMPILE} --group cu130 -o requirements/cu130.lock" }},
]
""",
    "poetry": """
[project.optional-dependencies]
cpu = ["six>=1.17,<2"]
cu130 = ["six>=1.16,<2"]

[dependency-groups]
dev = ["poethepoet>=0.45,<1", "pytest>=9,<10"]

[build-system]
requires = ["poetry-core>=2.0"]
build-backend = "poetry.core.masonry.api"

[tool.poetry]
packages = [{ include = "tiny", from = "src" }]
""",
    "conda": """
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[tool.poe.tasks.lock]
shell = "conda list --explicit --sha256 > environment.lock"
""",
}

ENVIRONMENT_YML = f"""\
name: tiny
channels: [conda-forge]
dependencies:
  - python={PYTHON}
  - six
  - poethepoet
  - pytest
  - pip
  - pip:
      - --editable .
"""

EXAMPLE = """\
import json, pathlib, sys

print("training", *sys.argv[1:])
rows = [{"step": 0, "test_accuracy": 0.01}, {"step": 9, "test_accuracy": 0.97}, {"step": 9, "loss": 0.1}]
folder = pathlib.Path("runs/baseline")
folder.mkdir(parents=True, exist_ok=True)
(folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\\n" for row in rows))
"""


def answers(manager: str, accelerator: str = "cu130", python: str = PYTHON) -> dict[str, object]:
    return {"package_manager": manager, "accelerator": accelerator, "python": python, "package": "tiny"}


@pytest.fixture(autouse=True)
def machine_without_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder first on PATH, in which no GPU is found."""
    programs = tmp_path / "programs"
    stand_in(programs, "nvidia-smi", "echo 'no devices were found'; exit 6\n")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # the logs of failures stay
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return programs


def repository(
    folder: Path, manager: str, *, more: str = "", test: str = "def test_it() -> None:\n    import tiny\n"
) -> Path:
    """A tiny repository, complete and without lock or environment."""
    files = {
        "pyproject.toml": PYPROJECT + MANIFESTS[manager] + more,
        "src/tiny/__init__.py": "",
        "src/tiny/__main__.py": EXAMPLE,
        "tests/test_it.py": textwrap.dedent(test),
        "README.md": "# tiny\n",
    }
    if manager == "pip":
        files |= {f"requirements/{variant}.txt": f"-r {variant}.lock\n" for variant in ("cpu", "cu130")}
    if manager == "poetry":
        files["poetry.toml"] = "[virtualenvs]\nin-project = true\n"
    if manager == "conda":
        files["environment.yml"] = ENVIRONMENT_YML
    for name, text in files.items():
        path = folder / "my exp" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "my exp"


def installed(directory: Path, package: str) -> str:
    """The version of a package in the repository's own environment."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    done = subprocess.run([directory / ".venv/bin/python", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def leak_another_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set every variable that could lead a manager there, as it is when labrig runs in an environment of its own."""
    folder.mkdir()
    (folder / "pytest.py").write_text("raise SystemExit('the wrong pytest')")
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "UV_PROJECT_ENVIRONMENT", "PYTHONPATH", "PIP_TARGET"):
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    return folder


def take_poetry_from(tools: Tools, programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the Poetry that the tests bring along on PATH, with its settings."""
    for name, value in tools.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{programs}:{tools.environment['PATH']}")


def needs(*programs: str) -> pytest.MarkDecorator:
    found = any(shutil.which(program) for program in programs)
    return pytest.mark.skipif(not found, reason=f"none of {', '.join(programs)} is on PATH")


@pytest.mark.parametrize(
    "manager",
    [
        "uv",
        pytest.param("pip", marks=pytest.mark.complete),
        pytest.param("poetry", marks=pytest.mark.complete),
        pytest.param("conda", marks=needs("conda", "mamba", "micromamba")),
    ],
)
def test_every_manager_locks_installs_tests_and_trains(
    manager: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    if manager == "poetry":
        take_poetry_from(request.getfixturevalue("tools"), tmp_path / "programs", monkeypatch)
    for name in ("CONDA_ENVS_PATH", "MAMBA_ROOT_PREFIX"):
        monkeypatch.setenv(name, str(tmp_path / "conda"))
    elsewhere = leak_another_environment(tmp_path / "elsewhere", monkeypatch)
    directory = repository(tmp_path, manager)
    install(directory, answers(manager), Report())
    locks = {"uv": "uv.lock", "pip": "requirements/cu130.lock", "poetry": "poetry.lock"}
    assert manager not in locks or (directory / locks[manager]).exists()
    assert train(directory, answers(manager), Report()) == {"step": 9, "test_accuracy": 0.97}
    out, err = capfd.readouterr()
    assert out == ""
    assert [path.name for path in elsewhere.iterdir()] == ["pytest.py"]
    assert "training train baseline" in err
    assert "test_accuracy 0.97" in err


CONDA = """\
environments={folder}/conda
case "$1 $2" in
  "env list") printf '{{"envs": []}}' ;;
  "env create")
    [ "$*" = "env create --file environment.yml" ] || exit 2
    {uv} venv --quiet --python {python} "$environments/tiny" &&
    {uv} pip install --quiet --python "$environments/tiny" six poethepoet pytest --editable . ;;
  "list --explicit") echo @EXPLICIT ;;
  "run --name")
    environment="$environments/$3"
    shift 3
    PATH="$environment/bin:$PATH" exec "$@" ;;
  *) exit 2 ;;
esac
"""


def test_conda_is_told_what_environment_yml_says(
    tmp_path: Path, machine_without_gpu: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a program that takes the same commands, because conda itself is seldom there: see above for the real one."""
    script = CONDA.format(folder=tmp_path, uv=find_uv_bin(), python=sys.executable)
    stand_in(machine_without_gpu, "conda", script)
    leak_another_environment(tmp_path / "elsewhere", monkeypatch)
    directory = repository(tmp_path, "conda")
    install(directory, answers("conda"), Report())
    assert (directory / "environment.lock").read_text() == "@EXPLICIT\n"
    assert train(directory, answers("conda"), Report())["test_accuracy"] == 0.97
    assert not (directory / ".venv").exists()


def test_a_machine_without_the_accelerator_gets_the_cpu_variant_and_is_told_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    directory = repository(tmp_path, "uv")
    install(directory, answers("uv"), Report())
    assert "nothing that cu130 is for, so the CPU variant is installed" in capfd.readouterr().err
    assert installed(directory, "six") == "1.17.0"


def test_a_machine_with_the_accelerator_gets_its_variant(
    tmp_path: Path, machine_without_gpu: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stand_in(machine_without_gpu, "nvidia-smi", "echo '580.65.06, 9.0, NVIDIA H200'\n")
    directory = repository(tmp_path, "uv")
    install(directory, answers("uv"), Report())
    assert "CPU variant" not in capfd.readouterr().err
    assert installed(directory, "six") == "1.16.0"


def test_without_uv_on_path_the_one_that_came_with_labrig_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}/programs:/usr/bin:/bin")
    assert not shutil.which("uv")
    monkeypatch.setenv("UV_PYTHON", sys.executable)
    directory = repository(tmp_path, "uv")
    install(directory, answers("uv"), Report())
    assert "pipx install uv" in capfd.readouterr().err
    assert (directory / ".venv").is_dir()


def test_the_commands_of_each_manager_are_plain_data() -> None:
    assert commands(plan(answers("uv"), "cu130")) == ["uv sync", "uv run poe test"]
    assert commands(plan(answers("uv"), "cpu")) == [
        "uv sync --no-group cu130 --group cpu",
        "UV_NO_SYNC=1 uv run poe test",
    ]
    assert commands(plan(answers("pip", python="3.12"), "cu130")) == [
        "python3.12 -m venv .venv",
        "source .venv/bin/activate",
        "pip install poethepoet uv",
        "poe lock",
        "pip install --requirement requirements/cu130.txt",
        "pip install --no-deps --editable .",
        "poe test",
    ]
    assert commands(plan(answers("conda"), "cpu")) == [
        "conda env create --file environment.yml",
        "conda run --name tiny poe lock",
        "conda run --name tiny poe test",
    ]
    assert commands(plan(answers("conda"), "cpu", conda="micromamba")) == [
        "micromamba env create --file environment.yml --yes",
        "micromamba run --name tiny poe test",
    ]
    assert commands(plan(answers("poetry", python="3.12"), "cpu")) == [
        "poetry env use python3.12",
        "poetry sync --extras cpu",
        "poetry run poe test",
    ]
    assert commands(plan(answers("poetry"), "cu130"))[1] == "poetry install --extras cu130"
    with pytest.raises(ValueError, match="pdm"):
        plan(answers("pdm"), "cpu")


@pytest.mark.parametrize("manager", ["uv", "pip", "conda", "poetry"])
@pytest.mark.parametrize("variant", ["cpu", "cu130"])
def test_the_commands_are_those_of_the_readme(manager: str, variant: str) -> None:
    template = Template(ROOT)
    given: dict[str, object] = {"package_manager": manager, "accelerator": "cu130", "framework": "pytorch"}
    resolved = template.resolve(given, folder_name="my-exp")
    readme = template.render(resolved, src_path="", commit=None)["README.md"].content.decode()
    told = {line.partition("#")[0].strip() for line in readme.splitlines()}
    for command in commands(plan(resolved, variant)):
        by_hand = command.removeprefix("conda run --name my-exp ").removeprefix("UV_NO_SYNC=1 ")
        in_text = f"`{by_hand}`" in readme
        assert by_hand in told or in_text, by_hand
    assert ("export UV_NO_SYNC=1" in told) == (manager == "uv")


def test_the_example_is_trained_in_the_environment_of_each_manager() -> None:
    assert str(training(answers("uv"), "cu130")) == "uv run python -m tiny train baseline"
    assert str(training(answers("uv"), "cpu")) == "UV_NO_SYNC=1 uv run python -m tiny train baseline"
    assert str(training(answers("poetry"), "cpu")) == "poetry run python -m tiny train baseline"
    assert (
        str(training(answers("conda"), "cpu", conda="mamba")) == "mamba run --name tiny python -m tiny train baseline"
    )
    assert training(answers("pip"), "cpu").activated


def test_an_environment_of_another_project_is_not_replaced(tmp_path: Path, machine_without_gpu: Path) -> None:
    stand_in(machine_without_gpu, "conda", """echo '{"envs": ["/opt/conda", "/opt/conda/envs/tiny"]}'\n""")
    error = failure_of(repository(tmp_path, "conda"), answers("conda"))
    assert error.message == "the files are all there, but conda has an environment called tiny already"
    assert error.tip == "if you need it no more: conda env remove --name tiny"


def failure_of(directory: Path, given: dict[str, object]) -> CommandError:
    """How the installation fails. Every file that was there before must be there after."""
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    with pytest.raises(CommandError) as failed:
        install(directory, given, Report())
    assert {path: path.read_bytes() for path in before} == before
    assert failed.value.exit_code == 1
    return failed.value


def index(address: str) -> str:
    """The lines of a manifest that take a package from an index of its own."""
    return f"""
[tool.uv.sources]
six = [{{ index = "other", group = "cu130" }}]

[[tool.uv.index]]
name = "other"
url = "{address}"
explicit = true
"""


@pytest.fixture
def refusing() -> str:
    """An address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"http://127.0.0.1:{port}/whl/cu130"


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/whl/cu130"


@pytest.fixture
def forbidding() -> Iterator[str]:
    """An address that answers every request with 403."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/whl/cu130"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_an_index_that_refuses_connections_is_named_at_once_with_the_way_to_go_on(
    tmp_path: Path, refusing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    directory = repository(tmp_path, "uv", more=index(refusing))
    began = time.monotonic()
    error = failure_of(directory, answers("uv"))
    assert time.monotonic() - began < 8
    assert error.kind == "unreachable"
    assert error.message == "the files are all there, but `uv sync --no-group cu130 --group cpu` failed (exit 2)"
    assert error.cause == "127.0.0.1 cannot be reached from here"
    assert error.tip == (
        "check the network and the way to 127.0.0.1, then: "
        "cd 'my exp' && uv sync --no-group cu130 --group cpu && UV_NO_SYNC=1 uv run poe test"
    )


def test_an_index_that_never_answers_is_given_up_in_seconds(tmp_path: Path, silent: str) -> None:
    directory = repository(tmp_path, "uv", more=index(silent))
    began = time.monotonic()
    assert failure_of(directory, answers("uv")).kind == "unreachable"
    assert time.monotonic() - began < 20


def test_pip_gives_up_an_index_that_refuses_connections(
    tmp_path: Path, refusing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = repository(tmp_path, "pip")
    for name in ("UV_DEFAULT_INDEX", "PIP_INDEX_URL"):
        monkeypatch.setenv(name, refusing)
    began = time.monotonic()
    error = failure_of(directory, answers("pip"))
    assert time.monotonic() - began < 30
    assert error.kind == "unreachable"
    assert error.cause == "127.0.0.1 cannot be reached from here"


def test_an_index_that_answers_with_a_refusal_is_not_called_unreachable(tmp_path: Path, forbidding: str) -> None:
    error = failure_of(repository(tmp_path, "uv", more=index(forbidding)), answers("uv"))
    assert error.kind == "refused"
    assert error.cause is not None
    assert "403 Forbidden" in error.cause


def test_hosts_are_probed_through_the_proxy_of_the_user(
    refusing: str, forbidding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert silent_hosts([refusing]) == ["127.0.0.1"]
    monkeypatch.setenv("http_proxy", forbidding)
    assert silent_hosts([refusing, "file:///srv/wheels"]) == []


def test_a_failing_test_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    test = "def test_wrong() -> None:\n    assert 1 + 1 == 3\n\n\ndef test_right() -> None:\n    pass\n"
    error = failure_of(repository(tmp_path, "uv", test=test), answers("uv"))
    assert error.kind == "tests"
    assert error.cause == "the environment is ready, but tests/test_it.py::test_wrong failed"
    assert error.tip is not None
    assert error.tip.endswith("UV_NO_SYNC=1 uv run poe test")
    err = capfd.readouterr().err
    assert "assert (1 + 1) == 3" in err
    log = Path(err.rpartition("(all of it: ")[2].partition(")")[0])
    assert "short test summary info" in log.read_text()


@pytest.mark.parametrize("manager", ["pip", "poetry"])
def test_a_missing_interpreter_is_named_with_those_that_there_are(
    manager: str, tmp_path: Path, machine_without_gpu: Path
) -> None:
    stand_in(machine_without_gpu, "poetry", "echo 'Poetry (version 2.5.1)'\n")
    error = failure_of(repository(tmp_path, manager), answers(manager, python="3.97"))
    assert error.message == "the files are all there, but no Python 3.97 was found to make the environment with"
    assert error.cause is not None
    assert f"{PYTHON} (" in error.cause
    assert error.tip is not None
    assert error.tip.startswith("uv python install 3.97, then: cd ")


def test_uv_is_understood_when_it_finds_no_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    directory = repository(tmp_path, "uv")
    manifest = directory / "pyproject.toml"
    manifest.write_text(manifest.read_text().replace('">=3.11"', '">=3.97"'))
    error = failure_of(directory, answers("uv", python="3.97"))
    assert error.kind == "python-missing"
    assert error.cause == "Python 3.97 was not found on this machine"


@pytest.mark.parametrize(("manager", "program"), [("poetry", "pipx install poetry"), ("conda", "install Miniforge")])
def test_a_manager_that_is_not_there_is_named_with_the_way_to_get_it(
    manager: str, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    error = failure_of(repository(tmp_path, manager), answers(manager))
    assert error.tip is not None
    assert error.tip.startswith(program)


def test_ranges_that_cannot_be_met_are_recognised(tmp_path: Path) -> None:
    directory = repository(tmp_path, "uv")
    manifest = directory / "pyproject.toml"
    manifest.write_text(manifest.read_text().replace("six>=1.16,<1.17", "six>=999"))
    assert failure_of(directory, answers("uv")).kind == "no-solution"


def test_a_wheel_that_is_not_the_one_locked_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    directory = repository(tmp_path, "uv")
    subprocess.run([find_uv_bin(), "lock", "-q"], cwd=directory, check=True)
    lock = directory / "uv.lock"
    lines = lock.read_text().splitlines()
    wrong = [
        line.partition("sha256:")[0] + "sha256:" + "0" * 64 + line.partition("sha256:")[2][64:]
        if "/six-1.17" in line
        else line
        for line in lines
    ]
    assert wrong != lines
    lock.write_text("\n".join(wrong) + "\n")
    error = failure_of(directory, answers("uv"))
    assert error.kind == "hash-mismatch"
    assert error.cause is not None
    assert "six" in error.cause


def test_a_full_disk_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = tmp_path / "small"
    small.mkdir()
    alone = ["unshare", "--map-root-user", "--mount"]
    mount = f"mount -t tmpfs -o size=300k none '{small}'"
    if subprocess.run([*alone, "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small disk")
    monkeypatch.setenv("UV_CACHE_DIR", str(small))
    directory = repository(tmp_path, "uv")
    code = (
        "import sys; from pathlib import Path; from labrig.environment import install, CommandError\n"
        "from labrig.report import Report\n"
        f"try: install(Path({str(directory)!r}), {answers('uv')!r}, Report())\n"
        "except CommandError as error: print(error.kind)\n"
    )
    done = subprocess.run(
        [*alone, "sh", "-c", f'{mount} && exec "$0" -c "$1"', sys.executable, code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "disk-full\n", done.stderr


def test_ctrl_c_stops_everything_that_was_started(tmp_path: Path) -> None:
    directory = repository(
        tmp_path,
        "uv",
        test="""\
        import os, pathlib, time

        def test_slow() -> None:
            pathlib.Path("pid").write_text(str(os.getpid()))
            time.sleep(120)
        """,
    )
    code = (
        "import sys; from pathlib import Path; from labrig.environment import install\n"
        "from labrig.report import Report\n"
        f"try: install(Path({str(directory)!r}), {answers('uv')!r}, Report())\n"
        "except KeyboardInterrupt: sys.exit(130)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    pid_file = directory / "pid"
    deadline = time.monotonic() + 60
    while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    pytest_pid = int(pid_file.read_text())
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert ended(pytest_pid, within_seconds=10)
    assert (directory / "uv.lock").exists()


def ended(pid: int, *, within_seconds: float) -> bool:
    """Whether a process is gone, or will be: it is not ours to wait for."""
    deadline = time.monotonic() + within_seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_training_that_fails_is_an_error_with_what_it_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    directory = repository(tmp_path, "uv")
    install(directory, answers("uv"), Report())
    (directory / "src/tiny/__main__.py").write_text("raise SystemExit('error: loss is nan at step 3')\n")
    with pytest.raises(CommandError, match="python -m tiny train baseline` failed"):
        train(directory, answers("uv"), Report())
    assert "loss is nan at step 3" in capfd.readouterr().err


def test_a_run_without_evaluation_has_no_result(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5}\n')
    with pytest.raises(CommandError, match="holds no evaluation"):
        last_evaluation(tmp_path / "metrics.jsonl")
