"""The stand-ins answer as the hosts they stand for, to every client, and nothing else changes."""

import email
import os
import ssl
import sys
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hosts import cache, conda
from hosts.conda_channel import PYTHON, PYTHONS
from hosts.pytorch_index import BUILDS, real_cpu_wheels
from hosts.standin import StandIn, own_authorities, stand_in
from hosts.tools import Tools
from packaging.requirements import Requirement
from rattler.exceptions import SolverError

HOST = "packages.example.org"


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[StandIn]:
    (tmp_path / "whl").mkdir()
    (tmp_path / "whl" / "file.txt").write_text("a file")
    with stand_in({HOST: tmp_path}) as opened:
        yield opened


def fetch(url: str, hosts: StandIn, authorities: str | None = None) -> str:
    """Reads a URL as a program does that obeys the stand-in's environment variables."""
    trust = ssl.create_default_context(cafile=authorities or hosts.environment["SSL_CERT_FILE"])
    proxy = urllib.request.ProxyHandler({"https": hosts.environment["HTTPS_PROXY"]})
    opener = urllib.request.build_opener(proxy, urllib.request.HTTPSHandler(context=trust))
    with opener.open(url, timeout=60) as response:
        return str(response.read().decode())


def test_a_stood_in_host_answers_from_its_folder(hosts: StandIn) -> None:
    assert fetch(f"https://{HOST}/whl/file.txt", hosts) == "a file"
    assert hosts.requests == ['"GET /whl/file.txt HTTP/1.1" 200 -']


def test_a_file_that_is_not_there_is_a_404(hosts: StandIn) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404") as error:
        fetch(f"https://{HOST}/whl/other.txt", hosts)
    error.value.close()


def test_a_client_that_does_not_know_the_authority_refuses_the_stand_in(hosts: StandIn, tmp_path: Path) -> None:
    (tmp_path / "own.pem").write_bytes(own_authorities())
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        fetch(f"https://{HOST}/whl/file.txt", hosts, authorities=str(tmp_path / "own.pem"))


def test_every_other_host_is_tunnelled_and_keeps_its_own_certificate(hosts: StandIn, tmp_path: Path) -> None:
    (tmp_path / "own.pem").write_bytes(own_authorities())
    assert "iniconfig" in fetch("https://pypi.org/simple/iniconfig/", hosts, authorities=str(tmp_path / "own.pem"))
    assert hosts.requests == []


def test_a_host_that_cannot_be_reached_is_a_bad_gateway(hosts: StandIn) -> None:
    with pytest.raises(OSError, match="502"):
        fetch("https://nowhere.invalid/", hosts)


def test_a_machine_that_has_a_proxy_reaches_hosts_through_it(
    hosts: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, hosts.environment[name])
    with stand_in({"other.example.org": tmp_path}) as second:
        assert fetch(f"https://{HOST}/whl/file.txt", second, hosts.environment["SSL_CERT_FILE"]) == "a file"


def test_a_machine_whose_proxy_wants_a_password_sends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []

    class Refusing(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            asked.append((self.path, self.headers["Proxy-Authorization"]))
            self.send_error(403)

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as own:
        threading.Thread(target=own.serve_forever, daemon=True).start()
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://ada:secret@127.0.0.1:{own.server_port}")
        with stand_in({HOST: tmp_path}) as hosts, pytest.raises(OSError, match="502"):
            fetch("https://elsewhere.example.org/", hosts)
        own.shutdown()
    assert asked == [("elsewhere.example.org:443", "Basic YWRhOnNlY3JldA==")]


def test_a_folder_is_built_once_and_again_when_its_script_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "ROOT", tmp_path / "cache")
    script = tmp_path / "script.py"
    script.write_text("one")
    calls: list[Path] = []

    def build(folder: Path) -> None:
        calls.append(folder)
        (folder / "made").touch()

    first = cache.built("thing", build, [script])
    assert cache.built("thing", build, [script]) == first
    assert len(calls) == 1
    script.write_text("two")
    assert cache.built("thing", build, [script]) != first
    assert sorted(path.name for path in cache.ROOT.iterdir()) == sorted(
        [first.name, cache.built("thing", build, [script]).name]
    )


def test_a_folder_that_was_not_used_for_long_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "ROOT", tmp_path)
    old = cache.built("thing", Path.touch, ["old"])
    os.utime(old, (0, 0))
    recent = cache.built("thing", Path.touch, ["recent"])
    assert list(tmp_path.iterdir()) == [recent]


def test_a_build_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "ROOT", tmp_path)

    def build(folder: Path) -> None:
        (folder / "half").touch()
        raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        cache.built("thing", build, [])
    assert list(tmp_path.iterdir()) == []


