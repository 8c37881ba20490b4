"""values.schema.json refuses what does not fit, with a message that names it; templates refuse what the schema cannot
see: values that do not go together."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from chart import CHART, NEW, OLD, OPERATOR, Helm

# (path of the value, what is wrong)
WRONG: list[tuple[str, Any]] = [
    ("image.repository", ""), ("image.repository", 3), ("image.tag", "with space"), ("image.pullPolicy", "Sometimes"),
    ("image.pullSecrets", "name"), ("image.pullSecrets", [{"name": "No Name"}]), ("nameOverride", "Capital"),
    ("fullnameOverride", "under_score"), ("pool.kind", "disk"), ("pool.size", "4G"),
    ("pool.size", 4096), ("pool.size", "0GiB"), ("pool.size", "1.5GiB"), ("pool.pageMin", "64K"), ("pool.pageMin", ""),
    ("pool.hostPath", "relative"), ("pool.hostPath", "/dev/shm/../etc"), ("pool.hostPath", "/with space"),
    ("pool.mode", "0440"), ("pool.mode", 432), ("pool.mode", "660"), ("pool.hugepageSize", "4Mi"),
    ("pool.devdax.resource", "no-domain"), ("pool.devdax.locksHostPath", ""), ("state.hostPath", ""),
    ("state.hostPath", "/"), ("user", 0), ("user", "maru"), ("group", -1), ("prepare.enabled", "yes"),
    ("workers.socket.enabled", 1), ("workers.socket.hostPath", "run/maru"), ("workers.tcp.enabled", "true"),
    ("workers.tcp.port", 0), ("workers.tcp.port", 65536), ("workers.tcp.port", "5555"), ("workers.tcp.hostPort", -1),
    ("monitoring.rules.runbookBase", "docs"), ("workers.tcp.insecure", "no"), ("tls.secretName", "UPPER"), ("tls.workerSecretName", False),
    ("token.secretName", 7), ("token.key", "a/b"), ("token.key", ""), ("http.port", 0), ("nodeSelector.disk", True),
    ("tolerations", {}), ("affinity", []),
    ("resources.requests.memory", "1.5Gi"), ("resources.requests.memory", 1000), ("resources.limits.memory", "0"),
    ("resources.requests.cpu", "many"), ("resources.limits.cpu", -1), ("priorityClass.name", "Up"),
    ("priorityClass.create", "x"), ("priorityClass.value", 2000000000), ("updateStrategy.type", "Recreate"),
    ("updateStrategy.rollingUpdate.maxUnavailable", 0), ("updateStrategy.rollingUpdate.maxUnavailable", "some"),
    ("updateStrategy.rollingUpdate.maxSurge", 1), ("minReadySeconds", -1), ("terminationGracePeriodSeconds", 5),
    ("podDisruptionBudget.minAvailable", "50%"), ("podDisruptionBudget.minAvailable", 1.5),
    ("podDisruptionBudget.minAvailable", -1), ("podDisruptionBudget.maxUnavailable", 1),
    ("probes.startup.seconds", -1), ("probes.liveness.periodSeconds", 0), ("probes.readiness.failureThreshold", 0),
    ("probes.readiness.path", "/metrics"), ("seLinuxOptions.kind", "spc_t"), ("podAnnotations.a", 1),
    ("podLabels.a", False), ("serviceAccount.name", "A"), ("serviceAccount.token", True),
    ("networkPolicy.enabled", "on"), ("networkPolicy.workersFrom", []), ("networkPolicy.httpFrom", [1]),
    ("monitoring.serviceMonitor.interval", "15"), ("monitoring.podMonitor.enabled", 1),
    ("monitoring.rules.labels.a", 3), ("monitoring.dashboards.folder", "x"), ("exampleWorker.replicas", -1),
    ("exampleWorker.image", "mine"), ("options.log-level", "loud"), ("options.shards", "two"),
    ("options.prefault", "later"), ("options.rocksdb-write-buffer", "16 MiB"), ("options.rebuild", "yes"),
    ("options.no-such-option", 1), ("options.pool", "/elsewhere"), ("options.insecure-bind", True),
    ("options.insecure-http", False),
    ("options.shards", 65), ("options.lease-ms", 499), ("options.reserve-pages", -2), ("options.log-format", "xml"),
    ("options.allow-gids", -1), ("hostNetwork", True), ("podAnnotation", {}),
]  # fmt: skip


def _put(values: dict[str, Any], path: str, value: Any) -> bool:
    """Puts a value at its path; false where something is at it, above it or below it."""
    *parents, last = path.split(".")
    for part in parents:
        values = values.setdefault(part, {})
        if not isinstance(values, dict) or part == "":
            return False
    if last in values:
        return False
    values[last] = value
    return True


@pytest.fixture(scope="module")
def refusals(helm: Helm) -> dict[int, str]:
    """What helm says to each wrong value. It names all that is wrong, so a file holds as many as have room beside each
    other."""
    files: list[dict[str, Any]] = []
    held: dict[int, int] = {}
    for index, (path, value) in enumerate(WRONG):
        for number in range(len(files) + 1):
            if number == len(files):
                files.append({})
            trial = json.loads(json.dumps(files[number]))
            if _put(trial, path, value):
                files[number] = trial
                held[index] = number
                break
    said: list[str] = []
    for values in files:
        file = helm.folder / "wrong.json"
        file.write_text(json.dumps(values))
        file.chmod(0o644)
        done = helm.template("-f", str(file))
        said.append(done.stderr if done.returncode != 0 else "")
    return {index: said[number] for index, number in held.items()}


@pytest.mark.parametrize("index", range(len(WRONG)), ids=[f"{path}={value!r}" for path, value in WRONG])
def test_wrong_value_is_refused_by_its_name(refusals: dict[int, str], index: int) -> None:
    path, value = WRONG[index]
    said = refusals[index]
    assert "values don't meet the specifications of the schema" in said
    parent, _, last = path.rpartition(".")
    unknown = f"- {parent or '(root)'}: Additional property {last} is not allowed"
    assert re.search(rf"^- {re.escape(path)}[.:]", said, re.MULTILINE) or unknown in said, f"{path}={value!r} was taken"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ("pool.kind=fsdax", "pool.hostPath"),  # no place is usual for these two
        ("pool.kind=devdax,pool.size=", "pool.hostPath"),
        ("pool.kind=devdax,pool.hostPath=/mnt/dax0.0", "pool.hostPath"),
        ("pool.size=", "pool.size"),  # only a device has a size of its own
        ("options.durability=host", "options.durability"),  # memory does not outlive the node
        ("pool.kind=hugepages,options.durability=host", "options.durability"),
        ("pool.kind=hugepages,options.prefault=background", "options.prefault"),  # workers may touch none first
    ],
)
def test_what_a_kind_of_pool_cannot_be_is_refused_by_its_name(helm: Helm, values: str, named: str) -> None:
    done = helm.template("--set", values)
    assert done.returncode != 0
    assert f"- {named}: " in done.stderr


def test_every_value_has_a_schema_and_a_comment() -> None:
    text = (CHART / "values.yaml").read_text()
    schema = json.loads((CHART / "values.schema.json").read_text())

    def check(values: dict[str, Any], known: dict[str, Any], where: str) -> None:
        while "$ref" in known:
            known = schema["definitions"][known["$ref"].rsplit("/", 1)[1]]
        assert known.get("additionalProperties") is False or "additionalProperties" in known or not values, where
        for name, value in values.items():
            if "properties" in known:
                assert name in known["properties"], f"{where}.{name}"
                if isinstance(value, dict):
                    check(value, known["properties"][name], f"{where}.{name}")

    values = yaml.safe_load(text)
    check(values, schema, "")
    assert set(values) | {"global"} == set(schema["properties"])
    # A comment in each paragraph that has values, or as the heading above it.
    paragraphs = text.split("\n\n")
    for above, paragraph in zip(paragraphs, paragraphs[1:]):
        if re.search(r"^\w+:", paragraph, re.MULTILINE):
            assert re.search(r"^ *# ", paragraph, re.MULTILINE) or re.match("# ---- .*$", above), paragraph


@pytest.mark.parametrize(
    ("values", "kube", "named"),
    [
        ("workers.socket.enabled=false", NEW, "workers.socket.enabled and workers.tcp.enabled are both false"),
        ("workers.tcp.enabled=true", NEW, "workers.tcp.insecure=true to trust"),
        ("workers.tcp.enabled=true,tls.secretName=t", OLD, "workers.tcp.hostPort is needed on Kubernetes v1.20.0"),
        ("monitoring.serviceMonitor.enabled=true", NEW, "monitoring.serviceMonitor.enabled needs the Prometheus"),
        ("monitoring.podMonitor.enabled=true", NEW, "monitoring.podMonitor.enabled needs the Prometheus"),
        (
            "workers.tcp.enabled=true,tls.secretName=t,http.port=5555", NEW,
            "workers.tcp.port and http.port are both 5555",
        ),
        (
            "workers.socket.enabled=false,workers.tcp.enabled=true,tls.secretName=t,exampleWorker.enabled=true", NEW,
            "exampleWorker.enabled needs tls.workerSecretName",
        ),
        ("monitoring.rules.enabled=true", NEW, "monitoring.rules.enabled needs the Prometheus"),
    ],
)  # fmt: skip
def test_values_that_do_not_go_together_are_refused(helm: Helm, values: str, kube: str, named: str) -> None:
    done = helm.template("--set", values, kube=kube)
    assert done.returncode != 0
    assert named in done.stderr


def test_both_monitors_at_once_are_refused(helm: Helm) -> None:
    both = "monitoring.serviceMonitor.enabled=true,monitoring.podMonitor.enabled=true"
    done = helm.template("--set", both, "--api-versions", OPERATOR)
    assert done.returncode != 0
    assert "every series would be there twice" in done.stderr


def test_clusters_before_1_20_are_refused(helm: Helm) -> None:
    done = helm.template(kube="1.19.0")
    assert done.returncode != 0
    assert "kubeVersion" in done.stderr
