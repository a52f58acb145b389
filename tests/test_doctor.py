"""What the doctor finds, each with a program or an environment in which it is wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from stand_ins import nvidia_smi, python, stand_in
from uv import find_uv_bin

from labrig.cli import main
from labrig.doctor import GIGABYTES_NEEDED, Finding, diagnose

ROOT = Path(__file__).parents[1]
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
STACK: dict[str, Any] = yaml.safe_load((ROOT / "stack.yml").read_text(encoding="utf-8"))

PYPROJECT = """\
[project]
name = "tiny"
version = "0.1.0"
requires-python = ">=3.11"

[dependency-groups]
dev = []
cpu = []
cu126 = []
cu129 = []
cu130 = []

[tool.uv]
default-groups = ["dev"]
package = false
"""

FAKE_TORCH = """\
class cuda:
    device_count = staticmethod(lambda: {count})
    get_device_name = staticmethod(lambda index: "NVIDIA H200")
"""

FAKE_TENSORFLOW = """\
class config:
    list_physical_devices = staticmethod(lambda kind: [kind])
    class experimental:
        get_device_details = staticmethod(lambda device: {"device_name": "NVIDIA H200"})
"""
FAKE_JAX = """\
class Device:
    platform = "{platform}"
    device_kind = "TPU v5 lite"

devices = lambda: [Device()]
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all there is on PATH: git and uv are real, and there is no GPU."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name, path in (("git", shutil.which("git")), ("uv", find_uv_bin())):
        (folder / name).symlink_to(str(path))
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("UV_PYTHON", sys.executable)
    for name in ("LD_LIBRARY_PATH", "TPU_ACCELERATOR_TYPE"):
        monkeypatch.delenv(name, raising=False)
    return folder


def repository(folder: Path, *, environment: bool = True, **given: object) -> Path:
    """A repository with these answers, a lock, and an environment without packages."""
    answers = {
        "package_manager": "uv",
        "framework": "pytorch",
        "accelerator": "cpu",
        "python": PYTHON,
        "package": "tiny",
        **given,
    }
    directory = folder / "exp"
    directory.mkdir()
    (directory / ".copier-answers.yml").write_text(yaml.safe_dump(answers))
    (directory / "pyproject.toml").write_text(PYPROJECT)
    subprocess.run([find_uv_bin(), "lock", "--quiet", "--offline"], cwd=directory, check=True)
    if environment:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory / ".venv"], check=True)
    return directory


def put(directory: Path, name: str, version: str, files: Mapping[str, str] | None = None) -> None:
    """Put a package into the environment of a repository."""
    packages = directory / f".venv/lib/python{PYTHON}/site-packages"
    record = packages / f"{name.replace('-', '_')}-{version}.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    for path, text in (files or {}).items():
        (packages / path).parent.mkdir(exist_ok=True)
        (packages / path).write_text(text)


def put_torch(directory: Path, build: str, *, devices: int = 1) -> None:
    cuda = f"{build[2:-1]}.{build[-1]}" if build.startswith("cu") else None
    version = f"__version__ = '2.13.0+{build}'\ncuda = {cuda!r}\nhip = {'7.2' if build == 'rocm' else None!r}\n"
    files = {"torch/__init__.py": FAKE_TORCH.format(count=devices), "torch/version.py": version}
    put(directory, "torch", f"2.13.0+{build}", files)


def put_jax(directory: Path, versions: Mapping[str, str], *, platform: str = "tpu") -> None:
    for name, version in versions.items():
        put(
            directory, name, version, {"jax/__init__.py": FAKE_JAX.format(platform=platform)} if name == "jax" else None
        )


def find(directory: Path | None, what: str) -> Finding:
    return next(finding for finding in diagnose(directory, STACK) if finding.what == what)


def test_a_repository_that_has_all_it_asks_for_has_no_problem(programs: Path, tmp_path: Path) -> None:
    nvidia_smi(programs, driver="580.65.06", gpus={"NVIDIA H200": "9.0", "NVIDIA H200 ": "9.0"})
    directory = repository(tmp_path, accelerator="cu130")
    put_torch(directory, "cu130")
    findings = diagnose(directory, STACK)
    assert {finding.level for finding in findings} <= {"ok", "warning"}
    assert find(directory, "accelerator").found.endswith("driver 580.65.06")
    assert find(directory, "pytorch").found == "2.13.0+cu130, built for cu130"
    assert find(directory, "torch devices").found == "NVIDIA H200"
    assert find(directory, "lock") == Finding("lock", "uv.lock", "up to date")
    assert find(directory, "python").found == f"{PYTHON} in the environment"


