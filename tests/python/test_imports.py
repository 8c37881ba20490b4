"""Goal: the plain packages need neither torch nor LMCache nor NumPy nor the compiled module. Method: a Python of its
own, in which importing any of these fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import maru_common

_blocker = """
import sys
class Blocker:
    blocked = {"torch", "lmcache", "numpy", "maru", "maru_handler._maru"}
    def find_spec(self, name, path=None, target=None):
        if name in self.blocked:
            raise ImportError(f"{name} must not be imported here")
sys.meta_path.insert(0, Blocker())
"""


def run_blocked(code):
    packages = Path(maru_common.__file__).resolve().parent.parent
    program = f"{_blocker}\nsys.path.insert(0, {str(packages)!r})\n{code}"
    return subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, timeout=60)


def test_plain_packages_need_the_standard_library_only():
    done = run_blocked(
        "import maru_common, maru_handler.memory, maru_handler.memory.types, maru_lmcache, maru_lmcache.dma\n"
        "maru_common.MaruConfig()\n"
        "maru_handler.memory.AllocHandle(memoryview(b''), 1, 2, 3)\n"
        "region = maru_handler.memory.MappedRegion(1, None, 4, bytearray(4))\n"
        "print(bytes(region.get_buffer_view(0, 4)))"
    )
    assert (done.stdout, done.stderr) == ("b'\\x00\\x00\\x00\\x00'\n", "")


def test_the_adapter_says_what_it_needs():
    done = run_blocked("from maru_lmcache import CxlMemoryAdapter")
    assert done.returncode != 0
    assert "torch must not be imported here" in done.stderr


def test_a_name_that_is_not_there_is_an_attribute_error():
    done = run_blocked(
        "import maru_lmcache, maru_handler\nprint(hasattr(maru_lmcache, 'x'), hasattr(maru_handler, 'x'))"
    )
    assert done.stdout == "False False\n"
