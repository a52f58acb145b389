"""Measures, in one run: a scan and a trial of many bare repositories, against a shell loop of `copier update`.

    uv run python benchmarks/fleet.py [--repositories 1000] [--compared 30] [--jobs 2]

Every repository has a name, and so answers, of its own. The loop and the trial are of the same repositories: each is
cloned and updated by a `copier update`, then one `labrig fleet simulate` tries the same on their bare originals.
Memory is the most that one process of labrig had.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from update import git, make_template, used

from labrig.render import RenderedFile, Template

FRAMEWORKS = ("pytorch", "jax")
MANAGERS = ("uv", "pip", "conda", "poetry")


def main() -> None:
    """Run all measurements and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repositories", type=int, default=1000)
    parser.add_argument("--compared", type=int, default=30)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n")
        os.environ |= {"COPIER_CACHE_DIR": str(folder / "cache"), "GIT_CONFIG_GLOBAL": str(folder / "gitconfig")}
        template = make_template(folder)
        make_fleet(template, folder, options.repositories)
        print(f"load {os.getloadavg()[0]:.1f}, {options.jobs} processes of labrig")
        compared = sorted((folder / "fleet").iterdir())[: options.compared]
        (folder / "compared.txt").write_text("".join(f"{path}\n" for path in compared))
        loop = measured("copier update, a loop", [copier_update(path, folder) for path in compared], len(compared))
        words = ["--to", "v1.1.0", "--jobs", str(options.jobs), "--quiet", "--ledger", str(folder / "ledger")]
        trial = measured(
            "labrig fleet simulate, the same",
            [labrig("fleet", "simulate", str(folder / "compared.txt"), *words)],
            len(compared),
        )
        print(f"  ratio on the clock {trial[0] / loop[0]:.3f}, of processor time {trial[1] / loop[1]:.3f}")
        words = [str(folder / "fleet"), "--jobs", str(options.jobs), "--quiet", "--ledger", str(folder / "ledger")]
        measured("labrig fleet scan", [labrig("fleet", "scan", *words)], options.repositories)
        words += ["--to", "v1.1.0"]
        measured("labrig fleet simulate", [labrig("fleet", "simulate", *words)], options.repositories)
        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"  most memory of one process {most:.0f} MiB")
        page = labrig("fleet", "report", "--html", str(folder / "page.html"), "--ledger", str(folder / "ledger"))
        measured("labrig fleet report --html", [page], 1)


def make_fleet(template: Path, folder: Path, count: int) -> None:
    """Bare repositories of the first version, each with an edit of its user's."""
    git(template, "checkout", "--quiet", "v1.0.0")
    renderer, commit = Template(template), git(template, "rev-parse", "v1.0.0^{commit}")
    for number in range(count):
        name = f"demo-{number:04}"
        answers = {
            "project_name": name,
            "framework": FRAMEWORKS[number % 2],
            "package_manager": MANAGERS[number // 2 % 4],
        }
        resolved = renderer.resolve(answers, folder_name=name)
        files = renderer.render(resolved, src_path=str(template), commit="v1.0.0", commit_hash=commit)
        manifest = files["pyproject.toml"]
        files["pyproject.toml"] = RenderedFile(manifest.content + b"\n[tool.mine]\nvalue = 1\n", manifest.executable)
        path = folder / "fleet" / f"{name}.git"
        subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", path], check=True)
        stream = [b"commit refs/heads/main\ncommitter Ada <ada@example.org> 0 +0000\ndata 0\n"]
        for file, content in files.items():
            mode = "100755" if content.executable else "100644"
            stream += [f"M {mode} inline {file}\ndata {len(content.content)}\n".encode(), content.content, b"\n"]
        subprocess.run(["git", "-C", path, "fast-import", "--quiet"], input=b"".join(stream), check=True)
    git(template, "checkout", "--quiet", "v1.1.0")


def copier_update(path: Path, folder: Path) -> list[str]:
    """A clone and a `copier update`, as a shell loop has them for each repository."""
    clone = folder / "clones" / path.stem
    update = f"{sys.executable} -m copier update --defaults --quiet"
    return ["sh", "-c", f"git clone --quiet {path} {clone} && cd {clone} && {update} && grep -q More. EXPERIMENTS.md"]


def labrig(*words: str) -> list[str]:
    """A command of labrig's."""
    return [sys.executable, "-m", "labrig", *words]


def measured(title: str, commands: Sequence[Sequence[str]], count: int) -> tuple[float, float]:
    """Run the commands one after the other: the seconds on the clock, and of the processor."""
    began, before = time.perf_counter(), used()
    for command in commands:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    clock, processor = time.perf_counter() - began, used() - before
    each = f"{1000 * clock / count:.0f} and {1000 * processor / count:.0f} ms each"
    print(
        f"{title:34}{clock:8.1f} s on the clock,{processor:8.1f} s of the processor: {each}, {count} in all", flush=True
    )
    return clock, processor


if __name__ == "__main__":
    main()
