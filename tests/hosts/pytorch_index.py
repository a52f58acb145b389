"""Builds the part of https://download.pytorch.org that generated repositories ask for: torch and its triton.

The wheels are stubs with true metadata: resolvers read only that. They can be installed but hold no code, so only the
CPU build, where pip's configured find-links has the real wheel, can be run.
"""

import functools
import hashlib
import re
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from . import cache
from .pip_settings import pip_setting

PYTHON_TAGS = ("cp311", "cp312", "cp313", "cp314")

# What the torch wheel requires on every platform: METADATA of torch 2.11.0 and 2.13.0 on PyPI.
COMMON = (
    "filelock",
    "typing-extensions>=4.10.0",
    "sympy>=1.13.3",
    "networkx>=2.5.1",
    "jinja2",
    "fsspec>=0.8.5",
    'optree>=0.13.0; extra == "optree"',
    'opt-einsum>=3.3; extra == "opt-einsum"',
    'pyyaml; extra == "pyyaml"',
)
SETUPTOOLS = {"2.11.0": "setuptools<82", "2.13.0": "setuptools>=77.0.3"}
TOOLKIT = "cuda-toolkit[cublas,cudart,cufft,cufile,cupti,curand,cusolver,cusparse,nvjitlink,nvrtc,nvtx]"
TRITON_2_13 = 'triton==3.7.1; platform_system == "Linux" and python_version < "3.15"'


@dataclass(frozen=True)
class Build:
    """A torch of one index of download.pytorch.org and the requirements that set it apart from the others."""

    index: str
    torch: str
    linux: tuple[str, ...] = ()  # required when platform_system == "Linux"
    others: tuple[str, ...] = ()

    @property
    def requirements(self) -> list[str]:
        linux = [f'{requirement}; platform_system == "Linux"' for requirement in self.linux]
        return [*COMMON, SETUPTOOLS[self.torch], *linux, *self.others]


BUILDS = (
    # Read: METADATA of the real 2.13.0+cpu wheel.
    Build("cpu", "2.13.0"),
    # Derived: what torch 2.11.0 on PyPI requires on a platform without CUDA.
    Build("cpu", "2.11.0"),
    # Derived: PyTorch's release workflow names these for CUDA 12.6, and pip's report of a real `torch==2.13.0+cu126`
    # has the same versions. That cuda-bindings carries no Python bound, as its cu130 sibling does, is a guess.
    Build(
        "cu126",
        "2.13.0",
        linux=(
            f"{TOOLKIT}==12.6.3",
            "cuda-bindings<13,>=12.9.4",
            "nvidia-cudnn-cu12==9.10.2.21",
            "nvidia-cusparselt-cu12==0.7.1",
            "nvidia-nccl-cu12==2.29.3",
            "nvidia-nvshmem-cu12==3.4.5",
        ),
        others=(TRITON_2_13,),
    ),
    # Derived: pip's output for a real `torch==2.11.0+cu128` names each of these.
    Build(
        "cu128",
        "2.11.0",
        linux=(
            f"{TOOLKIT}==12.8.1",
            "cuda-bindings<13,>=12.9.4",
            "nvidia-cudnn-cu12==9.19.0.56",
            "nvidia-cusparselt-cu12==0.7.1",
            "nvidia-nccl-cu12==2.28.9",
            "nvidia-nvshmem-cu12==3.4.5",
            "triton==3.6.0",
        ),
    ),
    # Read: METADATA of torch 2.13.0 on PyPI, which is the CUDA 13.0 build.
    Build(
        "cu130",
        "2.13.0",
        linux=(
            f"{TOOLKIT}==13.0.3",
            "nvidia-cudnn-cu13==9.20.0.48",
            "nvidia-cusparselt-cu13==0.8.1",
            "nvidia-nccl-cu13==2.29.7",
            "nvidia-nvshmem-cu13==3.4.5",
        ),
        others=('cuda-bindings<14,>=13.0.3; platform_system == "Linux" and python_version < "3.15"', TRITON_2_13),
    ),
    # Derived: cu130 with the toolkit of pip's report for a real `torch==2.13.0+cu132`; all else in it is as in cu130.
    Build(
        "cu132",
        "2.13.0",
        linux=(
            f"{TOOLKIT}==13.2.1",
            "nvidia-cudnn-cu13==9.20.0.48",
            "nvidia-cusparselt-cu13==0.8.1",
            "nvidia-nccl-cu13==2.29.7",
            "nvidia-nvshmem-cu13==3.4.5",
        ),
        others=('cuda-bindings<14,>=13.0.3; platform_system == "Linux" and python_version < "3.15"', TRITON_2_13),
    ),
    # Derived: a real `torch==2.13.0+rocm7.2` brings triton-rocm 3.7.1, which lives on this index alone (PyPI's
    # triton-rocm ended at 3.0.0rc1); ROCm itself is inside the wheel. The markers are those of the CUDA builds.
    Build("rocm7.2", "2.13.0", others=(TRITON_2_13.replace("triton==", "triton-rocm=="),)),
)


