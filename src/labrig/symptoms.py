"""Why a package manager or a test run failed, recognised from what it printed."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Symptom:
    """A cause in one sentence, and what to do before trying again."""

    kind: str
    cause: str
    remedy: str


def recognise(output: str, silent_hosts: Collection[str] = ()) -> Symptom | None:
    """The first cause that the output of a failed command shows; None when it shows none of those known here.

    Of `silent_hosts` it is known that they do not answer. pip does not mention that: it finds no package there.
    """
    symptom = next((symptom for look in LOOKS if (symptom := look(output))), None)
    if silent_hosts and (symptom is None or symptom.kind == "no-solution"):
        return _no_answer(" and ".join(silent_hosts))
    return symptom


def _disk_full(output: str) -> Symptom | None:
    if not re.search(r"No space left on device|Disk quota exceeded|\(os error (28|122)\)|\[Errno (28|122)\]", output):
        return None
    return Symptom("disk-full", "the disk is full, or its quota is", "make room (for example with: uv cache clean)")


def _hash_mismatch(output: str) -> Symptom | None:
    found = re.search(
        r"Hash mismatch for `([^`]+)`"
        r"|DO NOT MATCH THE HASHES(?s:.*?)\n\s+(\S+) from "
        r"|Hash for (\S+) from archive|Retrieved digest for link ([^\s(]+)",
        output,
    )
    if not found:
        return None
    name = next(group for group in found.groups() if group)
    return Symptom(
        "hash-mismatch",
        f"what was downloaded for {name} is not what the lock file recorded",
        "find out why before you trust it; to accept what the index has now, lock again with: poe lock",
    )


def _certificate(output: str) -> Symptom | None:
    if not re.search(r"invalid peer certificate|CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError", output):
        return None
    return Symptom(
        "certificate",
        f"{_host(output) or 'the index'} showed a certificate that this machine does not trust",
        "behind a proxy that opens encrypted traffic, set SSL_CERT_FILE to your organization's certificates",
    )


REFUSALS = (
    r"HTTP status (?:client|server) error \((?P<status>\d+ [^)]+)\) for url \((?P<address>\S+?)\)",
    r"An index \((?P<address>\S+)\) returned an? (?P<status>\d{3} .+?) error",
    r"HTTP (?P<status>[45]\d\d [A-Z ]+) for url <(?P<address>\S+?)>",
    r"HTTP error (?P<status>\d{3}) while getting (?P<address>\S+)",
)


def _refused(output: str) -> Symptom | None:
    found = next((found for pattern in REFUSALS if (found := re.search(pattern, output))), None)
    if not found:
        return None
    return Symptom(
        "refused",
        f"{found['address']} answers {found['status'].strip()}",
        "check the address, and whether it needs a login",
    )


UNREACHABLE = re.compile(
    r"error sending request for url|dns error|tcp connect error|operation timed out|connection refused"
    r"|Failed to establish a new connection|NameResolutionError|ConnectTimeoutError|ReadTimeoutError|Read timed out"
    r"|Max retries exceeded|All attempts to connect|CONNECTION FAILED|Could ?n[o']t resolve host"
    r"|Network connectivity is disabled",
    re.IGNORECASE,
)


def _unreachable(output: str) -> Symptom | None:
    if not UNREACHABLE.search(output):
        return None
    return _no_answer(_host(output) or "the package index")


def _no_answer(host: str) -> Symptom:
    return Symptom("unreachable", f"{host} cannot be reached from here", f"check the network and the way to {host}")


def _host(output: str) -> str | None:
    """The host that the first message about a connection names."""
    at = UNREACHABLE.search(output) or re.search("certificate", output, re.IGNORECASE)
    start = output.rfind("\n", 0, at.start()) + 1 if at else 0
    named = re.compile(
        r"https?://(?:[^@/\s]+@)?([^/:\s'\")>\]]+)|host='([^']+)'|connect to ([\w.-]+\w)|host: ([\w.-]+)"
    )
    found = named.search(output, start) or named.search(output)
    return next((group for group in found.groups() if group), None) if found else None


def _interpreter_missing(output: str) -> Symptom | None:
    found = re.search(
        r"No interpreter found for Python\D*(3\.\d+)"
        r"|requested interpreter .*?(3\.\d+)"
        r"|Python version \S+ is not (?:allowed|supported) by the project \(>=(3\.\d+)"
        r"|Could not find the python executable python(3\.\d+)",
        output,
        re.IGNORECASE,
    )
    if not found:
        return None
    version = next(group for group in found.groups() if group)
    return Symptom(
        "python-missing",
        f"Python {version} was not found on this machine",
        f"install it with: uv python install {version}",
    )


def _venv_missing(output: str) -> Symptom | None:
    if "ensurepip is not" not in output and "No module named venv" not in output:
        return None
    package = re.search(r"apt install (\S+-venv)", output)
    return Symptom(
        "venv-missing",
        "this Python came without the module that creates environments",
        f"install it with: sudo apt install {package.group(1) if package else 'python3-venv'}",
    )


def _no_solution(output: str) -> Symptom | None:
    found = re.search(
        r"No solution found when resolving.*|ResolutionImpossible.*|No matching distribution found for .*"
        r"|version solving failed.*|Unsatisfiable.*|PackagesNotFoundError.*|Could not solve for environment.*"
        r"|doesn't have a source distribution or wheel for the current platform.*",
        output,
    )
    if not found:
        return None
    return Symptom(
        "no-solution",
        "the versions asked for do not go together, or are not built for this platform",
        "read the reason above and loosen a range in pyproject.toml",
    )


def _failing_tests(output: str) -> Symptom | None:
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
    if not failed or "short test summary info" not in output:
        return None
    more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    return Symptom("tests", f"the environment is ready, but {failed[0]}{more} failed", "see what it prints above")


def _killed(output: str) -> Symptom | None:
    if not re.search(r"MemoryError|Cannot allocate memory|Out of memory", output, re.IGNORECASE):
        return None
    return Symptom("memory", "the memory of this machine ran out", "close other programs")


LOOKS: Sequence[Callable[[str], Symptom | None]] = (
    _disk_full,
    _hash_mismatch,
    _certificate,
    _failing_tests,
    _interpreter_missing,
    _refused,
    _unreachable,
    _venv_missing,
    _no_solution,
    _killed,
)
