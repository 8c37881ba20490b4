"""Goal: `maructl top` on a real terminal shows a real marud, through its restarts, and leaves the terminal as it was.
Method: a pty for each test, its screen by pyte; conditions with deadlines; marud is killed, stopped, started again."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from marud import Marud, build_folder, wait_until
from watched import Watched

MARUCTL = build_folder() / "bin" / "maructl"


@pytest.fixture
def own():
    """A marud that a test may stop."""
    server = Marud("32MiB")
    yield server
    server.remove()


@pytest.fixture
def top():
    """Makes watched tops: `top(marud, "--ascii", columns=100)`."""
    made = []

    def make(server, *words, address=None, **settings):
        command = [MARUCTL, "--server", address or server.address, "top", "--interval-ms", "100", *words]
        made.append(Watched(command, **settings))
        return made[-1]

    yield make
    for watched in made:
        watched.close()


def state_of(watched) -> str:
    return Path(f"/proc/{watched.process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def is_as_before(watched) -> bool:
    """Settings, cursor and the shell's screen."""
    left = watched.output.rfind(b"\x1b[?1049l")
    return (
        watched.settings == watched.before
        and left > watched.output.rfind(b"\x1b[?1049h")
        and watched.output.rfind(b"\x1b[?25h") > watched.output.rfind(b"\x1b[?25l")
        and b"\x1b[" not in watched.output[left + 1 :]
    )


def test_shows_what_workers_do(marud, connect, top):
    worker = connect(instance_id="busy-worker")
    for n in range(20):
        page = worker.alloc(100)
        assert worker.store(f"top/{n}", page)
    found = [worker.retrieve(f"top/{n}") for n in range(20)]
    assert all(found) and worker.retrieve("top/none") is None
    watched = top(marud)
    watched.shows("maru 0.", marud.address, "hit rate", "busy-worker", "active", "1.2 MiB")
    assert re.search(r"pages .*committed.*\n +20 ", watched.text), watched.text
    assert "ever 95.2 %" in watched.text, watched.text


def test_fits_eighty_columns_and_uses_more_after_a_resize(marud, top):
    watched = top(marud)
    watched.shows("sessions by requests")
    watched.resize(120, 40)
    watched.until(lambda: re.search(r" sessions$", watched.screen.display[39]), "a footer in row 40 to column 120")
    watched.resize(40, 10)
    watched.until(lambda: watched.screen.display[9].startswith("q quit"), "a footer in row 10")
    watched.resize(5, 2)
    watched.until(lambda: watched.screen.display[0] == "maru ", "two rows of 5")
    watched.type("q")
    assert watched.ends() == 0


@pytest.mark.parametrize("end", ["q", "\x03"], ids=["q", "ctrl-c"])
def test_leaves_the_terminal_as_it_was(marud, top, end):
    watched = top(marud)
    watched.shows("hit rate")
    assert watched.settings != watched.before
    watched.type(end)
    assert watched.ends() == 0
    assert is_as_before(watched), watched.output[-200:]


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_the_terminal_as_it_was(marud, top, sign):
    watched = top(marud)
    watched.shows("hit rate")
    watched.process.send_signal(sign)
    assert watched.ends() == 0
    assert is_as_before(watched), watched.output[-200:]


def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(marud, top):
    watched = top(marud)
    watched.shows("hit rate")
    watched.type("\x1a")
    wait_until(lambda: state_of(watched) == "T", what="the standstill")
    watched.read(0.05)
    assert is_as_before(watched), watched.output[-200:]
    watched.screen.reset()
    watched.process.send_signal(signal.SIGCONT)
    watched.shows("hit rate")
    assert watched.settings != watched.before
    watched.type("q")
    assert watched.ends() == 0
    assert is_as_before(watched), watched.output[-200:]


