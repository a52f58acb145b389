"""What vLLM makes of the folder that a repository exports for it, as far as it reads one without a GPU."""

from __future__ import annotations

import json
import re
from email.parser import Parser
from pathlib import Path

import pytest
from environments import PythonOf
from hosts.conda_channel import PYTORCH
from hosts.tools import Tools
from repositories import ROOT, STACK, resolve, write

FOR_A_GPU = re.compile(
    r"torch|nvidia|nvtx|pynvvideocodec|cuda|flashinfer|tilelang|fastsafetensors|instanttensor|quack|tokenspeed|humming"
    r"|opencv|xgrammar"
)
"""Packages that compute on a GPU, or take those of the sort along; xgrammar comes without what it requires."""


@pytest.mark.complete
def test_vllm_takes_the_settings_the_tokens_and_every_weight(
    python_of: PythonOf, vllm: Path, tools: Tools, tmp_path: Path
) -> None:
    given = {"library": "transformers", "example": "text", "serving": "vllm"}
    write(resolve({"framework": "pytorch", **given}), tmp_path)
    environment = {**tools.environment, "PYTHONPATH": str(tmp_path / "src")}
    python = python_of("pytorch", **given)
    tools.run(f"{python} -m demo train debug --model.precision bfloat16", tmp_path, environment)
    assert tools.run(f"{python} -m demo export runs/debug", tmp_path, environment).strip() == "runs/debug/model"
    said = json.loads(tools.run(f"{vllm} {ROOT}/tests/vllm_reads.py runs/debug/model", tmp_path).splitlines()[-1])
    weights = said.pop("weights")
    assert said == {
        "name": ["debug"],
        "host": "127.0.0.1",
        "architecture": "GPT2LMHeadModel",
        "dtype": "torch.bfloat16",
        "length": 16,
        "tokens": list("h\u00e9\n".encode()),
        "text": "h\u00e9\n",
    }
    assert len(weights) == 17
    assert all(weights.values()), weights


@pytest.fixture(scope="module")
def vllm(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the vLLM that README names, and without what computes on a GPU."""
    folder = tmp_path_factory.mktemp("vllm")
    python = folder / ".venv" / "bin" / "python"
    tools.run("uv venv --quiet --python 3.11", folder)
    tools.run(f"uv pip install --quiet --no-deps 'vllm{STACK['programs']['vllm']}' xgrammar", folder)
    (metadata,) = folder.glob(".venv/lib/*/site-packages/vllm-*.dist-info/METADATA")
    required = Parser().parsestr(metadata.read_text()).get_all("Requires-Dist", [])
    others = [one for one in required if "extra ==" not in one and not FOR_A_GPU.match(one.lower())]
    (folder / "requirements.txt").write_text("\n".join([f"torch=={PYTORCH}+cpu", *others]) + "\n")
    index = f"{STACK['pytorch_index']}/cpu"
    tools.run(f"uv pip install --quiet --requirements requirements.txt --index {index}", folder)
    return python
