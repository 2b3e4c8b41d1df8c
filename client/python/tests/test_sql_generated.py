"""Generated queries: FirnDB over ADBC answers what DuckDB answers over the rows of history.

DuckDB keeps every row with the number of its write; what is true and known at a moment is written out for it. Floats are
multiples of a quarter, so that sums are exact in any order.
"""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import adbc_driver_flightsql.dbapi as flightsql
import duckdb

QUERIES = int(os.environ.get("FIRN_SQL_QUERIES", "5000"))
SEED = int(os.environ.get("FIRN_SQL_SEED", "20261127"))
BASE = datetime(2020, 1, 1, tzinfo=UTC)
KEYS, TIMES, WRITES = 12, 40, 30


def time(number: int) -> str:
    return (BASE + timedelta(minutes=number)).strftime("TIMESTAMP '%Y-%m-%d %H:%M:%S'")


def literal(value: Any) -> str:
    return "NULL" if value is None else f"'{value}'" if isinstance(value, str) else str(value)


class World:
    """The same rows in both: tables `w` and `v` of one entity, and labels `s`."""

    def __init__(self, cursor: Any, chance: random.Random) -> None:
        self.cursor, self.chance, self.duck = cursor, chance, duckdb.connect()
        self.duck.execute("SET TimeZone = 'UTC'")
        self.known: dict[str, list[datetime]] = {"w": [], "v": []}
        features = "tm TIMESTAMP NOT NULL, a BIGINT, b DOUBLE, c VARCHAR"
        cursor.execute("CREATE TABLE s (n BIGINT PRIMARY KEY, ts TIMESTAMP NOT NULL, k BIGINT, y BIGINT)")
        for table in ("w", "v"):
            cursor.execute(f"CREATE TABLE {table} (k BIGINT PRIMARY KEY, {features}) WITH (entity = 'e')")
            cursor.execute(f"CALL seal_table('{table}')")
            columns = "k BIGINT, tm TIMESTAMP, a BIGINT, b DOUBLE, c VARCHAR, write BIGINT"
            self.duck.execute(f"CREATE TABLE {table} ({columns})")
            for write in range(WRITES):
                self.write(table, write)
        self.duck.execute("CREATE TABLE s (n BIGINT, ts TIMESTAMP, k BIGINT, y BIGINT)")
        keys = [*range(KEYS + 2), None]
        rows = [(n, time(chance.randrange(TIMES)), literal(chance.choice(keys)), chance.randrange(3)) for n in range(60)]
        values = ", ".join(f"({n}, {ts}, {k}, {y})" for n, ts, k, y in rows)
        cursor.execute(f"INSERT INTO s VALUES {values}")
        self.duck.execute(f"INSERT INTO s VALUES {values}")

    def write(self, table: str, write: int) -> None:
        chance = self.chance
        rows = []
        for k in chance.sample(range(KEYS), chance.randrange(1, 6)):
            a = chance.choice([None, *range(-3, 8)])
            b = chance.choice([None, *(quarter / 4 for quarter in range(-8, 20))])
            rows.append((k, time(chance.randrange(TIMES)), a, b, chance.choice([None, "x", "y", "zz"])))
        values = ", ".join(f"({k}, {tm}, {literal(a)}, {literal(b)}, {literal(c)})" for k, tm, a, b, c in rows)
        self.cursor.execute(f"INSERT INTO {table} VALUES {values}")
        stored = ", ".join(f"({k}, {tm}, {literal(a)}, {literal(b)}, {literal(c)}, {write})" for k, tm, a, b, c in rows)
        self.duck.execute(f"INSERT INTO {table} VALUES {stored}")
        self.cursor.execute(f"SELECT max(ingest_time) FROM history('{table}')")
        self.known[table].append(self.cursor.fetchall()[0][0])
        if chance.random() < 0.1:
            self.cursor.execute(f"CALL compact('{table}')")

    def known_at(self, table: str, write: int) -> str:
        return f"TIMESTAMP '{self.known[table][write].replace(tzinfo=None).isoformat(sep=' ')}'"

    def relation(self, table: str) -> tuple[str, str]:
        """A table at some moment, for FirnDB and for DuckDB."""
        chance = self.chance
        event = chance.choice([None, chance.randrange(TIMES)])
        write = chance.choice([None, chance.randrange(WRITES)])
        exclusive = event is not None and chance.random() < 0.3
        seen = ["true"]
        if event is not None:
            seen.append(f"tm {'<' if exclusive else '<='} {time(event)}")
        if write is not None:
            seen.append(f"write <= {write}")
        ranked = "row_number() OVER (PARTITION BY k ORDER BY tm DESC, write DESC) = 1"
        duck = f"(SELECT k, tm, a, b, c FROM {table} WHERE {' AND '.join(seen)} QUALIFY {ranked})"
        known = None if write is None else self.known_at(table, write)
        if event is None:
            firn = table if known is None else f"{table} FOR SYSTEM_TIME AS OF {known}"
        elif exclusive or chance.random() < 0.5:
            extra = ", exclusive => true" if exclusive else ""
            firn = f"as_of('{table}', {time(event)}{'' if known is None else ', ' + known}{extra})"
        else:
            firn = f"{table} FOR VALID_TIME AS OF {time(event)}"
            firn += "" if known is None else f" FOR SYSTEM_TIME AS OF {known}"
        return firn, duck

    def history(self, table: str) -> tuple[str, str]:
        first, last = sorted(self.chance.randrange(TIMES) for _ in range(2))
        duck = f"(SELECT k, tm, a, b, c FROM {table} WHERE tm >= {time(first)} AND tm < {time(last)})"
        return f"history('{table}', {time(first)}, {time(last)})", duck

    def predicate(self, name: str) -> str:
        chance = self.chance
        number = chance.randrange(-3, 8)
        keys = ", ".join(str(chance.randrange(KEYS + 2)) for _ in range(chance.randrange(1, 5)))
        return chance.choice(
            [
                f"{name}.k = {chance.randrange(KEYS + 2)}",
                f"{name}.k IN ({keys})",
                f"{name}.k BETWEEN 2 AND {chance.randrange(2, KEYS)}",
                f"({name}.k = {chance.randrange(KEYS)} OR {name}.k = {chance.randrange(KEYS)})",
                f"NOT ({name}.k = {chance.randrange(KEYS)})",
                f"{name}.tm >= {time(chance.randrange(TIMES))}",
                f"{name}.tm < {time(chance.randrange(TIMES))}",
                f"{name}.a {chance.choice(['>', '<=', '=', '<>'])} {number}",
                f"{name}.a IS NOT NULL",
                f"{name}.b > {number / 4}",
                f"{name}.c = 'x'",
                f"{name}.c IN ('x', 'zz')",
                f"{name}.c LIKE 'z%'",
                f"coalesce({name}.b, 0) + {number} > {name}.a",
            ]
        )

    def where(self, *names: str) -> str:
        count = self.chance.randrange(4)
        predicates = [self.predicate(self.chance.choice(names)) for _ in range(count)]
        return f" WHERE {' AND '.join(predicates)}" if predicates else ""

    def query(self) -> tuple[str, str]:
        """A query, for FirnDB and for DuckDB."""
        chance = self.chance
        kind = chance.choice(["rows", "aggregate", "group", "join", "as_of", "as_of_aggregate"])
        if kind.startswith("as_of"):
            return self.as_of_join(kind == "as_of_aggregate")
        firn, duck = self.history("w") if chance.random() < 0.2 else self.relation(chance.choice(["w", "v"]))
        where = self.where("t")
        if kind == "rows":
            columns = chance.choice(["t.k, t.tm, t.a, t.b, t.c", "t.k, t.a + 1, t.b * 2", "t.c, t.k"])
            text = f"SELECT {columns} FROM {{}} t{where}"
        elif kind == "aggregate":
            text = f"SELECT count(*), count(t.a), sum(t.a), min(t.b), max(t.b), sum(t.b), max(t.tm) FROM {{}} t{where}"
        elif kind == "group":
            text = f"SELECT t.c, count(*), sum(t.a), max(t.k) FROM {{}} t{where} GROUP BY t.c HAVING count(*) > {chance.randrange(2)}"
        else:
            other_firn, other_duck = self.relation("v")
            side = chance.choice(["JOIN", "LEFT JOIN", "LEFT SEMI JOIN"])
            both = "" if "SEMI" in side else ", u.a, u.c"
            where = self.where("t") if "SEMI" in side else self.where("t", "u")
            rest = f"{{}} u ON t.k = u.k{where}"
            duck_side = side.replace("LEFT SEMI", "SEMI")
            firn = f"SELECT t.k, t.a{both} FROM {firn} t {side} {rest.format(other_firn)}"
            return firn, f"SELECT t.k, t.a{both} FROM {duck} t {duck_side} {rest.format(other_duck)}"
        return text.format(firn), text.format(duck)

    def as_of_join(self, aggregated: bool) -> tuple[str, str]:
        chance = self.chance
        table = chance.choice(["w", "v"])
        write = chance.choice([None, chance.randrange(WRITES)])
        seen = "true" if write is None else f"write <= {write}"
        clause = ""
        if write is not None:
            clause = f" FOR SYSTEM_TIME AS OF {self.known_at(table, write)}"
        newest = "row_number() OVER (PARTITION BY k, tm ORDER BY write DESC) = 1"
        duck_table = f"(SELECT k, tm, a, b, c FROM {table} WHERE {seen} QUALIFY {newest})"
        compare = chance.choice([">=", ">"])
        columns = "count(*), count(t.a), sum(t.b), max(t.c)" if aggregated else "s.n, s.k, t.a, t.b, t.c"
        where = chance.choice(["", " WHERE s.y = 1", " WHERE t.a > 2", " WHERE s.k = 3 AND t.c = 'x'", " WHERE s.n < 20"])
        inner = chance.random() < 0.3
        matched = f"s.k = t.k AND s.ts {compare} t.tm"
        if inner:
            firn = f"s ASOF JOIN {table}{clause} t ON {matched}"
        elif chance.random() < 0.5:
            firn = f"s ASOF LEFT JOIN {table}{clause} t ON {matched}"
        else:
            firn = f"s ASOF JOIN {table}{clause} t MATCH_CONDITION (s.ts {compare} t.tm) ON s.k = t.k"
        duck = f"s ASOF {'' if inner else 'LEFT '}JOIN {duck_table} t ON {matched}"
        return f"SELECT {columns} FROM {firn}{where}", f"SELECT {columns} FROM {duck}{where}"


def comparable(rows: list[tuple[Any, ...]]) -> list[str]:
    def plain(value: Any) -> Any:
        if isinstance(value, datetime):
            return value.replace(tzinfo=None)
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value

    return sorted(repr(tuple(plain(value) for value in row)) for row in rows)


def test_generated_queries_answer_what_duckdb_answers(fresh: Any) -> None:
    with fresh() as server, flightsql.connect(server.url.replace("http://", "grpc://"), autocommit=True) as connection:
        with connection.cursor() as cursor:
            chance = random.Random(SEED)
            world = World(cursor, chance)
            empty = 0
            for number in range(QUERIES):
                firn, duck = world.query()
                right = comparable(world.duck.execute(duck).fetchall())
                cursor.execute(firn)
                given = comparable(cursor.fetchall())
                assert given == right, f"query {number} of seed {SEED}:\n{firn}\n{duck}"
                empty += not right
            assert empty < QUERIES / 2, "most queries should answer rows"