def test_a_marud_that_goes_away_and_comes_back_is_shown(own, top):
    watched = top(own)
    watched.shows("epoch 1", "rates of the last")
    own.kill()
    watched.shows("no answer for", "epoch 1", "hit rate")
    own.start()
    watched.shows("marud was started again", "epoch 2")
    watched.type("q")
    assert watched.ends() == 0


def test_q_does_not_wait_for_a_marud_that_stands_still(own, top):
    watched = top(own)
    watched.shows("rates of the last")
    own.pause()
    watched.read(0.3)  # a question is open by now, or will be: q must not care
    watched.type("q")
    assert watched.ends(3) == 0
    assert is_as_before(watched), watched.output[-200:]


def test_a_marud_that_stands_still_is_said_to_be_silent(own, top):
    watched = top(own, "--timeout-ms", "300")
    watched.shows("rates of the last")
    own.pause()
    watched.shows("no answer for")
    own.resume()
    watched.shows("rates of the last")


def test_without_utf8_and_colours_it_is_plain(marud, top):
    watched = top(marud, "--no-color", environment={"LC_ALL": "C"})
    watched.shows("hit rate", "sessions by")
    assert all(ord(c) < 128 for c in watched.text)
    assert not re.search(rb"\x1b\[[0-9;]*m", watched.output.replace(b"\x1b[0m\x1b[?25h", b"")), "a colour"


def test_s_changes_the_order_of_sessions(marud, top):
    watched = top(marud)
    for order in ("requests", "memory", "pins", "grants", "requests"):
        watched.shows(f"sessions by {order}")
        watched.type("s")


def test_without_marud_it_says_so_and_leaves_the_terminal_alone(top):
    watched = top(None, address="127.0.0.1:1")
    assert watched.ends() == 3
    assert "nobody answers there" in watched.text
    assert watched.settings == watched.before


def run(server, *words, **settings):
    environment = {**os.environ, "LC_ALL": "C", "TERM": "xterm"}
    command = [str(MARUCTL), "--server", server.address, "top", "--interval-ms", "100", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, env=environment, **settings)


def test_without_a_terminal_it_names_what_needs_none(marud):
    done = run(marud, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert "--once or --json need none" in done.stderr and done.stdout == ""


def test_once_prints_plain_lines_of_eighty_columns(marud, handler):
    done = run(marud, "--once")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert all(len(line) <= 80 and line.isascii() and line.isprintable() for line in lines)
    assert any(line.startswith("hit rate") for line in lines)


def test_once_in_json_is_one_object(marud, handler, key):
    assert handler.store(key("a"), handler.alloc(10))
    done = run(marud, "--once", "--json")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    told = json.loads(line)
    assert told["answers"] and told["ready"] and not told["since_start"]
    assert 0.05 < told["seconds"] < 10
    assert told["pages"]["committed"] >= 1
    assert {"id", "worker", "requests_per_s", "committed_bytes"} <= told["sessions"][0].keys()


@contextlib.contextmanager
def stream_of(server):
    """What it reports, sample after sample; at most 200."""
    command = [str(MARUCTL), "--server", server.address, "--json", "top", "--interval-ms", "100"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as stream:
        try:
            yield itertools.islice(map(json.loads, stream.stdout), 200)
        finally:
            stream.terminate()


def test_the_first_sample_is_of_all_since_the_start(marud, handler, key):
    assert handler.store(key("a"), handler.alloc(10)) and handler.retrieve(key("a"))
    with stream_of(marud) as samples:
        first = next(samples)
    assert first["since_start"] and first["hit_rate"] > 0 and first["puts"]["stored_per_s"] > 0
    commit = first["latency"]["commit"]
    assert 0 < commit["p50_s"] <= commit["p99_s"] <= commit["p999_s"] <= 5


def test_json_goes_on_over_a_restart(own):
    with stream_of(own) as samples:
        assert next(samples)["server_epoch"] == 1
        own.kill()
        assert next(s for s in samples if not s["answers"])["error"]
        own.start()
        assert next(s for s in samples if s["answers"])["server_epoch"] == 2
