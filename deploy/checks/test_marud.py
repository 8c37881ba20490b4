"""What the chart renders is what marud takes: every option is known, every case's command line is read, and a node made
of folders here runs the rendered containers' commands with their users and groups: prepare, marud, and the test pod."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from chart import ROOT, Helm, case_names, marud_of, pod_of
from schema_options import SCHEMA, options_of, options_of_the_chart, options_of_the_document, schema_text

BIN = ROOT / "build" / "release" / "bin"


def test_every_option_that_the_chart_sets_is_one_of_marud() -> None:
    assert options_of_the_chart() <= options_of(BIN / "marud").keys()


def test_no_option_is_overlooked_in_help() -> None:
    assert options_of(BIN / "marud").keys() == options_of_the_document().keys()


def test_schema_knows_the_options_of_this_marud() -> None:
    assert SCHEMA.read_text() == schema_text(BIN / "marud"), "scripts/helm schema writes it anew"


@pytest.mark.parametrize("case", case_names())
def test_marud_reads_the_command_line_of_every_case(helm: Helm, case: str) -> None:
    """Its state cannot be made where it is sent to: that is past the options, which end with 2."""
    container = marud_of(helm.one(case, "DaemonSet"))
    args = [a for a in container["args"] if not a.startswith(("--state-dir=", "--token-file="))]
    done = subprocess.run(
        [BIN / container["command"][0], *args, "--state-dir=/proc/maru"], capture_output=True, text=True, timeout=20,
        check=False,
    )  # fmt: skip
    assert "failed to make folder /proc/maru" in done.stderr
    assert done.returncode == 1


def test_an_option_out_of_its_bounds_is_seen_by_marud(helm: Helm) -> None:
    args = marud_of(helm.one("minimal", "DaemonSet", "--set", "options.region-size=3MiB"))["args"]
    done = subprocess.run([BIN / "marud", *args], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert "--region-size" in done.stderr


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def _certificates(folder: Path, name: str, use: str, ca: Path) -> None:
    """What a Secret for TLS holds: tls.crt for `name`, its tls.key, and ca.crt."""
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}"]
    steps = [
        ["req", "-new", *ec, "-keyout", folder / "tls.key", "-out", ca / "asked"],
        ["x509", "-req", "-in", ca / "asked", "-CA", ca / "ca.crt", "-CAkey", ca / "ca.key", "-CAcreateserial",
         "-days", "2", "-extfile", ca / "uses", "-out", folder / "tls.crt"],
    ]  # fmt: skip
    if not (ca / "ca.crt").exists():
        steps.insert(0, ["req", "-x509", *ec, "-days", "2", "-keyout", ca / "ca.key", "-out", ca / "ca.crt"])
    (ca / "uses").write_text(f"subjectAltName=DNS:{name}\nextendedKeyUsage={use}\n")
    for step in steps:
        subprocess.run(["openssl", *step], check=True, capture_output=True, timeout=20)
    shutil.copy(ca / "ca.crt", folder)
    for path in folder.iterdir():
        os.chown(path, 0, 65500)
        path.chmod(0o440)


class Node:
    """A node's folders in memory, and the rendered commands with their paths led there. REQUIRES: root."""

    def __init__(self, helm: Helm, case: str) -> None:
        values = ("--set", "pool.size=64MiB,token.secretName=t")
        self._daemon = helm.one(case, "DaemonSet", *values)
        self._test = helm.one(case, "Pod", *values)
        self.folder = Path(tempfile.mkdtemp(prefix="maru-node-", dir="/dev/shm"))
        self.folder.chmod(0o755)
        self.paths = {"/mnt/maru": "pool", "/var/lib/maru": "state", "/run/maru": "run", "/etc/maru/token": "token",
                      "/etc/maru/tls": "tls"}  # fmt: skip
        for name in (*self.paths.values(), "bin", "worker-tls", "ca"):
            (self.folder / name).mkdir()
            (self.folder / name).chmod(0o755)
        for program in ("marud", "maructl"):
            shutil.copy(BIN / program, self.folder / "bin")
        (file,) = [a.rsplit("/", 1)[1] for a in marud_of(self._daemon)["args"] if a.startswith("--token-file=")]
        (self.folder / "token" / file).symlink_to(f"..data/{file}")
        self.show_tokens("one-that-workers-show")
        if case == "tcp":
            _certificates(self.folder / "tls", "kv-maru", "serverAuth", self.folder / "ca")
            _certificates(self.folder / "worker-tls", "worker", "clientAuth", self.folder / "ca")
        self.marud: subprocess.Popen[str] | None = None
        self.http = 0
        self._port = _free_port()  # instead of the one of the pod's own network

    def show_tokens(self, lines: str) -> None:
        """As the kubelet does when a Secret changes: a new folder, and the link to it is replaced."""
        folder = self.folder / "token"
        (file,) = [p.name for p in folder.iterdir() if not p.name.startswith("..")]
        made = folder / f"..{time.time_ns()}"
        made.mkdir()
        (made / file).write_text(lines + "\n")
        os.chown(made / file, 0, 65500)
        (made / file).chmod(0o440)
        (folder / "..new").symlink_to(made.name)
        (folder / "..new").rename(folder / "..data")

    def here(self, text: str) -> str:
        for path, name in self.paths.items():
            text = text.replace(path, str(self.folder / name))
        return re.sub(r"(0\.0\.0\.0|\$\(NODE_ADDRESS\)|kv-maru):5555", f"127.0.0.1:{self._port}", text)

    def prepare(self) -> subprocess.CompletedProcess[str]:
        """The first container: as root with two capabilities."""
        (container,) = pod_of(self._daemon)["spec"]["initContainers"]
        kept = ",".join("+" + c.lower() for c in container["securityContext"]["capabilities"]["add"])
        words = ["setpriv", f"--bounding-set=-all,{kept}", "--inh-caps=-all", "--no-new-privs", "--"]
        shell, flags, script = container["command"]
        return subprocess.run([*words, shell, flags, self.here(script)], capture_output=True, text=True, check=False)

    # Before a container's command: a root file system that nobody can write, as containers have it. The node's folders
    # are on another one.
    READ_ONLY = ["unshare", "-m", "sh", "-euc", 'mount -o remount,bind,ro /; exec "$@"', "sh"]

    def _as(self, user: int, group: int, groups: list[int]) -> list[str]:
        more = f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"
        caps = ["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
        return [*self.READ_ONLY, "setpriv", f"--reuid={user}", f"--regid={group}", more, *caps, "--"]

    def start(self) -> None:
        """marud's container, and waits until its probe for readiness would be content."""
        security = pod_of(self._daemon)["spec"]["securityContext"]
        words = self._as(security["runAsUser"], security["runAsGroup"], [security["fsGroup"]])
        args = [self.here(a) for a in marud_of(self._daemon)["args"] if not a.startswith("--http=")]
        log = self.folder / "log"
        with log.open("w") as out:
            command = [*words, str(self.folder / "bin" / "marud"), *args, "--http=127.0.0.1:0"]
            self.marud = subprocess.Popen(command, stdout=out, stderr=out, text=True)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.marud.poll() is None:
            found = re.search(r"metrics on port (\d+)", log.read_text())
            if found:
                self.http = int(found[1])
                return
            time.sleep(0.05)
        raise AssertionError(log.read_text())

    def stop(self) -> int:
        assert self.marud
        self.marud.send_signal(signal.SIGTERM)
        try:
            return self.marud.wait(30)
        finally:
            self.marud.kill()
            self.marud = None

    def probe(self, name: str) -> int:
        path = marud_of(self._daemon)[name]["httpGet"]["path"]
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=10) as answer:
            return int(answer.status)

    def worker(self, script: str | None = None, in_the_group: bool = True) -> subprocess.CompletedProcess[str]:
        """The test pod's container, or another script in it."""
        security = self._test["spec"]["securityContext"]
        groups = security["supplementalGroups"] if in_the_group else []
        (container,) = self._test["spec"]["containers"]
        env = {e["name"]: self.here(e["value"]) for e in container["env"] if "value" in e}
        env = {k: v.replace(str(self.folder / "tls"), str(self.folder / "worker-tls")) for k, v in env.items()}
        env |= {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "HOSTNAME": "here"}
        shell, flags, test = container["command"]
        words = self._as(security["runAsUser"], security["runAsGroup"], groups)
        return subprocess.run(
            [*words, shell, flags, script or test], capture_output=True, text=True, timeout=60, check=False, env=env
        )

    def remove(self) -> None:
        if self.marud:
            self.stop()
        shutil.rmtree(self.folder)


