"""Requests made up from a server's own OpenAPI document: valid, odd and hostile values for every operation."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

ODD = (
    "", " ", "0", "-1", "null", "true", "../../etc/passwd", "..%2f..", "a/b", "%00", "\x00", "\u202e", "\U0001f600" * 80,
    "x" * 5000, "'; DROP TABLE jobs", "<script>", "{{7*7}}", "\u6f22" * 90, "NaN", "1e999",
)  # fmt: skip
"""Values that programs stumble over."""


@dataclass(frozen=True)
class Made:
    """One request, and what its operation says of answers."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes
    documented: frozenset[int]


def requests(
    document: Mapping[str, Any], seed: int, ids: Sequence[str], bodies: Sequence[bytes], count: int
) -> Iterator[Made]:
    """``count`` requests, the operations of the document in turn; ``ids`` of jobs that there are are used too."""
    rng = random.Random(seed)
    operations = [(path, method, one) for path, item in document["paths"].items() for method, one in item.items()]
    for number in range(count):
        path, method, operation = operations[number % len(operations)]
        query: list[tuple[str, str]] = []
        for parameter in operation.get("parameters", []):
            name, given = parameter["name"], value(parameter["schema"], rng, ids if parameter["name"] == "id" else ())
            if parameter["in"] == "path":
                path = path.replace(f"{{{name}}}", quote(given, safe="") or "%20")
            elif rng.random() < 0.7:
                query += [(name, given)] * rng.choice((1, 1, 1, 2))
        if rng.random() < 0.1:
            query.append((rng.choice(ODD), rng.choice(ODD)))
        body = rng.choice(list(bodies)) if "requestBody" in operation or rng.random() < 0.1 else b""
        url = path + (f"?{urlencode(query)}" if query else "")
        yield Made(method.upper(), url, headers(rng), body, frozenset(map(int, operation["responses"])))


def value(schema: Mapping[str, Any], rng: random.Random, known: Sequence[str]) -> str:
    """A value of a parameter: one that fits its schema, or an odd one."""
    if known and rng.random() < 0.5:
        return rng.choice(list(known))
    if rng.random() < 0.4:
        return rng.choice(ODD)
    kinds = [schema, *schema.get("anyOf", [])]
    if choices := [text for kind in kinds for text in kind.get("enum", [])]:
        return rng.choice(choices)
    if any(kind.get("type") == "boolean" for kind in kinds):
        return rng.choice(("true", "false", "1", "no"))
    return "".join(rng.choice("abcxyz-_019 \u00e4\u6f22") for _ in range(rng.randrange(1, 30)))


def headers(rng: random.Random) -> dict[str, str]:
    """Mostly none; now and then one that a proxy, another page or an attacker would send."""
    odd = (
        {"Range": "bytes=5-1"}, {"Range": "bytes=0-0,1-1"}, {"Content-Type": "multipart/form-data"}, {"Accept": "x"},
        {"Origin": "http://["}, {"Origin": "null"}, {"If-None-Match": "*"}, {"Expect": "nonsense"}, {"Content-Type": ";"},
    )  # fmt: skip
    return dict(rng.choice(odd)) if rng.random() < 0.2 else {}


def wrong(made: Made, code: int, content: bytes) -> str:
    """What is wrong with an answer; nothing where its code is documented and a refusal gives a reason."""
    told = {*made.documented, 206, 304, 404, 405, 416}  # parts of files, other paths, and what any HTTP server may say
    if code not in told:
        return f"{made.method} {made.url[:200]}: answered {code}, which is not documented: {content[:200]!r}"
    if code >= 400 and not content:
        return f"{made.method} {made.url[:200]}: {code} without a word"
    return ""
