"""The chart is sound to helm itself, with every file of ci/, and helm can do no harm meanwhile."""

from __future__ import annotations

import re

import pytest
import yaml
from chart import CHART, NEW, OLD, OPERATOR, ROOT, Helm, case_names


def test_helm_runs_as_nobody_without_network(helm: Helm) -> None:
    if "setpriv" not in helm.confinement:
        pytest.skip("not root: helm runs as the user who checks")
    if "unshare" not in helm.confinement:
        pytest.skip("this machine has no network namespaces")
    seen = helm.run_confined("sh", "-c", "id -u; grep Cap /proc/self/status; tail -n +3 /proc/net/dev")
    user, *capabilities, only = seen.stdout.split("\n", 6)
    assert user == "65534"
    assert all(int(line.split()[1], 16) == 0 for line in capabilities if not line.startswith("CapAmb"))
    assert only.split(":")[0].strip() == "lo"
    assert "\n" not in only.strip()


@pytest.mark.parametrize("case", case_names())
def test_lint_has_no_word_to_say(helm: Helm, case: str) -> None:
    done = helm.run("lint", "--strict", str(helm.chart), "-f", str(helm.chart / "ci" / f"{case}.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(re.findall(r"\[(\w+)\]", done.stdout)) <= {"INFO"}, done.stdout


@pytest.mark.parametrize("kube", [NEW, OLD])
@pytest.mark.parametrize("case", [c for c in case_names() if c != "tcp"])
def test_every_case_renders_on_old_and_new_clusters(helm: Helm, case: str, kube: str) -> None:
    kinds = {item["kind"] for item in helm.objects(case, kube=kube)}
    assert {"DaemonSet", "Service", "Pod"} <= kinds


def test_nothing_rendered_has_spaces_at_its_ends_or_two_objects_in_one(helm: Helm) -> None:
    for case in case_names():
        done = helm.template("-f", str(helm.chart / "ci" / f"{case}.yaml"), "--api-versions", OPERATOR)
        assert not re.search(r"[ \t]+$", done.stdout, re.MULTILINE)
        items = [item for item in yaml.safe_load_all(done.stdout) if item]
        assert len(items) == len(re.findall(r"^kind:", done.stdout, re.MULTILINE))
        names = [(item["kind"], item["metadata"]["name"]) for item in items]
        assert len(names) == len(set(names))


def test_objects_of_the_release_lie_in_its_namespace(helm: Helm) -> None:
    for item in helm.objects("everything"):
        assert item["metadata"].get("namespace") == ("inference" if item["kind"] != "PriorityClass" else None)


def test_long_names_still_fit(helm: Helm) -> None:
    for item in helm.objects("everything", "--set", f"fullnameOverride={'n' * 60}"):
        assert len(item["metadata"]["name"]) <= 63 + len("-example-worker")
        if item["kind"] == "Service":
            assert len(item["metadata"]["name"]) <= 63


def test_package_holds_what_the_folder_holds(helm: Helm) -> None:
    done = helm.run("package", str(helm.chart), "--destination", str(helm.folder / "home"))
    assert done.returncode == 0, done.stderr
    (archive,) = (helm.folder / "home").glob("maru-*.tgz")
    listed = helm.run_confined("tar", "-tzf", str(archive)).stdout.split()
    held = {str(p.relative_to(helm.folder)) for p in helm.chart.rglob("*") if p.is_file() and p.suffix != ".py"}
    assert set(listed) == {p for p in held if not p.startswith("maru/ci/")}


def test_the_chart_has_the_version_of_marud() -> None:
    version = re.search(r"project\(\w+ VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text(), re.IGNORECASE)
    assert version
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == version[1]


@pytest.mark.parametrize("case", ["minimal", "tcp", "tcp-insecure", "devdax-plugin", "everything"])
def test_notes_name_the_door_and_the_folder(helm: Helm, case: str) -> None:
    (helm.chart / "NOTES.copy").write_text((CHART / "templates" / "NOTES.txt").read_text())
    shown = helm.chart / "templates" / "shown-notes.yaml"
    shown.write_text(
        "apiVersion: v1\nkind: Notes\nmetadata: {name: notes}\n"
        'text: {{ tpl (.Files.Get "NOTES.copy") . | toJson }}\n'
    )
    try:
        notes = helm.one(case, "Notes", "--show-only", "templates/shown-notes.yaml")["text"]
    finally:
        shown.unlink()
        (helm.chart / "NOTES.copy").unlink()
    assert ("unix:///run/maru/maru.sock" in notes) == (case not in ("tcp", "tcp-insecure"))
    assert ("has no TLS" in notes) == (case == "tcp-insecure")
    assert ("refuses a Device-DAX" in notes) == (case == "devdax-plugin")
    assert "at /mnt/maru" in notes
    assert "<no value>" not in notes
