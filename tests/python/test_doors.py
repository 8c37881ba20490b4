"""Goal: a handler comes in through a Unix socket and with TLS, and is told in one line why where it does not.

Method: a real marud behind each kind of door, and certificates made for the test.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from maru import MaruConfig, MaruHandler
from marud import Marud

_SCRIPT = Path(__file__).resolve().parents[1] / "support" / "certificates.sh"
_SIZES = {"pool_size": 2 << 20, "chunk_size_bytes": 64 << 10, "timeout_ms": 5000}


@pytest.fixture(scope="module")
def certificates():
    """The folder that certificates.sh describes."""
    with tempfile.TemporaryDirectory(prefix="maru-certificates-") as folder:
        subprocess.run([_SCRIPT, folder], check=True)
        yield Path(folder)


def tls(folder, name):
    return {"tls_ca": f"{folder}/ca.pem", "tls_cert": f"{folder}/{name}.pem", "tls_key": f"{folder}/{name}.key"}


@pytest.fixture(scope="module")
def tls_marud(certificates):
    files = tls(certificates, "server")
    server = Marud("64MiB", *(word for name, path in files.items() for word in ("--" + name.replace("_", "-"), path)))
    yield server
    server.remove()


def test_a_handler_comes_in_through_a_socket_and_comes_back(tmp_path):
    url = f"unix://{tmp_path}/m.sock"
    server = Marud("64MiB", "--listen", f"unix:{tmp_path}/m.sock")
    try:
        with (
            MaruHandler(MaruConfig(server_url=url, **_SIZES)) as local,
            MaruHandler(MaruConfig(server_url=server.url, **_SIZES)) as other,
        ):
            assert local.store("a", data=b"through a socket")
            assert bytes(other.retrieve("a").view[:16]) == b"through a socket"
            server.kill()
            server.start()
            assert local.store("b", data=b"again")
            assert other.exists("b")
    finally:
        server.remove()


def test_a_socket_that_is_not_there_is_named(tmp_path, caplog):
    handler = MaruHandler(MaruConfig(server_url=f"unix://{tmp_path}/none.sock", **{**_SIZES, "timeout_ms": 300}))
    assert handler.connect() is False
    assert f"unix:{tmp_path}/none.sock: No such file" in caplog.text


def test_a_handler_with_a_certificate_comes_in(tls_marud, certificates):
    with MaruHandler(MaruConfig(server_url=tls_marud.url, **tls(certificates, "client"), **_SIZES)) as handler:
        assert handler.store("tls", data=b"1" * 5000)
        assert bytes(handler.retrieve("tls").view[:5000]) == b"1" * 5000


def test_certificates_of_the_environment_do_too(tls_marud, certificates, monkeypatch):
    for name, path in tls(certificates, "client").items():
        monkeypatch.setenv(f"MARU_{name.upper()}", path)
    with MaruHandler(MaruConfig(server_url=tls_marud.url, **_SIZES)) as handler:
        assert handler.connected


@pytest.mark.parametrize(
    "certificate, cause",
    [("expired-client", "expired"), ("foreign-client", "does not know the CA"), ("server", "refuses the certificate")],
)
def test_a_wrong_certificate_is_refused_with_the_cause(tls_marud, certificates, caplog, certificate, cause):
    handler = MaruHandler(MaruConfig(server_url=tls_marud.url, **tls(certificates, certificate), **_SIZES))
    assert handler.connect() is False
    assert cause in caplog.text


def test_a_marud_of_another_name_is_refused_unless_it_is_asked_for(tls_marud, certificates, caplog):
    mine = {"server_url": tls_marud.url, **tls(certificates, "client"), **_SIZES}
    assert MaruHandler(MaruConfig(tls_server_name="elsewhere.example", **mine)).connect() is False
    assert "mismatch" in caplog.text
    with MaruHandler(MaruConfig(tls_server_name="marud", **mine)) as handler:
        assert handler.connected


def test_plain_text_at_a_tls_door_is_not_let_in(tls_marud, caplog):
    assert MaruHandler(MaruConfig(server_url=tls_marud.url, **{**_SIZES, "timeout_ms": 3000})).connect() is False
    assert "it asks for TLS" in caplog.text


def test_a_token_file_is_read_again_at_each_connect(tmp_path):
    theirs, mine = tmp_path / "tokens", tmp_path / "mine"
    theirs.write_text("old\n")
    mine.write_text("old\n")
    server = Marud("64MiB", "--token-file", str(theirs))
    try:
        with MaruHandler(MaruConfig(server_url=server.url, token_file=str(mine), **_SIZES)) as handler:
            assert handler.store("a", data=b"1")
            theirs.write_text("new\n")
            mine.write_text("new\n")
            server.kill()
            server.start()
            assert handler.store("b", data=b"1")
    finally:
        server.remove()


@pytest.mark.parametrize(
    "content, cause", [(None, "No such file"), (" \n", "there is none"), ("x" * 257, "at most 256")]
)
def test_a_token_file_that_cannot_be_used_is_named_and_not_shown(marud, tmp_path, caplog, content, cause):
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    assert MaruHandler(MaruConfig(server_url=marud.url, token_file=str(file), **_SIZES)).connect() is False
    assert str(file) in caplog.text and cause in caplog.text and "xxx" not in caplog.text


@pytest.mark.parametrize(
    "setting", [{"chunk_size_bytes": 1 << 65, "pool_size": 1 << 66}, {"instance_id": "\udc80"}, {"tls_ca": "\udc80"}]
)
def test_no_message_repeats_the_token_where_a_setting_cannot_be_passed_on(setting, caplog):
    config = MaruConfig(server_url="tcp://127.0.0.1:1", token="S3CRET", **{**_SIZES, **setting})
    assert MaruHandler(config).connect() is False
    assert "do not fit" in caplog.text and "S3CRET" not in caplog.text
