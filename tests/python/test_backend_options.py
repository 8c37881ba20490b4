"""Goal: the backend takes its settings from extra_config first, and what is wrong with one is told completely and
without repeating it, since LMCache only logs a constructor's error. Method: configurations as LMCache makes them."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
import torch
from backend_rig import rig  # noqa: F401
from fake_lmcache import CHUNK, config_of, metadata_of
from lmcache.v1.config import LMCacheEngineConfig

from maru_common import MaruConfig
from maru_lmcache import backend_options
from maru_lmcache.backend_options import read_options

document = Path(__file__).resolve().parent.parent.parent / "docs" / "lmcache.md"


def options_of(metadata=None, **extra):
    return read_options(config_of(**extra), metadata or metadata_of())


def test_the_address_and_the_size_are_taken_from_extra_config_first():
    config = config_of(maru_path="unix:///run/marud.sock", maru_pool_size=0.5)
    config.maru_path = "maru://elsewhere:1"
    config.maru_pool_size = 8.0
    handler = read_options(config, metadata_of()).handler
    assert (handler.server_url, handler.pool_size) == ("unix:///run/marud.sock", 512 << 20)


def test_lmcaches_own_fields_are_taken_where_there_are_any():
    config = LMCacheEngineConfig(extra_config=None)
    config.maru_path = "maru://localhost:5555"
    config.maru_pool_size = 2.0
    handler = read_options(config, metadata_of()).handler
    assert (handler.server_url, handler.pool_size) == ("maru://localhost:5555", 2 << 30)


def test_defaults_are_those_of_lmcaches_backend():
    config = LMCacheEngineConfig(extra_config={"maru_path": "maru://localhost:5555"})
    options = read_options(config, metadata_of())
    assert options.handler.pool_size == 4 << 30
    assert options.handler.timeout_ms == 5000
    assert options.close_timeout_s == 10
    assert options.handler.auto_connect is False


def test_a_chunk_is_what_the_model_needs_for_all_its_groups():
    shapes = [torch.Size([2, 1, 8, 4]), torch.Size([2, 3, 8, 2])]
    options = options_of(metadata_of(shapes=shapes, dtypes=[torch.float16, torch.float32]))
    assert options.handler.chunk_size_bytes == 2 * 8 * 4 * 2 + 2 * 3 * 8 * 2 * 4
    assert options.token_bytes * 8 == options.handler.chunk_size_bytes
    assert options_of().handler.chunk_size_bytes == CHUNK


def test_every_extra_reaches_the_handler(tmp_path):
    cert = str(tmp_path / "cert.pem")
    extra = {
        "maru_instance_id": ("instance_id", "gpu-3", "gpu-3"),
        "maru_timeout_ms": ("timeout_ms", 700, 700),
        "maru_use_async_rpc": ("use_async_rpc", False, False),
        "maru_max_inflight": ("max_inflight", 8, 8),
        "maru_eager_map": ("eager_map", False, False),
        "maru_auto_expand": ("auto_expand", True, True),
        "maru_expand_size": ("expand_size", 0.25, 256 << 20),
        "maru_enable_stats": ("enable_stats", True, True),
        "maru_local_reads": ("local_reads", False, False),
        "maru_guard_memory": ("guard_memory", True, True),
        "maru_token_file": ("token_file", "/etc/maru/token", "/etc/maru/token"),
        "maru_tls_ca": ("tls_ca", cert, cert),
        "maru_tls_cert": ("tls_cert", cert, cert),
        "maru_tls_key": ("tls_key", cert, cert),
        "maru_tls_server_name": ("tls_server_name", "marud", "marud"),
        "maru_pool_path_map": ("pool_path_map", "/dev/shm=/mnt", {"/dev/shm": "/mnt"}),
    }
    handler = options_of(**{name: given for name, (_, given, _) in extra.items()}).handler
    for field, _, expected in extra.values():
        assert getattr(handler, field) == expected, field
        assert getattr(handler, field) != getattr(MaruConfig(), field) or field in ("auto_expand",), field


def test_values_may_be_text_as_from_the_environment():
    options = options_of(
        maru_pool_size="0.5", maru_timeout_ms="700", maru_eager_map="false", maru_close_timeout_ms="1500"
    )
    assert (options.handler.pool_size, options.handler.timeout_ms) == (512 << 20, 700)
    assert options.handler.eager_map is False
    assert options.close_timeout_s == 1.5


@pytest.mark.parametrize(
    "extra, text",
    [
        ({"maru_path": None}, "maru_path is not set: give marud's address as extra_config.maru_path"),
        ({"maru_path": "localhost:5555"}, "maru_path is not an address of marud: server_url must be tcp://host:port"),
        ({"maru_path": 5555}, "maru_path is not an address of marud"),
        ({"maru_pool_size": 0}, "maru_pool_size must be a number above 0"),
        ({"maru_pool_size": "lots"}, "maru_pool_size must be a number above 0"),
        ({"maru_pool_size": float("nan")}, "maru_pool_size must be a number above 0"),
        ({"maru_pool_size": True}, "maru_pool_size must be a number above 0"),
        ({"maru_pool_size": 1e-7}, f"maru_pool_size must have room for a chunk, which takes {CHUNK} bytes"),
        ({"maru_timeout_ms": 0.5}, "maru_timeout_ms must be a whole number"),
        ({"maru_timeout_ms": -1}, "maru_timeout_ms must be a number above 0"),
        ({"maru_eager_map": "perhaps"}, "maru_eager_map must be true or false"),
        ({"maru_instance_id": 7}, "maru_instance_id must be text"),
        ({"maru_pool_path_map": 7}, "maru_pool_path_map must be server_path=local_path"),
        ({"maru_close_timeout_ms": "soon"}, "maru_close_timeout_ms must be a number above 0"),
        ({"maru_token": "s3cret"}, "maru_token is not accepted, since LMCache logs its configuration"),
    ],
)
def test_what_is_wrong_is_said_with_the_settings_name(rig, extra, text):  # noqa: F811
    engine = rig.engine(**extra)
    assert len(engine.errors) == 1
    assert engine.errors[0].startswith(f"Failed to create backend MaruBackend: {text}")
    assert rig.pool.handlers == []


@pytest.mark.parametrize("path", ["maru://user:s3cret@host:1", "s3cret://host:1", "maru://host:s3cret", "s3cret"])
def test_an_address_is_never_repeated_raw(rig, caplog, path):  # noqa: F811
    engine = rig.engine(maru_path=path)
    assert engine.errors and "s3cret" not in engine.errors[0]
    assert "s3cret" not in caplog.text


def test_a_token_is_never_repeated(rig, caplog):  # noqa: F811
    assert "s3cret" not in rig.engine(maru_token="s3cret").errors[0]
    assert "s3cret" not in caplog.text


def test_a_setting_that_is_none_of_ours_is_named_and_ignored(caplog):
    with caplog.at_level(logging.WARNING):
        options_of(maru_timeout=3, other=1)
    assert "extra_config: maru_timeout is no setting of MaruBackend: it is ignored" in caplog.text
    assert "other" not in caplog.text


def test_layerwise_is_refused(rig):  # noqa: F811
    config = config_of()
    config.use_layerwise = True
    with pytest.raises(NotImplementedError, match="set use_layerwise to false"):
        read_options(config, metadata_of())


def test_a_chunk_that_is_no_whole_number_of_tokens_is_refused():
    with pytest.raises(ValueError, match="a chunk of 256 bytes cannot be cut into its 7 tokens"):
        options_of(metadata_of(chunk_size=7))


@pytest.mark.parametrize(
    "fields, extra, reads_rank_0",
    [
        ({"use_mla": True, "world_size": 2, "worker_id": 1}, {}, True),
        ({"use_mla": True, "world_size": 2, "worker_id": 0}, {}, False),
        ({"use_mla": True, "world_size": 1, "worker_id": 1}, {}, False),
        ({"use_mla": False, "world_size": 2, "worker_id": 1}, {}, False),
        ({"use_mla": False, "world_size": 2, "worker_id": 1}, {"remote_enable_mla_worker_id_as0": True}, False),
        ({"use_mla": True, "world_size": 2, "worker_id": 1}, {"remote_enable_mla_worker_id_as0": False}, False),
        ({"use_mla": True, "world_size": 2, "worker_id": 1}, {"remote_enable_mla_worker_id_as0": "true"}, True),
    ],
)
def test_only_other_ranks_of_an_mla_model_read_rank_0(fields, extra, reads_rank_0):
    assert options_of(metadata_of(**fields), **extra).reads_rank_0 is reads_rank_0


def test_every_setting_is_in_the_document():
    rows = "\n".join(line for line in document.read_text().splitlines() if line.startswith("| `"))
    assert backend_options._names <= set(re.findall(r"`(maru_[a-z_]+)`", rows))


def test_both_configurations_of_the_document_name_marud_and_the_second_loads_our_backend(rig):  # noqa: F811
    yaml = pytest.importorskip("yaml")
    in_process, plugin = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", document.read_text(), re.DOTALL))
    config = LMCacheEngineConfig(extra_config=in_process["extra_config"])
    config.maru_path, config.maru_pool_size = in_process["maru_path"], in_process["maru_pool_size"]
    same = read_options(config, metadata_of()).handler

    engine = rig.engine(**plugin["extra_config"])
    assert plugin["storage_plugins"] == ["MaruBackend"]
    assert (plugin["max_local_cpu_size"], "maru_path" in plugin) == (0, False)
    assert (engine.errors, engine.allocator) == ([], engine.backend)
    handler = rig.pool.handlers[0].config
    for field in ("server_url", "pool_size", "timeout_ms"):
        assert getattr(handler, field) == getattr(same, field)
