"""The two dialects, made one: UTC timestamps and the database's own clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import BindParameter, ColumnElement, DateTime, Float, Integer, String, TypeDecorator, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

if TYPE_CHECKING:
    from sqlalchemy import Dialect
    from sqlalchemy.sql.compiler import SQLCompiler

_SQLITE_FORMAT = "%Y-%m-%d %H:%M:%S.%f"


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime: `timestamptz` on PostgreSQL, sortable text of fixed width on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Text on SQLite: it has no type for times, and its clock function yields text."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(26))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Naive datetimes are refused: nobody knows what they mean."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        value = value.astimezone(UTC)
        return value.strftime(_SQLITE_FORMAT) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Always aware, always UTC."""
        if value is None:
            return None
        if dialect.name == "sqlite":
            return datetime.fromisoformat(value).replace(tzinfo=UTC)
        utc: datetime = value.astimezone(UTC)
        return utc


class from_now(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function that it is
    """The database's clock plus so many seconds: never the worker's, as two machines disagree.

    On PostgreSQL the time at which the transaction began, so that an index can serve a comparison. The seconds are
    a number, or a parameter of the statement (`seconds`); none at all make no time.
    """

    name = "from_now"
    inherit_cache = True
    type = UtcDateTime()

    def __init__(self, after: float | BindParameter[float] = 0.0) -> None:
        super().__init__(after if isinstance(after, BindParameter) else bindparam(None, float(after), type_=Float))


class clock(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function that it is
    """The database's clock at this very moment, also after a long wait for a lock."""

    name = "clock"
    inherit_cache = True
    type = UtcDateTime()


def one_of(column: ColumnElement[Any], words: Sequence[str]) -> ColumnElement[bool]:
    """`column IN (...)` with the words in the statement's text: an index with a condition serves no parameter."""
    return column.in_(
        bindparam(None, [str(word) for word in words], type_=String, expanding=True, literal_execute=True)
    )


def seconds(name: str) -> BindParameter[float]:
    """A parameter of `from_now`. Statements are built once, as building one costs ten times what running it does."""
    return bindparam(name, type_=Float)


class epoch(FunctionElement[float]):  # noqa: N801 - reads as the SQL function that it is
    """The database's clock as seconds since 1970, at this very moment."""

    name = "epoch"
    inherit_cache = True
    type = Float()


class first_of(FunctionElement[float]):  # noqa: N801 - as above
    """The first number of a JSON list that is kept as text."""

    name = "first_of"
    inherit_cache = True
    type = Float()


class length_of(FunctionElement[int]):  # noqa: N801 - as above
    """Of a JSON list that is kept as text."""

    name = "length_of"
    inherit_cache = True
    type = Integer()


class turned(FunctionElement[str]):  # noqa: N801 - as above
    """A JSON list without its first number, and with another one at its end."""

    name = "turned"
    inherit_cache = True
    type = String()


def _spelt(element: type[FunctionElement[Any]], *, postgresql: str, sqlite: str) -> None:
    """How a function is written in each dialect; `{0}` and `{1}` are what it is of."""

    def spell(template: str) -> Callable[..., str]:
        def spelling(found: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
            return template.format(*(compiler.process(each, **kw) for each in found.clauses))

        return spelling

    compiles(element, "postgresql")(spell(postgresql))
    compiles(element, "sqlite")(spell(sqlite))


# strftime's %f has milliseconds only; three zeros more make the width that datetimes are stored with
_spelt(
    from_now,
    postgresql="(now() + make_interval(secs => CAST({0} AS double precision)))",
    sqlite="(strftime('%Y-%m-%d %H:%M:%f', 'now', {0} || ' seconds') || '000')",
)
_spelt(clock, postgresql="clock_timestamp()", sqlite="(strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')")
_spelt(
    epoch,
    postgresql="CAST(extract(epoch FROM clock_timestamp()) AS double precision)",
    sqlite="((julianday('now') - 2440587.5) * 86400.0)",
)
_spelt(
    first_of,
    postgresql="CAST(CAST({0} AS jsonb) ->> 0 AS double precision)",
    sqlite="json_extract({0}, '$[0]')",
)
_spelt(length_of, postgresql="jsonb_array_length(CAST({0} AS jsonb))", sqlite="json_array_length({0})")
_spelt(
    turned,
    postgresql="CAST((CAST({0} AS jsonb) - 0) || to_jsonb(CAST({1} AS double precision)) AS text)",
    sqlite="json_insert(json_remove({0}, '$[0]'), '$[#]', {1})",
)