def test_a_driver_older_than_the_build_needs_is_a_problem_with_two_ways_out(programs: Path, tmp_path: Path) -> None:
    nvidia_smi(programs, driver="550.54.15", gpus={"NVIDIA A100": "8.0"})
    finding = find(repository(tmp_path, accelerator="cu130"), "accelerator")
    assert finding.level == "problem"
    assert finding.found == "the driver is 550.54.15, and cu130 needs 580 or newer"
    assert finding.remedy == ("update the NVIDIA driver to 580 or newer, or: labrig set accelerator=cu128")


def test_a_gpu_too_old_for_cuda_13_is_a_problem(programs: Path, tmp_path: Path) -> None:
    nvidia_smi(programs, driver="580.65.06", gpus={"NVIDIA H200": "9.0", "Tesla V100": "7.0"})
    finding = find(repository(tmp_path, accelerator="cu130"), "accelerator")
    assert finding.level == "problem"
    assert finding.found == "Tesla V100 has compute capability 7.0, and cu130 needs 7.5"
    assert finding.remedy == "labrig set accelerator=cu126"


def test_a_laptop_without_gpu_is_a_warning_and_a_login_node_gets_the_command_for_a_compute_node(
    programs: Path, tmp_path: Path
) -> None:
    directory = repository(tmp_path, accelerator="cu130")
    assert find(directory, "accelerator").level == "warning"
    stand_in(programs, "sinfo", "echo slurm 23.11.4\n")
    assert find(directory, "accelerator").remedy == "srun --gpus=1 labrig doctor"
    assert find(directory, "slurm").found == "23.11.4"


def test_a_gpu_that_is_not_used_is_mentioned(programs: Path, tmp_path: Path) -> None:
    nvidia_smi(programs, driver="580.65.06", gpus={"NVIDIA H200": "9.0"})
    finding = find(repository(tmp_path), "accelerator")
    assert finding.level == "ok"
    assert finding.remedy == "to use it: labrig set accelerator=cu130"


def test_a_driver_that_was_updated_under_a_running_system_needs_a_restart(programs: Path, tmp_path: Path) -> None:
    stand_in(programs, "nvidia-smi", "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18\n")
    finding = find(repository(tmp_path, accelerator="cu130"), "NVIDIA driver")
    assert finding.level == "problem"
    assert finding.remedy == "restart the machine"


@pytest.mark.parametrize(
    ("asked", "build", "level"),
    [("cu130", "cpu", "problem"), ("cu130", "cu126", "problem"), ("cpu", "cu130", "warning"), ("cpu", "cpu", "ok")],
)
def test_the_build_of_pytorch_is_compared_with_what_was_asked(
    programs: Path, tmp_path: Path, asked: str, build: str, level: str
) -> None:
    nvidia_smi(programs, driver="580.65.06", gpus={"NVIDIA H200": "9.0"})
    directory = repository(tmp_path, accelerator=asked)
    put_torch(directory, build)
    finding = find(directory, "pytorch")
    assert finding.level == level
    assert finding.remedy == ("" if level == "ok" else "uv sync")


def test_a_machine_without_the_accelerator_should_have_the_cpu_build(programs: Path, tmp_path: Path) -> None:
    assert programs.is_dir()
    directory = repository(tmp_path, accelerator="cu130")
    put_torch(directory, "cpu")
    assert find(directory, "pytorch") == Finding("pytorch", "cpu", "2.13.0+cpu, built for cpu")


def test_an_environment_without_its_framework_is_a_problem(programs: Path, tmp_path: Path) -> None:
    assert programs.is_dir()
    directory = repository(tmp_path)
    assert find(directory, "pytorch").found == "not in the environment"
    assert find(directory, "pytorch").level == "problem"


@pytest.mark.parametrize(("devices", "found"), [(0, "none"), (-1, "torch does not start")])
def test_a_framework_that_does_not_see_the_gpu_is_a_problem(
    programs: Path, tmp_path: Path, devices: int, found: str
) -> None:
    nvidia_smi(programs, driver="580.65.06", gpus={"NVIDIA H200": "9.0"})
    directory = repository(tmp_path, accelerator="cu130")
    put_torch(directory, "cu130", devices=devices)
    if devices < 0:
        packages = directory / f".venv/lib/python{PYTHON}/site-packages"
        (packages / "torch/__init__.py").write_text("raise ImportError('libcudart.so.13: cannot open')")
    finding = find(directory, "torch devices")
    assert (finding.level, finding.found) == ("problem", found)
    assert finding.remedy == "see why: uv run python -c 'import torch; torch.zeros(1).cuda()'"


