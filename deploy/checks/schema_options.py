"""What values.schema.json says of `options`: made from `marud --help`, without the options that the chart itself sets.
Bounds of numbers are those of docs/configuration.md, which is made from the same table.

    schema_options.py MARUD            prints the schema's file as it should be
    schema_options.py MARUD --write    writes it
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

CHART = Path(__file__).resolve().parents[1] / "helm" / "maru"
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
SCHEMA = CHART / "values.schema.json"
_ROW = re.compile(r"^  (?:-h,)?--(?P<name>[a-z][a-z-]*)(?: (?P<takes>[A-Z:]+))?(?:=\S*)?(?:\s+(?P<help>\S.*))?$")
_NOT_SERVING = {"help", "version", "config"}
_SIZE = r"^[0-9]+(\.[0-9]+)?(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)?$"


def options_of(marud: Path) -> dict[str, tuple[str, str]]:
    """Each option of marud that serves: the word for its value in --help ("" for a flag), and its help."""
    text = subprocess.run([marud, "--help"], check=True, capture_output=True, text=True, timeout=10).stdout
    rows: dict[str, tuple[str, str]] = {}
    name = ""
    for line in text.splitlines():
        row = _ROW.match(line)
        if row:
            name = row["name"]
            rows[name] = (row["takes"] or "", row["help"] or "")
        elif name and line.startswith(" " * 20):
            rows[name] = (rows[name][0], (rows[name][1] + " " + line.strip()).strip())
        else:
            name = ""
    return {name: row for name, row in rows.items() if name not in _NOT_SERVING}


def options_of_the_document() -> dict[str, str]:
    """Each option of docs/configuration.md, and what it takes in words."""
    rows = re.findall(r"^\| `([a-z-]+)` \| [^|]* \| ([^|]*) \|", DOCUMENT.read_text(), re.MULTILINE)
    return {name: takes.strip() for name, takes in rows}


def options_of_the_chart() -> set[str]:
    """Those that templates/_args.tpl sets."""
    return set(re.findall(r"^- --([a-z-]+)", (CHART / "templates" / "_args.tpl").read_text(), re.MULTILINE))


def _schema_of(takes: str, help_text: str, in_words: str) -> dict[str, Any]:
    if takes == "":
        return {"type": "boolean"}
    if takes == "N":
        bounds = re.fullmatch(r"a number from (-?[0-9]+) to ([0-9]+)", in_words)
        assert bounds, in_words
        return {"type": "integer", "minimum": int(bounds[1]), "maximum": int(bounds[2])}
    if takes == "SIZE":
        return {"type": ["string", "integer"], "pattern": _SIZE, "minimum": 0}
    if takes == "WORD":
        words = re.search(r"\[([^]]*)\](?: \[[A-Z_]+\])?$", help_text)
        assert words, help_text
        return {"enum": words[1].split("|")}
    if takes == "MODE":
        return {"type": "string", "pattern": "^0?[67][0-7][0-7]$"}
    if takes in ("NAME", "NAMES"):  # of users and groups, or their numbers
        return {"type": ["string", "integer"], "minLength": 1, "minimum": 0}
    return {"type": "string", "minLength": 1}


def schema_text(marud: Path) -> str:
    """The file with its `options` made anew, a line an option; all else as it is."""
    rows = {name: row for name, row in options_of(marud).items() if name not in options_of_the_chart()}
    words = options_of_the_document()
    lines = [f'        "{name}": {json.dumps(_schema_of(*row, words.get(name, "")))}' for name, row in rows.items()]
    head, found, rest = SCHEMA.read_text().partition('    "options": {\n')
    assert found
    _, found, tail = rest.partition("    },\n")
    assert found
    begin = '      "type": "object",\n      "additionalProperties": false,\n      "properties": {\n'
    return head + '    "options": {\n' + begin + ",\n".join(lines) + "\n      }\n    },\n" + tail


if __name__ == "__main__":
    text = schema_text(Path(sys.argv[1]))
    if "--write" in sys.argv:
        SCHEMA.write_text(text)
    else:
        print(text, end="")
