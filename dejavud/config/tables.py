"""Lists of tables: settings that are said several times, each with keys of its own."""

from __future__ import annotations

import difflib
import json
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints


def is_table(kind: Any) -> bool:  # noqa: ANN401 - a type
    """Tell whether values of `kind` are written as tables."""
    return is_dataclass(kind)


def tables_of(value: object, kind: type) -> tuple[Any, ...]:
    """Return `value`, a TOML array of tables or the same as JSON text, as instances of the dataclass `kind`.

    Raises ValueError, whose text says which key is wrong and never shows a value: one may be a secret.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value or "[]")
        except ValueError:
            msg = 'as text it is JSON, such as [{"url": "https://example.org/"}]'
            raise ValueError(msg) from None
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        msg = "it is a list of tables { key = value, … }"
        raise ValueError(msg)
    return tuple(_table_of(item, kind) for item in value)


def _table_of(item: dict[str, object], kind: type) -> Any:  # noqa: ANN401 - an instance of `kind`
    hints = get_type_hints(kind)
    for name, value in item.items():
        if name not in hints:
            close = difflib.get_close_matches(name, hints, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(hints)}"
            msg = f"there is no key {name!r} in it; {hint}"
            raise ValueError(msg)
        if not _fits(value, hints[name]):
            msg = f"its {name} must be {'a list of texts' if get_origin(hints[name]) is tuple else 'a text'}"
            raise ValueError(msg)
    for field in fields(kind):
        if field.default is MISSING and field.name not in item:
            msg = f"its {field.name} is missing"
            raise ValueError(msg)
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in item.items()})


def _fits(value: object, hint: Any) -> bool:  # noqa: ANN401 - a type
    if get_origin(hint) is tuple:
        return isinstance(value, list) and all(isinstance(item, get_args(hint)[0]) for item in value)
    return isinstance(value, hint)