@pytest.mark.parametrize(
    ("accelerator", "packages", "found", "level"),
    [
        ("cpu", {"tensorflow-cpu": "2.21.0"}, "2.21.0", "ok"),
        ("cu129", {"tensorflow": "2.21.0", "nvidia-cudnn-cu12": "9.3"}, "2.21.0 with the libraries of CUDA", "ok"),
        ("cpu", {"tensorflow": "2.21.0", "nvidia-cudnn-cu12": "9.3"}, "2.21.0 for CUDA: larger than needed", "warning"),
        (
            "cu129",
            {"tensorflow-cpu": "2.21.0"},
            "2.21.0 without the libraries of CUDA, so it runs on the CPU",
            "problem",
        ),
        ("cu129", {}, "not in the environment", "problem"),
        (
            "cu129",
            {"tensorflow": "2.21.0", "tensorflow-cpu": "2.21.0"},
            "tensorflow 2.21.0 and tensorflow-cpu 2.21.0, which are the same files",
            "problem",
        ),
    ],
)
def test_the_build_of_tensorflow_is_compared_with_what_was_asked(
    accelerator: str, packages: dict[str, str], found: str, level: str, programs: Path, tmp_path: Path
) -> None:
    nvidia_smi(programs, driver="580.65.06", gpus={"NVIDIA H200": "9.0"})
    directory = repository(tmp_path, framework="tensorflow", accelerator=accelerator)
    for name, version in packages.items():
        put(directory, name, version, {"tensorflow/__init__.py": FAKE_TENSORFLOW} if name == "tensorflow" else None)
    finding = find(directory, "tensorflow")
    assert (finding.found, finding.level) == (found, level)
    if level == "ok" and accelerator != "cpu":
        assert find(directory, "tensorflow devices").found == "NVIDIA H200"


@pytest.mark.usefixtures("programs")
def test_scikit_learn_must_be_in_the_environment(tmp_path: Path) -> None:
    directory = repository(tmp_path, framework="sklearn")
    put(directory, "numpy", "2.5.5")
    assert (find(directory, "scikit-learn").found, find(directory, "scikit-learn").level) == (
        "not in the environment",
        "problem",
    )
    put(directory, "scikit-learn", "1.9.1")
    assert find(directory, "scikit-learn") == Finding("scikit-learn", "cpu", "1.9.1")


def test_jax_without_its_plugin_is_a_problem(programs: Path, tmp_path: Path) -> None:
    nvidia_smi(programs, driver="580.65.06", gpus={"NVIDIA H200": "9.0"})
    directory = repository(tmp_path, framework="jax", accelerator="cu130")
    put_jax(directory, {"jax": "0.12.0.1", "jaxlib": "0.12.0.1"}, platform="cpu")
    assert find(directory, "jax").found == "0.12.0.1 without jax-cuda13-plugin, so it runs on the CPU"
    assert find(directory, "jax").level == "problem"
    assert find(directory, "jax devices").found == "none"


def test_parts_of_jax_of_different_versions_are_a_problem(programs: Path, tmp_path: Path) -> None:
    nvidia_smi(programs, driver="580.65.06", gpus={"NVIDIA H200": "9.0"})
    directory = repository(tmp_path, framework="jax", accelerator="cu130")
    put_jax(
        directory, {"jax": "0.12.0", "jaxlib": "0.12.0", "jax-cuda13-plugin": "0.11.2", "jax-cuda13-pjrt": "0.12.0"}
    )
    finding = find(directory, "jax versions")
    assert finding.level == "problem"
    assert "jax-cuda13-plugin 0.11.2" in finding.found


