"""Goal: regions are registered for DMA in pieces that the driver takes, as a whole or not at all, undone in reverse,
and not at all without CUDA. Method: a library that records its calls and fails where it is told to, in place of the
driver; and a fake libcuda under the class that calls it."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest

from maru_lmcache import dma
from maru_lmcache.dma import CudaDriver, DmaRegistrar, Span

GIB = 1 << 30
DEADLINE_S = 30


class Library:
    """Records calls; the call number `fail_at` fails; while `hold` is clear, register waits."""

    def __init__(self, fail_at=None):
        self.calls = []
        self.fail_at = fail_at
        self.hold = threading.Event()
        self.hold.set()
        self.changed = threading.Condition()

    def _record(self, *call):
        with self.changed:
            self.calls.append(call)
            self.changed.notify_all()
            return 2 if len(self.calls) - 1 == self.fail_at else 0

    def register(self, address, size):
        code = self._record("register", address, size)
        assert self.hold.wait(DEADLINE_S)
        return code

    def unregister(self, address):
        return self._record("unregister", address)

    def error_name(self, code):
        return f"CUDA_ERROR_{code}"

    def wait_for(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.calls) >= count, DEADLINE_S), self.calls


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(dma, "piece_bytes_max", 100)


class TestPieces:
    @pytest.mark.parametrize("size", [1, GIB, 64 * GIB])
    def test_one_is_enough_up_to_64_gib(self, size):
        assert Span(4096, 1 << 20, size).pieces() == [(4096, size)]

    def test_none_exceeds_64_gib(self):
        pieces = Span(4096, GIB, 150 * GIB).pieces()
        assert [size for _, size in pieces] == [64 * GIB, 64 * GIB, 22 * GIB]

    @pytest.mark.parametrize("page", [4096, 147456, 3 * GIB, 5 * GIB - 4096])
    def test_they_meet_where_a_page_begins(self, page):
        span = Span(1 << 40, page, 200 * GIB // page * page - 7)
        pieces = span.pieces()
        assert len(pieces) > 3
        assert all((address - span.address) % page == 0 for address, _ in pieces)
        assert all(0 < size <= 64 * GIB for _, size in pieces)
        ends = [address + size for address, size in pieces]
        assert ends == [address for address, _ in pieces[1:]] + [span.address + span.size]

    def test_a_page_is_never_cut(self, small_pieces):
        assert Span(0, 150, 300).pieces() == [(0, 150), (150, 150)]


class TestRegistrar:
    def test_pieces_are_registered_in_order_and_undone_in_reverse(self, small_pieces):
        library = Library()
        registrar = DmaRegistrar(library)
        registrar.register(Span(1000, 40, 200))
        registrar.register(Span(5000, 50, 50))
        library.wait_for(4)
        registrar.close()
        assert library.calls == [
            ("register", 1000, 80),
            ("register", 1080, 80),
            ("register", 1160, 40),
            ("register", 5000, 50),
            ("unregister", 5000),
            ("unregister", 1160),
            ("unregister", 1080),
            ("unregister", 1000),
        ]

    def test_a_piece_that_fails_undoes_those_of_its_region_only(self, small_pieces, caplog):
        library = Library(fail_at=3)
        registrar = DmaRegistrar(library)
        registrar.register(Span(5000, 50, 50))
        registrar.register(Span(1000, 100, 300))
        library.wait_for(6)
        assert library.calls[1:] == [
            ("register", 1000, 100),
            ("register", 1100, 100),
            ("register", 1200, 100),
            ("unregister", 1100),
            ("unregister", 1000),
        ]
        assert "failed to register 300 bytes for DMA: CUDA_ERROR_2" in caplog.text
        registrar.register(Span(9000, 100, 100))
        library.wait_for(7)
        registrar.close()
        assert library.calls[6:] == [("register", 9000, 100), ("unregister", 9000), ("unregister", 5000)]

    def test_an_unregister_that_fails_does_not_stop_the_others(self, small_pieces):
        library = Library(fail_at=2)
        registrar = DmaRegistrar(library)
        registrar.register(Span(1000, 100, 200))
        library.wait_for(2)
        registrar.close()
        assert library.calls[2:] == [("unregister", 1100), ("unregister", 1000)]

    def test_registering_does_not_wait_for_the_driver_and_close_waits_for_one_piece(self, small_pieces):
        library = Library()
        library.hold.clear()
        registrar = DmaRegistrar(library)
        registrar.register(Span(1000, 100, 300))
        registrar.register(Span(5000, 100, 100))
        library.wait_for(1)
        closer = threading.Thread(target=registrar.close)
        closer.start()
        assert registrar._closing.wait(DEADLINE_S)
        assert closer.is_alive()
        library.hold.set()
        closer.join(DEADLINE_S)
        assert not closer.is_alive()
        assert library.calls == [("register", 1000, 100), ("unregister", 1000)]

    def test_close_may_be_called_again_and_nothing_is_registered_afterwards(self):
        library = Library()
        registrar = DmaRegistrar(library)
        registrar.close()
        registrar.register(Span(1000, 100, 100))
        registrar.close()
        assert library.calls == []

    def test_memory_is_kept_for_as_long_as_it_is_registered(self):
        class Memory:
            pass

        memory, library = Memory(), Library()
        gone = weakref.ref(memory)
        registrar = DmaRegistrar(library)
        registrar.register(Span(1000, 100, 100, keep=memory))
        registrar.register(Span(5000, 100, 100))
        library.wait_for(2)
        del memory
        assert gone() is not None
        registrar.close()
        assert gone() is None

    def test_a_process_that_does_not_close_ends(self):
        code = (
            "import sys, threading\n"
            f"sys.path.insert(0, {str(Path(dma.__file__).parent.parent)!r})\n"
            "from maru_lmcache.dma import DmaRegistrar, Span\n"
            "class Stuck:\n"
            "    asked = threading.Event()\n"
            "    def register(self, address, size):\n"
            "        self.asked.set()\n"
            "        threading.Event().wait()\n"
            "DmaRegistrar(Stuck()).register(Span(0, 1, 1))\n"
            "print(Stuck.asked.wait(30))\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE_S)
        assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


class Libcuda:
    """libcuda's functions as ctypes calls them, with a context per thread."""

    def __init__(self, context=77, fail=()):
        self.current = threading.local()
        self.current.stack = [context] if context else []
        self.fail = dict(fail)
        self.calls = []

    def _stack(self):
        return self.current.__dict__.setdefault("stack", [])

    def cuCtxGetCurrent(self, out):
        out._obj.value = self._stack()[-1] if self._stack() else None
        return self.fail.get("get", 0)

    def cuCtxPushCurrent_v2(self, context):
        if "push" not in self.fail:
            self._stack().append(context.value)
        return self.fail.get("push", 0)

    def cuCtxPopCurrent_v2(self, out):
        out._obj.value = self._stack().pop()
        return 0

    def cuMemHostRegister_v2(self, address, size, flags):
        self.calls.append(("register", address.value, size.value, flags, self._stack()[-1]))
        return self.fail.get("register", 0)

    def cuMemHostUnregister(self, address):
        self.calls.append(("unregister", address.value, self._stack()[-1]))
        return 0

    def cuGetErrorName(self, code, out):
        out._obj.value = b"CUDA_ERROR_OUT_OF_MEMORY"
        return 0 if code == 2 else 1


