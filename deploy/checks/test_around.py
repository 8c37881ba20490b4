"""What stands around the pod: Services, policies, monitors, the example worker and the test pod."""

from __future__ import annotations

import pytest
from chart import NEW, OLD, Helm, Item, case_names, marud_of, pod_of

WORKERS = ["devdax-plugin", "devdax-privileged", "everything", "hugepages", "tcp", "tcp-insecure"]


def _selects(selector: Item, labels: Item) -> bool:
    return selector.items() <= labels.items()


def _workers(helm: Helm, case: str, kube: str = NEW) -> list[Item]:
    return [pod_of(item) for item in helm.objects(case, kube=kube) if item["kind"] in ("Deployment", "Pod")]


@pytest.mark.parametrize("case", case_names())
def test_every_selector_finds_marud_and_nobody_else(helm: Helm, case: str) -> None:
    daemon = pod_of(helm.one(case, "DaemonSet"))["metadata"]["labels"]
    others = [pod["metadata"]["labels"] for pod in _workers(helm, case)]
    for item in helm.objects(case):
        spec = item.get("spec", {})
        if item["kind"] == "Service":
            selector = spec["selector"]
        elif item["kind"] in ("DaemonSet", "PodDisruptionBudget", "PodMonitor"):
            selector = spec["selector"]["matchLabels"]
        elif item["kind"] == "NetworkPolicy":
            selector = spec["podSelector"]["matchLabels"]
        else:
            continue
        assert _selects(selector, daemon), item["kind"]
        assert not any(_selects(selector, labels) for labels in others), item["kind"]


def test_service_monitor_finds_the_service_of_metrics_alone(helm: Helm) -> None:
    wanted = helm.one("everything", "ServiceMonitor")["spec"]["selector"]["matchLabels"]
    services = [s for s in helm.objects("everything") if s["kind"] == "Service"]
    assert len(services) == 2
    assert [_selects(wanted, s["metadata"]["labels"]) for s in services].count(True) == 1
    (found,) = [s for s in services if _selects(wanted, s["metadata"]["labels"])]
    ports = [p["name"] for p in found["spec"]["ports"]]
    endpoint = helm.one("everything", "ServiceMonitor")["spec"]["endpoints"][0]
    assert endpoint["port"] in ports
    assert endpoint["path"] == "/metrics"
    assert endpoint["port"] in [p["name"] for p in marud_of(helm.one("everything", "DaemonSet"))["ports"]]


@pytest.mark.parametrize(
    ("case", "kind", "ends"),
    [("everything", "ServiceMonitor", "endpoints"), ("podmonitor", "PodMonitor", "podMetricsEndpoints")],
)
def test_series_have_the_job_of_the_rules_and_go_on_with_the_next_pod(
    helm: Helm, case: str, kind: str, ends: str
) -> None:
    (end,) = helm.one(case, kind)["spec"][ends]
    assert end["path"] == "/metrics"
    assert end["port"] in [p["name"] for p in marud_of(helm.one(case, "DaemonSet"))["ports"]]
    labels = {r["targetLabel"]: r.get("replacement", r.get("sourceLabels")) for r in end["relabelings"]}
    assert labels == {"job": "maru", "instance": ["__meta_kubernetes_pod_node_name"]}


def test_workers_service_keeps_to_the_node_where_the_cluster_can(helm: Helm) -> None:
    def service(kube: str) -> Item:
        (found,) = [s for s in helm.objects("everything", kube=kube) if s["metadata"]["name"] == "kv-pool"
                    and s["kind"] == "Service"]  # fmt: skip
        return found["spec"]

    assert service(NEW)["internalTrafficPolicy"] == service("1.22.0")["internalTrafficPolicy"] == "Local"
    assert "internalTrafficPolicy" not in service(OLD)
    assert "internalTrafficPolicy" not in service("1.21.5")


