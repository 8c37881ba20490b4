"""Maru's files for Prometheus and Grafana, as the tests of this folder read them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="there is no python3-yaml: scripts/setup check installs it")

ROOT = Path(__file__).resolve().parents[2]
RULES = [ROOT / "deploy/prometheus/maru-recording.yml", ROOT / "deploy/prometheus/maru-alerts.yml"]
DASHBOARDS = sorted((ROOT / "deploy/grafana").glob("*.json"))


@dataclass(frozen=True)
class Expression:
    """One expression and where it is written."""

    where: str
    text: str


@cache
def programs() -> Path:
    """The folder with prometheus and promtool; skips the test where nobody has fetched them."""
    folder = ROOT / "build/prometheus/usr/bin"
    if not (folder / "promtool").exists():
        pytest.skip("there is no Prometheus: scripts/prometheus fetches it")
    return folder


def rules() -> list[dict[str, Any]]:
    """All rules, recording ones first."""
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """Alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def panels(dashboard: Path) -> list[dict[str, Any]]:
    """The panels of a dashboard that show something."""
    return [panel for panel in json.loads(dashboard.read_text())["panels"] if panel["type"] != "row"]


def dashboard_expressions() -> list[Expression]:
    """What the dashboards ask."""
    return [
        Expression(f"{path.name}: {panel['title']}", target["expr"])
        for path in DASHBOARDS
        for panel in panels(path)
        for target in panel["targets"]
    ]
