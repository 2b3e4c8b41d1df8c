"""What a client declares and asks for by name: types, key columns, features, and references to features."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional, Union

from .errors import Invalid
from .options import FeatureReference, given, setting_json
from .times import Duration, duration_text
from .values import value_json

__all__ = ["Feature", "FeatureReference", "NamedTypes", "Type", "entity_json", "select", "table_changes_json", "table_json"]

#: A type: its spelling (``"float64"``, ``"fixed_size_list<float32>[256]"``), or a ``pyarrow.DataType``.
Type = Any
#: Names and types: ``{"origin": "utf8"}``, ``[("origin", "utf8")]`` or a ``pyarrow.Schema``.
NamedTypes = Union[Mapping[str, Type], Iterable["tuple[str, Type]"]]


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
    if isinstance(data_type, str) or type(data_type).__module__.startswith("pyarrow"):
        return str(data_type)
    raise Invalid(f"{data_type!r} is not a type; give its spelling, such as \"float64\", or a type of pyarrow")


def _is_schema(named: Any) -> bool:
    return type(named).__module__.startswith("pyarrow") and hasattr(named, "names")


def _pairs(named: NamedTypes) -> Iterable[tuple[str, Type]]:
    if _is_schema(named):
        fields: Any = named
        return [(field.name, field.type) for field in fields]
    pairs: Any = named.items() if isinstance(named, Mapping) else named
    return pairs  # type: ignore[no-any-return]


def named_types_json(named: NamedTypes) -> list[dict[str, str]]:
    """Names and types as ``[{"name":…,"type":…}]``."""
    return [{"name": name, "type": type_text(data_type)} for name, data_type in _pairs(named)]


def features_json(features: NamedTypes | Iterable[Feature]) -> list[dict[str, Any]]:
    """Declarations of features: :class:`Feature`, pairs of name and type, or a mix of both."""
    declared: Any = features
    if isinstance(features, Mapping) or _is_schema(features):
        return [Feature(name, data_type).json() for name, data_type in _pairs(declared)]
    return [(each if isinstance(each, Feature) else Feature(*each)).json() for each in declared]


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


def entity_json(
    entity: str, key: NamedTypes, *, bucket_by: Sequence[str] | None, buckets: int | None, if_not_exists: bool
) -> dict[str, Any]:
    """The body of ``create_entity``."""
    bucketed = None if bucket_by is None else list(bucket_by)
    options = given(bucket_by=bucketed, buckets=buckets, if_not_exists=if_not_exists)
    return {"entity": entity, "key": named_types_json(key)} | options


def table_json(
    table: str,
    entity: str,
    event_time: str,
    features: NamedTypes | Iterable[Feature],
    *,
    row_id: NamedTypes | None,
    durations: Mapping[str, Duration | None],
    retention: Mapping[str, Duration | None],
    **options: Any,
) -> dict[str, Any]:
    """The body of ``create_table``."""
    body: dict[str, Any] = {"table": table, "entity": entity, "event_time": event_time, "features": features_json(features)}
    body |= {name: duration_text(value) for name, value in durations.items() if value is not None}
    if kept := {name: duration_text(value) for name, value in retention.items() if value is not None}:
        body["retention"] = kept
    return body | given(row_id=None if row_id is None else named_types_json(row_id), **options)


def table_changes_json(
    *,
    add: NamedTypes | Iterable[Feature] | None,
    widen: Mapping[str, Type] | None,
    rename: Mapping[str, str] | None,
    retire: Sequence[str] | None,
    purge: bool,
    add_aggregates: Iterable[Mapping[str, Any]] | None,
    retire_aggregates: Sequence[str] | None,
    set_features: Mapping[str, Mapping[str, Any]] | None,
    set: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The changes in the body of ``alter_table``."""
    return given(
        add=None if add is None else features_json(add),
        widen=None if widen is None else [{"name": name, "type": type_text(to)} for name, to in widen.items()],
        rename=None if rename is None else dict(rename),
        retire=None if retire is None else list(retire),
        purge=purge,
        add_aggregates=None if add_aggregates is None else [dict(aggregate) for aggregate in add_aggregates],
        retire_aggregates=None if retire_aggregates is None else list(retire_aggregates),
        set_features=None if set_features is None else feature_settings_json(set_features),
        set=None if set is None else {name: setting_json(value) for name, value in set.items()},
    )
