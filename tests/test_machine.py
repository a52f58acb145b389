"""What is found on a machine, and what labrig suggests for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from stand_ins import nvidia_smi, python, stand_in

from labrig.machine import Gpu, Machine, defaults, detect, manager_version

RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
H200 = Gpu("NVIDIA H200", "9.0")
V100 = Gpu("Tesla V100-SXM2-16GB", "7.0")
GTX_980 = Gpu("NVIDIA GeForce GTX 980", "5.2")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is all there is on PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "uv-pythons"))
    monkeypatch.delenv("TPU_ACCELERATOR_TYPE", raising=False)
    return folder


@pytest.fixture
def stack() -> dict[str, Any]:
    catalogue = yaml.safe_load((Path(__file__).parent.parent / "stack.yml").read_text())
    assert isinstance(catalogue, dict)
    return catalogue


def test_a_machine_with_nothing_on_path_has_the_running_python_and_the_uv_that_came_with_labrig(
    programs: Path, tmp_path: Path
) -> None:
    assert list(programs.iterdir()) == []
    machine = detect(file_system=tmp_path)
    assert list(machine.managers) == ["uv"]
    assert list(machine.pythons) == [RUNNING]
    assert machine == Machine(managers=machine.managers, pythons=machine.pythons)


def test_nvidia_smi_tells_the_driver_and_every_gpu(programs: Path) -> None:
    nvidia_smi(programs, driver="580.65.06", gpus={"NVIDIA H200": "9.0", "Tesla T4": "7.5"})
    machine = detect()
    assert machine.nvidia_driver == "580.65.06"
    assert machine.gpus == (Gpu("NVIDIA H200", "9.0"), Gpu("Tesla T4", "7.5"))
    assert machine.has("cu130")


def test_a_driver_that_cannot_tell_the_generation_still_tells_its_version(programs: Path) -> None:
    stand_in(
        programs,
        "nvidia-smi",
        """\
        case "$1" in
          *compute_cap*) echo 'Field "compute_cap" is not a valid field to query.'; exit 2 ;;
          *) echo "470.82.01, Tesla K80" ;;
        esac
        """,
    )
    machine = detect()
    assert machine.nvidia_driver == "470.82.01"
    assert machine.gpus == (Gpu("Tesla K80", None),)


def test_what_a_failing_nvidia_smi_says_is_kept(programs: Path) -> None:
    stand_in(programs, "nvidia-smi", "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18\n")
    machine = detect()
    assert machine.nvidia_driver is None
    assert not machine.has("cu130")
    assert machine.nvidia_error == "Failed to initialize NVML: Driver/library version mismatch"


def test_a_program_that_hangs_does_not_keep_detection_waiting(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labrig.machine.NVIDIA_SMI_TIMEOUT_SECONDS", 0.5)
    stand_in(programs, "nvidia-smi", "/bin/sleep 60 & wait\n")
    began = time.monotonic()
    machine = detect()
    assert time.monotonic() - began < 5
    assert machine.nvidia_error == "nvidia-smi did not answer within 0.5 s"


def test_slow_programs_are_asked_at_the_same_time(programs: Path) -> None:
    for name in ("nvidia-smi", "rocminfo", "sinfo", "python3.97", "python3.98", "python3.99"):
        stand_in(programs, name, "/bin/sleep 1\n")
    began = time.monotonic()
    detect()
    assert time.monotonic() - began < 2.5


def test_a_wrapper_that_does_not_start_is_no_interpreter(programs: Path) -> None:
    python(programs, "3.97")
    stand_in(programs, "python3.98", "echo 'pyenv: python3.98: command not found' >&2; exit 127\n")
    python(programs, "3.9")
    pythons = detect().pythons
    assert pythons["3.97"] == Path("/opt/python3.97")
    assert set(pythons) == {RUNNING, "3.97"}


def test_an_interpreter_later_on_path_counts_when_the_first_does_not_start(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(programs / "shims", "python3.97", "exit 127\n")
    python(programs / "usr", "3.97")
    monkeypatch.setenv("PATH", f"{programs}/shims:{programs}/usr")
    assert detect().pythons["3.97"] == Path("/opt/python3.97")


def test_an_interpreter_that_uv_installed_counts(programs: Path, tmp_path: Path) -> None:
    assert list(programs.iterdir()) == []
    python(tmp_path / "uv-pythons" / "cpython-3.97.1-linux-x86_64-gnu" / "bin", "3.97")
    python(tmp_path / "uv-pythons" / "cpython-3.98.1+freethreaded-linux-x86_64-gnu" / "bin", "3.98")
    assert set(detect().pythons) == {RUNNING, "3.97"}


def test_the_interpreters_found_are_the_real_ones_outside_of_virtual_environments(programs: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", programs / "venv"], check=True)
    machine = detect()
    assert machine.pythons[RUNNING].is_file()
    assert not machine.pythons[RUNNING].is_relative_to(sys.prefix) or sys.prefix == sys.base_prefix


def test_git_tells_author_and_host(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = shutil.which("git", path="/usr/bin:/bin:/usr/local/bin")
    assert git
    (programs / "git").symlink_to(git)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    (tmp_path / "gitconfig").write_text("[user]\nname = Ada King Lovelace\nemail = ada@example.org\n")
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    assert detect().remote is None
    subprocess.run(["git", "remote", "add", "origin", "git@gitlab.example.org:lab/x.git"], check=True)
    machine = detect()
    assert (machine.author_name, machine.author_email) == ("Ada King Lovelace", "ada@example.org")
    assert machine.remote == "gitlab"


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://github.com/ada/x.git", "github"),
        ("git@github.com:ada/x.git", "github"),
        ("ssh://git@github.com:22/ada/x.git", "github"),
        ("https://ada@gitlab.com/ada/x", "gitlab"),
        ("https://gitlab.lab.example.org/ada/x", "gitlab"),
        ("https://example.org/github/x", None),
        ("/srv/github.com/x.git", None),
    ],
)
def test_the_host_is_read_from_every_kind_of_address(programs: Path, address: str, host: str | None) -> None:
    stand_in(programs, "git", f'[ "$1" = ls-remote ] && echo {address}\n')
    assert detect().remote == host


def test_rocm_tells_its_gpus(programs: Path) -> None:
    stand_in(programs, "rocminfo", "echo '  Name:                    AMD EPYC'; echo '  Name:   gfx942  '\n")
    machine = detect()
    assert machine.amd_gpus == ("gfx942",)
    assert machine.has("rocm")


def test_a_tpu_is_found_on_the_bus(programs: Path, tmp_path: Path) -> None:
    assert list(programs.iterdir()) == []
    for name, vendor, device in (("0", "0x1ae0", "0x0042"), ("1", "0x1ae0", "0x0063")):
        slot = tmp_path / "sys/bus/pci/devices" / name
        slot.mkdir(parents=True)
        (slot / "vendor").write_text(vendor + "\n")
        (slot / "device").write_text(device + "\n")
    assert detect(file_system=tmp_path).tpu == "TPU v5e"


def test_slurm_tells_its_version(programs: Path) -> None:
    stand_in(programs, "sinfo", "echo slurm 23.11.4\n")
    assert detect().slurm == "23.11.4"


def test_a_manager_tells_its_version(programs: Path) -> None:
    conda = stand_in(programs, "conda", "echo conda 26.7.1\n")
    assert detect().managers["conda"] == conda
    assert manager_version(conda) == "26.7.1"
    assert manager_version(stand_in(programs, "poetry", "exit 1\n")) is None


@pytest.mark.parametrize(
    ("driver", "gpus", "answers", "accelerator"),
    [
        ("580.65.06", (H200,), {"framework": "pytorch"}, "cu130"),
        ("595.10", (H200,), {"framework": "pytorch"}, "cu132"),
        ("550.54.15", (H200,), {"framework": "pytorch"}, "cu128"),
        ("580.65.06", (H200, V100), {"framework": "pytorch"}, "cu126"),
        ("580.65.06", (V100,), {"framework": "jax"}, "cu129"),
        ("580.65.06", (GTX_980,), {"framework": "jax"}, "cu129"),
        ("580.65.06", (GTX_980,), {"framework": "tensorflow"}, "cpu"),
        ("580.65.06", (V100,), {"framework": "tensorflow"}, "cu129"),
        ("550.54.15", (H200,), {"framework": "tensorflow", "package_manager": "conda"}, "cu128"),
        ("580.65.06", (V100,), {"framework": "pytorch", "package_manager": "conda"}, "cu129"),
        ("580.65.06", (H200,), {"framework": "pytorch", "package_manager": "conda"}, "cu130"),
        ("470.82.01", (H200,), {"framework": "pytorch"}, "cpu"),
        ("580.65.06", (), {"framework": "pytorch"}, "cpu"),
        (None, (), {}, "cpu"),
    ],
)
def test_the_newest_cuda_that_driver_and_gpus_run_is_suggested(
    driver: str | None, gpus: tuple[Gpu, ...], answers: dict[str, object], accelerator: str, stack: dict[str, Any]
) -> None:
    machine = Machine(nvidia_driver=driver, gpus=gpus)
    assert defaults(machine, answers, stack)["accelerator"] == accelerator


def test_other_accelerators_are_suggested_where_they_are_built(stack: dict[str, Any]) -> None:
    amd, tpu = Machine(amd_gpus=("gfx942",)), Machine(tpu="TPU v5e")
    assert defaults(amd, {"framework": "pytorch"}, stack)["accelerator"] == "rocm"
    assert defaults(amd, {"framework": "pytorch", "package_manager": "conda"}, stack)["accelerator"] == "cpu"
    assert defaults(tpu, {"framework": "jax"}, stack)["accelerator"] == "tpu"
    assert defaults(tpu, {"framework": "pytorch"}, stack)["accelerator"] == "cpu"


def test_the_newest_python_found_that_is_built_for_is_suggested_and_else_3_12(stack: dict[str, Any]) -> None:
    paths = {number: Path(f"/usr/bin/python{number}") for number in ("3.11", "3.13", "3.97")}
    assert defaults(Machine(pythons=paths), {}, stack)["python"] == "3.13"
    assert defaults(Machine(), {}, stack)["python"] == "3.12"


def test_only_what_was_found_is_suggested(stack: dict[str, Any]) -> None:
    assert defaults(Machine(), {}, stack) == {"package_manager": "uv", "accelerator": "cpu", "python": "3.12"}
    found = defaults(Machine(author_name="Ada", author_email="ada@example.org", remote="gitlab"), {}, stack)
    assert (found["author_name"], found["author_email"], found["ci"]) == ("Ada", "ada@example.org", "gitlab")


def test_every_accelerator_of_the_catalogue_has_its_driver_and_its_oldest_gpu(stack: dict[str, Any]) -> None:
    built = {
        accelerator
        for channels in stack["builds"].values()
        for channel in channels.values()
        for accelerator in channel["accelerators"]
        if accelerator.startswith("cu")
    }
    assert built == set(stack["drivers"]) == set(stack["compute_capabilities"])
