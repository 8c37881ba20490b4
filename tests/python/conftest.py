"""The packages of the tree are under test, unless PYTHONPATH already names built ones."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_tests = Path(__file__).resolve().parent

if importlib.util.find_spec("maru_common") is None:
    sys.path.insert(0, str(_tests.parent.parent / "python"))
sys.path[:0] = [str(_tests / "standins"), str(_tests)]

from marud import Marud  # noqa: E402


@pytest.fixture(scope="module")
def marud():
    """A marud for the tests of one file."""
    server = Marud()
    yield server
    server.remove()


@pytest.fixture
def small():
    """A marud with room for 8 MiB."""
    server = Marud("8MiB")
    yield server
    server.remove()


@pytest.fixture
def connect(marud):
    """Makes connected handlers, closed after the test: `connect(timeout_ms=500)`, also to another marud than that of the file."""
    from maru import MaruConfig, MaruHandler

    made = []

    def make(server=marud, **settings):
        settings = {"chunk_size_bytes": 64 << 10, "pool_size": 2 << 20, "timeout_ms": 5000, **settings}
        handler = MaruHandler(MaruConfig(server_url=server.url, **settings))
        made.append(handler)
        assert handler.connect()
        return handler

    yield make
    for handler in made:
        handler.close()


@pytest.fixture
def handler(connect):
    """A connected handler with pages of 64 KiB."""
    return connect()


@pytest.fixture
def key(request):
    """Keys that no other test of the server uses: `key("a")`."""
    return lambda name="": f"{request.node.name}/{name}"
