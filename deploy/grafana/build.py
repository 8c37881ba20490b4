#!/usr/bin/python3
"""Makes Grafana's files beside it from panels.py. `build.py --check` says which ones are not up to date, and fails."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from panels import Dashboard, Panel, dashboards

HERE = Path(__file__).resolve().parent
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24  # of Grafana's grid
SIZES = {"stat": (4, 4), "timeseries": (12, 8)}


def expression(text: str) -> str:
    return text.replace("HERE", 'job=~"$job", instance=~"$instance"').replace("[RATE]", "[$__rate_interval]")


def targets(panel: Panel) -> list[dict[str, Any]]:
    out = []
    for letter, (legend, text) in zip("ABCDEFGH", panel.queries.items(), strict=False):
        query = {"refId": letter, "datasource": SOURCE, "editorMode": "code", "expr": expression(text)}
        query |= {"legendFormat": legend, "range": panel.kind != "stat", "instant": panel.kind == "stat"}
        out.append(query)
    return out


def field_config(panel: Panel) -> dict[str, Any]:
    limits = panel.thresholds or ((None, "green"),)
    steps = [{"value": value, "color": color} for value, color in limits]
    defaults: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind == "stat":
        defaults["color"] = {"mode": "thresholds"}
    else:
        defaults["min"] = 0
        defaults["color"] = {"mode": "palette-classic"}
        defaults["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 30 if panel.stacked else 5,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if len(panel.thresholds) > 1 else "off"},
        }
    return {"defaults": defaults, "overrides": []}


def options(kind: str) -> dict[str, Any]:
    if kind == "stat":
        return {
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "percentChangeColorMode": "standard",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "showPercentChange": False,
            "textMode": "auto",
            "wideLayout": True,
        }
    return {
        "legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def panels(dashboard: Dashboard) -> list[dict[str, Any]]:
    """Rows below each other, their panels from left to right."""
    out: list[dict[str, Any]] = []
    y = 0
    for row, members in dashboard.rows.items():
        at = {"x": 0, "y": y, "w": WIDTH, "h": 1}
        out.append({"type": "row", "id": len(out) + 1, "title": row, "collapsed": False, "gridPos": at, "panels": []})
        y, x, height = y + 1, 0, 0
        for panel in members:
            w, h = SIZES[panel.kind]
            if x + w > WIDTH:
                y, x = y + height, 0
            shown = {"type": panel.kind, "id": len(out) + 1, "title": panel.title, "description": panel.help}
            shown |= {"datasource": SOURCE, "gridPos": {"x": x, "y": y, "w": w, "h": h}, "targets": targets(panel)}
            shown |= {"fieldConfig": field_config(panel), "options": options(panel.kind)}
            out.append(shown)
            x, height = x + w, h
        y += height
    return out


def variable(name: str, label: str, query: str) -> dict[str, Any]:
    choice = {"name": name, "label": label, "type": "query", "datasource": SOURCE, "query": query}
    choice |= {"refresh": 2, "sort": 1}
    choice |= {"multi": True, "includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}}
    return choice


def document(dashboard: Dashboard) -> dict[str, Any]:
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1}
    jobs = variable("job", "Job", "label_values(maru_build_info, job)")
    # All of Maru's, also while none answers; any job would bring the process_ metrics of strangers.
    jobs["allValue"] = ".*maru.*"
    instances = variable("instance", "Instance", 'label_values(maru_build_info{job=~"$job"}, instance)')
    links = {"title": "Maru", "type": "dashboards", "tags": ["maru"], "asDropdown": True, "keepTime": True}
    links |= {"includeVars": True, "icon": "external link", "tooltip": "", "targetBlank": False, "url": ""}
    return {
        "uid": f"maru-{dashboard.name}",
        "title": dashboard.title,
        "description": dashboard.help,
        "tags": ["maru"],
        "editable": True,
        "graphTooltip": 1,
        "links": [links],
        "panels": panels(dashboard),
        "refresh": "30s",
        "schemaVersion": 39,
        "templating": {"list": [source, jobs, instances]},
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "version": 1,
    }


def main() -> int:
    stale = []
    for dashboard in dashboards:
        path = HERE / f"{dashboard.name}.json"
        text = json.dumps(document(dashboard), indent=2) + "\n"
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(path.name)
    strangers = {p.name for p in HERE.glob("*.json")} - {f"{d.name}.json" for d in dashboards}
    for name in stale + sorted(strangers):
        print(f"{name} is not what panels.py says: run deploy/grafana/build.py, and delete what it does not make")
    return 1 if stale or strangers else 0


if __name__ == "__main__":
    sys.exit(main())
