"""A real Slurm of several nodes on this machine, thrown away after the tests: no systemd, no cgroups, no root needed.

The daemons of Debian's and Ubuntu's packages run on the loopback interface, one slurmd per node. Everything they write
is in one folder. A GPU is a link to /dev/null: Slurm only asks that it is a character device, and hands it out as on a
node that has one.
"""

from __future__ import annotations

import getpass
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge", "slurm-wlm-basic-plugins")
PROGRAMS = ("munged", "slurmctld", "slurmd", "slurmstepd", "sbatch", "scontrol", "squeue", "scancel", "sinfo", "srun")
SECONDS_TO_START = 60
KILL_WAIT = 20  # seconds between a SIGTERM of Slurm and its SIGKILL: a busy machine saves in it

SETTINGS = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
# A job that was queued again waits as long as its old credential is good: 120 s where nothing else is said, and a
# busy machine needs some to start the first.
AuthInfo=socket={root}/munge.socket,cred_expire=15
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
CompleteWait=0
KillWait={kill_wait}
JobRequeue=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
EnforcePartLimits=ALL
MaxArraySize=101
GresTypes=gpu
"""
PARTITIONS = """\
PartitionName=DEFAULT Nodes={nodes} MaxTime=1-00:00:00 DefMemPerCPU=500
PartitionName=main Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime={grace}
PartitionName=urgent PriorityTier=10 PreemptMode=OFF
"""


def why_not() -> str:
    """Why there can be no cluster here; "" when there can."""
    missing = [name for name in PROGRAMS if _path(name) is None]
    return f"Slurm has no {', '.join(missing)} here; apt-get install {' '.join(PACKAGES)}" if missing else ""


def _path(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/local/sbin"]))


@contextmanager
def cluster(root: Path, *, nodes: int = 2, processors: int = 4, gpus: int = 2, grace: int = 60) -> Iterator[str]:
    """A cluster whose files are in the folder `root`; its slurm.conf, as the variable SLURM_CONF takes it.

    Jobs of the partition `urgent` drive those of `main` out, after `grace` seconds.
    """
    version = tuple(map(int, re.findall(r"\d+", _said("slurmctld", "-V"))[:2]))
    names = [f"127.0.0.{number}" for number in range(1, nodes + 1)]  # names that resolve on every machine
    for folder in (root / "state", root / "dev", *(root / "spool" / name for name in names)):
        folder.mkdir(parents=True)
    for number in range(gpus):
        (root / "dev" / f"nvidia{number}").symlink_to("/dev/null")
    host = socket.gethostname().partition(".")[0]
    port, *ports = _free_ports(1 + nodes)
    lines = SETTINGS.format(root=root, host=host, port=port, user=getpass.getuser(), kill_wait=KILL_WAIT)
    for name, own in zip(names, ports, strict=True):
        lines += f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={own} CPUs={processors} "
        lines += f"RealMemory=8000 Gres=gpu:{gpus}\n"
    lines += PARTITIONS.format(nodes=",".join(names), grace=grace)
    (root / "slurm.conf").write_text(lines)
    files = f"{root}/dev/nvidia[0-{gpus - 1}]"
    (root / "gres.conf").write_text(f"NodeName={','.join(names)} Name=gpu File={files} Flags=nvidia_gpu_env\n")
    # Containers and CI machines seldom let one make a cgroup; before 23.02 there was no word for that.
    (root / "cgroup.conf").write_text("CgroupPlugin=disabled\n" if version >= (23, 2) else "CgroupAutomount=no\n")
    (root / "munge.key").write_bytes(secrets.token_bytes(1024))
    (root / "munge.key").chmod(0o400)

    os_environment = {**os.environ, "SLURM_CONF": str(root / "slurm.conf")}
    configuration = ("-f", str(root / "slurm.conf"))
    with ExitStack() as running:

        def start(name: str, *arguments: str) -> None:
            log = running.enter_context((root / f"{name}.out").open("ab"))
            command = [str(_path(name)), *arguments]
            process = subprocess.Popen(
                command, cwd=root, env=os_environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
            running.callback(_end, process)

        munge = [f"--{what}-file={root}/munge.{ending}" for what, ending in (("pid", "pid"), ("log", "log"))]
        munge += [f"--socket={root}/munge.socket", f"--key-file={root}/munge.key", f"--seed-file={root}/munge.seed"]
        start("munged", "--foreground", "--force", *munge)  # --force: parents such as /tmp may be writable
        _wait((root / "munge.socket").exists, root)
        start("slurmctld", "-D", *configuration)
        for name in names:
            start("slurmd", "-D", "-N", name, *configuration)
        asking = ("sinfo", "--noheader", "--Node", "--partition=main", "--format=%T")
        _wait(lambda: _said(*asking, environment=os_environment).split() == ["idle"] * nodes, root)
        running.callback(_end_jobs, os_environment)
        yield str(root / "slurm.conf")


def _said(*command: str, environment: dict[str, str] | None = None) -> str:
    words = [str(_path(command[0])), *command[1:]]
    environment = environment or {**os.environ, "SLURM_CONF": "/dev/null"}
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False).stdout


def _free_ports(count: int) -> list[int]:
    with ExitStack() as opened:
        servers = [opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


def _wait(is_so: Callable[[], bool], root: Path) -> None:
    end = time.monotonic() + SECONDS_TO_START
    while not is_so():
        if time.monotonic() > end:
            logs = "\n".join(f"--- {path.name}\n{path.read_text()[-2000:]}" for path in sorted(root.glob("*.log")))
            raise RuntimeError(f"Slurm did not start within {SECONDS_TO_START} s\n{logs}")
        time.sleep(0.05)


def _end_jobs(environment: dict[str, str]) -> None:
    _said("scancel", "--signal=KILL", "--full", f"--user={getpass.getuser()}", environment=environment)
    _said("scancel", f"--user={getpass.getuser()}", environment=environment)
    end = time.monotonic() + 10
    while _said("squeue", "--noheader", environment=environment).strip() and time.monotonic() < end:
        time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
