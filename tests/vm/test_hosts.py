"""Goal: workers of other hosts use the same bytes as those of marud's own, and only where marud was told to serve them.
Method: marud here on a file that is the memory of a guest; workers here and in the guest."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Pair
from guest import RELEASE
from maru import Marud, Worker
from process import Host

AS_SEEN = "10.0.2.2"  # this machine's loopback, from the guest


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="maru-vm-"))
    yield folder
    shutil.rmtree(folder)


def test_worker_of_another_host_is_refused_where_nobody_allowed_it(host: Host, pair: Pair, state: Path) -> None:
    marud = Marud(host, pair.pool, state / "alone", "--pool-size=256MiB", "--format")
    worker = pair.right.start(
        RELEASE / "tests" / "test_worker", f"{AS_SEEN}:{marud.port}", "4096", env={"MARU_POOL_PATH": "/dev/dax0.0"}
    )
    assert worker.wait() == 1
    assert "host" in worker.text(), worker.text()
    assert Worker(host, marud.address).ask("put here") == "ok"
    marud.stop()
