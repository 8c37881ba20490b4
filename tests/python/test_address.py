"""Goal: every form of an address is understood, everything else is refused, and no refusal repeats what it was given.
Method: tables of addresses."""

from __future__ import annotations

import pytest

from maru_common import ServerAddress, parse_server_url, printable_server_url


@pytest.mark.parametrize(
    "url, address, endpoint",
    [
        ("tcp://localhost:5555", ServerAddress(host="localhost", port=5555), "localhost:5555"),
        ("maru://10.0.0.1:6666", ServerAddress(host="10.0.0.1", port=6666), "10.0.0.1:6666"),
        ("MARU://host.example:1/", ServerAddress(host="host.example", port=1), "host.example:1"),
        ("tcp://[::1]:65535", ServerAddress(host="::1", port=65535), "[::1]:65535"),
        ("unix:///run/maru/marud.sock", ServerAddress(path="/run/maru/marud.sock"), "unix:/run/maru/marud.sock"),
        ("unix:///a b@c:d", ServerAddress(path="/a b@c:d"), "unix:/a b@c:d"),
        ("unix:///" + "x" * 106, ServerAddress(path="/" + "x" * 106), "unix:/" + "x" * 106),
    ],
)
def test_an_address_is_understood(url, address, endpoint):
    parsed = parse_server_url(url)
    assert parsed == address
    assert parsed.endpoint == endpoint
    assert parsed.is_unix == url.startswith("unix")


def test_both_tcp_schemes_print_alike():
    assert printable_server_url("maru://host:1") == printable_server_url("tcp://host:1") == "tcp://host:1"
    assert printable_server_url("unix:///run/s") == "unix:///run/s"


@pytest.mark.parametrize(
    "url, cause",
    [
        ("", "must be tcp://host:port"),
        (None, "must be tcp://host:port"),
        (5555, "must be tcp://host:port"),
        ("s3cret:5555", "must be tcp://host:port"),
        ("s3cret://host:5555", "must be tcp://host:port"),
        ("tcp://s3cret", "needs a host and a port"),
        ("tcp://s3cret:", "needs a host and a port"),
        ("tcp://:5555", "needs a host name"),
        ("tcp://s3cret host:5555", "needs a host name"),
        ("tcp://host:0", "port from 1 to 65535"),
        ("tcp://host:65536", "port from 1 to 65535"),
        ("tcp://host:5555/s3cret", "port from 1 to 65535"),
        ("tcp://host:5555?token=s3cret", "port from 1 to 65535"),
        ("tcp://host:٥٥٥٥", "port from 1 to 65535"),
        ("tcp://host:-1", "port from 1 to 65535"),
        ("tcp://::1:5555", "needs brackets"),
        ("tcp://me:s3cret@host:5555", "must not hold credentials"),
        ("maru://s3cret@host:5555", "must not hold credentials"),
        ("unix://s3cret", "absolute path"),
        ("unix:///s3cret\0", "absolute path"),
        ("unix:///s3cret/", "absolute path"),
        ("unix:////s3cret", "absolute path"),
        ("unix:///s3cret,b", "absolute path"),
        ("unix:///" + "x" * 107, "at most 107 bytes"),
        ("unix:///" + "é" * 54, "at most 107 bytes"),
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(url, cause):
    with pytest.raises(ValueError, match=cause) as caught:
        parse_server_url(url)
    assert "s3cret" not in str(caught.value)
    assert printable_server_url(url) == "(not a server's address)"
