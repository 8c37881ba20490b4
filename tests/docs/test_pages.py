"""Goal: pages that programs know better than people are as the programs say. Method: made again and compared; names of
files, options, metrics, commands and events of the log that a page uses are looked up in the tree and the programs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("MARU_BUILD", ROOT / "build" / "release"))
_folders = "base|cxl|storage|metrics|net|actors|app|python|bench|tests|deploy|scripts|docs|examples"
_path = re.compile(rf"`((?:{_folders})/[\w./-]+)`")
_fence = re.compile(r"^```.*?^```\n", re.MULTILINE | re.DOTALL)
# What an operator reads; the other pages have settings and programs of engines in them.
OPERATOR_PAGES = [
    ROOT / "README.md",
    *(
        ROOT / f"docs/{name}.md"
        for name in "architecture devices install kubernetes operate quickstart reliability runbook security".split()
    ),
]


def test_the_page_of_options_is_up_to_date():
    made = subprocess.run([BUILD / "bin" / "options-page"], check=True, capture_output=True, text=True).stdout
    assert (ROOT / "docs" / "configuration.md").read_text() == made, "run scripts/docs"


def test_the_page_of_options_has_what_help_has():
    shown = subprocess.run([BUILD / "bin" / "marud", "--help"], check=True, capture_output=True, text=True).stdout
    named = set(re.findall(r"^\| `([\w-]+)` \|", (ROOT / "docs" / "configuration.md").read_text(), re.MULTILINE))
    assert named == set(re.findall(r"--([a-z][\w-]+)", re.sub(r"(?m)^ {30,}.*$", "", shown))) - {
        "help", "version", "config",
    }  # fmt: skip


def test_the_picture_of_actors_shows_every_actor():
    handles = re.findall(r"^using (\w+)_actor =", (ROOT / "actors" / "actors.hpp").read_text(), re.MULTILINE)
    assert len(handles) >= 8
    text = (ROOT / "docs" / "architecture.md").read_text()
    picture = text.partition("## The actors")[2].partition("```")[2].partition("```")[0]
    words = re.sub(r"[^\w]+", " ", picture)
    for name in handles:
        assert name in words or all(part in words for part in name.split("_")), f"{name} is not in the picture"


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")), ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page):
    missing = [name for name in _path.findall(page.read_text()) if not (ROOT / name).exists()]
    foreign = page.name == "compare.md"  # names files of other projects too
    assert foreign or missing == []


def printed(*command: str) -> str:
    program, *words = command
    return subprocess.run([BUILD / "bin" / program, *words], check=True, capture_output=True, text=True).stdout


def code_of(page: Path) -> list[str]:
    """What stands between backticks, with one blank for an end of line, and indented lines."""
    prose = _fence.sub("", page.read_text())
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    return spans + re.findall(r"^    (\S.*)$", prose, re.MULTILINE)


def test_every_event_of_the_log_has_its_line():
    call = re.compile(r"log::(?:debug|info|warn|error|write|write_if_wanted)\([^;\"]*?\"(\w+)\"", re.DOTALL)
    folders = ("base", "cxl", "storage", "metrics", "net", "actors", "app")
    files = [f for folder in folders for f in (ROOT / folder).rglob("*.?pp")]
    used = {name for f in files for name in call.findall(f.read_text())} | {"lines_lost"}
    assert len(used) > 40
    rows = re.findall(r"^\| (`[\w`, ]+`) \| [a-z, ]+ \|", (ROOT / "docs" / "install.md").read_text(), re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"\w+", row)} == used


def test_metrics_that_a_page_names_exist():
    known = set(re.findall(r"^\| `(\w+)`", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    others = {"maru_handler", "maru_lmcache", "maru_path"}  # packages, a setting of LMCache's
    seen = 0
    for page in OPERATOR_PAGES:
        for word in re.findall(r"\bmaru_\w+\b(?![*_])", page.read_text()):
            seen += 1
            assert word in known | others, f"{page.name} names {word}"
    assert seen > 10


def options_of(*command: str) -> set[str]:
    return set(re.findall(r"--([a-z][a-z-]+)", printed(*command, "--help")))


def commands_of_maructl(*around: str) -> list[str]:
    shown = printed("maructl", *around, "--help").partition("Subcommands:")[2]
    return re.findall(r"^  ([a-z-]+) {2,}", shown, re.MULTILINE)


def test_options_that_a_page_names_exist():
    known = options_of("marud") | options_of("maructl") | options_of("maru-bench", "replay") | {"system-site-packages"}
    for verb in commands_of_maructl():
        known |= options_of("maructl", verb)
        for inner in commands_of_maructl(verb):
            known |= options_of("maructl", verb, inner)
    for page in OPERATOR_PAGES:
        for code in code_of(page):
            if re.match(r"(marud|maructl|maru-bench)\b|--", code):
                for name in re.findall(r"(?<![\w-])--([a-z][a-z-]+)", code):
                    assert name in known, f"{page.name}: {code}"


@pytest.mark.parametrize("page", OPERATOR_PAGES, ids=lambda page: page.name)
def test_maructl_takes_what_a_page_says(page):
    """Without a server: a command line that is well ends with 3, a bad one with 2. A bare name of a command is none.
    What needs no server ends in many ways; without --yes it destroys nothing."""
    names = commands_of_maructl()
    here = commands_of_maructl("device")
    assert "evict" in names and "format" in here
    for code in code_of(page):
        words = shlex.split(code.partition("|")[0].partition(">")[0]) if code.startswith("maructl ") else []
        if "--server" in words:
            at = words.index("--server")
            words = words[:at] + words[at + 2 :]
        local = words[1:2] == ["device"] and words[2:3] != [] and words[2] in here
        if len(words) == 2 + local and words[1] in names or words[-1:] == ["--help"] or not set(words) & set(names):
            continue
        said = [word for word in words[1:] if word != "--yes"]
        command = [BUILD / "bin" / "maructl", "--server", "unix:/nobody.sock", "--timeout-ms", "100", *said]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        well = done.returncode != 2 if local else done.returncode == 3
        assert well, f"{page.name}: {code}: {done.stderr}"
