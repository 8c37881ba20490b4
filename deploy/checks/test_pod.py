"""What the rendered pod of marud must be: little may, a warm cache, probes where marud answers, memory for the pool."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from chart import NEW, OLD, Helm, Item, case_names, marud_of, objects_in, pod_of

PLAIN = [c for c in case_names() if c != "devdax-privileged"]
KINDS = {"tmpfs": "tmpfs", "hugepages": "hugepages", "fsdax": "fsdax", "devdax-plugin": "devdax"}


def _pods(helm: Helm, case: str) -> list[Item]:
    return [pod_of(item) for item in helm.objects(case) if item["kind"] in ("DaemonSet", "Deployment", "Pod")]


def _args(helm: Helm, case: str) -> list[str]:
    return marud_of(helm.one(case, "DaemonSet"))["args"]


def _volume(pod: Item, name: str) -> dict[str, Any]:
    (found,) = [v for v in pod["spec"]["volumes"] if v["name"] == name]
    return found


def _mib(quantity: str) -> int:
    number, unit = re.fullmatch(r"([0-9]+)(Mi|Gi)", quantity).groups()  # type: ignore[union-attr]
    return int(number) * {"Mi": 1, "Gi": 1024}[unit]


@pytest.mark.parametrize("case", case_names())
def test_no_pod_gets_a_token_of_the_cluster_or_variables_of_services(helm: Helm, case: str) -> None:
    for pod in _pods(helm, case):
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["enableServiceLinks"] is False
    for item in helm.objects(case):
        if item["kind"] == "ServiceAccount":
            assert item["automountServiceAccountToken"] is False


@pytest.mark.parametrize("case", case_names())
def test_root_file_systems_are_read_only_and_no_host_namespace_is_shared(helm: Helm, case: str) -> None:
    for pod in _pods(helm, case):
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod["spec"])
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["spec"]["containers"] + pod["spec"].get("initContainers", []):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize("case", PLAIN)
def test_no_privilege_where_no_unknown_device_needs_it(helm: Helm, case: str) -> None:
    for pod in _pods(helm, case):
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["securityContext"]["runAsUser"] > 0
        for container in pod["spec"]["containers"]:
            security = container["securityContext"]
            assert not security.get("privileged")
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}


def test_a_device_that_no_plugin_knows_needs_privilege(helm: Helm) -> None:
    for pod in _pods(helm, "devdax-privileged"):
        assert [c["securityContext"]["privileged"] for c in pod["spec"]["containers"]] == [True]


def test_a_device_of_a_plugin_is_asked_for(helm: Helm) -> None:
    for pod in _pods(helm, "devdax-plugin"):
        assert [c["resources"]["limits"]["example.com/dax"] for c in pod["spec"]["containers"]] == [1]


@pytest.mark.parametrize("case", [c for c in case_names() if c != "prepared"])
def test_only_the_container_that_prepares_is_root_and_may_only_give_folders_away(helm: Helm, case: str) -> None:
    (prepare,) = pod_of(helm.one(case, "DaemonSet"))["spec"]["initContainers"]
    security = prepare["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"], "add": ["CHOWN", "FOWNER"]}
    assert security["allowPrivilegeEscalation"] is False
    assert "device" not in [m["name"] for m in prepare["volumeMounts"]]


def test_prepared_folders_need_no_container_of_root(helm: Helm) -> None:
    pod = pod_of(helm.one("prepared", "DaemonSet"))
    assert "initContainers" not in pod["spec"]
    assert {v["hostPath"]["type"] for v in pod["spec"]["volumes"]} == {"Directory"}


@pytest.mark.parametrize("case", case_names())
def test_pool_and_state_outlive_the_pod(helm: Helm, case: str) -> None:
    pod = pod_of(helm.one(case, "DaemonSet"))
    mounts = {m["mountPath"]: m["name"] for m in marud_of(helm.one(case, "DaemonSet"))["volumeMounts"]}
    args = _args(helm, case)
    for option in ("--pool=", "--state-dir="):
        (path,) = [a.removeprefix(option) for a in args if a.startswith(option)]
        holder = max((m for m in mounts if path == m or path.startswith(m + "/")), key=len)
        assert "hostPath" in _volume(pod, mounts[holder])
    assert not [v for v in pod["spec"]["volumes"] if "emptyDir" in v]


@pytest.mark.parametrize("case", case_names())
def test_an_update_never_runs_two_on_one_pool_and_waits_for_the_old_one(helm: Helm, case: str) -> None:
    spec = helm.one(case, "DaemonSet")["spec"]
    assert "maxSurge" not in (spec["updateStrategy"].get("rollingUpdate") or {})
    assert pod_of(helm.one(case, "DaemonSet"))["spec"]["terminationGracePeriodSeconds"] >= 10
    if case == "prepared":
        assert spec["updateStrategy"] == {"type": "OnDelete"}
    else:
        assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}


@pytest.mark.parametrize("case", case_names())
def test_probes_ask_where_marud_answers(helm: Helm, case: str) -> None:
    container = marud_of(helm.one(case, "DaemonSet"))
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": path, "port": "http"}
    (port,) = [p["containerPort"] for p in container["ports"] if p["name"] == "http"]
    assert f"--http=0.0.0.0:{port}" in container["args"]


# Seconds by what was measured: 3 s a million pages to recover, 0.85 ms a MiB to touch memory.
@pytest.mark.parametrize(
    ("case", "needed"),
    [
        ("minimal", 3), ("tmpfs", 96 * 1024 * 0.00085 + 0.3), ("fsdax", 4.2 * 3),
        ("hugepages", 64 * 1024 * 0.00085 + 3), ("everything", 3),
    ],
)  # fmt: skip
def test_the_start_may_take_several_times_what_recovery_takes(helm: Helm, case: str, needed: float) -> None:
    probe = marud_of(helm.one(case, "DaemonSet"))["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 60 + 2 * needed


def test_seconds_of_the_start_can_be_given(helm: Helm) -> None:
    probe = marud_of(helm.one("everything", "DaemonSet"))["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == 900
    unknown = marud_of(helm.one("devdax-plugin", "DaemonSet"))["startupProbe"]
    assert unknown["periodSeconds"] * unknown["failureThreshold"] == 1800


def test_memory_covers_a_pool_on_tmpfs_and_the_index(helm: Helm) -> None:
    limits = marud_of(helm.one("tmpfs", "DaemonSet"))["resources"]["limits"]
    pages = 96 * 1024
    assert _mib(limits["memory"]) >= 96 * 1024 + 2048 + pages * (96 + 320) // 2**20
    assert _mib(limits["memory"]) <= 96 * 1024 + 2048 + 256
    requests = marud_of(helm.one("tmpfs", "DaemonSet"))["resources"]["requests"]
    assert _mib(requests["memory"]) == _mib(limits["memory"]) - 1024


def test_memory_of_other_kinds_is_marud_and_the_index_alone(helm: Helm) -> None:
    fsdax = marud_of(helm.one("fsdax", "DaemonSet"))["resources"]["limits"]
    assert _mib(fsdax["memory"]) == 512 + 4 * 320
    huge = marud_of(helm.one("hugepages", "DaemonSet"))["resources"]
    assert huge["limits"]["hugepages-2Mi"] == huge["requests"]["hugepages-2Mi"] == "65644Mi"
    large = marud_of(helm.one("hugepages", "DaemonSet", "--set", "pool.hugepageSize=1Gi"))["resources"]
    assert large["limits"]["hugepages-1Gi"] == large["requests"]["hugepages-1Gi"] == "67Gi"
    assert _mib(huge["limits"]["memory"]) == 512 + 320


@pytest.mark.parametrize(
    ("size", "page", "mib"), [("1TiB", "64KiB", 2**20), ("7MiB", "4KiB", 7), ("3GiB", "1GiB", 3072)]
)
def test_sizes_are_reckoned_right(helm: Helm, size: str, page: str, mib: int) -> None:
    daemon = helm.one("minimal", "DaemonSet", "--set", f"pool.size={size},pool.pageMin={page}")
    pages = mib * 1024 // {"64KiB": 64, "4KiB": 4, "1GiB": 2**20}[page]
    bytes_ = mib * 2**20 + pages * (96 + 320) + 8 * 2**20 + 512 * 2**20
    assert _mib(marud_of(daemon)["resources"]["limits"]["memory"]) == -(-bytes_ // 2**20)


@pytest.mark.parametrize("case", ["tcp", "everything"])
def test_tokens_and_certificates_come_as_folders_from_secrets(helm: Helm, case: str) -> None:
    pod = pod_of(helm.one(case, "DaemonSet"))
    container = marud_of(helm.one(case, "DaemonSet"))
    assert _volume(pod, "token")["secret"] == {"secretName": "maru-tokens", "defaultMode": 0o440}
    assert _volume(pod, "tls")["secret"] == {"secretName": "maru-server-tls", "defaultMode": 0o440}
    assert "--token-file=/etc/maru/token/tokens" in container["args"]
    for mount in container["volumeMounts"]:
        assert "subPath" not in mount  # a file of a Secret that is mounted by subPath is never renewed
        if mount["name"] in ("token", "tls"):
            assert mount["readOnly"] is True
    assert pod["spec"]["securityContext"]["fsGroup"] == 65500  # whom the files' mode lets read
    assert "secretKeyRef" not in str(container)


def test_no_port_for_workers_beyond_the_socket_by_default(helm: Helm) -> None:
    args = _args(helm, "minimal")
    assert [a for a in args if a.startswith("--listen")] == ["--listen=unix:/run/maru/maru.sock"]
    assert [p["name"] for p in marud_of(helm.one("minimal", "DaemonSet"))["ports"]] == ["http"]
    assert [s["metadata"]["name"] for s in helm.objects("minimal") if s["kind"] == "Service"] == ["kv-maru-metrics"]


@pytest.mark.parametrize("case", case_names())
def test_consent_to_a_port_without_tls_is_given_where_it_was_asked_for_alone(helm: Helm, case: str) -> None:
    assert ("--insecure-bind" in _args(helm, case)) == (case == "tcp-insecure")
    assert "--insecure-http" in _args(helm, case)  # probes come from outside of the pod


def test_numbers_reach_marud_without_an_exponent(helm: Helm) -> None:
    args = _args(helm, "everything")
    for wanted in ("rocksdb-write-buffer=33554432", "pins-max=200000", "resume-grace-ms=3600000", "rebuild=true"):
        assert f"--{wanted}" in args


@pytest.mark.parametrize(("kube", "version"), [(NEW, "policy/v1"), (OLD, "policy/v1beta1")])
def test_budget_is_a_whole_number_and_off_by_default(helm: Helm, kube: str, version: str) -> None:
    budget = helm.one("everything", "PodDisruptionBudget", kube=kube)
    assert budget["apiVersion"] == version
    assert budget["spec"]["minAvailable"] == 2
    assert "maxUnavailable" not in budget["spec"]
    assert not [i for i in helm.objects("minimal") if i["kind"] == "PodDisruptionBudget"]


def test_fsdax_waits_for_its_file_system_and_does_not_fill_the_disk(helm: Helm) -> None:
    assert _volume(pod_of(helm.one("fsdax", "DaemonSet")), "pool")["hostPath"]["type"] == "Directory"


@pytest.mark.parametrize("case", ["devdax-plugin", "devdax-privileged", "hugepages"])
def test_locks_of_a_pool_that_holds_its_metadata_lie_in_a_folder_that_workers_have(helm: Helm, case: str) -> None:
    """By itself marud would take a folder in /dev/shm, which is each pod's own."""
    (folder,) = [a.removeprefix("--lock-dir=") for a in _args(helm, case) if a.startswith("--lock-dir=")]
    for pod in _pods(helm, case):
        (place,) = [m for m in pod["spec"]["containers"][0]["volumeMounts"] if folder.startswith(m["mountPath"] + "/")]
        assert "hostPath" in _volume(pod, place["name"])


