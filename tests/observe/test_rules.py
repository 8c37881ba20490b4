"""Goal: every alert fires when it must and is silent when it must, and has what an operator needs. Method: promtool
plays series of a sick and of healthy instances to the real rules; the runbook is read."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass, field

from rules import ROOT, RULES, alerts, programs, rules, strange_labels

Series = dict[str, str]  # name and labels (without job and instance): values, one a minute


@dataclass(frozen=True)
class Case:
    """`at`: when it must fire, and not a minute after the start where it has to last. `also`: another sick instance."""

    sick: Series
    healthy: list[Series]
    at: str = "20m"
    labels: dict[str, str] = field(default_factory=dict)
    also: Series = field(default_factory=dict)


def latency(op: str, bucket: str) -> Series:
    """All requests in one bucket."""
    name = "maru_request_seconds_bucket"
    return {f'{name}{{op="{op}",le="{le}"}}': "0+60x90" for le in [bucket, "+Inf"]}


def commits(**counts: int) -> Series:
    """Keys a minute by result."""
    return {f'maru_commit_total{{result="{result}"}}': f"0+{n}x90" for result, n in counts.items()}


def lookups(hits: str, misses: str) -> Series:
    return {'maru_lookup_total{result="hit"}': hits, 'maru_lookup_total{result="miss"}': misses}


def pool(quarantined: int) -> Series:
    states = {"committed": 1000 - quarantined, "quarantined": quarantined}
    return {f'maru_pool_bytes{{state="{state}"}}': f"{n}x90" for state, n in states.items()}


def full_of_pins(pins: int, entries: int, free: int) -> Series:
    states = {"committed": 1000 - free, "free": free, "unassigned": 0}
    return {"maru_pins": f"{pins}x60", "maru_entries": f"{entries}x60"} | {
        f'maru_pool_bytes{{state="{state}"}}': f"{n}x60" for state, n in states.items()
    }


def renewals(connected: str, answered: str) -> Series:
    return {"maru_sessions_connected": connected, 'maru_request_total{op="renew",result="ok"}': answered}


OLD, NEW = "-7200x90", "0x90"  # started two hours before time 0, or then
CASES = {
    "MaruDown": Case({"up": "0x30"}, [{"up": "1x30"}, {"up": "1 1 0 1 1x30"}]),
    "MaruHangs": Case(
        renewals("2x30", "0+120x5 600x30"),
        [renewals("2x30", "0+120x40"), renewals("0x30", "600x30"), renewals("2x4 0x30", "0+120x4 480x30")],
    ),
    "MaruRestartsOften": Case(
        {"process_start_time_seconds": "1 1 2 2 3 3 4x30"}, [{"process_start_time_seconds": "1 1 2 2x40"}]
    ),
    "MaruRestartGraceLong": Case({"maru_restart_grace": "1x30"}, [{"maru_restart_grace": "1 1 0x30"}]),
    "MaruRecoverySlow": Case(
        {"maru_recovery_seconds": "40x30", "process_start_time_seconds": NEW},
        [
            {"maru_recovery_seconds": "2x30", "process_start_time_seconds": NEW},
            {"maru_recovery_seconds": "40x30", "process_start_time_seconds": OLD},
        ],
    ),
    "MaruEntriesLost": Case(
        {'maru_recovery_dropped_total{reason="descriptor"}': "3x30", "process_start_time_seconds": NEW},
        [
            {'maru_recovery_dropped_total{reason="state"}': "3x30", "process_start_time_seconds": NEW},
            {'maru_recovery_dropped_total{reason="contents_lost"}': "3x30", "process_start_time_seconds": NEW},
            {'maru_recovery_dropped_total{reason="descriptor"}': "3x30", "process_start_time_seconds": OLD},
        ],
    ),
    "MaruCommitsFail": Case(
        commits(ok=90, exists=90, storage_failed=10),
        [commits(ok=1000, storage_failed=5), commits(ok=0, storage_failed=0), commits(ok=50, not_granted=50)],
    ),
    "MaruCommitsStuck": Case(
        {"maru_puts_in_flight": "0 0 64x30"} | commits(ok=0),
        [
            {"maru_puts_in_flight": "64x30"} | commits(ok=600),
            {"maru_puts_in_flight": "64x3 0 64x3 0 64x3 0 64x3 0 64x3 0 64x30"} | commits(ok=0),
            {"maru_puts_in_flight": "0x30"} | commits(ok=0),
        ],
        at="15m",
    ),
    "MaruOutOfMemory": Case(
        {'maru_out_of_memory_total{reason="pool_full"}': "0x15 1x30"},
        [{'maru_out_of_memory_total{reason="pool_full"}': "5x60"}],
        labels={"reason": "pool_full"},
    ),
    "MaruGrantsWait": Case(
        {f'maru_grant_wait_seconds_bucket{{le="{le}"}}': "0+60x60" for le in ["0.25", "+Inf"]},
        [{f'maru_grant_wait_seconds_bucket{{le="{le}"}}': "0+60x60" for le in ["0.000025", "+Inf"]}],
    ),
    "MaruPoolPinned": Case(
        full_of_pins(190, 200, free=10),
        [full_of_pins(90, 200, free=10), full_of_pins(190, 200, free=500), full_of_pins(0, 0, free=10)],
    ),
    "MaruPinsOfLostWorkers": Case({"maru_pins_held_dead": "5x30"}, [{"maru_pins_held_dead": "5 5 5 0x30"}]),
    "MaruQuarantine": Case(pool(80), [pool(20)], "40m"),
    "MaruLeasesExpire": Case({"maru_lease_expired_total": "0x15 1x20"}, [{"maru_lease_expired_total": "3x60"}]),
    "MaruHitRateFell": Case(
        lookups("0+600x60 36000+60x60", "0+60x60 3600+600x60"),
        [
            lookups("0+600x120", "0+60x120"),
            lookups("0+6x60 360+1x60", "0+0x60 0+5x60"),
            lookups("0+60x60 3600+6x60", "0+1200x120"),
        ],
        "110m",
    ),
    "MaruLookupsSlow": Case(latency("lookup", "0.05"), [latency("lookup", "0.001")], labels={"op": "lookup"}),
    "MaruCommitsSlow": Case(latency("commit", "1"), [latency("commit", "0.01")], labels={"op": "commit"}),
    "MaruMailboxesGrow": Case(
        {'maru_mailbox_length{actor="session"}': "20000x30"},
        [{'maru_mailbox_length{actor="session"}': "20000 20000 10x30"}],
        labels={"actor": "session"},
    ),
    "MaruMemoryFails": Case(
        {"maru_memory_failures_total": "2x30", "process_start_time_seconds": NEW},
        [
            {"maru_memory_failures_total": "0x30", "process_start_time_seconds": NEW},
            {"maru_memory_failures_total": "2x30", "process_start_time_seconds": OLD},
        ],
        also={"maru_memory_failures_total": "0x10 2x20", "process_start_time_seconds": OLD},
    ),
    "MaruDeviceLeftOut": Case({'maru_devices{state="left_out"}': "1x30"}, [{'maru_devices{state="left_out"}': "0x30"}]),
    "MaruCorruption": Case(
        {'maru_corruption_total{kind="record"}': "2x30", "process_start_time_seconds": NEW},
        [
            {'maru_corruption_total{kind="record"}': "0x30", "process_start_time_seconds": NEW},
            {'maru_corruption_total{kind="record"}': "2x30", "process_start_time_seconds": OLD},
        ],
        labels={"kind": "record"},
        also={'maru_corruption_total{kind="record"}': "0x10 2x20", "process_start_time_seconds": OLD},
    ),
    "MaruRocksDBStalls": Case({"maru_rocksdb_write_stalled": "1x30"}, [{"maru_rocksdb_write_stalled": "0 1 0x30"}]),
    "MaruRocksDBErrors": Case(
        {"maru_rocksdb_background_errors_total": "0x10 1x20"}, [{"maru_rocksdb_background_errors_total": "1x40"}]
    ),
    "MaruCompactionDebt": Case(
        {"maru_rocksdb_level0_files": "36x60"},
        [{"maru_rocksdb_level0_files": "24x60"}, {"maru_rocksdb_level0_files": "36x10 20x50"}],
        "40m",
    ),
    "MaruWalLarge": Case({"maru_rocksdb_wal_bytes": "3e9x60"}, [{"maru_rocksdb_wal_bytes": "1e9x60"}]),
    "MaruFileDescriptorsLow": Case(
        {"process_open_fds": "900x30", "process_max_fds": "1024x30"},
        [{"process_open_fds": "90x30", "process_max_fds": "1024x30"}],
    ),
    "MaruCertificateEnds": Case(
        {"maru_tls_certificate_not_after_seconds": "1e6x30"},
        [{"maru_tls_certificate_not_after_seconds": "2e6x30"}, {"maru_tls_certificate_not_after_seconds": "0x30"}],
    ),
    "MaruInputRefused": Case(
        {'maru_rejected_total{door="hello",reason="refused"}': "0+600x60"},
        [{'maru_rejected_total{door="hello",reason="refused"}': "0+6x60"}],
        labels={"door": "hello"},
    ),
}


def series_of(instance: str, series: Series) -> list[dict[str, str]]:
    out = []
    for name, values in series.items():
        metric, _, labels = name.partition("{")
        inside = labels.removesuffix("}")
        own = f'job="maru",instance="{instance}"'
        out.append({"series": f"{metric}{{{own}{',' + inside if inside else ''}}}", "values": values})
    return out


def expected(name: str, case: Case, instance: str) -> dict:
    """An alert that must fire, word for word."""
    rule = alerts()[name]
    annotations = {k: v.replace("{{ $labels.instance }}", instance) for k, v in rule["annotations"].items()}
    labels = {"job": "maru", "instance": instance, **rule["labels"], **case.labels}
    return {"exp_labels": labels, "exp_annotations": annotations}


def promtool(*words: str) -> None:
    done = subprocess.run([programs() / "promtool", *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_finds_nothing_to_say():
    promtool("check", "rules", *map(str, RULES))
    promtool("check", "config", str(ROOT / "deploy/prometheus/prometheus.yml"))


def test_every_alert_has_a_case():
    assert {*CASES, "MaruAbsent"} == set(alerts())  # that one is of no instance: it has a test of its own


def promtool_test(name: str, case: Case) -> dict:
    inputs = series_of("sick", case.sick) + series_of("also", case.also)
    for number, series in enumerate(case.healthy):
        inputs += series_of(f"healthy{number}", series)
    firing = [expected(name, case, instance) for instance in ["sick", "also"][: 2 if case.also else 1]]
    checks = [{"eval_time": case.at, "alertname": name, "exp_alerts": firing}]
    if "for" in alerts()[name]:
        checks.append({"eval_time": "1m", "alertname": name, "exp_alerts": []})
    return {"name": name, "interval": "1m", "input_series": inputs, "alert_rule_test": checks}


def test_every_alert_fires_for_sick_instances_only(tmp_path):
    document = {
        "rule_files": [str(path) for path in RULES],
        "evaluation_interval": "1m",
        "tests": [promtool_test(name, case) for name, case in CASES.items()],
    }
    file = tmp_path / "test.yml"
    file.write_text(json.dumps(document))
    promtool("test", "rules", str(file))


def test_absence_is_told_where_nothing_of_maru_is_scraped(tmp_path):
    rule = alerts()["MaruAbsent"]
    firing = {"exp_labels": rule["labels"], "exp_annotations": rule["annotations"]}
    tests = []
    for name, up, expected_alerts in [
        ("of another job", {"series": 'up{job="node",instance="a"}', "values": "1x30"}, [firing]),
        ("down is not absent", {"series": 'up{job="maru",instance="a"}', "values": "0x30"}, []),
    ]:
        checks = [{"eval_time": "20m", "alertname": "MaruAbsent", "exp_alerts": expected_alerts}]
        checks.append({"eval_time": "1m", "alertname": "MaruAbsent", "exp_alerts": []})
        tests.append({"name": name, "interval": "1m", "input_series": [up], "alert_rule_test": checks})
    file = tmp_path / "test.yml"
    file.write_text(json.dumps({"rule_files": [str(p) for p in RULES], "evaluation_interval": "1m", "tests": tests}))
    promtool("test", "rules", str(file))


def test_alerts_have_severity_words_and_a_link():
    for name, rule in alerts().items():
        assert rule["labels"]["severity"] in {"critical", "warning"}, name
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}, name
        start = "Maru: " if name == "MaruAbsent" else "Maru on {{ $labels.instance }}: "
        assert rule["annotations"]["summary"].startswith(start), name
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}", name


def test_the_runbook_has_an_entry_for_every_alert_and_no_other():
    text = (ROOT / "docs/runbook.md").read_text()
    entries = dict(re.findall(r"^### (Maru\w+)\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL))
    assert set(entries) == set(alerts())
    for name, entry in entries.items():
        for part in ("**Means**", "**Look at**", "**Do**"):
            assert part in entry, f"{name} lacks {part}"


def test_metrics_in_rules_exist():
    known = set(re.findall(r"^\| `(\w+)`", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for rule in rules():
        for word in re.findall(r"[\w:]*maru_[\w:]*", rule["expr"]):
            name = re.sub(r"_(bucket|sum|count)$", "", word)
            assert name in known or word in recorded, f"{word} in {rule.get('alert') or rule['record']}"


def test_rules_group_by_labels_that_their_metrics_have():
    for rule in rules():
        assert strange_labels(rule["expr"]) == [], rule.get("alert") or rule["record"]
    assert strange_labels("sum by (reason) (rate(maru_lookup_total[5m]))") == ["maru_lookup_total: reason"]
