"""Goal: every expression of every dashboard and rule finds samples in a real Prometheus that scrapes a real marud: a
name or label that does not exist fails here. Method: marud under load of every kind, Debian's Prometheus on loopback
with a short interval. An alert's expression finds nothing in health, so the sides of each comparison are asked one by
one."""

from __future__ import annotations

import re
import time

import pytest
from load import OPTIONS, POOL, Load
from marud import Marud, wait_until
from prometheus import Prometheus
from rules import DASHBOARDS, Expression, dashboard_expressions, panels, rules

DEADLINE = 60  # seconds for all samples to come
WORDS = re.compile(r"\s(and on|and|or|unless|==|!=|<=|>=|<|>)\s")


def operands(text: str) -> list[str]:
    """The sides of comparisons and set operations, also those within brackets, without numbers."""
    out, depth, from_ = [], 0, 0
    for at, c in enumerate(text):
        depth += (c in "({[") - (c in ")}]")
        if depth == 0 and (found := WORDS.match(text, at)) and at >= from_:
            out.append(text[from_:at])
            from_ = found.end()
    parts = [re.sub(r"^\(job, instance\) ", "", part.strip()) for part in [*out, text[from_:]]]
    parts = [re.sub(r"^absent\((.*)\)$", r"\1", part) for part in parts]
    return [part for part in parts if not re.fullmatch(r"[-\d.e]+", part)]


def inner_filters(text: str) -> str:
    """Without `> 0` in brackets, which only keeps a ratio from being divided by zero."""
    return re.sub(r" > \d+\)", ")", text)


def filled(text: str) -> str:
    """A dashboard's expression as Grafana would send it."""
    values = {"$__rate_interval": "30s", "$job": "maru", "$instance": ".*"}
    for name, value in values.items():
        text = text.replace(name, value)
    assert "$" not in text, text
    return text


def expressions() -> list[Expression]:
    out = [Expression(e.where, part) for e in dashboard_expressions() for part in operands(filled(e.text))]
    for rule in rules():
        name = rule.get("alert") or rule["record"]
        out += [Expression(name, part) for part in operands(inner_filters(rule["expr"]))]
        if "record" in rule:
            out.append(Expression(name, name))
    return out


def test_operands_are_what_is_compared():
    assert operands("a > 1") == ["a"]
    assert operands("a{b=~\"c > d\"} < 0.5 * f(x[1d]) and g > 1") == ['a{b=~"c > d"}', "0.5 * f(x[1d])", "g"]
    assert operands("m > 30 and on (job, instance) time() - p < 3600") == ["m", "time() - p"]
    assert operands("absent(up{j=~\"m\"})") == ['up{j=~"m"}']
    assert inner_filters("a / (b > 0)") == "a / (b)"


@pytest.fixture(scope="module")
def scene():
    prometheus = Prometheus()
    server = None
    try:
        server = Marud(POOL, *OPTIONS)
        prometheus.watch(server.http_port)
        prometheus.wait_ready()
        load = Load(server)
        load.death()
        load.silence()
        load.damage()
        for _ in range(10):
            load.step()
        # What marud counted goes with it: Prometheus must have seen it.
        dead = 'maru_session_ended_total{reason="death"} >= 2'
        wait_until(lambda: prometheus.query(dead), DEADLINE, "a scrape after the deaths")
        load.restart()
        prometheus.watch(server.http_port)
        load.strangers()
        load.damage()  # so that an alert fires
        yield prometheus, load
        load.close()
    finally:
        prometheus.stop()
        if server:
            server.remove()


def test_every_expression_finds_samples(scene):
    prometheus, load = scene
    left = expressions()
    assert len(left) > 150
    until = time.monotonic() + DEADLINE
    while left and time.monotonic() < until:
        load.step()
        left = [e for e in left if not prometheus.query(e.text)]
    assert not left, "\n" + "\n".join(f"{e.where}: no samples for {e.text}" for e in left)


def test_legends_find_their_labels(scene):
    prometheus, _ = scene
    for path in DASHBOARDS:
        for panel in panels(path):
            for target in panel["targets"]:
                wanted = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                for sample in prometheus.query(filled(target["expr"])):
                    assert wanted <= set(sample["metric"]), f"{path.name}: {panel['title']}: {sample['metric']}"


def test_load_moves_what_it_should(scene):
    prometheus, _ = scene
    moved = {
        "maru_lookup_total": {"result": ["hit", "miss"]},
        "maru_commit_total": {"result": ["ok", "exists"]},
        "maru_remove_total": {"result": ["removed", "missing", "pinned"]},
        "maru_evicted_total": {"reason": ["reserve|request"]},
        "maru_pin_ended_total": {"reason": ["unpin", "session_end"]},
        "maru_aborted_pages_total": {"reason": ["session_end"]},
        "maru_session_ended_total": {"reason": ["death"]},
        "maru_session_resumed_total": {"job": ["maru"]},
        "maru_lease_expired_total": {"job": ["maru"]},
        "maru_lease_renewed_total": {"job": ["maru"]},
        "maru_corruption_total": {"kind": ["payload"]},
        "maru_payload_check_total": {"result": ["damaged"]},
        "maru_rejected_total": {"door": ["actor_port"]},
        "maru_request_total": {"op": ["grant", "commit", "lookup|pin", "exists", "unpin", "remove", "report", "hello"]},
        "maru_handler_seconds_count": {"actor": ["door", "session", "pool_manager", "index_shard", "store_worker"]},
        "maru_rocksdb_write_seconds_count": {"result": ["ok"]},
        "maru_recovered_entries": {"job": ["maru"]},
        "maru_entries": {"job": ["maru"]},
    }
    for metric, labels in moved.items():
        for label, values in labels.items():
            for value in values:
                most = prometheus.query(f'max(max_over_time({metric}{{{label}=~"{value}"}}[5m]))')
                assert most and float(most[0]["value"][1]) > 0, f"{metric} {label}={value}"


def test_a_name_that_does_not_exist_is_noticed(scene):
    prometheus, _ = scene
    assert prometheus.query("rate(maru_lookups_total[30s])") == []