def test_of_two_builds_at_the_same_time_both_get_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "ROOT", tmp_path)

    def build(folder: Path) -> None:
        if not any(path.name.startswith("thing-e3b0") for path in tmp_path.iterdir()):
            cache.built("thing", lambda other: (other / "first").touch(), [])  # the other run, faster
        (folder / "second").touch()

    assert [path.name for path in cache.built("thing", build, []).iterdir()] == ["first"]


def test_the_stub_for_cuda_13_0_brings_what_the_real_wheel_brings(tools: Tools, tmp_path: Path) -> None:
    """PyPI's torch for Linux is that build, so a resolver can be asked for both and must answer alike."""
    (stub,) = [build for build in BUILDS if build.index == "cu130"]
    (tmp_path / "requirements.in").write_text(f"torch=={stub.torch}\n")
    compiling = f"uv pip compile requirements.in --quiet --no-header --no-annotate --python-version {PYTHON}"
    real = tools.run(compiling, tmp_path)
    assert f"torch=={stub.torch}\n" in real
    assert "nvidia-nccl-cu13==" in real
    stood_in = tools.run(f"{compiling} --torch-backend {stub.index}", tmp_path)
    assert stood_in == real.replace(f"torch=={stub.torch}\n", f"torch=={stub.torch}+{stub.index}\n")


def test_the_stub_for_the_cpu_requires_what_the_real_wheel_requires() -> None:
    (stub,) = [build for build in BUILDS if build.index == "cpu" and build.torch == "2.13.0"]
    wheels = real_cpu_wheels(stub.torch, PYTHON)
    if not wheels:
        pytest.skip(f"pip's find-links name no folder with a wheel of torch {stub.torch}+cpu for Python {PYTHON}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        real = email.message_from_bytes(wheel.read(f"torch-{stub.torch}+cpu.dist-info/METADATA"))
    assert {*map(Requirement, stub.requirements)} == {*map(Requirement, real.get_all("Requires-Dist", []))}


@pytest.mark.complete
@pytest.mark.parametrize(
    ("asked", "cuda", "build"),
    [
        ("pytorch", None, "cpu"),
        ("pytorch", "12.9", "cuda129"),
        ("pytorch", "13.0", "cuda130"),
        ("pytorch-cpu", "13.0", "cpu"),
        ("pytorch-gpu cuda-version=12.9", "13.0", "cuda129"),
        ("pytorch-gpu cuda-version=13.0", "12.9", None),
        ("pytorch-gpu", None, None),
        ("jaxlib", None, "cpu"),
        ("jaxlib", "13.0", "cuda129"),
        ("jaxlib=*=cuda*", None, None),
    ],
)
@pytest.mark.parametrize("python", PYTHONS)
def test_a_conda_solver_takes_the_build_for_the_driver_it_sees(
    python: str, asked: str, cuda: str | None, build: str | None, channels: Path
) -> None:
    file = conda.EnvironmentFile(["conda-forge"], [f"python={python}", *asked.split()], [])
    if build is None:
        with pytest.raises(SolverError, match="__cuda"):
            conda.solve(file, channels, cuda)
        return
    name = asked.partition("-")[0].partition("=")[0]
    (taken,) = [record for record in conda.solve(file, channels, cuda) if record.name.normalized == name]
    assert str(taken.build).startswith(f"{build}_")


@pytest.mark.complete
def test_a_conda_environment_runs_its_programs_from_wherever_it_is(
    tools: Tools, channels: Path, tmp_path: Path
) -> None:
    file = tmp_path / "environment.yml"
    file.write_text(f"channels: [conda-forge]\ndependencies: [python={PYTHON}, numpy, ruff, pytest, pip]\n")
    prefix = tmp_path / "environment"
    conda.create(file, prefix, channels, tools.environment)
    environment = conda.activated(prefix, tools.environment)
    said = tools.run("python -c 'import numpy, sys; print(sys.prefix, numpy.ones(2).sum())'", tmp_path, environment)
    assert said.split() == [str(prefix), "2.0"]
    assert tools.run("ruff --version", tmp_path, environment).startswith("ruff ")
    assert tools.run("pytest --version", tmp_path, environment).startswith("pytest ")
    assert "No broken requirements" in tools.run("pip check", tmp_path, environment)


def test_the_tools_on_path_are_the_users_and_not_the_tests_own(tools: Tools, tmp_path: Path) -> None:
    folders = tools.environment["PATH"].split(os.pathsep)
    assert str(Path(sys.prefix, "bin")) not in folders
    assert tools.run("poetry --version", tmp_path).startswith("Poetry (version 2.")
    assert tools.run("python -c 'import sys; print(sys.prefix)'", tmp_path).strip() == sys.base_prefix
