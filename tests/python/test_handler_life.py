"""Goal: connecting, closing and all that works without a connection, as the contract says. Method: a real marud, a port
where nobody listens, and one that never answers."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time

import pytest
from marud import Marud, wait_until

from maru import MaruConfig, MaruHandler

OPERATIONS = {
    "alloc": (1,),
    "free": (None,),
    "store": ("a", None),
    "batch_store": (["a"], [None]),
    "retrieve": ("a",),
    "batch_retrieve": (["a"],),
    "exists": ("a",),
    "batch_exists": (["a"],),
    "pin": ("a",),
    "batch_pin": (["a"],),
    "unpin": ("a",),
    "batch_unpin": (["a"],),
    "delete": ("a",),
    "batch_delete": (["a"],),
    "delete_status": ("a",),
    "healthcheck": (),
    "get_stats": (),
}


@pytest.fixture
def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def check_accessors_say_nothing(handler):
    assert handler.get_owned_region_ids() == []
    assert handler.get_region_page_count(1) is None
    assert handler.get_buffer_view(1, 0, 1) is None
    assert handler.allocator is None
    assert handler.pool_handle is None
    assert handler.owned_region_manager is None
    handler.set_on_region_added(lambda *_: None)
    handler.set_on_region_added(None)
    assert handler.connected is False


def test_making_a_handler_does_no_io():
    handler = MaruHandler()
    assert handler.get_chunk_size() == 1 << 20
    assert handler.instance_id
    check_accessors_say_nothing(handler)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_before_connect_are_refused(name):
    with pytest.raises(RuntimeError, match=r"^Not connected\. Call connect\(\) first\.$"):
        getattr(MaruHandler(), name)(*OPERATIONS[name])


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_after_close_are_refused(connect, name):
    handler = connect()
    handler.close()
    with pytest.raises(RuntimeError, match="^Handler is closing$"):
        getattr(handler, name)(*OPERATIONS[name])


def test_close_may_come_again_and_leaves_accessors_quiet(connect):
    handler = connect()
    handler.close()
    handler.close()
    check_accessors_say_nothing(handler)
    assert handler.connect() is False, "a handler is not used again"


def test_close_before_connect_closes():
    handler = MaruHandler()
    handler.close()
    with pytest.raises(RuntimeError, match="^Handler is closing$"):
        handler.exists("a")


def test_connect_may_come_again(connect):
    handler = connect()
    assert handler.connect() is True
    assert handler.connected is True


def test_with_connects_and_closes(marud):
    with MaruHandler(MaruConfig(server_url=marud.url)) as handler:
        assert handler.connected is True
        assert handler.healthcheck() is True
    assert handler.connected is False


def test_with_does_not_connect_where_the_config_says_so(marud):
    with MaruHandler(MaruConfig(server_url=marud.url, auto_connect=False)) as handler:
        assert handler.connected is False
        assert handler.connect() is True


def test_two_handlers_may_share_a_config_and_so_a_name(marud):
    config = MaruConfig(server_url=marud.url, pool_size=2 << 20)
    with MaruHandler(config) as one, MaruHandler(config) as two:
        assert one.instance_id == two.instance_id
        one.store("shared", data=b"1")
        one.close()
        assert two.exists("shared") is True
        assert two.delete("shared") is True


def test_connect_is_false_in_time_where_nobody_listens(free_port):
    handler = MaruHandler(MaruConfig(server_url=f"tcp://127.0.0.1:{free_port}", timeout_ms=300))
    since = time.monotonic()
    assert handler.connect() is False
    assert time.monotonic() - since < 3


def test_connect_is_false_in_time_where_nobody_answers():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        handler = MaruHandler(MaruConfig(server_url=f"tcp://127.0.0.1:{silent.getsockname()[1]}", timeout_ms=500))
        since = time.monotonic()
        assert handler.connect() is False
        assert time.monotonic() - since < 3


@pytest.mark.parametrize("url", ["nonsense", "tcp://", "tcp://localhost", "http://localhost:1", "unix:///nowhere"])
def test_connect_is_false_for_an_address_that_is_none(url):
    assert MaruHandler(MaruConfig(server_url=url, timeout_ms=300)).connect() is False


def test_connect_waits_for_a_marud_that_comes_late():
    server = Marud()
    try:
        server.stop()
        handler = MaruHandler(MaruConfig(server_url=server.url, timeout_ms=20000, pool_size=2 << 20))
        answers = []
        thread = threading.Thread(target=lambda: answers.append(handler.connect()))
        thread.start()
        server.start()
        thread.join(30)
        assert answers == [True]
        handler.close()
    finally:
        server.remove()


def test_a_wrong_token_is_false_and_never_logged(caplog):
    import os
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".token") as file:
        file.write("right-token\n")
        file.flush()
        os.chmod(file.name, 0o600)
        server = Marud("64MiB", "--token-file", file.name)
        try:
            config = dict(server_url=server.url, timeout_ms=2000, pool_size=2 << 20)
            assert MaruHandler(MaruConfig(token="wrong-token", **config)).connect() is False
            assert "token" in caplog.text and "wrong-token" not in caplog.text
            with MaruHandler(MaruConfig(token_file=file.name, **config)) as handler:
                assert handler.healthcheck() is True
        finally:
            server.remove()


def test_tls_is_not_left_away_silently(marud, caplog):
    handler = MaruHandler(MaruConfig(server_url=marud.url, tls_ca="/ca.pem"))
    assert handler.connect() is False
    assert "TLS" in caplog.text


def test_pool_and_lock_are_found_through_the_path_map(marud, tmp_path):
    link = tmp_path / "mounted"
    link.symlink_to(marud.folder)
    config = MaruConfig(server_url=marud.url, pool_path_map={str(marud.folder): str(link)}, pool_size=2 << 20)
    with MaruHandler(config) as handler:
        assert handler._client.info()["pool_path"] == str(link / "pool")
        assert handler.store("mapped", data=b"1") and handler.delete("mapped")


def test_a_handler_that_is_forgotten_ends_its_session(marud, key):
    handler = MaruHandler(MaruConfig(server_url=marud.url, pool_size=2 << 20))
    assert handler.connect()
    handler.store(key(), data=b"1")
    assert handler.pin(key())
    with MaruHandler(MaruConfig(server_url=marud.url, pool_size=2 << 20)) as other:
        assert other.delete(key()) is False
        del handler
        assert wait_until(lambda: other.delete(key()))


def test_close_does_not_wait_for_calls_and_they_raise(connect, marud, key):
    handler = connect(timeout_ms=10000)
    handler.store(key(), data=b"1")
    outcomes = []

    def work():
        try:
            while True:
                assert handler.exists(key()) is True
                assert bytes(handler.retrieve(key()).view) == b"1"
        except BaseException as error:
            outcomes.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    wait_until(lambda: handler.get_stats()["kv_manager"])
    since = time.monotonic()
    handler.close()
    assert time.monotonic() - since < 5
    for t in threads:
        t.join(20)
    assert [(type(e), str(e)) for e in outcomes] == [(RuntimeError, "Handler is closing")] * 8


def test_calls_are_counted_where_the_config_says_so(connect):
    handler = connect(enable_stats=True, instance_id="counted")
    handler.exists("a")
    handler.exists("b")
    with pytest.raises(ValueError):
        handler.alloc(1 << 30)
    calls = handler.get_stats()["stats_manager"]["clients"]["counted"]
    assert calls["exists"]["count"] == 2 and calls["exists"]["failed"] == 0
    assert (calls["alloc"]["count"], calls["alloc"]["failed"]) == (1, 1)


def test_the_log_level_is_the_environments(marud):
    code = "import logging, maru; print(logging.getLogger('maru_handler').getEffectiveLevel())"
    import os

    out = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "MARU_LOG_LEVEL": "ERROR"}, capture_output=True, text=True
    )
    assert out.stdout.strip() == "40"
