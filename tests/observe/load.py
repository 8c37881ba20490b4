"""Load of every kind on a real marud, so that every metric moves: stores, hits, misses, pins, removals, evictions, a
worker that dies, one that is stopped past its lease, strangers at the door, damaged bytes, a restart."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

from marud import Marud, wait_until
from victim import CHUNK, connect

POOL = "16MiB"  # ten rounds are more than fit
OPTIONS = ("--lease-ms=2000", "--resume-grace-ms=2000", "--payload-checksums=verify")


def start_victim(url: str, way: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).with_name("victim.py")), url, way]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "holding\n"
    return child


def kill(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait(10)
    assert child.stdout is not None
    child.stdout.close()


class Load:
    """Rounds of load, by a worker that reads in the pool itself and by one that asks by message, in turn. `step` takes
    about a tenth of a second; `close` ends what they hold."""

    def __init__(self, server: Marud) -> None:
        self._server = server
        self._handlers = [connect(server.url, "local", True), connect(server.url, "message", False)]
        self._round = 0

    def step(self) -> None:
        n = self._round
        handler = self._handlers[n % 2]
        self._round += 1
        names = [f"chat/{n}/{i}" for i in range(32)]
        for name in names:
            handler.store(name, data=name.encode().ljust(CHUNK, b"."))
        handler.store(names[0], data=names[0].encode().ljust(CHUNK, b"."))  # exists already
        handler.batch_retrieve(names[:24] + [f"none/{n}/{i}" for i in range(8)])
        handler.batch_exists(names + ["none"])
        handler.batch_pin(names[:16])
        handler.delete(names[0])  # pinned
        handler.batch_unpin(names[:16])
        handler.batch_delete(names[16:18] + ["none"])
        handler.free(handler.alloc(CHUNK))
        handler.get_stats()

    def strangers(self) -> None:
        """Bytes that are no client's."""
        host, _, port = self._server.address.partition(":")
        with socket.create_connection((host, int(port)), timeout=5) as door:
            door.sendall(b"GET / HTTP/1.1\r\nHost: maru\r\n\r\n")
            door.settimeout(5)
            try:
                while door.recv(1024):
                    pass
            except ConnectionResetError:
                pass

    def death(self) -> None:
        """A worker is killed with pins and a page in its hands."""
        kill(start_victim(self._server.url, "message"))

    def silence(self) -> None:
        """A worker is stopped until its lease is over, and killed then."""
        child = start_victim(self._server.url, "local")
        child.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: self._server.metric("maru_lease_expired_total") >= 1, 20, "the end of the lease")
        finally:
            kill(child)

    def damage(self) -> None:
        """Bytes of a chunk change in the pool; its reader notices."""
        name = f"damaged/{self._round}"
        pattern = name.encode().ljust(CHUNK, b"!")
        handler = self._handlers[0]
        handler.store(name, data=pattern)
        with open(self._server.pool, "r+b") as pool:
            at = pool.read().find(pattern)
            assert at >= 0
            pool.seek(at + 100)
            pool.write(b"?")
        wait_until(lambda: handler.retrieve(name) is None, 10, "the miss of a damaged chunk")

    def restart(self) -> None:
        """marud is killed and started again; the handler goes on."""
        self._server.kill()
        self._server.start()
        for handler in self._handlers:
            wait_until(handler.healthcheck, 20, "the way back to marud")

    def close(self) -> None:
        for handler in self._handlers:
            handler.close()

