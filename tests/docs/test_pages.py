"""Goal: pages that programs know better than people are as the programs say. Method: made again and compared; names of
the code that a page uses are looked up in the tree."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("MARU_BUILD", ROOT / "build" / "release"))
_folders = "base|cxl|storage|metrics|net|actors|app|python|bench|tests|deploy|scripts|docs|examples"
_path = re.compile(rf"`((?:{_folders})/[\w./-]+)`")


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
