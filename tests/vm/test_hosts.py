"""Goal: workers of other hosts use the same bytes as those of marud's own, where marud was told to serve them; what a
host may still write is given to nobody, whether it stands still or its network is cut.
Method: marud here on a file that is the memory of two guests, or in a guest on that memory as a device; workers here
and in the guests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Pair
from guest import BUILD, Guest
from maru import IN_USE, Marud, Worker, marud_words, wait_until
from process import Host

DEVICE = {"MARU_POOL_PATH": "/dev/dax0.0"}  # where a guest has what is a file here
OPTIONS = ("--pool-size=16MiB", "--other-hosts", "--lease-ms=3000", "--resume-grace-ms=3000")
PAGES = 4096  # of 4 KiB


@pytest.fixture
def state() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="maru-vm-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def marud(host: Host, pair: Pair, state: Path) -> Iterator[Marud]:
    """Here, and ready for workers of the guests."""
    pair.blank()
    with Marud(host, pair.pool, state, *OPTIONS) as one:
        yield one
        one.ctl("check")


def far(guest: Guest, marud: Marud) -> Worker:
    """A worker in a guest, of the marud that is here."""
    return Worker(guest, f"10.0.2.2:{marud.port}", **DEVICE)


def fill(worker: Worker, name: str) -> None:
    """Takes every page that is to be had, evicts what may be evicted, and finds all of the last it put as it was."""
    assert worker.ask(f"fill {name} {2 * PAGES}") == "ok"


def intact(worker: Worker, name: str) -> int:
    """How many of these keys are there; AssertionError where one has wrong bytes."""
    answers = worker.ask_all([f"get {name}/{n}" for n in range(2 * PAGES)])
    assert set(answers) <= {"ok", "missing"}
    return answers.count("ok")


def lapsed(marud: Marud) -> bool:
    """Whether the lease of a worker that holds pages is over."""
    return any(session["state"] == "lapsed" and session["grants"] > 0 for session in marud.sessions())


def test_worker_of_another_host_is_refused_where_nobody_allowed_it(host: Host, pair: Pair, state: Path) -> None:
    pair.blank()
    with Marud(host, pair.pool, state, "--pool-size=16MiB") as marud:
        worker = pair.right.start(BUILD / "tests" / "test_worker", f"10.0.2.2:{marud.port}", "4096", env=DEVICE)
        assert worker.wait() == 1
        assert "another host" in worker.text(), worker.text()
        assert Worker(host, marud.address).ask("put here") == "ok"


def test_workers_here_and_of_two_guests_read_what_each_of_them_put(host: Host, pair: Pair, marud: Marud) -> None:
    workers = [Worker(host, marud.address), far(pair.left, marud), far(pair.right, marud)]
    assert [worker.ask("way").partition(":")[0] for worker in workers] == ["pool", "messages", "messages"]
    for number, worker in enumerate(workers):
        assert worker.ask(f"put of/{number} of/{number}/again") == "ok"
    for worker in workers:
        assert worker.ask_all([f"get of/{number}" for number in range(3)]) == ["ok"] * 3


def test_what_a_frozen_host_may_still_write_is_given_to_nobody(host: Host, pair: Pair, marud: Marud) -> None:
    late, here = far(pair.right, marud), Worker(host, marud.address)
    assert [late.ask(line) for line in ("put kept", "view kept", "hold 8")] == ["ok", "ok", "8"]
    late.process.say("scribble 4000")  # of its own time, which stands still while it is frozen
    pair.right.freeze()
    wait_until(lambda: lapsed(marud), "the end of the frozen worker's lease")
    fill(here, "here")
    pair.right.thaw()
    assert late.process.hear() == "ok"  # it wrote, and asked nobody
    assert late.ask("look") == "ok"
    assert intact(here, "here") > PAGES // 2


def test_a_cut_network_takes_nothing_from_who_still_reads_the_memory(host: Host, pair: Pair, marud: Marud) -> None:
    away, here = far(pair.right, marud), Worker(host, marud.address)
    assert [away.ask(line) for line in ("put kept", "view kept", "hold 8")] == ["ok", "ok", "8"]
    pair.right.cut("host")
    wait_until(lambda: lapsed(marud), "the end of the lease of a worker that is cut off")
    fill(here, "here")
    assert away.ask("look") == "ok"
    assert away.ask("scribble 100") == "ok"
    assert intact(here, "here") > PAGES // 2
    pair.right.mend("host")
    wait_until(lambda: away.ask("put after") == "ok", "the way back to marud")
    assert here.ask("get after") == "ok"


def test_marud_of_one_guest_serves_workers_of_another(pair: Pair) -> None:
    """With caches kept in step by software: guests are coherent, so that this shows that it works, not that it is needed."""
    pair.blank()
    words = ("--other-hosts", "--insecure-bind", "--visibility=software")
    with Marud(pair.left, "/dev/dax0.0", "/tmp/of-two", *words, bind="0.0.0.0:0") as marud:
        near, away = Worker(pair.left, marud.address).local(), Worker(pair.right, f"10.9.0.1:{marud.port}")
        assert "another host" in away.ask("way")
        assert near.ask("put near") == "ok"
        assert away.ask("put away") == "ok"
        assert [worker.ask(f"get {key}") for worker in (near, away) for key in ("near", "away")] == ["ok"] * 4
        marud.kill()
        marud.start()
        assert [worker.ask(f"get {key}") for worker in (near, away) for key in ("near", "away")] == ["ok"] * 4
        marud.ctl("check")


def test_marud_of_another_host_waits_for_the_end_of_this_one_which_ends_where_it_was_but_frozen(pair: Pair) -> None:
    pair.blank()
    with Marud(pair.left, "/dev/dax0.0", "/tmp/first", "--other-hosts") as first:
        second = pair.right.start(*marud_words("/dev/dax0.0", "/tmp/second"), "--format", "--listen", "127.0.0.1:0")
        assert second.wait() == IN_USE, second.text()
        first.ctl("check")
        pair.left.freeze()
        with Marud(pair.right, "/dev/dax0.0", "/tmp/second", "--format") as successor:
            worker = Worker(pair.right, successor.address)
            assert worker.ask("put kept") == "ok"
            pair.left.thaw()
            assert first.process.wait() == 1
            assert "another marud serves" in first.process.text()
            assert worker.ask("put after") == "ok"
            assert worker.ask_all(["get kept", "get after"]) == ["ok", "ok"]
            successor.ctl("check")
