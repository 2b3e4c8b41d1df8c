"""Statements, handles, tickets and cookies that nobody would send: each is answered or refused in words, none ends the server.

Sound statements are cut, shuffled and mixed; what a client carries from call to call is flipped, cut and spliced. An error is of
the kinds that say what a client did wrong: never INTERNAL, never UNKNOWN, never a lost connection. `FIRN_SQL_FUZZ` is the number
of cases, `FIRN_SQL_SEED` the seed; a failure prints both with the statement.
"""

from __future__ import annotations

import os
import random
import re
import resource
import time
from collections.abc import Callable, Iterator
from typing import Any

import flight_sql
import pyarrow as pa
import pyarrow.flight as flight
import pytest
from flight_sql import field, message
from server import Server

CASES = int(os.environ.get("FIRN_SQL_FUZZ", "6000"))
SEED = int(os.environ.get("FIRN_SQL_SEED", "20261127"))
KINDS = {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED", "RESOURCE_EXHAUSTED", "OUT_OF_RANGE", "ALREADY_EXISTS"}
# A call that takes longer hangs.
SECONDS = 10
# A server that takes more than this is ended here, before it ends the machine.
MEMORY_MAX = 4 << 30
COOKIE = (b"cookie", b"arrow_flight_session_id=v2.CgASEDAxMjM0NTY3ODlhYmNkZWY")

SET_UP = [
    "CREATE TABLE IF NOT EXISTS w (k BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, x VARCHAR, y DOUBLE)",
    "CREATE TABLE IF NOT EXISTS v (k BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, a BIGINT, l BIGINT[]) WITH (entity = 'w', max_age = '1h')",
    "CREATE TABLE IF NOT EXISTS c (k BIGINT, m VARCHAR, at TIMESTAMP NOT NULL, x VARCHAR, PRIMARY KEY (k, m)) WITH (entity = 'pair')",
    "CREATE TABLE IF NOT EXISTS s (n BIGINT PRIMARY KEY, ts TIMESTAMP NOT NULL, k BIGINT)",
    "CALL seal_table('w')", "CALL seal_table('v')", "CALL seal_table('c')", "CALL seal_table('s')",
    "INSERT INTO w VALUES (1, '2020-01-01', 'a', 1.5), (2, '2020-01-01', 'b', NULL), (3, '2020-01-02', NULL, 2.5)",
    "INSERT INTO w (k, at, x) VALUES (1, '2020-01-02', 'c')",
    "INSERT INTO v VALUES (1, '2020-01-01', 7, [1, 2]), (4, '2020-01-01', 8, NULL)",
    "INSERT INTO c VALUES (1, 'p', '2020-01-01', 'a'), (1, 'q', '2020-01-01', 'b')",
    "INSERT INTO s VALUES (1, '2020-01-01T12:00:00Z', 1), (2, '2020-01-03', 2), (3, '2020-01-03', NULL), (4, '2019-01-01', 9)",
]  # fmt: skip
STATEMENTS = [
    "SELECT * FROM w",
    "SELECT k, x FROM w WHERE k IN (1, 2) AND at > '2020-01-01' ORDER BY k DESC LIMIT 5 OFFSET 1",
    "SELECT x FROM w FOR SYSTEM_TIME AS OF now() - INTERVAL '1 hour' FOR VALID_TIME AS OF '2020-01-01T00:00:00Z' AS t WHERE t.k = 1",
    "SELECT x FROM as_of('w', '2020-01-01', NULL, exclusive => true) WHERE k = 1 OR k = 3",
    "SELECT kind, ingest_time, sequence FROM history('w', '2020-01-01', '2020-01-02') WHERE k BETWEEN 1 AND 2",
    "SELECT count(*) FROM changes('w', '2020-01-01', now())",
    "SELECT s.n, w.x, v.a FROM s ASOF JOIN w MATCH_CONDITION (s.ts >= w.at) ON s.k = w.k ASOF JOIN v MATCH_CONDITION (s.ts > v.at) ON s.k = v.k",
    "SELECT n, x FROM s ASOF LEFT JOIN w t ON s.k = t.k AND s.ts >= t.at AND s.ts >= t.ingest_time WHERE t.x IS NOT NULL",
    "SELECT w.k, v.a FROM w LEFT JOIN v ON w.k = v.k JOIN c ON c.k = w.k WHERE c.m = 'p'",
    "SELECT x, count(*), sum(y), min(at), max(k) FROM w GROUP BY x HAVING count(*) > 0 ORDER BY 2 NULLS FIRST",
    "WITH t AS (SELECT k, y FROM w), u AS (SELECT k FROM v) "
    "SELECT t.k, row_number() OVER (PARTITION BY y ORDER BY t.k) FROM t LEFT SEMI JOIN u ON t.k = u.k",
    "SELECT k, CASE WHEN y > 1 THEN 'big' ELSE x END, CAST(y AS BIGINT), x || 'z', y + 1 FROM w WHERE NOT (x LIKE 'a%' OR y IS NULL)",
    "SELECT k FROM w WHERE k IN (SELECT k FROM v) UNION ALL SELECT n FROM s EXCEPT SELECT k FROM c",
    "SELECT unnest(l), l[1] FROM v",
    "SELECT date_trunc('day', at), at AT TIME ZONE 'UTC', at - INTERVAL '1 day', extract(year FROM at) FROM w",
    "SELECT DISTINCT ON (x) x, (SELECT max(a) FROM v) FROM w WHERE EXISTS (SELECT 1 FROM v WHERE v.k = w.k)",
    "VALUES (1, 'a'), (2, NULL)",
    "EXPLAIN SELECT x FROM w WHERE k = 1",
    "EXPLAIN ANALYZE SELECT count(*) FROM s ASOF JOIN w MATCH_CONDITION (s.ts >= w.at) ON s.k = w.k",
    "INSERT INTO w (k, at, x) VALUES (5, '2020-01-01', 'f'), (6, now(), NULL)",
    "INSERT INTO w (k, at, y) SELECT k + 10, at, y FROM w WHERE k < 3",
    "DELETE FROM w WHERE k IN (11, 12) AND at = '2020-02-01'",
    "DELETE FROM history('w') WHERE k = 5 AND at = '2020-01-01'",
    "CREATE TABLE IF NOT EXISTS f (k BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, x DOUBLE DEFAULT 0 COMMENT 'c' "
    "OPTIONS (max_age = '3h', tags = 'a'), e FLOAT[3]) WITH (event_time = 'at', max_age = '6h', buckets = 4)",
    "ALTER TABLE f ADD COLUMN z BIGINT DEFAULT 5",
    "ALTER TABLE f SET (max_age = '8h', owner = 'ops')",
    "COMMENT ON COLUMN w.x IS 'what it says'",
    "DROP TABLE IF EXISTS f",
    "CALL flush('w')",
    "SHOW TABLES LIKE 'w%'",
    "SHOW COLUMNS FROM w",
    "SHOW CREATE TABLE w",
    "DESCRIBE w",
    "SET firn.as_of = '2020-01-01T00:00:00Z'",
    "RESET ALL",
    "SHOW ALL",
    "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' ORDER BY ordinal_position",
    "SELECT * FROM firn_system.features JOIN firn_system.entities USING (entity)",
]  # fmt: skip
# With parameters, and values for them.
PREPARED: list[tuple[str, list[pa.Array]]] = [
    ("SELECT x FROM w WHERE k = ? AND at > ?", [pa.array([1, 2]), pa.array(["2020-01-01"] * 2)]),
    ("SELECT x FROM as_of('w', $1, $2)", [pa.array([1_600_000_000], pa.timestamp("s")), pa.array([None], pa.string())]),
    ("SELECT $1 + 1, $2", [pa.array([1.5]), pa.array([b"a"])]),
    ("SELECT k FROM w LIMIT ?", [pa.array([2])]),
    ("INSERT INTO w (k, at, x) VALUES (?, ?, ?)", [pa.array([7]), pa.array([0], pa.timestamp("ms")), pa.array(["g"])]),
    ("DELETE FROM w WHERE k = ?", [pa.array([7])]),
]  # fmt: skip
FUNCTIONS = """
    abs acos arrow_cast arrow_typeof ascii asin atan2 bit_length btrim cbrt ceil character_length chr coalesce concat concat_ws contains cos cot
    date_bin date_part date_trunc decode degrees digest encode ends_with exp factorial find_in_set floor from_unixtime gcd get_field
    greatest initcap isnan iszero lcm least left levenshtein ln log lower ltrim make_date make_time md5 named_struct nanvl now nullif nvl nvl2
    octet_length overlay pi power regexp_count regexp_instr regexp_like regexp_match regexp_replace replace reverse right round rtrim sha256
    signum split_part sqrt starts_with strpos struct substr substr_index to_char to_date to_hex to_local_time to_time to_timestamp
    to_timestamp_micros to_timestamp_nanos to_timestamp_seconds to_unixtime translate trunc union_extract upper version
    array_any_value array_append array_avg array_compact array_concat array_dims array_distance array_distinct array_element array_except array_has
    array_has_all array_intersect array_length array_max array_ndims array_pop_back array_position array_positions array_prepend array_remove
    array_remove_all array_remove_n array_replace array_replace_n array_reverse array_slice array_sort array_sum array_to_string
    array_union arrays_zip cardinality cosine_distance empty flatten inner_product make_array map map_entries map_extract map_keys map_values
    string_to_array unnest input_file_name file_row_index with_metadata current_date
    any_value approx_distinct approx_median approx_percentile_cont array_agg avg bit_and bool_and bool_or corr count covar_samp first_value grouping
    last_value max median min nth_value percentile_cont regr_slope stddev string_agg sum var var_pop cume_dist dense_rank lag lead ntile percent_rank
    rank row_number
""".split()  # fmt: skip
ARGUMENTS = """
    NULL 0 1 -1 2 3 1.5 -0.0 9223372036854775807 1e308 '' 'a' '%' '(' '2020-01-01' '1day' 'day' '{}' 'é😀' true k at x y a l l[1]
    [1,2] [] [NULL] ['a'] [[1],[2]]
    {'a':1} struct(1,x) now() INTERVAL'1month' INTERVAL'1day' DATE'2020-01-01' TIMESTAMP'2020-01-01' TIME'10:00:00' X'00ff' NULL::BIGINT
    y::DECIMAL(38,10) x::BYTEA k::TINYINT 'nan'::DOUBLE l::VARCHAR at::DATE at::TIMESTAMP arrow_cast('a','Utf8View') arrow_cast(1,'UInt64')
    arrow_cast(1,'Float16') (SELECT(1)) * k=1 x||'a' k+1 -y NOT(k=1) x='a'OR(k=2)
""".split()  # fmt: skip
TOKEN = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|\w+|[<>=!|]+|\S")
MORE = (
    "NULL 0 -1 9223372036854775807 18446744073709551616 1e400 '' '\u0000' 'é' \"\" \"w\" $1 $2 ? ( ) [ ] { } , ; . * - -- /* */ => := :: = < >= <> "
    "|| AND OR NOT IN IS LIKE BETWEEN SELECT FROM WHERE GROUP BY ORDER HAVING LIMIT JOIN LEFT FULL CROSS NATURAL ASOF USING ON AS OF FOR "
    "SYSTEM_TIME VALID_TIME MATCH_CONDITION INTERVAL CAST CASE WHEN END WITH UNION ALL DISTINCT OVER PARTITION ROWS RANGE UNBOUNDED PRECEDING "
    "FILTER WITHIN EXISTS ANY LATERAL unnest history as_of changes w v c s k at x y m n ts l ingest_time kind true false DEFAULT VALUES INSERT "
    "INTO DELETE UPDATE SET CREATE TABLE DROP ALTER COLUMN PRIMARY KEY firn public information_schema tables columns TIMESTAMP DATE BIGINT INT8 "
    "DECIMAL(38,10) BIGINT[] STRUCT<a BIGINT> now() count(*) sum max coalesce struct map make_array date_bin to_timestamp regexp_like "
    "row_number() first_value lag ntile array_agg string_agg approx_distinct nullif abs power log sqrt round substr split_part"
).split()


def limited(program: Any) -> Server:
    """A server that ends itself where it would end the machine."""
    return Server(program, preexec_fn=limit)


def limit() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_MAX, MEMORY_MAX))


