"""Dashboards and rules of the tree get into the cluster as they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from chart import ROOT, Helm, Item


def _groups(folder: Path) -> list[Item]:
    groups: list[Item] = []
    for path in sorted(folder.glob("*.y*ml")):
        groups += (yaml.safe_load(path.read_text()) or {}).get("groups") or []
    return groups


def test_rules_are_those_of_the_files_word_by_word(helm: Helm) -> None:
    wanted = _groups(helm.chart / "files" / "prometheus")
    assert wanted
    assert helm.one("everything", "PrometheusRule")["spec"]["groups"] == wanted


def test_links_to_the_runbook_get_the_address_of_its_copy(helm: Helm) -> None:
    base = "https://git.example.com/maru/blob/main"
    made = helm.one("everything", "PrometheusRule", "--set", f"monitoring.rules.runbookBase={base}/")
    links = [r["annotations"]["runbook_url"] for g in made["spec"]["groups"] for r in g["rules"] if "alert" in r]
    assert len(links) > 20
    assert all(link.startswith(f"{base}/docs/runbook.md#maru") for link in links)


def test_each_dashboard_becomes_a_config_map_byte_by_byte(helm: Helm) -> None:
    files = {p.name: p.read_text() for p in (helm.chart / "files" / "grafana").glob("*.json")}
    assert files
    found: dict[str, str] = {}
    for item in helm.objects("everything"):
        if item["kind"] == "ConfigMap":
            assert item["metadata"]["labels"]["grafana_dashboard"] == "1"
            assert len(json.dumps(item)) < 1 << 20  # what a cluster takes
            found |= item["data"]
    assert found == files


@pytest.mark.parametrize(("folder", "kind"), [("grafana", "*.json"), ("prometheus", "*.y*ml")])
def test_the_chart_takes_the_files_of_the_tree(folder: str, kind: str, helm: Helm) -> None:
    wanted = {p.name: p.read_text() for p in (ROOT / "deploy" / folder).glob(kind)}
    assert wanted == {p.name: p.read_text() for p in (helm.chart / "files" / folder).glob(kind)}
