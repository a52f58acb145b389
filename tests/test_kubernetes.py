"""The Kubernetes launcher of a generated repository: what it creates is run here as a cluster would run it.

There is no cluster. A stand-in for kubectl takes the manifests; their containers run as processes on this machine, with
the environment that pods have; and what comes after they have ended follows from the rules in the manifest.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from environments import PythonOf
from repositories import resolve, write
from stand_ins import stand_in
from test_slurm import SLOW, Repository, commit

pytestmark = pytest.mark.complete

INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"


class Cluster:
    """Pods of one manifest, as processes."""

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        self.is_set = manifest["kind"] == "JobSet"
        self.rules = manifest["spec"]["failurePolicy"]["rules"] if self.is_set else []
        self.job = manifest["spec"]["replicatedJobs"][0]["template"]["spec"] if self.is_set else manifest["spec"]
        self.name = manifest["metadata"]["name"]

    def start(self) -> list[subprocess.Popen[str]]:
        """A process for each pod."""
        (container,) = self.job["template"]["spec"]["containers"]
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        pods = []
        for index in range(self.job["completions"]):
            given = {"PATH": os.environ["PATH"], "CUDA_VISIBLE_DEVICES": ""}
            for variable in container["env"]:
                is_index = variable.get("valueFrom") == {"fieldRef": {"fieldPath": INDEX}}
                given[variable["name"]] = str(index) if is_index else variable["value"]
            if self.is_set:  # JobSet gives this name to the first pod; here it is this machine
                assert given["MASTER_ADDR"] == f"{self.name}-node-0-0.{self.name}"
                given |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            words = [*container["command"], *container["args"]]
            pods.append(subprocess.Popen(words, cwd=container["workingDir"], env=given, text=True))
        return pods

    def after(self, codes: Sequence[int], *, driven_out: bool = False) -> str:
        """What Kubernetes does when pods have ended with these codes: the first rule counts that fits one of them."""
        if not any(codes):
            return "complete"
        for rule in self.job["podFailurePolicy"]["rules"]:
            wanted = rule.get("onExitCodes", {"values": []})
            assert wanted.get("operator", "In") == "In"
            disrupted = driven_out and rule.get("onPodConditions") == [{"type": "DisruptionTarget", "status": "True"}]
            if disrupted or any(code in wanted["values"] for code in codes):
                if rule["action"] == "Ignore":
                    return "start again"
                assert rule["action"] == "FailJob"
                return self.after_job("PodFailurePolicy")
        assert self.job["backoffLimit"] == 0
        return self.after_job("BackoffLimitExceeded")

    def after_job(self, reason: str) -> str:
        again = [rule for rule in self.rules if reason in rule["onJobFailureReasons"]]
        if again:
            assert again[0]["action"] == "RestartJobSetAndIgnoreMaxRestarts"
            return "start again"
        return "fail"


@pytest.fixture
def kubectl(tmp_path: Path) -> Path:
    """A folder with a kubectl that keeps what it is given."""
    stand_in(tmp_path / "tools", "kubectl", f"case $* in *create*) cat > {tmp_path}/created.yaml;; esac")
    return tmp_path / "tools"


def made(framework: str, python_of: PythonOf, kubectl: Path) -> Repository:
    folder = kubectl.parent / "demo"
    write(resolve({"framework": framework, "launchers": ["kubernetes"]}), folder)
    python = python_of(framework)
    repository = Repository(folder, python, {"PATH": f"{kubectl}:{os.environ['PATH']}"})
    site = {"image": "demo", "python": str(python), "claim": "data", "mount": str(kubectl.parent), "queue": ""}
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in site.items()]
    (folder / "launch/kubernetes/cluster.toml").write_text("".join([*lines, "options = []\n"]), encoding="utf-8")
    commit(repository)
    return repository


def created(kubectl: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((kubectl.parent / "created.yaml").read_text(encoding="utf-8")))


def ended(pods: Sequence[subprocess.Popen[str]]) -> list[int]:
    return [pod.wait(timeout=240) for pod in pods]


@pytest.mark.parametrize("framework", ["pytorch", "jax", "tensorflow"])
def test_a_run_in_two_pods_that_is_driven_out_ends_like_one_by_hand(
    framework: str, python_of: PythonOf, kubectl: Path
) -> None:
    repository = made(framework, python_of, kubectl)
    training = ("debug", "--optim.steps", "200", *SLOW)
    by_hand = (repository.python, "-m", "demo", "spawn", "2", "train", *training, "--name", "by-hand")
    repository.run(*by_hand)

    with repository.slow_start():
        repository.launch("--on", "kubernetes", "--nodes", "2", "--", *training, "--name", "driven-out")
    repository.edit("src/demo/train.py", '"""', 'raise SystemExit("half-written")\n"""')  # the pods have other code
    (manifest,) = created(kubectl)
    cluster = Cluster(manifest)
    pods = cluster.start()
    repository.wait(lambda: any(pod.poll() for pod in pods) or len(repository.rows("driven-out")) > 1, "driven-out")
    assert [pod.poll() for pod in pods] == [None, None]
    for pod in pods:
        pod.send_signal(signal.SIGTERM)
    codes = ended(pods)
    assert codes == [75, 75]
    assert cluster.after(codes) == cluster.after([75, 137], driven_out=True) == "start again"
    codes = ended(cluster.start())
    assert cluster.after(codes) == "complete"
    first, second = repository.starts("driven-out")
    assert 0 == first["after_step"] < second["after_step"] < 200
    assert first["hardware"].startswith("2 x")
    assert repository.losses("driven-out") == repository.losses("by-hand")


def test_a_run_in_one_pod_that_fails_is_not_started_again(python_of: PythonOf, kubectl: Path) -> None:
    repository = made("pytorch", python_of, kubectl)
    sweep = ("--processes", "2", "--sweep", "optim.lr=1e-3,1e38")
    repository.launch("--on", "kubernetes", *sweep, "--", "debug", "--name", "points")
    fine, failing = (Cluster(manifest) for manifest in created(kubectl))
    assert fine.after(ended(fine.start())) == "complete"
    codes = ended(failing.start())
    assert failing.after(codes) == "fail"
    assert codes != [0]
    assert failing.after([75]) == failing.after([143], driven_out=True) == "start again"
    assert repository.starts("points-optim.lr=1e-3")[0]["hardware"].startswith("2 x")


# By hand, a manifest is filled in with a program that some systems lack; `launch` needs none.
@pytest.mark.skipif(shutil.which("envsubst") is None, reason="no envsubst here, of the package gettext-base")
@pytest.mark.parametrize(("file", "nodes"), [("job.yaml", "1"), ("jobset.yaml", "3")])
def test_a_manifest_that_is_filled_in_by_hand_is_what_launch_creates(
    file: str, nodes: str, python_of: PythonOf, kubectl: Path
) -> None:
    repository = made("pytorch", python_of, kubectl)
    asked = ("--nodes", nodes, "--processes", "1", "--gpus", "1", "--cpus", "4", "--memory", "16Gi")
    repository.launch("--on", "kubernetes", *asked, "--", "baseline", "--seed", "1")
    (by_launch,) = created(kubectl)
    (receipt,) = json.loads(repository.path("baseline", "launch.json").read_text())
    values = {
        "NAME": by_launch["metadata"]["name"],
        "IMAGE": "demo",
        "PYTHON": repository.python,
        "CLAIM": "data",
        "MOUNT": kubectl.parent,
        "CODE": receipt["launch"]["code"],
        "NODES": nodes,
    }
    head = (repository.folder / "launch/kubernetes/job.yaml").read_text(encoding="utf-8").partition("apiVersion")[0]
    exports = re.findall(r"^#   (export .*)$", head, re.MULTILINE)
    others = " ".join(f"{name}={shlex.quote(str(value))}" for name, value in values.items())
    script = "\n".join([*exports, f"export {others}", f"envsubst < launch/kubernetes/{file}"])
    (by_hand,) = yaml.safe_load_all(repository.run("bash", "-c", script))
    assert by_hand == by_launch
    assert values.keys() - {"NODES"} <= {word.partition("=")[0] for export in exports for word in export.split()}
