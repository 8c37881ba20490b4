"""Goal: no link of the documents is dead. Method: every link of every Markdown file of the tree, outside code, must
name a file that is there, and a heading that is in it. Links to other hosts are not tried: a test needs no network."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_code = re.compile(r"^(```|~~~).*?^\1|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_fenced = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_link = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
_reference = re.compile(r"^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
_image = re.compile(r"<img[^>]*\bsrc=\"([^\"]+)\"")


def pages() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return [ROOT / name for name in sorted(listed.split("\0")) if name and (ROOT / name).exists()]


def links_of(text: str) -> list[str]:
    """Targets of all links and pictures outside code."""
    prose = _code.sub("", text)
    return [target for form in (_link, _reference, _image) for target in form.findall(prose)]


def anchors_of(text: str) -> set[str]:
    """What a link may name after "#", as the usual renderers make it of headings."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.*?) *#*$", _fenced.sub("", text), re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()).strip()
        anchor = words.replace(" ", "-")
        count = sum(1 for known in found if re.fullmatch(re.escape(anchor) + r"(-\d+)?", known))
        found.add(f"{anchor}-{count}" if count else anchor)
    return found


def dead_links(page: Path, text: str) -> list[str]:
    dead = []
    for target in links_of(text):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        name, _, anchor = target.partition("#")
        file = page if not name else (page.parent / name)
        if not file.exists() or ROOT not in [file.resolve(), *file.resolve().parents]:
            dead.append(f"{target}: no such file")
        elif anchor and file.suffix == ".md" and anchor not in anchors_of(file.read_text()):
            dead.append(f"{target}: no such heading")
    return dead


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    assert dead_links(page, page.read_text()) == []


def test_dead_links_are_noticed(tmp_path):
    page = ROOT / "docs" / "quickstart.md"
    text = "[a](operate.md) [b](none.md) `[c](none.md)` [d](#none) ![e](pictures/none.png) [f](https://x.invalid/)\n"
    text += "[g](quickstart.md#2-start-marud)\n\n[h]: none2.md\n```\n[i](none3.md)\n```\n[j](../../../etc/passwd)\n"
    assert [dead.partition(":")[0] for dead in dead_links(page, text)] == [
        "none.md", "#none", "pictures/none.png", "../../../etc/passwd", "none2.md",
    ]  # fmt: skip
