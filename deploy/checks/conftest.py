"""One helm for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chart import Helm


@pytest.fixture(scope="session")
def helm() -> Iterator[Helm]:
    made = Helm()
    yield made
    made.remove()
