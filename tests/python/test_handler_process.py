"""Goal: an open handler does no harm to the process it is in: forks, children, the interpreter's end. Method: other
interpreters run short scripts against a real marud; each has to end in time and with the right status."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from marud import wait_until

PREAMBLE = """
import ctypes, gc, multiprocessing, os, subprocess, sys, threading, time
import maru

def connect(**settings):
    config = maru.MaruConfig(server_url=sys.argv[1], pool_size=2 << 20, chunk_size_bytes=65536, **settings)
    handler = maru.MaruHandler(config)
    assert handler.connect()
    return handler
"""


def run(marud, tmp_path, script, seconds=30):
    """Runs the script and returns what it printed. AssertionError where it fails, crashes or does not end in time."""
    file = tmp_path / "script.py"
    file.write_text(PREAMBLE + textwrap.dedent(script))
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(file), marud.url], capture_output=True, text=True, timeout=seconds
    )
    assert done.returncode == 0, f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Fatal" not in done.stderr and "terminate" not in done.stderr, done.stderr
    return done.stdout


EXITS = {
    "after connect": "h = connect()",
    "with a view": "h = connect(); h.store('exit', data=b'1'); v = h.retrieve('exit').view",
    "with a page": "h = connect(); p = h.alloc(10)",
    "with a view of a closed handler": """
        h = connect(); h.store('exit', data=b'1'); v = h.retrieve('exit').view
        h.close(); del h
        """,
    "with a view that nothing ever lets go of": """
        h = connect(); h.store('exit', data=b'1'); v = h.retrieve('exit').view
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(v))
        """,
    "with a handler that nothing ever lets go of": """
        h = connect(); h.alloc(10)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(h))
        """,
    "with many handlers": "hs = [connect() for _ in range(8)]; pages = [h.alloc(1) for h in hs]",
    "in a cycle": "h = connect(); h.store('exit', data=b'1'); c = [h.retrieve('exit')]; c.append(c); del c",
    "with daemon threads in calls": """
        h = connect()
        h.store('exit', data=b'1')
        def work():
            while True:
                h.exists('exit'); h.retrieve('exit'); h.store('exit', data=b'1')
        for _ in range(4):
            threading.Thread(target=work, daemon=True).start()
        time.sleep(0.1)
        """,
    "by sys.exit in a function": """
        def work():
            h = connect(); p = h.alloc(1)
            sys.exit(0)
        work()
        """,
}


@pytest.mark.parametrize("how", EXITS)
def test_the_interpreter_ends_without_close(marud, tmp_path, how):
    run(marud, tmp_path, textwrap.dedent(EXITS[how]))


def test_the_interpreter_ends_while_marud_stands_still(marud, tmp_path):
    script = """
        h = connect(timeout_ms=1000)
        page = h.alloc(10)
        os.kill(int(sys.stdin.readline()), 19)
        threading.Thread(target=lambda: h.exists('a'), daemon=True).start()
        """
    file = tmp_path / "script.py"
    file.write_text(PREAMBLE + textwrap.dedent(script))
    child = subprocess.Popen([sys.executable, str(file), marud.url], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        _, err = child.communicate(f"{marud.process.pid}\n".encode(), timeout=30)
        assert child.returncode == 0, err.decode()
    finally:
        child.kill()
        marud.resume()


def test_a_fork_after_connect_raises_a_clear_error_in_the_child(marud, tmp_path):
    out = run(
        marud,
        tmp_path,
        """
        h = connect()
        h.store('forked', data=b'1')
        view = h.retrieve('forked').view
        page = h.alloc(3)
        pid = os.fork()
        if pid == 0:
            answers = []
            for call in (lambda: h.exists('forked'), lambda: h.alloc(1), lambda: h.free(page), lambda: h.get_stats()):
                try:
                    call()
                    answers.append('no error')
                except RuntimeError as error:
                    answers.append('forked' if 'before the process forked' in str(error) else str(error))
            assert answers == ['forked'] * 4, answers
            assert h.connected is False and h.get_owned_region_ids() == []
            h.close()
            del view, page, h
            gc.collect()
            own = connect()
            assert own.exists('forked')
            own.close()
            print('child done', flush=True)
            sys.exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert h.exists('forked') and h.store('forked2', page)
        print('parent done')
        """,
    )
    assert out == "child done\nparent done\n"


def test_a_fork_while_threads_are_in_calls_does_not_hang(marud, tmp_path):
    run(
        marud,
        tmp_path,
        """
        h = connect()
        h.store('busy', data=b'1')
        stop = False
        def work():
            while not stop:
                h.retrieve('busy'); h.exists('busy')
        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads: t.start()
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                try:
                    h.exists('busy')
                    os._exit(1)
                except RuntimeError:
                    sys.exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        stop = True
        for t in threads: t.join()
        """,
        60,
    )


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_handler_may_be_opened_in_a_child(marud, tmp_path, method):
    out = run(
        marud,
        tmp_path,
        f"""
        def child(url, queue):
            handler = maru.MaruHandler(maru.MaruConfig(server_url=url, pool_size=2 << 20))
            handler.connect()
            queue.put(bytes(handler.retrieve('{method}').view))

        if __name__ == '__main__':
            h = connect()
            h.store('{method}', data=b'hello')
            context = multiprocessing.get_context('{method}')
            queue = context.Queue()
            process = context.Process(target=child, args=(sys.argv[1], queue))
            process.start()
            print(queue.get(timeout=20))
            process.join(20)
            assert process.exitcode == 0 and h.exists('{method}')
        """,
    )
    assert out == "b'hello'\n"


def test_a_childs_life_does_not_keep_its_parents_session(marud, tmp_path, connect):
    other = connect()
    other.store("inherited", data=b"1")
    out = run(
        marud,
        tmp_path,
        """
        h = connect()
        assert h.pin('inherited')
        child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], close_fds=False,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        print(child.pid, flush=True)
        os._exit(0)
        """,
    )
    child = int(out)
    try:
        assert wait_until(lambda: other.delete("inherited"))
        os.kill(child, 0)
    finally:
        os.kill(child, 9)


def test_no_descriptor_is_inherited(connect):
    handler = connect()
    handler.store("descriptors", data=b"1")
    handler.alloc(1)
    mine = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert any(target.startswith("socket:") for target in mine) and any(".lock" in target for target in mine)
    listing = ["ls", "-l", "/proc/self/fd"]
    kept = subprocess.run(listing, close_fds=False, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
    assert "socket:" not in kept and "/pool" not in kept and ".lock" not in kept, kept


def test_pages_of_a_killed_worker_come_back(marud, connect, tmp_path):
    run(
        marud,
        tmp_path,
        """
        h = connect()
        pages = [h.alloc(10) for _ in range(20)]
        h.store('died', pages[0])
        h.pin('died')
        os.kill(os.getpid(), 9) if os.fork() == 0 else os.wait()
        os._exit(0)
        """,
    )
    other = connect()
    assert wait_until(lambda: other.delete("died")), "its pin ended with it"
    other.close()
    assert wait_until(lambda: "granted     0" in marud.ctl("check")), "and so did its pages"
