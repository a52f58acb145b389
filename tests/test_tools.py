"""Every different content of every generated file is accepted by the real tool of its format."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from formats import PARSED
from proof import Proof
from proof_report import Report
from tools import TOOLS, ToolMissingError, findings, summary, taken

WITHOUT_SYNTAX = {".python-version", ".skyignore", "CLAUDE.md", "LICENSE", "py.typed"}

SLOW = ("actionlint", "bash", "markdownlint", "poe", "shellcheck", "uv")
LARGE = ("renovate", "skypilot")  # hundreds of megabytes to install


QUICK = [tool for tool in TOOLS if tool not in {"formats", *SLOW, *LARGE}]  # test_proof.py parses every content


@pytest.mark.parametrize(
    ("tool", "step"),
    [
        *((tool, 1) for tool in QUICK),
        *((tool, 16) for tool in SLOW),
        *(pytest.param(tool, 1, marks=pytest.mark.release) for tool in (*SLOW, *LARGE)),
    ],
)
def test_a_tool_finds_nothing_in_any_content(
    tool: str, step: int, proof: Proof, proof_report: Report, tmp_path: Path
) -> None:
    """The default run shows a slow tool one content of many."""
    seen = taken(tool, proof.contents)[::step]
    assert seen, f"no content is looked at by {tool}"
    try:
        with proof_report.seconds(f"seconds of processor time: {tool}"):
            found = findings(tool, seen, tmp_path)
    except ToolMissingError as error:
        pytest.skip(str(error))
    proof_report.count({tool: len(seen)})
    assert summary(found, proof, tmp_path) == []


def test_every_format_is_read_by_a_tool(proof: Proof) -> None:
    special = [tool for name, tool in TOOLS.items() if name not in {"formats", "style"}]
    unread = {
        PurePosixPath(content.path).name
        for content in proof.contents
        if content.suffix not in PARSED and not any(tool.takes(content) for tool in special)
    }
    assert unread <= WITHOUT_SYNTAX, "a file of a new format needs its tool in tests/tools.py"