def options(*headers: tuple[bytes, bytes]) -> flight.FlightCallOptions:
    return flight.FlightCallOptions(timeout=SECONDS, headers=[COOKIE, *headers] if not headers else list(headers))


class Fuzzed:
    """A server, and what went wrong."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.client = flight.FlightClient(server.url)
        self.wrong: list[str] = []
        self.answered = self.refused = 0
        self.set_up()

    def set_up(self) -> None:
        for statement in SET_UP:
            try:
                flight_sql.run(self.client, flight_sql.query(statement), options())
            except (pa.ArrowException, flight.FlightError, OSError):
                pass  # A case changed what is declared.

    def tried(self, what: Any, call: Callable[[], Any]) -> Any:
        """What a call answers, if it does; whether it may be refused so is judged here."""
        try:
            answer = call()
            self.answered += 1
            return answer
        except StopIteration:
            return None
        except (pa.ArrowException, flight.FlightError, OSError, KeyError) as error:
            try:
                code, text = flight_sql.code_of(error)
            except KeyError:
                code, text = "UNKNOWN", str(error)
            if code in KINDS:
                self.refused += 1
            else:
                self.wrong.append(f"{code}: {text[:300]}\n        {what!r}")
            if code in ("UNAVAILABLE", "CANCELLED"):
                self.revive()
        return None

    def revive(self) -> None:
        """Starts the server anew if it ended, so that the other cases are tried too."""
        time.sleep(0.2)
        if self.server.process is not None and self.server.process.poll() is not None:
            self.server.start(preexec_fn=limit)
            self.client = flight.FlightClient(self.server.url)
            self.set_up()

    def judge(self, at_least: int) -> None:
        said = self.server.output()
        panics = [line for line in said.splitlines() if "panicked" in line or "overflowed its stack" in line]
        print(f"\nseed {SEED}: {self.answered} answered, {self.refused} refused, {len(self.wrong)} wrong")
        assert not self.wrong and not panics, "\n".join(
            [f"{len(self.wrong)} cases of seed {SEED} went wrong:", *sorted(set(self.wrong), key=len)[:15], *panics[:5]]
        )
        assert self.answered + self.refused >= at_least
        alive = flight_sql.run(self.client, flight_sql.query("SELECT 1 AS one"), options())
        assert alive is not None and alive.to_pylist() == [{"one": 1}]


@pytest.fixture
def fuzzed(program: Any) -> Iterator[Fuzzed]:
    with limited(program) as server:
        yield Fuzzed(server)


def mutated(chance: random.Random, text: str) -> str:
    """A statement with something wrong in it."""
    tokens = TOKEN.findall(text)
    other = TOKEN.findall(chance.choice(STATEMENTS))
    for _ in range(chance.choice((1, 1, 1, 2, 3, 5))):
        at = chance.randrange(len(tokens)) if tokens else 0
        match chance.randrange(11):
            case 0:
                del tokens[at : at + chance.choice((1, 1, 2, 4))]
            case 1:
                tokens[at:at] = tokens[at : at + chance.choice((1, 2, 5))]
            case 2:
                to = chance.randrange(len(tokens) or 1)
                if tokens:
                    tokens[at], tokens[to] = tokens[to], tokens[at]
            case 3:
                tokens[at : at + 1] = [chance.choice(MORE)]
            case 4:
                tokens.insert(at, chance.choice(MORE))
            case 5:
                tokens = tokens[:at]
            case 6:
                start = chance.randrange(len(other))
                tokens[at:at] = other[start : start + chance.randrange(1, 8)]
            case 7:
                tokens = tokens[:at] + other[chance.randrange(len(other)) :]
            case 8:
                deep = chance.choice((1, 2, 8))
                opening, closing = chance.choice((("(", ")"), ("(SELECT * FROM (", ") t)"), ("[", "]"), ("NOT (", ")"), ("abs(", ")"), ("- ", "")))
                end = chance.randrange(at, len(tokens) + 1) if tokens else 0
                tokens[at:end] = [opening] * deep + tokens[at:end] + [closing] * deep
            case 9:
                tokens[at : at + 1] = ["(", chance.choice(STATEMENTS), ")"]
            case 10:
                tokens.insert(at, "".join(chr(chance.choice((0, 9, 39, 34, 96, 92, 0xA0, 0x202E, 0xFFFD, 0x1F600))) for _ in range(3)))
    return " ".join(tokens)


def varied(chance: random.Random, text: str) -> str:
    """A statement of the same shape: names, values and operators changed for others of their kind."""
    tokens = TOKEN.findall(text)
    kinds: list[list[str]] = [
        "k at x y a l m n ts w v c s t u f kind ingest_time sequence".split(),
        "NULL 0 1 -1 2 '' 'a' '2020-01-01' '2020-01-02T00:00:00Z' 1.5 true ? $1 now ( )".split(),
        "= <> < <= > >= + - * / % || AND OR".split() + ["IS DISTINCT FROM", "LIKE", "IN", "NOT IN"],
        "JOIN LEFT RIGHT FULL CROSS SEMI ANTI ASOF INNER NATURAL LATERAL".split(),
        [function for function in FUNCTIONS if function not in ("unnest", "map")],
    ]
    for _ in range(chance.choice((1, 2, 3))):
        at = chance.randrange(len(tokens))
        token = tokens[at]
        if token[0] in "'0123456789":
            tokens[at] = chance.choice(kinds[1])
        else:
            for kind in kinds:
                if token in kind:
                    tokens[at] = chance.choice(kind)
    return " ".join(tokens)


def called(chance: random.Random, depth: int = 2) -> str:
    """An expression of functions that take what they were not made for."""
    if depth == 0 or chance.random() < 0.2:
        return chance.choice(ARGUMENTS)
    arguments = [called(chance, depth - 1) for _ in range(chance.choice((0, 1, 1, 2, 2, 3, 4)))]
    call = f"{chance.choice(FUNCTIONS)}({', '.join(arguments)})"
    match chance.randrange(20):
        case 0:
            return f"{call} OVER (PARTITION BY {chance.choice(ARGUMENTS)} ORDER BY {chance.choice(ARGUMENTS)})"
        case 1:
            return f"{call} FILTER (WHERE {called(chance, depth - 1)})"
        case 2:
            return f"{call} WITHIN GROUP (ORDER BY {chance.choice(ARGUMENTS)})"
        case 3:
            kinds = ("BIGINT", "VARCHAR", "DOUBLE", "BIGINT[]", "DATE", "TIMESTAMP", "DECIMAL(10, 2)", "BYTEA", "INTERVAL")
            return f"CAST({call} AS {chance.choice(kinds)})"
        case 4:
            return f"{call} {chance.choice(('=', '<', '+', '-', '*', '/', '%', '||', '~', 'AND', 'IS DISTINCT FROM'))} {called(chance, depth - 1)}"
        case 5:
            return f"CASE WHEN {called(chance, depth - 1)} THEN {call} ELSE {chance.choice(ARGUMENTS)} END"
    return call


def query_of(chance: random.Random, expression: str) -> str:
    """A query that has `expression` at some place."""
    rows = chance.choice(("w", "v", "w LEFT JOIN v USING (k)", "history('w')", "as_of('v', now())", "s ASOF JOIN w ON s.k = w.k AND s.ts >= w.at"))
    return chance.choice(
        (
            f"SELECT {expression} AS z FROM {rows}",
            f"SELECT {expression}",
            f"SELECT 1 FROM {rows} WHERE {expression}",
            f"SELECT count(*) FROM {rows} GROUP BY {expression}",
            f"SELECT 1 FROM {rows} ORDER BY {expression} LIMIT 1",
            f"SELECT max({expression}) FROM {rows}",
            f"SELECT * FROM w JOIN v ON {expression}",
            f"SELECT x FROM as_of('w', {expression})",
            f"SELECT x FROM w FOR SYSTEM_TIME AS OF {expression}",
            f"INSERT INTO w (k, at, x) SELECT 9, '2020-01-01', {expression} FROM {rows}",
            f"DELETE FROM w WHERE k = {expression}",
        )
    )


def damaged(chance: random.Random, sound: bytes, other: bytes) -> bytes:
    """Bytes with something wrong in them."""
    data = bytearray(sound)
    match chance.randrange(6):
        case 0:
            for _ in range(chance.choice((1, 1, 2, 8))):
                if data:
                    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        case 1:
            del data[chance.randrange(len(data) + 1) :]
        case 2:
            at = chance.randrange(len(data) + 1)
            del data[at : at + chance.randrange(1, 9)]
        case 3:
            data = data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other) + 1) :]
        case 4:
            at = chance.randrange(len(data) + 1)
            data[at:at] = chance.randbytes(chance.randrange(1, 17))
        case 5:
            data = bytearray(chance.randbytes(chance.randrange(64)))
    return bytes(data)


def test_statements(fuzzed: Fuzzed) -> None:
    chance = random.Random(SEED)
    for number in range(CASES * 2 // 5):
        if number % 100 == 99:
            fuzzed.set_up()
        text = (varied if chance.random() < 0.6 else mutated)(chance, chance.choice(STATEMENTS))
        if chance.random() < 0.05:
            command = message("CommandStatementUpdate", field(1, text))
            fuzzed.tried(text, lambda: flight_sql.put(fuzzed.client, command, [], options()))
        elif chance.random() < 0.1:
            fuzzed.tried(text, lambda: flight_sql.prepare(fuzzed.client, text, options()))
        else:
            fuzzed.tried(text, lambda: flight_sql.run(fuzzed.client, flight_sql.query(text), options()))
    fuzzed.judge(CASES * 2 // 5)


def test_functions(fuzzed: Fuzzed) -> None:
    chance = random.Random(SEED + 2)
    for number in range(CASES * 2 // 5):
        if number % 100 == 99:
            fuzzed.set_up()
        text = query_of(chance, called(chance))
        fuzzed.tried(text, lambda: flight_sql.run(fuzzed.client, flight_sql.query(text), options()))
    fuzzed.judge(CASES * 2 // 5)


def test_handles_tickets_and_cookies(fuzzed: Fuzzed) -> None:
    chance = random.Random(SEED + 1)
    client = fuzzed.client
    prepared = lambda handle: message("CommandPreparedStatementQuery", field(1, handle))  # noqa: E731
    handles = [flight_sql.prepare(client, text, options()) for text, _ in PREPARED]
    batches = [pa.record_batch(values, [str(place) for place in range(len(values))]) for _, values in PREPARED]
    bound = []
    for handle, batch in zip(handles, batches, strict=True):
        back = flight_sql.put(client, prepared(handle), [batch], options())
        bound += [value for number, value in flight_sql.fields(back) if number == 1] or [handle]
    tickets = []
    for text in STATEMENTS[:18]:
        tickets += [endpoint.ticket.ticket for endpoint in flight_sql.info(client, flight_sql.query(text), options()).endpoints]
    tables = message("CommandGetTables", field(3, "%"), field(4, "TABLE"), field(5, True))
    tickets += [tables, message("CommandGetSqlInfo", field(1, 0)), message("CommandGetDbSchemas"), message("CommandGetXdbcTypeInfo")]
    ingest = message("CommandStatementIngest", field(1, field(1, 1) + field(2, 2)), field(2, "w"))
    cookie = COOKIE[1].replace(b"CgA", b"CgcIARACGgF4")
    for _ in range(CASES // 5):
        other = chance.choice(chance.choice((handles, bound, tickets)))
        match chance.randrange(8):
            case 0 | 1:
                ticket = damaged(chance, chance.choice(tickets), other)
                fuzzed.tried(ticket, lambda: flight_sql.get(fuzzed.client, ticket, options()))
            case 2:
                inside = damaged(chance, chance.choice(bound + handles), other)
                ticket = message("TicketStatementQuery", field(1, inside))
                fuzzed.tried(ticket, lambda: flight_sql.get(fuzzed.client, ticket, options()))
            case 3:
                command = prepared(damaged(chance, chance.choice(bound + handles), other))
                fuzzed.tried(command, lambda: flight_sql.run(fuzzed.client, command, options()))
            case 4:
                handle = chance.choice(handles) if chance.random() < 0.5 else damaged(chance, chance.choice(handles), other)
                batch = chance.choice(batches)
                name = chance.choice(("CommandPreparedStatementQuery", "CommandPreparedStatementUpdate"))
                command = message(name, field(1, handle))
                fuzzed.tried((command, batch), lambda: flight_sql.put(fuzzed.client, command, [batch], options()))
            case 5:
                command = damaged(chance, ingest, other) if chance.random() < 0.7 else ingest
                batch = chance.choice(batches)
                fuzzed.tried((command, batch), lambda: flight_sql.put(fuzzed.client, command, [batch], options()))
            case 6:
                body = damaged(chance, message("ActionCreatePreparedStatementRequest", field(1, chance.choice(STATEMENTS))), other)
                kinds = ("CreatePreparedStatement", "ClosePreparedStatement", "BeginTransaction", "CancelQuery", "CancelFlightInfo",
                         "SetSessionOptions", "GetSessionOptions", "CloseSession", "CreatePreparedSubstraitPlan")  # fmt: skip
                kind = chance.choice(kinds)
                fuzzed.tried((kind, body), lambda: list(fuzzed.client.do_action(flight.Action(kind, body), options())))
            case 7:
                value = damaged(chance, cookie, other).translate(None, bytes(range(32)) + bytes(range(127, 256)))
                command = flight_sql.query("SELECT count(*) FROM w")
                fuzzed.tried(value, lambda: flight_sql.run(fuzzed.client, command, options((b"cookie", value or b"a"))))
    fuzzed.judge(CASES // 10)


def chain(operator: str, term: str = "1", count: int = 10_000) -> str:
    return f"SELECT {operator.join([term] * count)}"


def series(written: str, count: int, between: str = ", ") -> str:
    """`written` with 0, 1, … for `#`, and the number before it for `@`."""
    return between.join(written.replace("#", str(number)).replace("@", str(number - 1)) for number in range(1, count))


KEYS, TEXTS = series("#", 60_000), series("'#'", 60_000)
AS_OF = "ASOF JOIN w w# MATCH_CONDITION (s.ts >= w#.at) ON s.k = w#.k"
TOO_MUCH = {
    # Chains, which are as deep as they are long.
    "sums": chain(" + "),
    "ands": "SELECT 1 WHERE " + " AND ".join(["true"] * 10_000),
    "ors": "SELECT k FROM w WHERE " + series("k = #", 20_000, " OR "),
    "concatenations": chain(" || ", "'a'"),
    "likes": chain(" LIKE ", "'a'"),
    "casts": "SELECT 1" + "::BIGINT" * 10_000,
    "tests for null": "SELECT 1" + " IS NULL" * 10_000,
    "ranges": "SELECT 1" + " BETWEEN 0 AND 1" * 5_000,
    "time zones": "SELECT at" + " AT TIME ZONE 'UTC'" * 5_000 + " FROM w",
    "subscripts": "SELECT l" + "[1]" * 10_000 + " FROM v",
    "dots": "SELECT " + ".".join(["a"] * 10_000),
    "negations": "SELECT " + "NOT " * 10_000 + "true",
    "negations in parentheses": f"SELECT {'NOT (' * 40}true{')' * 40}",
    "types of types": "SELECT CAST(1 AS BIGINT" + "[]" * 5_000 + ")",
    "structs of structs": "SELECT CAST(1 AS " + "STRUCT<a " * 2_000 + "BIGINT" + ">" * 2_000 + ")",
    "unions": " UNION ALL ".join(["SELECT 1"] * 20_000),
    "joins": "SELECT 1 FROM s t " + series("CROSS JOIN s t#", 1_000, " "),
    "as-of joins": "SELECT 1 FROM s " + series(AS_OF, 500, " "),
    "common table expressions": f"WITH c0 AS (SELECT 1 AS a), {series('c# AS (SELECT a FROM c@)', 2_000)} SELECT * FROM c1999",
    # Plans that double, and answers that are wide.
    "doublings": f"WITH c0 AS (SELECT 1 AS a), {series('c# AS (TABLE c@ UNION ALL TABLE c@)', 30)} SELECT count(*) FROM c29".replace(
        "TABLE", "SELECT * FROM"
    ),
    "columns": "SELECT " + series("1 AS c#", 60_000),
    "cases": "SELECT CASE " + "WHEN false THEN 1 " * 30_000 + "END",
    "arguments": "SELECT concat(" + series("'a'", 100_000) + ")",
    "values": "VALUES " + series("(1)", 150_000),
    "entities that are deleted": f"DELETE FROM c WHERE k IN ({KEYS}) AND m IN ({TEXTS})",
    "entities that are looked up": f"SELECT * FROM c WHERE k IN ({KEYS}) AND m IN ({TEXTS})",
    # Values that are made of nothing.
    "a long text": "SELECT length(repeat('x', 2000000000))",
    "a padded text": "SELECT length(lpad('x', 2000000000))",
    "another padded text": "SELECT length(rpad('x', 2000000000, 'yz'))",
    "a long list": "SELECT array_length(range(0, 10000000000))",
    "another long list": "SELECT array_length(generate_series(0, 9000000000000000000))",
    "rows out of nothing": "SELECT count(*) FROM unnest(range(0, 2000000000))",
    "a repeated value": "SELECT array_length(array_repeat('abcdefgh', 500000000))",
    "a resized list": "SELECT array_length(array_resize([1], 2000000000))",
    "a text that grows": "SELECT length(replace(repeat('x', 1000000), 'x', repeat('y', 100000)))",
    "texts of texts": f"SELECT length(concat({series('repeat(chr(64 + #), 500000000)', 6)}))",
    "a text for each row": "SELECT max(repeat(x, 100000000)) FROM w CROSS JOIN s CROSS JOIN s t CROSS JOIN s u",
    "a large expression": "SELECT regexp_count('x', '((((a{100}){100}){100}){100})')",
    # Rows that multiply.
    "a product of rows": "SELECT count(*) FROM " + series("s s#", 25),
    "a sort of many rows": f"SELECT * FROM {series('s s#', 13)} ORDER BY {series('s#.ts', 13)}",
}


@pytest.fixture(scope="module")
def sturdy(program: Any) -> Iterator[Fuzzed]:
    with Server(program, "--sql-query-time-max", "5s", preexec_fn=limit) as server:
        yield Fuzzed(server)


@pytest.mark.parametrize("title", TOO_MUCH)
def test_what_is_too_much_is_refused(sturdy: Fuzzed, title: str) -> None:
    """Or answered: within ten seconds, within bounded memory, and by a server that goes on."""
    sturdy.wrong.clear()
    text = TOO_MUCH[title]
    started = time.monotonic()
    sturdy.tried(text[:60], lambda: flight_sql.run(sturdy.client, flight_sql.query(text), options()))
    seconds = time.monotonic() - started
    assert not sturdy.wrong, f"after {seconds:.1f} s {sturdy.wrong[0]}"
    assert seconds < SECONDS
    assert sturdy.server.resident_bytes() < 1 << 30
    assert sturdy.tried("alive", lambda: flight_sql.run(sturdy.client, flight_sql.query("SELECT 1"), options())) is not None, sturdy.wrong
