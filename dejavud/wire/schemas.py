"""JSON Schema (2020-12) of what annotations say: of commands' parameters and of their results."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from typing import Any

_PLAIN: dict[object, dict[str, Any]] = {
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    Any: {},
}


class Schemas:
    """Turns annotations into schemas.  A TypedDict becomes a component, which is referred to by its name.

    refer : what goes before a component's name.
    is_closed : objects have no keys but those that are written down; for tests, as programs ignore what they do not know.
    """

    def __init__(self, refer: str = "#/components/schemas/", *, is_closed: bool = False) -> None:
        self.components: dict[str, dict[str, Any]] = {}
        self._refer = refer
        self._is_closed = is_closed

    def of(self, hint: Any) -> dict[str, Any]:  # noqa: ANN401, PLR0911 - any annotation; a case a line
        """Return the schema of an annotation: of a plain type, a union, a literal, a list, a mapping, or a TypedDict; with its rules."""
        if typing.is_typeddict(hint):
            return {"$ref": self._refer + self._component(hint)}
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if origin is typing.Annotated:
            schema = self.of(args[0])
            for rule in args[1:]:
                _merge(schema, rule.schema())
            return schema
        if origin is typing.NotRequired:
            return self.of(args[0])
        if origin is typing.Literal:
            return {"type": "string", "enum": list(args)}
        if origin in {types.UnionType, typing.Union}:
            return _either([self.of(option) for option in args])
        if origin in {list, tuple}:
            return {"type": "array", "items": self.of(args[0])}
        if hint is dict or origin is dict:
            return {"type": "object"} | (
                {"additionalProperties": self.of(args[1])} if args and args[1] is not Any else {}
            )
        return dict(_PLAIN[hint])

    def of_params(self, kind: type, names: typing.Iterable[str]) -> dict[str, Any]:
        """Return the schema of an object that holds those fields of a dataclass of parameters, and no others."""
        hints = typing.get_type_hints(kind, include_extras=True)
        chosen = {field.name: field for field in dataclasses.fields(kind) if field.name in set(names)}
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {name: self.of(hints[name]) for name in chosen},
            "additionalProperties": False,
        }
        if required := [name for name, field in chosen.items() if is_required(field)]:
            schema["required"] = required
        return schema

    def _component(self, kind: Any) -> str:  # noqa: ANN401 - a TypedDict
        name: str = kind.__name__
        if name not in self.components:
            self.components[name] = {}  # a shape may hold itself
            hints = typing.get_type_hints(kind, include_extras=True)
            schema: dict[str, Any] = {
                "type": "object",
                "description": inspect.cleandoc(kind.__doc__ or ""),
                "properties": {key: self.of(hint) for key, hint in hints.items()},
                "required": sorted(kind.__required_keys__, key=list(hints).index),
            }
            if self._is_closed:
                schema["additionalProperties"] = False
            self.components[name] = schema
        return name


def alternatives(hint: Any) -> list[tuple[Any, tuple[Any, ...]]]:  # noqa: ANN401 - any annotation
    """Return the types that an annotation allows, each with the rules that hold for it."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return [(kind, (*rules, *args[1:])) for kind, rules in alternatives(args[0])]
    if origin in {types.UnionType, typing.Union}:
        return [one for option in args for one in alternatives(option)]
    return [(hint, ())]


def is_required(field: dataclasses.Field[Any]) -> bool:
    """Tell whether a field has no default."""
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _either(options: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the schema of one of several: in the short form where only null is added to a plain type."""
    plain = [option["type"] for option in options if option.keys() == {"type"}]
    if len(plain) == len(options):
        return {"type": plain}
    others = [option for option in options if option != {"type": "null"}]
    if len(others) == 1 and len(others) < len(options) and "type" in others[0] and "enum" not in others[0]:
        return {**others[0], "type": [others[0]["type"], "null"]}
    return {"anyOf": options}


def _merge(schema: dict[str, Any], rule: dict[str, Any]) -> None:
    """Add what a rule says; of a text, the bounds of its length."""
    if "string" in str(schema.get("type")):
        names = {"minItems": "minLength", "maxItems": "maxLength"}
        rule = {names.get(key, key): value for key, value in rule.items()}
    schema.update(rule)
