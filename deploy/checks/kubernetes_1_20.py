"""The API of Kubernetes 1.20 as far as the chart uses it: objects are held against a list of kinds, fields and types.

The list, kubernetes-1.20.json, is made by this program from the swagger file of that version, which is in Debian's
source package of kubernetes:

    kubernetes_1_20.py api/openapi-spec/swagger.json > kubernetes-1.20.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KINDS = {
    "apps/v1 DaemonSet", "apps/v1 Deployment", "networking.k8s.io/v1 NetworkPolicy",
    "policy/v1beta1 PodDisruptionBudget", "scheduling.k8s.io/v1 PriorityClass", "v1 ConfigMap", "v1 Pod", "v1 Service",
    "v1 ServiceAccount",
}  # fmt: skip
_FILE = Path(__file__).with_name("kubernetes-1.20.json")
_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "int-or-string": (int, str),
    "quantity": (int, float, str), "object": dict,
}  # fmt: skip


def mistakes(item: dict[str, Any]) -> list[str]:
    """What 1.20 does not know of `item`, or takes in another type: a line each, with the path of the field."""
    api = json.loads(_FILE.read_text())
    name = f"{item['apiVersion']} {item['kind']}"
    if name not in api["kinds"]:
        return [f"{name}: no such kind"]
    return list(_differences(api["definitions"], api["kinds"][name], item, item["kind"]))


def _differences(definitions: dict[str, dict[str, str]], wanted: str, value: Any, where: str) -> Iterator[str]:
    """`wanted` is a type, a definition's name, or one of them as []T (list) or {}T (map by names)."""
    if wanted[:2] in ("[]", "{}"):
        if not isinstance(value, list if wanted[:2] == "[]" else dict):
            yield f"{where}: {value!r} is not {wanted}"
            return
        for key, each in enumerate(value) if isinstance(value, list) else value.items():
            yield from _differences(definitions, wanted[2:], each, f"{where}[{key}]")
    elif wanted in _TYPES:
        if not isinstance(value, _TYPES[wanted]) or (isinstance(value, bool) and wanted not in ("boolean", "object")):
            yield f"{where}: {value!r} is not {wanted}"
    elif not isinstance(value, dict):
        yield f"{where}: {value!r} is not {wanted}"
    else:
        for field, each in value.items():
            if field not in definitions[wanted]:
                yield f"{where}.{field}: no such field"
            else:
                yield from _differences(definitions, definitions[wanted][field], each, f"{where}.{field}")


def _short(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """The type of a field in a word."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/definitions/")
        if name.endswith(".Quantity"):
            return "quantity"
        target = definitions[name]
        return name if "properties" in target else _short(target, definitions)
    if schema.get("format") == "int-or-string":
        return "int-or-string"
    if schema.get("type") == "array":
        return "[]" + _short(schema["items"], definitions)
    if "additionalProperties" in schema:
        return "{}" + _short(schema["additionalProperties"], definitions)
    return str(schema.get("type", "object"))


def reduce(swagger: dict[str, Any]) -> dict[str, Any]:
    """Kinds and, for all that is reached from them, fields with their types."""
    definitions = swagger["definitions"]
    kinds: dict[str, str] = {}
    for name, definition in definitions.items():
        for kind in definition.get("x-kubernetes-group-version-kind", []):
            full = f"{kind['group']}/{kind['version']} {kind['kind']}".lstrip("/")
            if full in KINDS:
                kinds[full] = name
    reached: dict[str, dict[str, str]] = {}
    waiting = list(kinds.values())
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        fields = definitions[name]["properties"]
        reached[name] = {field: _short(schema, definitions) for field, schema in sorted(fields.items())}
        waiting += [t for t in (x.lstrip("[]{}") for x in reached[name].values()) if t in definitions]
    return {"kinds": dict(sorted(kinds.items())), "definitions": dict(sorted(reached.items()))}


def _print(api: dict[str, Any]) -> None:
    """A line a kind and a definition."""
    for part, last in (("kinds", False), ("definitions", True)):
        lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in api[part].items()]
        print(("{" if part == "kinds" else "") + f'"{part}": {{')
        print(",\n".join(lines))
        print("}}" if last else "},")


if __name__ == "__main__":
    _print(reduce(json.loads(Path(sys.argv[1]).read_text())))
