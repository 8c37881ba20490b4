"""Where a `marud` listens: `tcp://host:port`, `maru://host:port` (the same) or `unix:///path`.

Whoever mistypes an address may have typed a secret into it, so no message here repeats what was given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_socket_path_bytes_max = 107  # sun_path of Linux, less its end


@dataclass(frozen=True)
class ServerAddress:
    """A parsed address: `host` and `port` of a TCP one, `path` of a Unix socket. `str()` of it is fit for a log."""

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_unix(self) -> bool:
        """True for a Unix socket."""
        return bool(self.path)

    @property
    def endpoint(self) -> str:
        """What the C++ client is given: `host:port`, with brackets around an IPv6 host, or `unix:` and the path."""
        if self.is_unix:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"unix://{self.path}" if self.is_unix else f"tcp://{self.endpoint}"


def parse_server_url(url: str) -> ServerAddress:
    """The address that `url` names. ValueError says what is wrong with it, without repeating it."""
    scheme, separator, rest = url.partition("://") if isinstance(url, str) else ("", "", "")
    match scheme.lower() if separator else "":
        case "tcp" | "maru":
            return _parse_host_port(rest)
        case "unix":
            return _parse_socket_path(rest)
    raise ValueError("server_url must be tcp://host:port, maru://host:port or unix:///path")


def printable_server_url(url: str) -> str:
    """`url` as it may be logged: in one form whatever scheme it had, or a remark in place of what does not parse."""
    try:
        return str(parse_server_url(url))
    except ValueError:
        return "(not a server's address)"


def _parse_host_port(rest: str) -> ServerAddress:
    if "@" in rest:
        raise ValueError("server_url must not hold credentials: give the token as token_file or MARU_TOKEN_FILE")
    rest = rest.removesuffix("/")
    host, colon, port = rest.rpartition(":")
    if not colon or not port:
        raise ValueError("server_url needs a host and a port, as in tcp://localhost:5555")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("an IPv6 host in server_url needs brackets, as in tcp://[::1]:5555")
    if not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) or not 0 < int(port) < 65536:
        raise ValueError("server_url needs a port from 1 to 65535 and nothing after it")
    if not re.fullmatch(r"[0-9A-Za-z._:%-]+", host, re.ASCII):
        raise ValueError("server_url needs a host name or address before the port")
    return ServerAddress(host=host, port=int(port))


def _parse_socket_path(path: str) -> ServerAddress:
    if not path.startswith("/") or path.startswith("//") or path.endswith("/") or "\0" in path or "," in path:
        raise ValueError("server_url needs an absolute path after unix://, as in unix:///run/maru/maru.sock")
    if len(path.encode()) > _socket_path_bytes_max:
        raise ValueError(f"the socket's path in server_url must have at most {_socket_path_bytes_max} bytes")
    return ServerAddress(path=path)
