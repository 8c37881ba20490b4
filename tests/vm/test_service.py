"""Goal: marud serves a pool on a Device-DAX device as it does one in a file: keys stay across its end, however that
comes, and nobody else takes the device meanwhile.
Method: marud and a worker in one guest on /dev/dax0.0."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import Pair
from guest import Guest
from maru import IN_USE, Marud, Worker, marud_words

KEYS = [f"chunk/{n}" for n in range(32)]


@pytest.fixture(scope="module")
def marud(pair: Pair) -> Iterator[Marud]:
    pair.blank()
    with Marud(pair.left, "/dev/dax0.0", "/tmp/state") as one:
        yield one


@pytest.fixture(scope="module")
def worker(left: Guest, marud: Marud) -> Worker:
    made = Worker(left, marud.address).local()
    assert made.ask("put " + " ".join(KEYS)) == "ok"
    return made


def read_back(worker: Worker) -> set[str]:
    return {worker.ask(f"get {key}") for key in KEYS}


def test_worker_reads_what_it_put_in_place(worker: Worker) -> None:
    assert read_back(worker) == {"ok"}
    assert worker.ask("get none") == "missing"


def test_keys_stay_when_marud_is_stopped_and_started(left: Guest, marud: Marud, worker: Worker) -> None:
    marud.stop()
    marud.start()
    assert read_back(worker) == {"ok"}
    assert read_back(Worker(left, marud.address)) == {"ok"}


def test_keys_stay_when_marud_is_killed(left: Guest, marud: Marud, worker: Worker) -> None:
    marud.kill()
    marud.start()
    assert read_back(worker) == {"ok"}
    assert read_back(Worker(left, marud.address).local()) == {"ok"}
    marud.ctl("check")


def test_second_marud_on_the_device_is_refused(left: Guest, marud: Marud, worker: Worker) -> None:
    second = left.start(*marud_words("/dev/dax0.0", "/tmp/other"), "--listen", "127.0.0.1:0")
    assert second.wait() == IN_USE, second.text()
    assert "/dev/dax0.0" in second.text()
    assert read_back(worker) == {"ok"}
