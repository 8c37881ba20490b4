"""Memory that fails costs the chunk that was in it: the process lives, is told, and stores it again. The pool's file is cut
by its last page, which raises the same signal (SIGBUS) as poisoned memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from marud import Marud, wait_until

CHUNK = 64 << 10
POOL = 4 << 20


@pytest.fixture
def server():
    made = Marud("4MiB", "--page-min", "64KiB")
    yield made
    made.remove()


def opened(server, **settings):
    from maru import MaruConfig, MaruHandler

    handler = MaruHandler(
        MaruConfig(server_url=server.url, chunk_size_bytes=CHUNK, pool_size=POOL, timeout_ms=5000, **settings)
    )
    assert handler.connect()
    return handler


def last_page(server) -> bytes:
    with open(server.pool, "rb") as pool:
        pool.seek(POOL - CHUNK)
        return pool.read(CHUNK)


def take_last_page(server, handler):
    """Stores chunks until the page for the next one lies at the end of the file: its handle."""
    for n in range(500):
        page = handler.alloc(CHUNK)
        mark = f"{n:08}".encode() * (CHUNK // 8)
        page.buf[:] = mark
        if last_page(server) == mark:
            return page
        assert handler.store(f"key{n}", page)
    raise AssertionError("nobody was given the last page")


def cut(server) -> None:
    os.truncate(server.pool, POOL - CHUNK)


def test_a_reader_is_told_that_what_it_read_was_not_the_chunk(server):
    with opened(server, guard_memory=True) as handler:
        page = take_last_page(server, handler)
        assert handler.store("lost", page) and handler.store("other", data=b"x" * CHUNK)
        info = handler.retrieve("lost")
        assert info.intact()
        cut(server)
        assert bytes(info.view) == bytes(CHUNK)
        assert not info.intact()
        assert handler.retrieve("lost") is None
        other = handler.retrieve("other")
        assert bytes(other.view) == b"x" * CHUNK and other.intact()
        del info
        wait_until(lambda: server.metric('maru_pages{state="retired"}') == 1, what="the page's retirement")
        assert handler.store("lost", data=b"y" * CHUNK)
        assert bytes(handler.retrieve("lost").view) == b"y" * CHUNK


def test_what_was_written_to_failed_memory_is_not_stored(server, caplog):
    with opened(server, guard_memory=True) as handler:
        page = take_last_page(server, handler)
        cut(server)
        page.buf[:] = b"z" * CHUNK
        assert handler.store("lost", page) is False
        assert "its memory failed" in caplog.text or "memory of a page failed" in caplog.text
        assert handler.retrieve("lost") is None
        assert handler.store("lost", data=b"z" * CHUNK)
        assert bytes(handler.retrieve("lost").view) == b"z" * CHUNK


def test_a_chunk_that_is_known_to_be_lost_is_a_miss_without_more(server):
    with opened(server) as handler:
        page = take_last_page(server, handler)
        assert handler.store("lost", page) and handler.store("other", data=b"x" * CHUNK)
        cut(server)
        assert handler.retrieve("lost") is None
        assert handler.batch_retrieve(["other", "lost"])[1] is None
        wait_until(lambda: server.metric('maru_pages{state="retired"}') == 1, what="the page's retirement")
        assert handler.store("lost", data=b"y" * CHUNK)
        assert bytes(handler.retrieve("lost").view) == b"y" * CHUNK


def test_a_process_that_writes_to_failed_memory_unguarded_ends(server):
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
from test_handler_memory import cut, opened, take_last_page
class server:
    url, pool = {server.url!r}, {str(server.pool)!r}
page = take_last_page(server, opened(server))
cut(server)
page.buf[0] = 1
"""
    ended = subprocess.run([sys.executable, "-c", code], env={**os.environ, "MARU_GUARD_MEMORY": "0"}, timeout=60)
    assert ended.returncode == -signal.SIGBUS
