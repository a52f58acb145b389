"""The script for TPU slices, run as two hosts on this machine, each with a stand-in for Google's metadata server."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from environments import PythonOf
from repositories import resolve, write
from stand_ins import stand_in
from test_slurm import Repository

pytestmark = pytest.mark.complete

ATTRIBUTES = "/computeMetadata/v1/instance/attributes"


@contextmanager
def metadata_of(host: int) -> Iterator[str]:
    """Where the metadata of a host of two is served, both of which are this machine."""
    known = {
        f"{ATTRIBUTES}/worker-network-endpoints": "unknown:unknown:127.0.0.1,unknown:unknown:127.0.0.1",
        f"{ATTRIBUTES}/agent-worker-number": str(host),
    }

    class Metadata(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_known = self.headers["Metadata-Flavor"] == "Google" and self.path in known
            self.send_response(200 if is_known else 403)
            self.end_headers()
            self.wfile.write(known[self.path].encode() if is_known else b"")

        def log_message(self, *_: object, **__: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Metadata) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_two_hosts_train_as_two_processes_by_hand_do(python_of: PythonOf, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    write(resolve({"framework": "jax", "accelerator": "tpu"}), folder)
    repository = Repository(folder, python_of("jax"), {})
    stand_in(folder / ".venv" / "bin", "python", f'exec {repository.python} "$@"')
    repository.run(repository.python, "-m", "demo", "spawn", "2", "train", "debug", "--name", "by-hand")
    script = folder / "launch" / "tpu" / "train.sh"
    with metadata_of(0) as first, metadata_of(1) as second:
        hosts = [
            subprocess.Popen(
                ["bash", script, "debug", "--name", "on hosts"],
                cwd=tmp_path,
                env={"PATH": os.environ["PATH"], "GCE_METADATA_HOST": metadata, "MASTER_PORT": "29521"},
            )
            for metadata in (first, second)
        ]
        assert [host.wait(timeout=240) for host in hosts] == [0, 0]
    (start,) = repository.starts("on hosts")
    assert start["hardware"].endswith(", 2 processes")
    assert repository.losses("on hosts") == repository.losses("by-hand")


def test_a_host_that_is_no_tpu_is_told_so_by_its_exit_code(tmp_path: Path) -> None:
    write(resolve({"framework": "jax", "accelerator": "tpu"}), tmp_path / "demo")
    done = subprocess.run(
        ["bash", tmp_path / "demo/launch/tpu/train.sh", "debug"],
        env={"PATH": os.environ["PATH"], "GCE_METADATA_HOST": "127.0.0.1:9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode not in {0, 75}
    assert "curl" in done.stderr