@pytest.fixture(scope="module", params=["minimal", "tcp", "tcp-insecure"])
def node(helm: Helm, request: pytest.FixtureRequest) -> Iterator[Node]:
    """A node with a marud that is ready; the first by its socket, the others by a port, with TLS and without."""
    if os.geteuid() != 0:
        pytest.skip("not root: the containers' users cannot be had")
    if subprocess.run([*Node.READ_ONLY, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no mounts can be made here: containers' root file systems cannot be had")
    made = Node(helm, request.param)
    try:
        done = made.prepare()
        assert done.returncode == 0, done.stderr
        made.start()
        yield made
    finally:
        made.remove()


def test_probes_are_content_with_marud(node: Node) -> None:
    assert [node.probe(p) for p in ("startupProbe", "livenessProbe", "readinessProbe")] == [200, 200, 200]


def test_helm_test_passes_as_the_worker_that_it_is(node: Node) -> None:
    done = node.worker()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no problems found" in done.stdout


def test_containers_have_a_root_that_nobody_writes(node: Node) -> None:
    said = node.worker("touch /tmp/x || touch /var/tmp/x").stderr
    assert said.count("Read-only file system") == 2


def test_who_is_not_of_the_pools_group_does_not_get_in(node: Node) -> None:
    done = node.worker(in_the_group=False)
    assert done.returncode != 0
    assert "no problems found" not in done.stdout


def test_workers_cannot_replace_the_pool_or_write_its_metadata(node: Node) -> None:
    pool, state = node.folder / "pool", node.folder / "state"
    for script in (
        f"mv {pool}/pool {pool}/mine", f"echo x >>{pool}/pool.meta", f"ls {state}", f"touch {node.folder}/run/x",
    ):  # fmt: skip
        assert node.worker(script).returncode != 0, script
    look_up_by_themselves = f"head -c 8 {pool}/pool.meta >/dev/null"
    assert node.worker(look_up_by_themselves).returncode == 0
    assert node.worker(look_up_by_themselves, in_the_group=False).returncode != 0


def test_tokens_that_the_secret_gets_later_are_asked_for_without_a_restart(node: Node) -> None:
    old = node.folder / "old"
    old.write_text("one-that-workers-show\n")
    ask = f'maructl --server "$MARU_SERVER" --token-file {old} status'
    assert node.worker(ask).returncode == 0
    node.show_tokens("another")
    assert node.worker(ask).returncode == 4
    assert node.worker().returncode == 0


def test_a_port_with_tls_asks_for_a_certificate(node: Node) -> None:
    if "MARU_TLS_CERT" not in node.worker("env").stdout:
        pytest.skip("a door without TLS")
    ask = 'maructl --server "$MARU_SERVER" --token-file "$MARU_TOKEN_FILE" status'
    assert node.worker(ask).returncode == 0
    bare = node.worker(f"unset MARU_TLS_CERT MARU_TLS_KEY MARU_TLS_CA MARU_TLS_SERVER_NAME; {ask}")
    assert bare.returncode != 0
    assert node.worker(f"MARU_TLS_SERVER_NAME=other; {ask}").returncode != 0


def test_a_new_pod_finds_the_chunks_of_the_one_before(node: Node) -> None:
    ask = 'maructl --server "$MARU_SERVER" --token-file "$MARU_TOKEN_FILE"'
    assert node.worker(f"echo kept | {ask} put warm").returncode == 0
    assert node.stop() == 0
    assert node.prepare().returncode == 0  # as every pod does
    node.start()
    assert node.worker(f"{ask} get warm").stdout == "kept\n"


def test_a_pool_on_the_wrong_kind_of_memory_is_refused_with_its_name(helm: Helm, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("not root")
    kind = subprocess.check_output(["stat", "-f", "-c", "%T", tmp_path], text=True).strip()
    if kind == "tmpfs":
        pytest.skip("temporary files are in memory here")
    made = Node(helm, "minimal")
    try:
        made.paths["/mnt/maru"] = str(tmp_path)
        done = made.prepare()
        assert done.returncode == 1
        assert f"/dev/shm/maru of this node is {kind}, pool.kind wants tmpfs" in done.stderr
    finally:
        made.remove()
