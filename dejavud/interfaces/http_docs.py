"""The page at ``/docs``: the OpenAPI document for people, as plain HTML that needs no script and no network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    Object = Mapping[str, Any]

_CODE = re.compile("`([^`]*)`")
_STYLE = """
:root { color-scheme: light dark; --line: light-dark(#d9d6cd, #333c45); --soft: light-dark(#575e66, #9ca8b3); --tint: light-dark(#f1efe9, #1a2027);
  --get: light-dark(#0b6b62, #62d2c1); --post: light-dark(#1f5f9e, #8fc1f5); --patch: light-dark(#8a4b00, #f2b35e); --delete: light-dark(#a3261b, #ff9d90); }
body { font: 100%/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1, h2 { line-height: 1.25; } h2 { margin-top: 2rem; } h3 { font-size: 1rem; margin: 1rem 0 .25rem; }
p, pre, table { margin: .25rem 0; } nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0; list-style: none; }
details { border: 1px solid var(--line); border-radius: .5rem; margin: .5rem 0; } details > div { padding: 0 1rem 1rem; }
summary { cursor: pointer; padding: .5rem 1rem; min-height: 1.5rem; } summary code { font-weight: 600; }
.get { color: var(--get); } .post { color: var(--post); } .patch { color: var(--patch); } .delete { color: var(--delete); }
.soft { color: var(--soft); } code, pre { font-family: ui-monospace, monospace; font-size: .9rem; }
pre { background: var(--tint); padding: .75rem; border-radius: .5rem; overflow-x: auto; white-space: pre-wrap; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--line); }
"""
POLICY = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Its Content-Security-Policy: this style, and nothing else from anywhere."""


def docs_page(document: Object) -> bytes:
    """Return the page of an OpenAPI document."""
    tags: dict[str, list[tuple[str, str, Object]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tags.setdefault(operation["tags"][0], []).append((method, path, operation))
    shapes = document["components"]["schemas"]
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>dejavud: HTTP</title><style>{_STYLE}</style></head><body><main><h1>dejavud {_text(document['info']['version'])}: HTTP</h1>",
        f"<p>{_prose(document['info']['description'])}</p>",
        '<p>For programs: <a href="openapi.json">openapi.json</a>, OpenAPI 3.1.</p>',
        *_contents([*tags, "shapes"]),
        *(part for tag, operations in tags.items() for part in _tag(tag, operations)),
        '<h2 id="shapes">Shapes</h2>',
        *(part for name in sorted(shapes) for part in _shape(name, shapes[name])),
        "</main></body></html>",
    ]
    return "".join(parts).encode()


def _contents(names: Iterable[str]) -> Iterator[str]:
    yield '<nav aria-label="Contents"><ul>'
    for name in names:
        yield f'<li><a href="#{_anchor(name)}">{_text(name.capitalize())}</a></li>'
    yield "</ul></nav>"


def _tag(tag: str, operations: Iterable[tuple[str, str, Object]]) -> Iterator[str]:
    yield f'<h2 id="{_anchor(tag)}">{_text(tag.capitalize())}</h2>'
    for method, path, operation in operations:
        name = operation["operationId"]
        yield f'<details id="{_text(name)}"><summary><code><span class="{method}">{method.upper()}</span> {_text(path)}</code> '
        yield f"{_text(operation['summary'])}</summary><div>"
        if operation.get("x-command"):
            yield f'<p class="soft">The command <code>{_text(operation["x-command"])}</code>, as over WebSocket and the control socket.</p>'
        yield from _parameters(operation["parameters"])
        if "requestBody" in operation:
            yield "<h3>Body</h3>"
            yield from (
                part for kind, body in operation["requestBody"]["content"].items() for part in _content(kind, body)
            )
        yield "<h3>Answers</h3><table><tbody>"
        for status, answer in operation["responses"].items():
            kinds = " ".join(part for kind, body in answer["content"].items() for part in _content(kind, body))
            yield f'<tr><th scope="row">{status}</th><td>{_prose(answer["description"])}</td><td>{kinds}</td></tr>'
        yield "</tbody></table></div></details>"


def _parameters(parameters: Iterable[Object]) -> Iterator[str]:
    rows = [
        f'<tr><th scope="row"><code>{_text(each["name"])}</code></th><td>{_text(each["in"])}</td><td>{_described(each["schema"])}'
        f"{' ' + _prose(each['description']) if 'description' in each else ''}</td></tr>"
        for each in parameters
    ]
    if rows:
        yield "<h3>Parameters</h3><table><tbody>" + "".join(rows) + "</tbody></table>"


def _content(kind: str, body: Object) -> Iterator[str]:
    yield f"<p><code>{_text(kind)}</code> {_described(body['schema'])}</p>"
    if "example" in body:
        yield f"<pre>{_text(json.dumps(body['example'], ensure_ascii=False))}</pre>"


def _shape(name: str, schema: Object) -> Iterator[str]:
    yield f'<details id="shape-{_text(name)}"><summary><code>{_text(name)}</code> {_text(schema["description"])}</summary><div>{_described(schema)}</div></details>'


def _described(schema: Object) -> str:
    """Return what a value may be, in words; what a component is, as a link to it."""
    if "$ref" in schema:
        name = _text(schema["$ref"].rpartition("/")[2])
        return f'<a href="#shape-{name}">{name}</a>'
    if "anyOf" in schema and "properties" not in schema:
        return " or ".join(_described(option) for option in schema["anyOf"])
    if "properties" in schema:
        needed = schema.get("required", ())
        rows = (
            f'<tr><th scope="row"><code>{_text(key)}</code></th><td>{_described(each)}{"" if key in needed else " (may be left out)"}</td></tr>'
            for key, each in schema["properties"].items()
        )
        return f"<table><tbody>{''.join(rows)}</tbody></table>"
    kind = schema.get("type", "anything")
    words = [_text(" or ".join(kind) if isinstance(kind, list) else kind)]
    if "items" in schema:
        words.append("of " + _described(schema["items"]))
    if "enum" in schema:
        words.append("of " + ", ".join(f"<code>{_text(json.dumps(each))}</code>" for each in schema["enum"]))
    limits = [
        f"{word} {schema[key]:g}"
        for key, word in (("minimum", "from"), ("maximum", "to"), ("maxItems", "at most"))
        if key in schema
    ]
    words += [_text(" ".join(limits))] if limits else []
    words += [f"as <code>{_text(schema['pattern'])}</code>"] if "pattern" in schema else []
    words += [_text(schema["description"])] if "description" in schema else []
    words += [f"(<code>{_text(json.dumps(schema['default']))}</code>)"] if "default" in schema else []
    return " ".join(words)


def _anchor(name: str) -> str:
    return _text(name.replace(" ", "-"))


def _prose(text: str) -> str:
    """Return a text whose code stands between backquotes."""
    return _CODE.sub(r"<code>\1</code>", _text(text))


def _text(value: object) -> str:
    return escape(str(value))
