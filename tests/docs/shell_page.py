"""Documents whose commands are run: blocks marked `sh run`, in order, in one shell, each with what it must print.

A block "```text" right after a "```sh run" is what that must print (standard output): its lines in this order, `...`
standing for any text, within a line or for any number of lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

_fence = re.compile(r"^```(\w*) ?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Step:
    """One `sh run` block; `expected` is None where the page shows no answer."""

    line: int
    commands: str
    expected: str | None = field(default=None)


def steps_of(page: Path) -> list[Step]:
    """All marked blocks of a page."""
    text = page.read_text()
    steps: list[Step] = []
    end_of_step = -1
    for block in _fence.finditer(text):
        language, mark, body = block.groups()
        if language == "sh" and mark == "run":
            steps.append(Step(text.count("\n", 0, block.start()) + 2, body))
            end_of_step = block.end()
        elif language == "text" and end_of_step >= 0 and not text[end_of_step : block.start()].strip():
            steps[-1].expected = body
            end_of_step = -1
        else:
            end_of_step = -1
    return steps


def pattern_of(expected: str) -> re.Pattern[str]:
    """Matches a whole output."""
    parts = []
    for line in expected.splitlines():
        words = r"[^\n]*".join(re.escape(part) for part in re.split(r" *\.\.\. *", line))
        parts.append(r"(?:[^\n]*\n)*?" if line == "..." else words + r"[ ]*\n")
    return re.compile("".join(parts))


def script_of(steps: list[Step], prologue: str) -> str:
    """One script for bash: prints a line "== N" before the N-th step, and ends at the first command that fails."""
    text = f"set -euo pipefail\n{prologue}\n"
    for number, step in enumerate(steps):
        text += f'printf "\\n== {number}\\n"\n{step.commands}'
    return text


def outputs_of(output: str, count: int) -> list[str]:
    """What each step printed; steps that were not reached are missing."""
    parts = re.split(r"\n== \d+\n", output)[1:]
    return parts[:count]
