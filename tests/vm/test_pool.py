"""Goal: a pool of several kinds of memory is one pool: a Device-DAX device is added to a running one, holds chunks, is found
under another name, takes no others along when it is not there, and is emptied and made blank again. maructl tells what lies
on it at each step.
Method: marud, a worker and maructl in one guest, with a file in memory as the pool's first device and /dev/dax1.0."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from conftest import Pair
from guest import BUILD, HERE, Guest
from maru import Marud, Worker

PROBE = ("/usr/bin/python3", "-I", str(HERE / "probe.py"))
MARUCTL = BUILD / "bin" / "maructl"
SECOND = "/dev/dax1.0"
CHUNK = 64 << 10
FIRST_BYTES = 28 << 20  # an eighth of both: a running pool grows no further
KEYS = [f"chunk/{n}" for n in range(FIRST_BYTES // CHUNK + 100)]
SERVED, FOREIGN, BLANK = 7, 6, 1  # exit codes of `maructl device probe`


@pytest.fixture(scope="module")
def guest(pair: Pair) -> Guest:
    pair.left.shell(f"rm -rf /dev/shm/mixed* /tmp/of-mixed; {MARUCTL} device format --yes {SECOND}")
    return pair.left


@pytest.fixture(scope="module")
def marud(guest: Guest) -> Iterator[Marud]:
    with Marud(guest, "/dev/shm/mixed", "/tmp/of-mixed", f"--pool-size={FIRST_BYTES}") as one:
        yield one


def devices(marud: Marud) -> dict[str, dict[str, object]]:
    """The pool's devices, by path."""
    return {row["path"]: row for row in marud.status()["devices"]}


def probe(guest: Guest, path: str) -> tuple[int, str]:
    process = guest.start(MARUCTL, "device", "probe", path)
    return process.wait(), process.text()


def read_back(guest: Guest, marud: Marud) -> list[str | None]:
    return Worker(guest, marud.address, CHUNK).local().ask_all([f"get {key}" for key in KEYS])


def test_device_dax_is_added_and_takes_what_the_first_has_no_room_for(guest: Guest, marud: Marud) -> None:
    marud.ctl("device", "add", SECOND)
    worker = Worker(guest, marud.address, CHUNK)
    for at in range(0, len(KEYS), 100):
        assert worker.ask("put " + " ".join(KEYS[at : at + 100])) == "ok"
    assert set(worker.ask_all([f"get {key}" for key in KEYS])) == {"ok"}
    assert devices(marud)[SECOND]["kind"] == "devdax"
    assert devices(marud)[SECOND]["committed"] >= CHUNK * 100


def test_maructl_tells_what_lies_on_it(guest: Guest, marud: Marud) -> None:
    code, said = probe(guest, SECOND)
    assert (code, "device 2 of 2" in said) == (SERVED, True), said
    listed = json.loads(guest.run(MARUCTL, "device", "list", "--json"))
    assert SECOND in json.dumps(listed)
    refused = guest.run(MARUCTL, "device", "format", "--yes", SECOND, fails=True)
    assert "serves it" in refused


def test_it_is_found_by_its_uuid_under_another_name(guest: Guest, marud: Marud) -> None:
    guest.shell(f"mv {SECOND} /dev/dax7.0")
    assert set(read_back(guest, marud)) == {"ok"}  # by a worker that finds it elsewhere than marud did
    marud.stop()
    marud.start()
    assert "/dev/dax7.0" in devices(marud)
    assert set(read_back(guest, marud)) == {"ok"}
    marud.stop()
    guest.shell(f"mv /dev/dax7.0 {SECOND}")
    marud.start()
    assert set(read_back(guest, marud)) == {"ok"}


def test_when_it_is_not_there_the_first_goes_on_alone(guest: Guest, marud: Marud) -> None:
    """Under a running marud it is not taken away: Linux 6.1 oopses (check_vma) where a device is unbound that is open."""
    marud.kill()
    guest.shell(f"mv {SECOND} /dev/away")
    marud.start()
    assert devices(marud)[SECOND]["state"] == "left_out"
    answers = read_back(guest, marud)
    assert set(answers) == {"ok", "missing"}
    marud.stop()
    guest.shell(f"mv /dev/away {SECOND}")
    marud.start()
    assert devices(marud)[SECOND]["state"] == "left_out"
    marud.ctl("device", "add", SECOND)
    assert devices(marud)[SECOND]["state"] == "serving"
    # But for a few that made room for the reserve of free pages.
    assert read_back(guest, marud).count("ok") >= answers.count("ok") - marud.status()["reserve_pages"]
    marud.ctl("check")


def test_it_is_drained_removed_and_blank_then(guest: Guest, marud: Marud) -> None:
    Worker(guest, marud.address, CHUNK).ask("put " + " ".join(f"more/{n}" for n in range(100)))
    marud.ctl("device", "drain", SECOND)
    assert devices(marud)[SECOND]["state"] == "drained"
    marud.ctl("device", "remove", SECOND)
    assert probe(guest, SECOND)[0] == BLANK
    guest.run(*PROBE, SECOND, "write", "4096", "6d617275")
    assert probe(guest, SECOND)[0] == FOREIGN
    guest.run(MARUCTL, "device", "format", SECOND, fails=True)  # says what it would destroy, and asks for --yes
    guest.run(MARUCTL, "device", "format", "--yes", SECOND)
    assert probe(guest, SECOND)[0] == BLANK
    marud.ctl("check")
