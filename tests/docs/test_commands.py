"""Goal: who types what the documents say gets what they show. Method: each page's marked commands run in a shell of
their own, in a scratch folder, with free ports instead of the usual ones and that folder instead of /dev/shm."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from shell_page import Step, outputs_of, pattern_of, script_of, steps_of

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("MARU_BUILD", ROOT / "build" / "release"))
PAGES = sorted(page for page in ROOT.glob("docs/*.md") if steps_of(page))

# The addresses that programs take by themselves, and an end to what a page leaves running.
PROLOGUE = """
marud() { exec marud --listen 127.0.0.1:$PORT --http 127.0.0.1:$HTTP "$@"; }
maructl() { command maructl --server 127.0.0.1:$PORT "$@"; }
trap 'for job in $(jobs -p); do kill -9 $job 2>/dev/null || true; done' EXIT
"""


@contextlib.contextmanager
def reserved_ports(count: int) -> Iterator[list[int]]:
    """Ports that no other program is given meanwhile, and that one that asks by number may listen on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        yield [s.getsockname()[1] for s in sockets]


@pytest.fixture
def scratch():
    shm = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="maru-docs-", dir=shm if os.access(shm, os.W_OK) else None))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def replay(steps: list[Step], folder: Path) -> tuple[int, str, str]:
    """Exit code, output and errors of all steps."""
    with reserved_ports(2) as ports:
        return replay_at(steps, folder, *ports)


def replay_at(steps: list[Step], folder: Path, port: int, http: int) -> tuple[int, str, str]:
    script = script_of(steps, PROLOGUE)
    for usual, here in {":5555": f":{port}", ":9555": f":{http}", "/dev/shm/": f"{folder}/"}.items():
        script = script.replace(usual, here)
    environment = {
        **os.environ,
        "PATH": f"{BUILD / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(BUILD / "python"),
        "LC_ALL": "C.UTF-8",
        "PORT": str(port),
        "HTTP": str(http),
    }
    shell = subprocess.Popen(
        ["bash", "-c", script], cwd=folder, env=environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        output, errors = shell.communicate(timeout=90)
    finally:
        try:
            os.killpg(shell.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return shell.returncode, output, errors


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_do_what_the_page_shows(page, scratch):
    steps = steps_of(page)
    code, output, errors = replay(steps, scratch)
    outputs = outputs_of(output, len(steps))
    for step, printed in zip(steps, outputs):
        if step.expected is not None:
            assert pattern_of(step.expected).fullmatch(printed + ("" if printed.endswith("\n") else "\n")), (
                f"{page.name}, line {step.line} prints\n{printed}\ninstead of\n{step.expected}\nerrors:\n{errors}"
            )
    assert code == 0 and len(outputs) == len(steps), f"{page.name} ends with {code}\n{output}\n{errors}"


def test_there_are_pages_with_commands():
    assert {"quickstart.md", "operate.md", "security.md"} <= {page.name for page in PAGES}


def test_a_wrong_answer_is_noticed():
    assert pattern_of("a ... c\n...\nend\n").fullmatch("a b c\nx\ny\nend\n")
    assert pattern_of("a\n...\n").fullmatch("a\n")
    for wrong in ("a b d\nend\n", "a b c\nend\nmore\n", "a b c\n"):
        assert not pattern_of("a ... c\n...\nend\n").fullmatch(wrong)


def test_a_failing_command_is_noticed(scratch):
    code, output, _ = replay([Step(1, "echo one\n"), Step(2, "false\n"), Step(3, "echo three\n")], scratch)
    assert code != 0 and "three" not in output
