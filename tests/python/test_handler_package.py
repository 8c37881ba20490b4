"""Goal: the packages can be put anywhere, leak nothing into their process, and teach themselves. Method: the built
tree, looked at with readelf and ldd, copied, and imported by other interpreters."""

from __future__ import annotations

import inspect
import os
import pydoc
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import maru
import maru_handler

MODULE = Path(sys.modules["maru_handler._maru"].__file__)
TREE = Path(maru.__file__).parents[1]


def output(*command):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout


def test_only_the_init_function_is_seen_from_outside():
    symbols = [line.split() for line in output("readelf", "--dyn-syms", "--wide", MODULE).splitlines()]
    shared = [s for s in symbols if len(s) > 7 and s[4] in ("GLOBAL", "WEAK", "UNIQUE")]
    defined = [s[7] for s in shared if s[6] not in ("UND", "Ndx")]
    assert [name.partition("@")[0] for name in defined if not name.startswith("ANONYMOUS")] == ["PyInit__maru"]


def test_needs_only_shared_libraries_of_debian_and_none_of_the_servers():
    needed = re.findall(r"NEEDED.*\[(.*)\]", output("readelf", "--dynamic", MODULE))
    assert not [name for name in needed if re.search("rocksdb|prometheus|civetweb|maru|python", name)], needed
    found = output("ldd", MODULE)
    assert "not found" not in found and str(TREE.parent) not in found.replace(str(MODULE), "")
    assert not re.search("rocksdb|prometheus|civetweb", found)
    assert "RPATH" not in output("readelf", "--dynamic", MODULE) and "RUNPATH" not in output("readelf", "-d", MODULE)


def test_the_tree_works_when_it_is_copied_elsewhere(tmp_path, marud):
    shutil.copytree(TREE, tmp_path / "copied")
    code = (
        "import sys, maru; h = maru.MaruHandler(maru.MaruConfig(server_url=sys.argv[1], pool_size=2 << 20));"
        "assert h.connect() and h.store('copied', data=b'1') and h.delete('copied'); print(maru.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, marud.url],
        env={"PYTHONPATH": str(tmp_path / "copied"), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "copied"))


@pytest.mark.parametrize(
    "first", ["maru", "maru_handler", "maru_handler.memory", "maru_common", "maru_handler.handler"]
)
def test_any_package_may_be_imported_first(first):
    code = f"import {first}, maru, maru_handler; assert maru.MaruHandler is maru_handler.MaruHandler"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_needs_neither_numpy_nor_torch_nor_lmcache():
    code = (
        "import sys\nfor name in ('numpy', 'torch', 'lmcache'): sys.modules[name] = None\n"
        "import maru, maru_handler, maru_handler.memory.regions"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_works_beside_torch_whichever_is_first(marud):
    for imports in ("import torch, maru", "import maru, torch"):
        code = f"{imports}\nimport sys\nconfig = maru.MaruConfig(server_url=sys.argv[1], pool_size=2 << 20)\n"
        code += "with maru.MaruHandler(config) as h:\n"
        code += " h.store('torch', data=torch.arange(4, dtype=torch.uint8).numpy())\n"
        code += " assert torch.frombuffer(h.retrieve('torch').view, dtype=torch.uint8).tolist() == [0, 1, 2, 3]"
        done = subprocess.run([sys.executable, "-c", code, marud.url], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_the_names_of_the_contract_are_there():
    assert set(maru.__all__) == {"AllocHandle", "MaruConfig", "MaruHandler", "__version__"}
    assert {"MaruHandler", "OwnedRegionManager"} <= set(maru_handler.__all__)
    import maru_handler.memory as memory

    for name in "AllocHandle MemoryInfo MappedRegion OwnedRegion OwnedRegionManager PagedMemoryAllocator".split():
        assert getattr(memory, name).__name__ == name
    assert re.fullmatch(r"\d+\.\d+\.\d+", maru.__version__)
    for package in ("maru", "maru_common", "maru_handler"):
        assert (TREE / package / "py.typed").exists()


def test_every_public_method_is_documented_and_typed():
    for name, member in inspect.getmembers(maru.MaruHandler):
        if name.startswith("_") and name not in ("__init__", "__enter__", "__exit__"):
            continue
        assert inspect.getdoc(member), f"{name} has no docstring"
        function = member.fget if isinstance(member, property) else member
        signature = inspect.signature(function)
        assert signature.return_annotation is not inspect.Signature.empty, f"{name} does not say what it returns"
        for parameter in list(signature.parameters.values())[1:]:
            assert parameter.annotation is not inspect.Parameter.empty, f"{name}: {parameter.name} has no type"
    text = pydoc.render_doc(maru.MaruHandler, renderer=pydoc.plaintext)
    for word in ("prefix/abc", "TimeoutError", "auto_expand", "No promise"):
        assert word in text


def test_the_stub_names_what_the_module_has():
    module = sys.modules["maru_handler._maru"]
    stub = (Path(maru_handler.__file__).parent / "_maru.pyi").read_text()
    client = stub[stub.index("class Client") : stub.index("def encode_key")]
    assert set(re.findall(r"    def (\w+)\(", client)) - {"__init__"} == {
        name for name in vars(module.Client) if not name.startswith("_")
    }
    named = set(re.findall(r"^(?:def |class )?(\w+)[(:]", stub, re.MULTILINE))
    assert {name for name in vars(module) if not name.startswith("__")} <= named


def test_parameter_names_are_those_of_the_contract():
    wanted = {
        "alloc": "size", "free": "handle", "retrieve": "key", "exists": "key", "pin": "key", "unpin": "key",
        "delete": "key", "batch_store": "keys handles", "batch_retrieve": "keys", "batch_exists": "keys",
        "batch_pin": "keys", "batch_unpin": "keys", "batch_delete": "keys", "store": "key handle data",
    }  # fmt: skip
    for name, parameters in wanted.items():
        assert list(inspect.signature(getattr(maru.MaruHandler, name)).parameters)[1:] == parameters.split(), name
