"""docs/kubernetes.md: its helm commands render, its values fit, its pods are of Kubernetes' types."""

from __future__ import annotations

import re
import shlex

import pytest
import yaml
from chart import OPERATOR, ROOT, Helm, Item, pod_of
from kubernetes_1_20 import mistakes

TEXT = (ROOT / "docs" / "kubernetes.md").read_text()
BLOCKS = [yaml.safe_load(b) for b in re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)]
SHELL = "".join(re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)).replace("\\\n", "")
COMMANDS = [line for line in SHELL.splitlines() if line.startswith("helm ") and "deploy/helm/maru" in line]


# What the guide's first command sets, and later ones keep.
DOOR = ["--set", "workers.socket.enabled=true"]


def _flags(words: list[str]) -> list[str]:
    """For `helm template`, which has nothing to reuse; the namespace is the test's."""
    kept: list[str] = []
    for word in words:
        if word == "--reuse-values":
            kept += DOOR
        elif word not in ("--namespace", "inference"):
            kept.append(word)
    return kept


def test_there_are_commands_and_blocks_to_try() -> None:
    assert len(COMMANDS) >= 4
    assert len(BLOCKS) >= 3


@pytest.mark.parametrize("command", COMMANDS)
def test_command_renders(helm: Helm, command: str) -> None:
    _, verb, name, chart, *rest = shlex.split(command)
    assert (verb in ("install", "upgrade", "template"), name, chart) == (True, "kv", "deploy/helm/maru")
    words = [w.replace("deploy/helm/maru", str(helm.chart)) for w in _flags(rest)]
    done = helm.template(*words)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("index", range(len(BLOCKS)))
def test_block_fits(helm: Helm, index: int) -> None:
    block = BLOCKS[index]
    if "kind" in block:
        assert mistakes(block) == []
        return
    file = helm.folder / "block.yaml"
    file.write_text(yaml.safe_dump(block))
    file.chmod(0o644)
    done = helm.template("-f", str(file), *DOOR, "--api-versions", OPERATOR)
    assert done.returncode == 0, done.stderr


def _pod(name: str) -> Item:
    (pod,) = [b for b in BLOCKS if b.get("kind") == "Pod" and b["metadata"]["name"] == name]
    return pod


def _host_paths(spec: Item) -> dict[str, str]:
    """Where each folder of the node, or device, lies in the pod's first container."""
    places = {m["name"]: m["mountPath"] for m in spec["containers"][0]["volumeMounts"]}
    return {places[v["name"]]: v["hostPath"]["path"] for v in spec["volumes"] if "hostPath" in v}


def test_the_pod_on_a_device_has_what_the_example_worker_has(helm: Helm) -> None:
    pod = _pod("engine-on-a-device")["spec"]
    (example,) = [i for i in helm.objects("devdax-plugin") if i["kind"] == "Deployment"]
    wanted = pod_of(example)["spec"]
    assert _host_paths(pod) == _host_paths(wanted)
    assert pod["securityContext"].items() <= wanted["securityContext"].items()
    resource = {"example.com/dax": 1}
    assert pod["containers"][0]["resources"]["limits"] == resource
    assert resource.items() <= wanted["containers"][0]["resources"]["limits"].items()


def test_the_pod_of_the_guide_mounts_what_the_test_pod_mounts(helm: Helm) -> None:
    pod = _pod("engine")
    wanted = helm.one("minimal", "Pod", "--set", "token.secretName=maru-tokens")["spec"]
    by_place = {m["mountPath"] for m in wanted["containers"][0]["volumeMounts"]}
    assert {m["mountPath"] for m in pod["spec"]["containers"][0]["volumeMounts"]} == by_place
    paths = {v["hostPath"]["path"] for v in wanted["volumes"] if "hostPath" in v}
    assert {v["hostPath"]["path"] for v in pod["spec"]["volumes"] if "hostPath" in v} == paths
    group = pod_of(helm.one("minimal", "DaemonSet"))["spec"]["securityContext"]["runAsGroup"]
    assert pod["spec"]["securityContext"] == {"supplementalGroups": [group], "fsGroup": group}