def test_network_policy_lets_in_by_port_and_nothing_out(helm: Helm) -> None:
    spec = helm.one("everything", "NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["egress"] == []
    ports = {rule["ports"][0]["port"]: rule.get("from") for rule in spec["ingress"]}
    assert set(ports) == {"workers", "http"}
    assert ports["workers"] == [{"namespaceSelector": {"matchLabels": {"example.com/inference": "true"}}}]
    default = helm.one("minimal", "NetworkPolicy")["spec"]["ingress"]
    assert [rule["ports"][0]["port"] for rule in default] == ["http"]


@pytest.mark.parametrize("case", WORKERS)
def test_example_worker_finds_the_marud_of_its_own_node(helm: Helm, case: str) -> None:
    daemon = helm.one(case, "DaemonSet")
    worker = pod_of(helm.one(case, "Deployment"))["spec"]
    (near,) = worker["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert near["topologyKey"] == "kubernetes.io/hostname"
    assert _selects(near["labelSelector"]["matchLabels"], pod_of(daemon)["metadata"]["labels"])
    env = {e["name"]: e.get("value", e.get("valueFrom")) for e in worker["containers"][0]["env"]}
    if case == "tcp":
        assert env["MARU_SERVER"] == "kv-maru:5555"
    elif case == "tcp-insecure":
        assert env["MARU_SERVER"] == "$(NODE_ADDRESS):5555"
        assert env["NODE_ADDRESS"] == {"fieldRef": {"fieldPath": "status.hostIP"}}
        names = [e["name"] for e in worker["containers"][0]["env"]]
        assert names.index("NODE_ADDRESS") < names.index("MARU_SERVER")  # else $(...) is left as it is
    else:
        assert env["MARU_SERVER"] == "unix:/run/maru/maru.sock"
        assert f"--listen={env['MARU_SERVER']}" in marud_of(daemon)["args"]


@pytest.mark.parametrize("case", case_names())
def test_workers_see_the_pool_and_the_door_where_marud_sees_them(helm: Helm, case: str) -> None:
    def view(pod: Item) -> dict[str, Item]:
        volumes = {v["name"]: {k: w for k, w in v.items() if k != "name"} for v in pod["spec"]["volumes"]}
        (container,) = pod["spec"]["containers"]
        return {m["mountPath"]: volumes[m["name"]] for m in container["volumeMounts"]}

    marud = view(pod_of(helm.one(case, "DaemonSet")))
    for pod in _workers(helm, case):
        seen = view(pod)
        shared = {path: volume for path, volume in marud.items() if path not in ("/var/lib/maru", "/etc/maru/tls")}
        assert shared.items() <= seen.items()
        assert "/var/lib/maru" not in seen
        assert helm.one(case, "DaemonSet")["spec"]["template"]["spec"]["securityContext"]["runAsGroup"] in (
            pod["spec"]["securityContext"]["supplementalGroups"]
        )


def test_workers_over_tls_show_their_own_certificate(helm: Helm) -> None:
    worker = pod_of(helm.one("tcp", "Deployment"))["spec"]
    assert [v["secret"]["secretName"] for v in worker["volumes"] if v["name"] == "tls"] == ["maru-worker-tls"]
    (container,) = worker["containers"]
    env = {e["name"]: e.get("value") for e in container["env"] if e["name"].startswith("MARU_TLS_")}
    (folder,) = [m["mountPath"] for m in container["volumeMounts"] if m["name"] == "tls"]
    assert {name for name, value in env.items() if value.startswith(folder + "/")} == {
        "MARU_TLS_CERT", "MARU_TLS_KEY", "MARU_TLS_CA"
    }  # fmt: skip
    (service,) = [s["metadata"]["name"] for s in helm.objects("tcp") if s["kind"] == "Service" and "metrics" not in
                  s["metadata"]["name"]]  # fmt: skip
    assert env["MARU_TLS_SERVER_NAME"] == service


@pytest.mark.parametrize("case", case_names())
def test_the_test_pod_is_a_hook_and_carries_no_label_that_is_selected(helm: Helm, case: str) -> None:
    pod = helm.one(case, "Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert pod["spec"]["restartPolicy"] == "Never"
    assert "app.kubernetes.io/name" not in pod["metadata"]["labels"]
    # `helm test --logs`, as the notes and the guide have it, reads the pod after helm has deleted what it deletes.
    policies = pod["metadata"]["annotations"]["helm.sh/hook-delete-policy"].split(",")
    assert policies == ["before-hook-creation"]


@pytest.mark.parametrize("case", case_names())
def test_who_has_to_read_a_secret_is_of_its_group(helm: Helm, case: str) -> None:
    for pod in [pod_of(helm.one(case, "DaemonSet")), *_workers(helm, case)]:
        for volume in pod["spec"]["volumes"]:
            if "secret" in volume:  # files of a Secret are root's, and get the pod's fsGroup
                assert volume["secret"]["defaultMode"] == 0o440
                assert pod["spec"]["securityContext"]["fsGroup"] > 0
