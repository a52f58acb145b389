"""Fixtures shared by the tests."""

from collections.abc import Iterator

import pytest
from hosts.tools import Tools
from hosts.tools import tools as open_tools


@pytest.fixture(scope="session")
def tools() -> Iterator[Tools]:
    """The package managers, with hosts that this machine may not reach answered on the loopback interface."""
    with open_tools() as opened:
        yield opened
