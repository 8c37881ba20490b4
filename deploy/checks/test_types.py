"""Strict types: every rendered object becomes a literal of the type that Kubernetes has for it, so the compiler refuses
fields that are not known and values of another type."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from chart import NODE_MODULES, OPERATOR, Helm, Item, case_names

HERE = Path(__file__).resolve().parent
FOLDER = NODE_MODULES.parent


def _module(item: Item) -> str:
    if item["apiVersion"] == OPERATOR:
        return f"@kubernetes-models/prometheus-operator/{OPERATOR}/{item['kind']}"
    return f"kubernetes-models/{item['apiVersion']}/{item['kind']}"


def _program(items: list[Item]) -> str:
    kinds = {_module(item): item["kind"] for item in items}
    lines = [f'import type {{ I{kind} }} from "{module}";' for module, kind in sorted(kinds.items())]
    lines += [f"export const object{i}: I{item['kind']} = {json.dumps(item)};" for i, item in enumerate(items)]
    return "\n".join(lines) + "\n"


def _compile(name: str, items: list[Item]) -> str:
    """What the compiler says; "" when it is content."""
    folder = FOLDER / "types" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "objects.ts").write_text(_program(items))
    shutil.copy(HERE / "tsconfig.json", folder)
    command = ["node", NODE_MODULES / "typescript" / "bin" / "tsc", "-p", folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    return done.stdout + done.stderr if done.returncode != 0 else ""


def test_every_object_of_every_case_has_its_type(helm: Helm) -> None:
    items = [item for case in case_names() for item in helm.objects(case)]
    assert _compile("all", items) == ""


def test_what_does_not_fit_is_seen(helm: Helm) -> None:
    items = json.loads(json.dumps([helm.one("minimal", "DaemonSet"), helm.one("everything", "ServiceMonitor"),
                                   helm.one("everything", "NetworkPolicy")]))  # fmt: skip
    items[0]["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    items[1]["spec"]["endpoints"][0]["interval"] = 15
    items[2]["spec"]["ingress"][0]["ports"][0]["ports"] = "http"
    said = _compile("wrong", items)
    assert len(re.findall(r"error TS", said)) == 3, said
    assert "'\"livenesProbe\"' does not exist" in said
    assert "Type 'number' is not assignable to type 'string'" in said
    assert "'\"ports\"' does not exist" in said


@pytest.mark.parametrize("package", ["kubernetes-models", "@kubernetes-models/prometheus-operator", "typescript"])
def test_packages_are_those_of_the_lock_file(package: str) -> None:
    lock = json.loads((HERE / "package-lock.json").read_text())
    wanted = lock["packages"][f"node_modules/{package}"]["version"]
    assert json.loads((NODE_MODULES / package / "package.json").read_text())["version"] == wanted
