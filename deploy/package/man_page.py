#!/usr/bin/env python3
"""Makes a man page of what a program says of itself: `man_page.py PROGRAM SECTION VERSION DATE > NAME.SECTION`.

It reads `--help`, and the `--help` of each command, in the form that CLI11 prints: what the option table says is what the
page says. Ends with 1 where the text has another form.
"""

import re
import subprocess
import sys
from pathlib import Path

HEADING = re.compile(r"^(?P<name>[A-Z][A-Za-z ]*):$")
ENTRY = re.compile(r"^  (?P<term>\S.*?)(?:  +(?P<text>\S.*))?$")
MORE = re.compile(r"^ {20,}(?P<text>\S.*)$")


def help_of(program: str, *command: str) -> list[str]:
    done = subprocess.run([program, *command, "--help"], check=True, capture_output=True, text=True, timeout=30)
    return done.stdout.splitlines()


def escaped(text: str) -> str:
    """As roff takes it: backslashes, dashes, and no line that begins like a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def split(lines: list[str]) -> tuple[str, dict[str, list[tuple[str, str]]], list[str]]:
    """The first line, the sections' entries, and what stands below them."""
    sections: dict[str, list[tuple[str, str]]] = {}
    notes: list[str] = []
    current: list[tuple[str, str]] | None = None
    for line in lines[1:]:
        heading, entry, more = HEADING.match(line), ENTRY.match(line), MORE.match(line)
        if heading:
            current = sections.setdefault(heading["name"], [])
        elif more and current:
            term, text = current[-1]
            current[-1] = (term, f"{text} {more['text']}".strip())
        elif entry and current is not None:
            current.append((entry["term"], entry["text"] or ""))
        elif line and not line.startswith("Usage:"):
            current = None
            notes.append(line)
    return lines[0], sections, notes


def entries(rows: list[tuple[str, str]]) -> list[str]:
    out: list[str] = []
    for term, text in rows:
        out += [".TP", f".B {escaped(term)}", escaped(text) or "\\&"]
    return out


def command_page(program: str, *command: str) -> list[str]:
    """What one command takes, or each of those below it."""
    text, details, _ = split(help_of(program, *command))
    inner = [term.split()[0] for term, _ in details.get("Subcommands", [])]
    if inner:
        return [line for name in inner for line in command_page(program, *command, name)]
    places = [(term.split()[0], help_text) for term, help_text in details.get("Positionals", [])]
    usage = " ".join([*command, *(name for name, _ in places)])
    options = [row for row in details.get("Options", []) if not row[0].startswith("-h,")]
    return [f'.SS "{escaped(usage)}"', escaped(text) + ".", *entries(places + options)]


def page(program: str, section: str, version: str, date: str) -> str:
    name = Path(program).name
    about, sections, notes = split(help_of(program))
    commands = [term.split()[0] for term, _ in sections.pop("Subcommands", [])]
    if "Options" not in sections:
        sys.exit(f"failed to read the help of {program}: it has no options")
    takes = " \\fICOMMAND\\fR [\\fIARGUMENT\\fR]..." if commands else ""
    out = [
        f'.TH {name.upper()} {section} {date} "Maru {version}"',
        ".SH NAME",
        f"{name} \\- {escaped(about[0].lower() + about[1:])}",
        ".SH SYNOPSIS",
        f".B {escaped(name)}",
        f"[\\fIOPTION\\fR]...{takes}",
    ]
    for title, rows in sections.items():
        out += [f'.SH "{title.upper()}"', *entries(rows)]
    if commands:
        out.append(".SH COMMANDS")
    for command in commands:
        out += command_page(program, command)
    if notes:
        out += [".SH NOTES", ".nf", *map(escaped, notes), ".fi"]
    if name == "marud":
        out += [
            ".SH SIGNALS", ".TP", ".B SIGTERM, SIGINT", "Ends it; requests in flight finish. A second one ends it at once.",
            ".TP", ".B SIGHUP", "Reads the configuration again and takes up log\\-level and log\\-format.",
            ".SH FILES", ".TP", ".I /etc/maru/marud.toml", "The configuration that the systemd unit names: every option, at its default.",
        ]  # fmt: skip
    others = [f"\\fB{n}\\fR({s})" for n, s in (("marud", 8), ("maructl", 1), ("maru\\-bench", 1)) if n != escaped(name)]
    out += [".SH SEE ALSO", ", ".join(others)]
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    print(page(*sys.argv[1:]), end="")
