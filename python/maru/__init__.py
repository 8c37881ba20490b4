"""Maru for Python: share one copy of KV-cache chunks between the worker processes of a host.

    import maru

    with maru.MaruHandler(maru.MaruConfig(server_url="tcp://127.0.0.1:5555")) as pool:
        page = pool.alloc(len(chunk))      # a page of shared memory: no message, no copy
        page.buf[:] = chunk                # write it in place
        pool.store("prefix/abc", page)     # every worker finds it from here on

        found = pool.retrieve("prefix/abc")
        found.view                         # the same bytes, in place; kept while the view lives

`help(maru.MaruHandler)` has every call. A `marud` must be running: see the project's README.
"""

from maru_common import MaruConfig
from maru_handler._maru import __version__
from maru_handler.handler import MaruHandler
from maru_handler.memory.types import AllocHandle

__all__ = ["AllocHandle", "MaruConfig", "MaruHandler", "__version__"]
