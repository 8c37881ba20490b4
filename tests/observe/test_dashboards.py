"""Goal: Grafana's files are what panels.py says, and every panel can be read: words, a unit, a place of its own,
metrics that exist. Method: the files are read as Grafana would; deploy/checks/grafana checks their form."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from rules import DASHBOARDS, ROOT, dashboard_expressions, known_labels, panels, strange_labels

NAMES = ["cache", "durability", "latency", "memory", "overview", "sessions"]
UNITS = {"short", "ops", "reqps", "s", "bytes", "percentunit"}


def test_files_are_up_to_date():
    done = subprocess.run([sys.executable, ROOT / "deploy/grafana/build.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.stem for path in DASHBOARDS] == NAMES


@pytest.mark.parametrize("path", DASHBOARDS, ids=NAMES)
def test_dashboard_has_variables_and_an_address(path):
    document = json.loads(path.read_text())
    assert document["uid"] == f"maru-{path.stem}"
    assert [v["name"] for v in document["templating"]["list"]] == ["datasource", "job", "instance"]
    assert document["description"]


@pytest.mark.parametrize("path", DASHBOARDS, ids=NAMES)
def test_panels_say_what_they_show(path):
    taken = set()
    for panel in panels(path):
        assert panel["description"].endswith("."), panel["title"]
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"] in UNITS, panel["title"]
        steps = [step["value"] for step in defaults["thresholds"]["steps"]]
        assert steps[0] is None and steps[1:] == sorted(steps[1:]), panel["title"]
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
        legends = [target["legendFormat"] for target in panel["targets"]]
        assert len(set(legends)) == len(legends), panel["title"]


def test_metrics_and_labels_in_dashboards_exist():
    for expression in dashboard_expressions():
        for word in re.findall(r"((?:maru|process)_\w+)\{", expression.text):
            assert re.sub(r"_(bucket|sum|count)$", "", word) in known_labels(), f"{expression.where}: {word}"
        assert strange_labels(expression.text) == [], expression.where


def test_all_of_maru_is_no_other_process():
    for path in DASHBOARDS:
        job, instance = json.loads(path.read_text())["templating"]["list"][1:]
        assert (job["allValue"], instance["allValue"]) == (".*maru.*", ".*"), path.name
    for expression in dashboard_expressions():
        for name, labels in re.findall(r"\b(process_\w+|up)\{([^}]*)\}", expression.text):
            assert 'job=~"$job"' in labels, f"{expression.where}: {name}"


def test_every_metric_is_shown_somewhere():
    shown = " ".join(expression.text for expression in dashboard_expressions())
    names = re.findall(r"^\| `(\w+)`", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    assert [name for name in names if not re.search(rf"\b{name}(_bucket|_sum|_count)?\b", shown)] == []
