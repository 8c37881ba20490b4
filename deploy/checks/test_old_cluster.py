"""Everything that is rendered for Kubernetes 1.20 is known to 1.20: kinds, fields and their types."""

from __future__ import annotations

import copy

import pytest
from chart import OLD, OPERATOR, Helm, case_names
from kubernetes_1_20 import mistakes


@pytest.mark.parametrize("case", [c for c in case_names() if c != "tcp"])
def test_1_20_knows_every_field(helm: Helm, case: str) -> None:
    for item in helm.objects(case, kube=OLD):
        if item["apiVersion"] != OPERATOR:
            assert mistakes(item) == []


def test_a_field_that_came_later_is_seen(helm: Helm) -> None:
    item = copy.deepcopy(helm.one("minimal", "DaemonSet", kube=OLD))
    probe = item["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]
    probe["terminationGracePeriodSeconds"] = 5  # since 1.21
    probe["periodSeconds"] = "10"
    assert mistakes(item) == [
        "DaemonSet.spec.template.spec.containers[0].livenessProbe.periodSeconds: '10' is not integer",
        "DaemonSet.spec.template.spec.containers[0].livenessProbe.terminationGracePeriodSeconds: no such field",
    ]


def test_a_kind_that_came_later_is_seen(helm: Helm) -> None:
    assert mistakes(helm.one("everything", "PodDisruptionBudget")) == ["policy/v1 PodDisruptionBudget: no such kind"]