def test_a_device_lies_where_marud_looks_for_the_pool(helm: Helm) -> None:
    daemon = helm.one("devdax-plugin", "DaemonSet")
    assert _volume(pod_of(daemon), "device")["hostPath"] == {"path": "/dev/dax0.0", "type": "CharDevice"}
    assert {"name": "device", "mountPath": "/mnt/maru/pool"} in marud_of(daemon)["volumeMounts"]


@pytest.mark.parametrize("case", sorted(KINDS))
def test_each_kind_says_so_where_the_folder_is_other_memory(helm: Helm, case: str) -> None:
    (prepare,) = pod_of(helm.one(case, "DaemonSet"))["spec"]["initContainers"]
    wanted = {"tmpfs": "tmpfs", "hugepages": "hugetlbfs"}.get(KINDS[case])
    assert (f"!= {wanted} ]" in prepare["command"][-1]) == (wanted is not None)


def test_labels_of_the_pod_cannot_replace_what_the_set_selects_by(helm: Helm) -> None:
    daemon = helm.one("everything", "DaemonSet", "--set", "podLabels.app\\.kubernetes\\.io/component=other")
    selector = daemon["spec"]["selector"]["matchLabels"]
    assert selector.items() <= pod_of(daemon)["metadata"]["labels"].items()
    assert pod_of(daemon)["metadata"]["labels"]["app.kubernetes.io/component"] == "daemon"


def test_a_key_that_stands_twice_is_seen() -> None:
    with pytest.raises(yaml.YAMLError, match="twice"):
        objects_in("metadata: {labels: {a: 1, a: 2}}")


def test_workers_of_huge_pages_may_have_some_and_all_of_the_pool_is_there_before_them(helm: Helm) -> None:
    """A container that asks for none may have none, and what it maps is counted as its own where it is not there yet:
    with both limits of its cgroup at 8 MiB `maructl put` works with prefault=start alone, and not with less."""
    assert "--prefault=start" in _args(helm, "hugepages")
    for pod in _pods(helm, "hugepages")[1:]:
        (container,) = pod["spec"]["containers"]
        assert _mib(container["resources"]["limits"]["hugepages-2Mi"]) >= 8
    assert not [a for a in _args(helm, "minimal") if a.startswith("--prefault")]
