"""Goal: `pip install` of the packages works with what Debian ships, without a network. Method: a virtual environment
beside the system's packages, and a program in it that uses a real marud. Slow: it compiles the module anew."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "python"


def test_pip_installs_packages_that_work(tmp_path, marud):
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--system-site-packages", tmp_path / "venv"], check=True)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    install = [python, "-m", "pip", "install", "--no-build-isolation", "--no-index", SOURCE]
    done = subprocess.run(install, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    code = (
        "import sys, maru, maru_handler.memory, maru_lmcache\n"
        "with maru.MaruHandler(maru.MaruConfig(server_url=sys.argv[1], pool_size=2 << 20)) as h:\n"
        "    assert h.store('installed', data=b'1') and bytes(h.retrieve('installed').view) == b'1'\n"
        "print(maru.__file__, maru.__version__)"
    )
    done = subprocess.run([python, "-c", code, marud.url], env=env, cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "venv"))
    for package in ("maru", "maru_common", "maru_handler", "maru_lmcache"):
        assert list((tmp_path / "venv").glob(f"lib/*/site-packages/{package}/py.typed")), package
    assert list((tmp_path / "venv").glob("lib/*/site-packages/maru_handler/_maru.pyi"))
