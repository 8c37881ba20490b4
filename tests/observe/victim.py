"""A worker that holds pins and a page until it is killed: victim.py tcp://HOST:PORT local|message."""

from __future__ import annotations

import signal
import sys

import maru

CHUNK = 64 << 10


def connect(url: str, instance: str, local_reads: bool) -> maru.MaruHandler:
    """local_reads: it looks up and pins in the pool itself, not by message."""
    config = maru.MaruConfig(
        server_url=url,
        instance_id=instance,
        chunk_size_bytes=CHUNK,
        pool_size=32 << 20,
        local_reads=local_reads,
    )
    handler = maru.MaruHandler(config)
    assert handler.connect(), f"no marud answers at {url}"
    return handler


def main() -> None:
    handler = connect(sys.argv[1], "victim", sys.argv[2] == "local")
    names = [f"victim/{n}" for n in range(20)]
    for name in names:
        handler.store(name, data=b"v" * CHUNK)
    handler.batch_pin(names)
    page = handler.alloc(CHUNK)
    print("holding", flush=True)
    signal.pause()
    handler.free(page)


if __name__ == "__main__":
    main()
