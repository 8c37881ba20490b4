"""Goal: the machines do what the other tests rely on: programs of this machine run in a guest, memory is shared, a
frozen guest stands still, a cut cable cuts the network alone.
Method: programs without Maru, on a pair of guests."""

from __future__ import annotations

import time

from conftest import Pair
from guest import HERE
from process import Host

PROBE = ("/usr/bin/python3", "-I", str(HERE / "probe.py"))


def counted(host: Host, pair: Pair, offset: int) -> int:
    return int.from_bytes(bytes.fromhex(host.run(*PROBE, pair.pool, "read", str(offset), "8")), "little")


def counts_on(host: Host, pair: Pair, offset: int) -> bool:
    """True as soon as the counter moves, False where it does not in 2 s."""
    before, until = counted(host, pair, offset), time.monotonic() + 2
    while time.monotonic() < until:
        if counted(host, pair, offset) != before:
            return True
    return False


def test_a_guest_runs_programs_of_this_machine_and_tells_their_ends(pair: Pair) -> None:
    assert "Python 3." in pair.left.run("/usr/bin/python3", "--version")
    assert pair.left.start("/bin/sh", "-c", "exit 3").wait() == 3
    assert pair.left.start("/bin/no-such-program").wait() == 127
    process = pair.left.start("/bin/cat")
    assert process.ask("hello") == "hello"
    process.signal(9)
    assert process.wait() == -9


def test_two_guests_and_this_machine_see_the_same_bytes(host: Host, pair: Pair) -> None:
    pair.left.run(*PROBE, "/dev/dax0.0", "write", "4096", "6d617275")
    assert pair.right.run(*PROBE, "/dev/dax0.0", "read", "4096", "4") == "6d617275"
    assert host.run(*PROBE, pair.pool, "read", "4096", "4") == "6d617275"
    host.run(*PROBE, pair.pool, "write", "4100", "21")
    assert pair.right.run(*PROBE, "/dev/dax0.0", "read", "4096", "5") == "6d61727521"


def test_a_frozen_guest_stands_still_and_goes_on_where_it_was(host: Host, pair: Pair) -> None:
    counter = pair.left.start(*PROBE, "/dev/dax0.0", "count", "8192")
    counter.hear_until("counting")
    assert counts_on(host, pair, 8192)
    pair.left.freeze()
    assert not counts_on(host, pair, 8192)
    pair.left.thaw()
    assert counts_on(host, pair, 8192)
    counter.signal(9)
    assert counter.wait() == -9


def test_a_cut_cable_cuts_the_network_and_leaves_the_memory(pair: Pair) -> None:
    ping = "busybox ping -c 1 -W 2 10.9.0.1"
    connected = f"until {ping}; do :; done"
    pair.right.shell(connected)
    pair.right.cut("cable")
    pair.right.run(*ping.split(), fails=True)
    pair.left.run(*PROBE, "/dev/dax0.0", "write", "12288", "63")
    assert pair.right.run(*PROBE, "/dev/dax0.0", "read", "12288", "1") == "63"
    pair.right.mend("cable")
    pair.right.shell(connected)

