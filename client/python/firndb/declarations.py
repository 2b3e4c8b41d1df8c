"""What a client declares and asks for by name: types, key columns, features, and references to features."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional, Union

import pyarrow as pa

from .errors import Invalid
from .times import Duration, duration_text
from .values import value_json

__all__ = ["Feature", "FeatureReference", "NamedTypes", "Type", "feature_settings_json", "features_json", "named_types_json", "references_json",
           "select", "type_text"]

#: A type: a ``pyarrow.DataType``, or its spelling (``"float64"``, ``"fixed_size_list<float32>[256]"``).
Type = Union[pa.DataType, str]
#: Names and types: ``{"origin": "utf8"}``, ``[("origin", pa.utf8())]`` or a ``pyarrow.Schema``.
NamedTypes = Union[Mapping[str, Type], Iterable["tuple[str, Type]"], pa.Schema]
#: ``"weather.temp"``, ``"weather.*"``, or what :func:`select` returns.
FeatureReference = Union[str, Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Feature:
    """The declaration of one feature.

    ``max_age``: how old a value may be before it counts as expired; not given means the table's, ``"none"`` unlimited.
    ``default``: what an entity without a value answers.
    """

    name: str
    type: Type
    max_age: Optional[Duration] = None
    default: Any = None
    description: Optional[str] = None
    tags: Sequence[str] = ()

    def json(self) -> dict[str, Any]:
        """The declaration as the wire spells it."""
        declared: dict[str, Any] = {"name": self.name, "type": type_text(self.type)}
        if self.max_age is not None:
            declared["max_age"] = duration_text(self.max_age)
        if self.default is not None:
            declared["default"] = value_json(self.default)
        if self.description is not None:
            declared["description"] = self.description
        if self.tags:
            declared["tags"] = list(self.tags)
        return declared


def type_text(data_type: Type) -> str:
    """A type as the wire spells it: as pyarrow prints it."""
    if isinstance(data_type, (str, pa.DataType)):
        return str(data_type)
    raise Invalid(f"{data_type!r} is not a type; give a pyarrow type or its spelling, such as \"float64\"")


def _pairs(named: NamedTypes) -> Iterable[tuple[str, Type]]:
    if isinstance(named, pa.Schema):
        return [(field.name, field.type) for field in named]
    return named.items() if isinstance(named, Mapping) else named


def named_types_json(named: NamedTypes) -> list[dict[str, str]]:
    """Names and types as ``[{"name":…,"type":…}]``."""
    return [{"name": name, "type": type_text(data_type)} for name, data_type in _pairs(named)]


def features_json(features: NamedTypes | Iterable[Feature]) -> list[dict[str, Any]]:
    """Declarations of features: :class:`Feature`, pairs of name and type, or a mix of both."""
    declared = features if isinstance(features, (Mapping, pa.Schema)) else list(features)
    if isinstance(declared, list):
        return [(each if isinstance(each, Feature) else Feature(*each)).json() for each in declared]
    return [Feature(name, data_type).json() for name, data_type in _pairs(declared)]


def feature_settings_json(features: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What features say of themselves from now on, by name."""
    spell = {"max_age": lambda age: None if age is None else duration_text(age), "default": value_json, "tags": list}
    plain = lambda value: value  # noqa: E731
    return [
        {"name": name} | {field: spell.get(field, plain)(value) for field, value in settings.items()}
        for name, settings in features.items()
    ]


def select(
    feature: str,
    *,
    as_: str | None = None,
    prefix: str | None = None,
    entity: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A reference to ``"table.feature"`` or ``"table.*"`` under another name or for another entity of the request.

    ``as_`` renames one feature, ``prefix`` goes before the names of ``table.*``. ``entity`` maps key columns of the
    entity to columns of the request: ``select("weather.temp", as_="dest_temp", entity={"origin": "dest"})``.
    """
    reference: dict[str, Any] = {"feature": feature}
    if as_ is not None:
        reference["as"] = as_
    if prefix is not None:
        reference["prefix"] = prefix
    if entity is not None:
        reference["entity"] = dict(entity)
    return reference


def references_json(features: FeatureReference | Iterable[FeatureReference]) -> list[Any]:
    """References to features; a single one need not be in a list."""
    if isinstance(features, (str, Mapping)):
        return [features]
    return list(features)
