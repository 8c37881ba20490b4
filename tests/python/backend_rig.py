"""What the backend's tests share: a pool in memory, its handler where `maru_handler.MaruHandler` is looked up, and
engines over it."""

from __future__ import annotations

from typing import Any

import pytest
from fake_handler import FakePool
from fake_lmcache import FakeEngine, config_of

import maru_handler


class Rig:
    """A pool and the engines that use it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pool = FakePool()
        self.engines: list[FakeEngine] = []
        monkeypatch.setitem(vars(maru_handler), "MaruHandler", self.pool.handler_class())

    def engine(self, metadata: Any = None, with_cpu: bool = False, **extra: Any) -> FakeEngine:
        self.engines.append(FakeEngine(config_of(**extra), metadata, with_cpu))
        return self.engines[-1]

    def backend(self, metadata: Any = None, **extra: Any) -> Any:
        """The backend of a new engine."""
        return self.engine(metadata, **extra).backend

    def close(self) -> None:
        for gate in self.pool.gates.values():
            gate.set()
        for engine in self.engines:
            engine.close()
        assert sum(self.pool.states().values()) == self.pool.pages


def name_of(key: Any) -> str:
    name: str = key.to_string()
    return name


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = Rig(monkeypatch)
    yield made
    made.close()
