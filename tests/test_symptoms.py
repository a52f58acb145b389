"""Causes recognised from what the managers print: for those that tests/test_environment.py cannot bring about."""

from __future__ import annotations

import textwrap

import pytest

from labrig.symptoms import recognise

OUTPUTS = {
    "conda without network": """
        CondaHTTPError: HTTP 000 CONNECTION FAILED for url <https://conda.anaconda.org/conda-forge/noarch/repodata.json>
        Elapsed: -
        => unreachable: conda.anaconda.org cannot be reached from here
    """,
    "micromamba without network": """
        error    libmamba Could not resolve host: conda.anaconda.org
        critical libmamba Download error (6) Could not resolve hostname [https://conda.anaconda.org/x/repodata.json]
        => unreachable: conda.anaconda.org cannot be reached from here
    """,
    "Poetry without network": """
        Source (pytorch-cpu): Failed to retrieve metadata.
        All attempts to connect to download.pytorch.org failed.
        => unreachable: download.pytorch.org cannot be reached from here
    """,
    "pip without network": """
        Looking in indexes: https://example.org/simple
        WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError("HTTPSConnection(
        host='index.example.org', port=443): Failed to establish a new connection: [Errno 101] Network is unreachable")'
        => unreachable: index.example.org cannot be reached from here
    """,
    "uv that may not use the network": """
        error: Failed to fetch: `https://index.example.org/simple/numpy/`
          Caused by: Network connectivity is disabled, but the requested data wasn't found in the cache
        => unreachable: index.example.org cannot be reached from here
    """,
    "a proxy that opens encrypted traffic": """
        error: Request failed after 3 retries
          cause: Failed to fetch: https://index.example.org/simple/numpy/
          cause: error sending request for url (https://index.example.org/simple/numpy/)
          cause: invalid peer certificate: UnknownIssuer
        => certificate: index.example.org showed a certificate that this machine does not trust
    """,
    "an address that is not there": """
        error: Failed to fetch: https://example.org/x.whl
          cause: HTTP status client error (404 Not Found) for url (https://example.org/x.whl)
        => refused: https://example.org/x.whl answers 404 Not Found
    """,
    "pip and a wrong hash": """
        ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated the package
        versions, please update the hashes.
            six==1.17.0 from https://files.pythonhosted.org/six.whl (from -r cpu.lock (line 3)):
        => hash-mismatch: what was downloaded for six==1.17.0 is not what the lock file recorded
    """,
    "Poetry and another Python": """
        The currently activated Python version 3.11.7 is not supported by the project (>=3.12,<3.13).
        Poetry was unable to find a compatible version.
        => python-missing: Python 3.12 was not found on this machine
    """,
    "conda without a solution": """
        LibMambaUnsatisfiableError: Encountered problems while solving:
          - nothing provides __cuda needed by pytorch-gpu
        => no-solution: the versions asked for do not go together, or are not built for this platform
    """,
    "a Python without venv": """
        The virtual environment was not created successfully because ensurepip is not
        available.
            apt install python3.11-venv
        => venv-missing: this Python came without the module that creates environments
    """,
    "a full quota": """
        error: failed to write to file `/home/ada/.cache/uv/x`: Disk quota exceeded (os error 122)
        => disk-full: the disk is full, or its quota is
    """,
    "too little memory": """
        MemoryError
        => memory: the memory of this machine ran out
    """,
}


@pytest.mark.parametrize("case", OUTPUTS.values(), ids=OUTPUTS)
def test_a_cause_is_recognised(case: str) -> None:
    output, _, expected = textwrap.dedent(case).rpartition("=> ")
    symptom = recognise(output)
    assert symptom is not None
    assert f"{symptom.kind}: {symptom.cause}" == expected.strip()


def test_what_is_not_known_is_not_guessed() -> None:
    assert recognise("error: something else\n") is None


def test_a_host_that_is_silent_explains_why_no_package_was_found() -> None:
    output = "ERROR: No matching distribution found for torch==2.13.0+cpu\n"
    symptom = recognise(output, ["download.pytorch.org"])
    assert symptom is not None
    assert symptom.cause == "download.pytorch.org cannot be reached from here"