def test_a_library_path_that_hides_the_libraries_of_jax_is_a_warning(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert programs.is_dir()
    directory = repository(tmp_path, framework="jax", accelerator="cu130")
    put_jax(directory, {"jax": "0.12.0", "jaxlib": "0.12.0", "jax-cuda13-plugin": "0.12.0"})
    monkeypatch.setenv("LD_LIBRARY_PATH", "/usr/local/cuda-12.4/lib64")
    finding = find(directory, "LD_LIBRARY_PATH")
    assert (finding.level, finding.remedy) == ("warning", "unset LD_LIBRARY_PATH")
    assert "jax versions" not in [other.what for other in diagnose(directory, STACK)]


def test_jax_on_a_tpu_is_recognised(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert programs.is_dir()
    monkeypatch.setenv("TPU_ACCELERATOR_TYPE", "v5litepod-1")
    directory = repository(tmp_path, framework="jax", accelerator="tpu")
    put_jax(directory, {"jax": "0.12.0", "jaxlib": "0.12.0", "libtpu": "0.0.50"})
    assert find(directory, "accelerator").found == "v5litepod-1"
    assert find(directory, "jax").found == "0.12.0 with libtpu"
    assert find(directory, "jax devices").found == "TPU v5 lite"


@pytest.mark.parametrize(
    "copies",
    [{"nvidia-cublas": ["13.1.1.3", "13.4.0.1"]}, {"nvidia-cudnn-cu12": ["9.1"], "nvidia-cudnn-cu13": ["9.2"]}],
)
def test_a_cuda_library_that_is_there_twice_is_a_problem(
    programs: Path, tmp_path: Path, copies: dict[str, list[str]]
) -> None:
    assert programs.is_dir()
    directory = repository(tmp_path)
    for name, versions in copies.items():
        for version in versions:
            put(directory, name, version)
    finding = find(directory, "nvidia-cublas" if "nvidia-cublas" in copies else "nvidia-cudnn")
    assert finding.level == "problem"
    assert finding.remedy == "rm -r .venv && uv sync"


@pytest.mark.parametrize(
    ("manager", "remedy"),
    [
        ("uv", "pipx install uv"),
        ("poetry", "pipx install poetry"),
        ("conda", "install Miniforge: https://conda-forge.org/download"),
    ],
)
def test_a_manager_that_is_not_there_is_a_problem(programs: Path, tmp_path: Path, manager: str, remedy: str) -> None:
    directory = repository(tmp_path, package_manager=manager)
    (programs / "uv").unlink()
    finding = find(directory, "manager")
    assert (finding.level, finding.remedy) == ("problem", remedy)


def test_a_manager_that_does_not_start_or_is_too_old_is_a_problem(programs: Path, tmp_path: Path) -> None:
    directory = repository(tmp_path, package_manager="poetry")
    stand_in(programs, "poetry", "echo 'bad interpreter' >&2; exit 126\n")
    assert find(directory, "manager").found == f"{programs}/poetry does not start"
    stand_in(programs, "poetry", "echo 'Poetry (version 1.8.3)'\n")
    assert find(directory, "manager") == Finding(
        "manager", "poetry 2.0 or newer", "1.8.3", "problem", "pipx upgrade poetry"
    )


def test_an_environment_with_another_python_is_a_problem(programs: Path, tmp_path: Path) -> None:
    assert programs.is_dir()
    finding = find(repository(tmp_path, python="3.97"), "python")
    assert (finding.level, finding.found) == ("problem", f"{PYTHON} in the environment")


def test_a_python_that_is_not_there_is_a_problem_only_where_the_manager_cannot_get_it(
    programs: Path, tmp_path: Path
) -> None:
    directory = repository(tmp_path, environment=False, python="3.97", package_manager="pip")
    assert find(directory, "python").remedy == "uv python install 3.97"
    answers = directory / ".copier-answers.yml"
    answers.write_text(answers.read_text().replace("package_manager: pip", "package_manager: uv"))
    assert find(directory, "python") == Finding("python", "3.97", "none; uv downloads it")
    python(programs, "3.97")
    assert find(directory, "python").found == "/opt/python3.97"


def test_a_repository_that_was_just_cloned_is_told_how_to_go_on(programs: Path, tmp_path: Path) -> None:
    assert programs.is_dir()
    directory = repository(tmp_path, environment=False, accelerator="cu130")
    finding = find(directory, "environment")
    assert (finding.level, finding.remedy) == ("warning", "uv sync --no-group cu130 --group cpu")


def test_a_lock_that_is_missing_or_out_of_date_is_found(programs: Path, tmp_path: Path) -> None:
    assert programs.is_dir()
    directory = repository(tmp_path)
    manifest = directory / "pyproject.toml"
    manifest.write_text(manifest.read_text().replace("cpu = []", 'cpu = ["six"]'))
    assert find(directory, "lock").level == "problem"
    assert find(directory, "lock").remedy == "uv run poe lock"
    (directory / "uv.lock").unlink()
    assert find(directory, "lock") == Finding("lock", "uv.lock", "none", "warning", "uv sync")


def test_a_lock_that_uv_cannot_compare_is_not_called_out_of_date(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert programs.is_dir()
    directory = repository(tmp_path)
    monkeypatch.setenv("UV_PYTHON", "3.97")
    finding = find(directory, "lock")
    assert finding.level == "warning"
    assert "No interpreter found for Python 3.97" in finding.found


def test_a_lock_of_pip_that_lacks_a_dependency_is_found(programs: Path, tmp_path: Path) -> None:
    assert programs.is_dir()
    directory = repository(tmp_path, package_manager="pip")
    manifest = directory / "pyproject.toml"
    manifest.write_text(manifest.read_text().replace("cpu = []", 'cpu = ["typing_extensions>=4", "jax[cuda13]>=0.10"]'))
    (directory / "requirements").mkdir()
    lock = directory / "requirements/cpu.lock"
    lock.write_text(
        "typing-extensions==4.12.2 \\\n    --hash=sha256:00\njax[cuda13]==0.12.0 \\\n    --hash=sha256:00\n"
    )
    assert find(directory, "lock").level == "ok"
    lock.write_text("jax==0.12.0 \\\n    --hash=sha256:00\n")
    assert find(directory, "lock").level == "problem"


def test_poetry_is_asked_about_its_lock(programs: Path, tmp_path: Path) -> None:
    directory = repository(tmp_path, package_manager="poetry")
    (directory / "poetry.lock").touch()
    stand_in(programs, "poetry", '[ "$1" = check ] && exit 1; echo "Poetry (version 2.5.1)"\n')
    assert find(directory, "lock").remedy == "poetry run poe lock"
    stand_in(programs, "poetry", 'echo "Poetry (version 2.5.1)"\n')
    assert find(directory, "lock").found == "up to date"


def test_the_environment_of_conda_is_looked_at_through_conda(programs: Path, tmp_path: Path) -> None:
    nvidia_smi(programs, driver="580.65.06", gpus={"NVIDIA H200": "9.0"})
    directory = repository(tmp_path, package_manager="conda", accelerator="cu129")
    put_torch(directory, "cu130")
    stand_in(
        programs,
        "conda",
        f"""\
        [ "$1" = --version ] && echo conda 26.7.1 && exit
        [ "$1 $2 $3 $4" = "run --name tiny python" ] || exit 1
        shift 4
        exec '{directory}/.venv/bin/python' "$@"
        """,
    )
    assert find(directory, "manager").found == "conda 26.7.1"
    assert find(directory, "pytorch").level == "ok"
    assert find(directory, "lock").level == "absent"


def test_a_disk_that_is_almost_full_is_a_warning(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert programs.is_dir()
    monkeypatch.setitem(GIGABYTES_NEEDED, "cpu", 10**9)
    finding = find(repository(tmp_path), "disk")
    assert (finding.level, finding.remedy) == ("warning", "uv cache prune")


def test_a_machine_without_git_has_a_problem(programs: Path) -> None:
    (programs / "git").unlink()
    assert find(None, "git").level == "problem"


def test_without_a_repository_the_machine_is_compared_with_every_accelerator(programs: Path) -> None:
    nvidia_smi(programs, driver="550.54.15", gpus={"NVIDIA A100": "8.0"})
    stand_in(programs, "rocminfo", "echo '  Name:  gfx942'\n")
    levels = {finding.what: finding.level for finding in diagnose(None, STACK)}
    runs = {"cpu", "cu126", "cu128", "cu129", "rocm"}
    assert {name for name in STACK["accelerators"] if levels[name] == "ok"} == runs
    assert levels["cu130"] == levels["cu132"] == "warning"
    assert levels["tpu"] == "absent"


def test_the_command_prints_a_table_or_json_and_exits_1_for_a_problem(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert programs.is_dir()
    directory = repository(tmp_path)
    put_torch(directory, "cpu")
    monkeypatch.setenv("LABRIG_TEMPLATE", str(ROOT))
    assert main(["doctor", str(directory)]) == 0
    assert "2.13.0+cpu, built for cpu" in capsys.readouterr().out
    (directory / "uv.lock").write_text("version = 1\n")
    monkeypatch.chdir(directory)
    assert main(["doctor", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] is False
    assert [finding["what"] for finding in said["findings"] if finding["level"] == "problem"] == ["lock"]


def test_a_folder_that_labrig_did_not_make_is_refused(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert programs.is_dir()
    monkeypatch.setenv("LABRIG_TEMPLATE", str(ROOT))
    assert main(["doctor", str(tmp_path)]) == 2
    assert "is not a repository that labrig made" in capsys.readouterr().err