@pytest.fixture
def load(monkeypatch):
    """Makes a fake libcuda the one that this process has loaded."""

    def install(library):
        monkeypatch.setattr(ctypes, "CDLL", lambda name, mode: library)
        return library

    return install


class TestDriver:
    def test_calls_are_made_in_the_context_of_the_thread_that_asked_for_it(self, load):
        library = load(Libcuda(context=77))
        driver = CudaDriver.of_this_process()
        codes = []
        worker = threading.Thread(
            target=lambda: codes.extend([driver.register(1 << 40, 5 * GIB), driver.unregister(9)])
        )
        worker.start()
        worker.join(DEADLINE_S)
        assert codes == [0, 0]
        assert library.calls == [("register", 1 << 40, 5 * GIB, 1, 77), ("unregister", 9, 77)]

    def test_the_threads_own_context_stays(self, load):
        library = load(Libcuda(context=77, fail={"register": 2}))
        driver = CudaDriver.of_this_process()
        library.current.stack.append(88)
        assert driver.register(1, 2) == 2
        assert library.calls[0][-1] == 77
        assert library.current.stack == [77, 88]

    def test_a_context_that_is_gone_is_an_error_and_nothing_is_called(self, load):
        library = load(Libcuda(fail={"push": 4}))
        driver = CudaDriver.of_this_process()
        assert (driver.register(1, 2), driver.unregister(1)) == (4, 4)
        assert library.calls == []
        assert library.current.stack == [77]

    def test_errors_have_names(self, load):
        load(Libcuda())
        driver = CudaDriver.of_this_process()
        assert driver.error_name(2) == "CUDA_ERROR_OUT_OF_MEMORY"
        assert driver.error_name(12345) == "error 12345"

    @pytest.mark.parametrize("library", [Libcuda(context=None), Libcuda(fail={"get": 3})])
    def test_a_thread_without_a_context_does_not_get_one(self, load, library):
        load(library)
        assert CudaDriver.of_this_process() is None
        assert dma.registrar_of_this_process() is None


class TestOfThisProcess:
    def test_there_is_none_without_cuda(self):
        assert dma.registrar_of_this_process() is None

    def test_it_looks_without_loading_anything(self, monkeypatch):
        asked = []
        real = ctypes.CDLL
        monkeypatch.setattr(ctypes, "CDLL", lambda *args, **more: asked.append((args, more)) or real(*args, **more))
        dma.registrar_of_this_process()
        assert asked == [(("libcuda.so.1",), {"mode": dma.os.RTLD_NOLOAD})]

    @pytest.mark.parametrize("text, there", [("0", False), ("off", False), ("1", True), (None, True)])
    def test_the_environment_can_say_no(self, load, monkeypatch, text, there):
        load(Libcuda())
        monkeypatch.delenv("MARU_DMA", raising=False)
        if text is not None:
            monkeypatch.setenv("MARU_DMA", text)
        registrar = dma.registrar_of_this_process()
        assert (registrar is not None) == there
        if registrar is not None:
            registrar.close()