def pytorch_index() -> Path:
    """The folder to serve as download.pytorch.org."""
    real = find_real_wheels()
    return cache.built("pytorch-index", functools.partial(write, real=real), [Path(__file__), *real])


def write(root: Path, real: Sequence[Path]) -> None:
    """Writes `root/whl/<index>/<project>/` for every index, with the `real` wheels in place of their stubs."""
    for build in BUILDS:
        version = f"{build.torch}+{build.index}"
        folder = root / "whl" / build.index / "torch"
        for tag in PYTHON_TAGS:
            wheels = [wheel for wheel in real if wheel.name.startswith(f"torch-{version}-{tag}-")]
            for wheel in wheels:
                folder.mkdir(parents=True, exist_ok=True)
                (folder / wheel.name).symlink_to(wheel)
            if not wheels:
                stub(
                    folder,
                    "torch",
                    version,
                    tag=tag,
                    platform="manylinux_2_28_x86_64",
                    requirements=build.requirements,
                )
            # PyPI has triton too, but `uv pip --torch-backend` looks for it on PyTorch's index alone
            for project, number in re.findall(r"^(triton\S*)==([\d.]+)", "\n".join(build.requirements), re.MULTILINE):
                stub(folder.with_name(project), project, number, tag=tag, platform="linux_x86_64", requirements=[])
    for folder in root.glob("whl/*/*"):
        write_listing(folder)


def find_real_wheels() -> list[Path]:
    """The wheels of torch in the folders that pip's configuration names under find-links, if this machine has any."""
    folders = {Path(folder.removeprefix("file://")) for folder in pip_setting("find-links")}
    return sorted(wheel for folder in folders for wheel in folder.glob("torch-*_x86_64.whl"))


def real_cpu_wheels(version: str, python: str) -> list[Path]:
    """The wheels of one version of torch for the CPU and one Python, of which there is one or none."""
    start = f"torch-{version}+cpu-cp{python.replace('.', '')}-"
    return [wheel for wheel in find_real_wheels() if wheel.name.startswith(start)]


def stub(folder: Path, project: str, version: str, *, tag: str, platform: str, requirements: Sequence[str]) -> None:
    """Writes a wheel that has metadata and no code."""
    name = project.replace("-", "_")
    info = f"{name}-{version}.dist-info"
    extras = re.findall(r'extra == "(.+?)"', "\n".join(requirements))
    metadata = [
        "Metadata-Version: 2.1",
        f"Name: {project}",
        f"Version: {version}",
        "Requires-Python: >=3.10",
        *(f"Provides-Extra: {extra}" for extra in extras),
        *(f"Requires-Dist: {requirement}" for requirement in requirements),
    ]
    files = {
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: stub\nRoot-Is-Purelib: false\nTag: {tag}-{tag}-{platform}\n",
    }
    record = [f"{path},sha256={encoded_hash(text)},{len(text)}" for path, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-{tag}-{tag}-{platform}.whl", "w") as wheel:
        for path, text in files.items():
            # a fixed time, so that a stub built again has the same hash and a lock made before stays valid
            wheel.writestr(zipfile.ZipInfo(path, (2026, 1, 1, 0, 0, 0)), text)


def encoded_hash(text: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def write_listing(folder: Path) -> None:
    """Writes the project page with PEP 658 metadata beside each wheel, as download.pytorch.org serves it."""
    links = []
    for wheel in sorted(folder.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            inside = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            metadata = archive.read(inside)
        wheel.with_name(f"{wheel.name}.metadata").write_bytes(metadata)
        with wheel.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        link = f"{quote(wheel.name)}#sha256={digest}"
        core = f"sha256={hashlib.sha256(metadata).hexdigest()}"
        links.append(f'<a href="{link}" data-core-metadata="{core}">{escape(wheel.name)}</a>')
    (folder / "index.html").write_text("<!DOCTYPE html><html><body>\n" + "<br/>\n".join(links) + "\n</body></html>\n")
