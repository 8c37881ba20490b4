"""Maru's files for Prometheus and Grafana, as the tests of this folder read them."""

from __future__ import annotations

import json
import re
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


@cache
def known_labels() -> dict[str, set[str]]:
    """The labels of each metric of marud, from its document."""
    table = (ROOT / "docs/metrics.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| [^|]* \| ([^|]*) \|", table, re.MULTILINE)
    of_histograms = {"histogram": {"le"}}
    return {name: set(re.findall(r"`(\w+)`:", labels)) | of_histograms.get(kind, set()) for name, kind, labels in rows}


def strange_labels(text: str) -> list[str]:
    """Labels that an expression selects or sums by, and its metric has not: a sum by such a one finds samples, too."""
    out = []
    grouped = r"by \(([^)]*)\) \((?:rate|increase)?\(?((?:maru|process)_\w+)"
    selected = r"((?:maru|process)_\w+)\{([^}]*)\}"
    asked = [(word, by.split(", ")) for by, word in re.findall(grouped, text)]
    asked += [(word, re.findall(r"(\w+)[=!]", labels)) for word, labels in re.findall(selected, text)]
    for word, labels in asked:
        name = re.sub(r"_(bucket|sum|count)$", "", word)
        if name in known_labels():  # others are recorded
            strangers = set(labels) - known_labels()[name] - {"job", "instance"}
            out += [f"{word}: {label}" for label in sorted(strangers)]
    return out


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
