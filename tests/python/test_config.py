"""Goal: MaruConfig's defaults, environment, refusals and texts are what callers were written against, and no secret
that it was told gets out of it. Method: configs under a cleared environment."""

from __future__ import annotations

import copy
import dataclasses
import os
import uuid

import pytest

from maru_common import MaruConfig

MIB = 1 << 20


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch):
    for variable in list(os.environ):
        if variable.startswith("MARU_"):
            monkeypatch.delenv(variable)


def test_defaults_are_the_interface():
    config = MaruConfig()
    shown = {name: value for name, value in dataclasses.asdict(config).items() if name != "instance_id"}
    assert shown == {
        "server_url": "tcp://localhost:5555",
        "pool_size": 100 * MIB,
        "chunk_size_bytes": MIB,
        "auto_connect": True,
        "timeout_ms": 2000,
        "use_async_rpc": True,
        "max_inflight": 64,
        "eager_map": True,
        "auto_expand": True,
        "expand_size": None,
        "rm_address": None,
        "enable_stats": False,
        "token": None,
        "token_file": None,
        "tls_ca": None,
        "tls_cert": None,
        "tls_key": None,
        "tls_server_name": None,
        "local_reads": True,
        "guard_memory": False,
        "pool_path_map": {},
    }


def test_instance_id_is_a_new_uuid4_unless_given():
    first, second = MaruConfig(), MaruConfig()
    assert uuid.UUID(first.instance_id).version == 4
    assert first.instance_id != second.instance_id
    assert MaruConfig(instance_id="rank-3").instance_id == "rank-3"


def test_unknown_keywords_warn_at_the_callers_line_and_are_ignored():
    with pytest.warns(UserWarning, match="MaruConfig does not know pool_id") as caught:
        config = MaruConfig(pool_id=[1], pool_size=2 * MIB)
    assert caught[0].filename == __file__
    assert config.pool_size == 2 * MIB
    assert not hasattr(config, "pool_id")


def test_a_warning_of_an_unknown_keyword_does_not_show_its_value():
    with pytest.warns(UserWarning) as caught:
        MaruConfig(tokn="s3cret")
    assert "s3cret" not in str(caught[0].message)


def test_known_keywords_do_not_warn(recwarn):
    MaruConfig("tcp://h:1", rm_address="h:2")
    assert not recwarn


@pytest.mark.parametrize(
    "keywords, text",
    [
        ({"chunk_size_bytes": 0}, "chunk_size_bytes must be positive, got 0"),
        ({"chunk_size_bytes": -7}, "chunk_size_bytes must be positive, got -7"),
        ({"pool_size": 9, "chunk_size_bytes": 10}, "pool_size (9) must be >= chunk_size_bytes (10)"),
        ({"auto_expand": False, "expand_size": MIB}, "expand_size requires auto_expand=True"),
        ({"expand_size": 512, "chunk_size_bytes": 1024}, "expand_size (512) must be >= chunk_size_bytes (1024)"),
        ({"timeout_ms": 0}, "timeout_ms must be positive, got 0"),
        ({"timeout_ms": 1 << 31}, "timeout_ms must be at most 2147483647, got 2147483648"),
        ({"tls_cert": "c.pem"}, "tls_cert and tls_key must be given together"),
        ({"pool_path_map": "a=/b"}, "pool_path_map must be server_path=local_path[,...] with absolute paths"),
        ({"pool_path_map": "/a"}, "pool_path_map must be server_path=local_path[,...] with absolute paths"),
    ],
)
def test_values_that_do_not_fit_are_refused_with_a_clear_text(keywords, text):
    with pytest.raises(ValueError) as caught:
        MaruConfig(**keywords)
    assert str(caught.value) == text


@pytest.mark.parametrize("chunk", [1, 1000, 1024, 147456])
def test_any_positive_chunk_size_is_taken(chunk):
    assert MaruConfig(chunk_size_bytes=chunk, pool_size=chunk, expand_size=chunk).chunk_size_bytes == chunk


@pytest.mark.parametrize("text, value", [("1", True), ("true", True), ("ON", True), ("0", False), ("False", False)])
@pytest.mark.parametrize(
    "variable, name",
    [
        ("MARU_EAGER_MAP", "eager_map"),
        ("MARU_STAT", "enable_stats"),
        ("MARU_LOCAL_READS", "local_reads"),
        ("MARU_GUARD_MEMORY", "guard_memory"),
    ],
)
def test_flags_of_the_environment_go_before_keywords(monkeypatch, variable, name, text, value):
    monkeypatch.setenv(variable, text)
    assert getattr(MaruConfig(**{name: not value}), name) is value


@pytest.mark.parametrize("text", ["", "maybe"])
def test_a_flag_that_is_neither_leaves_the_keyword(monkeypatch, caplog, text):
    monkeypatch.setenv("MARU_EAGER_MAP", text)
    assert MaruConfig(eager_map=False).eager_map is False
    assert ("MARU_EAGER_MAP" in caplog.text) == bool(text)


def test_the_environment_fills_what_no_keyword_gave(monkeypatch):
    for variable in ("MARU_TLS_CA", "MARU_TLS_CERT", "MARU_TLS_KEY", "MARU_TOKEN_FILE"):
        monkeypatch.setenv(variable, f"/etc/{variable}")
    config = MaruConfig(tls_ca="/mine")
    assert (config.tls_ca, config.tls_cert, config.tls_key) == ("/mine", "/etc/MARU_TLS_CERT", "/etc/MARU_TLS_KEY")
    assert config.token_file == "/etc/MARU_TOKEN_FILE"


def test_a_token_file_of_the_environment_goes_before_its_token(monkeypatch):
    monkeypatch.setenv("MARU_TOKEN", "from-variable")
    assert MaruConfig().token == "from-variable"
    monkeypatch.setenv("MARU_TOKEN_FILE", "/etc/token")
    assert (MaruConfig().token, MaruConfig().token_file) == (None, "/etc/token")
    assert (MaruConfig(token="mine").token, MaruConfig(token="mine").token_file) == ("mine", None)


def test_repr_shows_neither_token_nor_credentials():
    config = MaruConfig(token="s3cret", server_url="tcp://me:s3cret@host:5555")
    assert "s3cret" not in repr(config)
    assert "s3cret" not in str(config)
    assert "server_url='tcp://host:5555'" in repr(MaruConfig(server_url="maru://host:5555"))


def test_pool_paths_are_read_from_the_environment(monkeypatch):
    monkeypatch.setenv("MARU_POOL_PATH_MAP", "/dev/shm/pools=/mnt/pools, /dev/shm/pools/b=/data/b/,")
    assert MaruConfig().pool_path_map == {"/dev/shm/pools": "/mnt/pools", "/dev/shm/pools/b": "/data/b/"}


def test_a_config_can_be_copied_with_changes():
    config = MaruConfig(token="s3cret", pool_path_map="/a=/b")
    assert copy.deepcopy(config) == config
    changed = dataclasses.replace(config, chunk_size_bytes=4096)
    assert (changed.chunk_size_bytes, changed.token, changed.pool_path_map) == (4096, "s3cret", {"/a": "/b"})
    assert changed.instance_id == config.instance_id
