"""Every bad statement is refused with its code and message, which says what is wrong, where, and what to write instead; and it
changes nothing.

The statements are in `sql_bad.json`, by what is wrong with them. `FIRN_RECORD=1 pytest tests/test_sql_bad.py` writes the messages
anew, and the difference is to be read like code. `says` are parts that a message must have; one that lacks them is not
recorded.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import flight_sql
import pyarrow as pa
import pyarrow.flight as flight
import pytest
import raw
from adbc_driver_manager import Error as AdbcError
from flight_sql import answer, connect, refusal
from server import Server
from test_bad_requests import without_the_clock

RECORD = os.environ.get("FIRN_RECORD") == "1"
FILE = pathlib.Path(__file__).with_name("sql_bad.json")
SECTIONS: dict[str, list[dict[str, Any]]] = json.loads(FILE.read_text())
CASES = [(title, case) for title, cases in SECTIONS.items() for case in cases]
# Statements that are too long for the file.
LONG = {
    "<parentheses, 500 deep>": f"SELECT {'(' * 500}1{')' * 500}",
    "<subqueries, 100 deep>": f"{'SELECT * FROM (' * 100}SELECT 1{') t' * 100}",
    "<a statement of two MiB>": f"SELECT '{'x' * (2 << 20)}'",
}
# Words of what FirnDB is made of, and of the native protocol: they tell nobody what to write.
MACHINERY = [
    "DataFusion", "datafusion.", "sqltorel", "Error during planning", "Internal error", "Physical plan", "Arrow error", "Parser error:",
    "Cast error:", "Compute error:", "Invalid argument error", "Ident {", "Span(", "Some(", "Field {", "Int64(", "Utf8(", "Timestamp(µs",
    "list_tables", "create_table", "list_entities", "create_entity", '"us"', "if_not_exists", "before sending",
    "Unsupported ast node", "<subquery>", "max_age =>",
]  # fmt: skip
SET_UP = [
    "CREATE TABLE w (k BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, x VARCHAR, y VARCHAR)",
    "CALL seal_table('w')",
    "INSERT INTO w VALUES (1, '1970-01-01T00:00:10Z', 'a', 'p')",
    "INSERT INTO w (k, at, x) VALUES (1, '1970-01-01T00:00:20Z', 'b')",
    "CREATE TABLE s (n BIGINT PRIMARY KEY, ts TIMESTAMP NOT NULL, k BIGINT)",
    "INSERT INTO s VALUES (1, '1970-01-01T00:00:09Z', 1), (2, '1970-01-01T00:00:15Z', 1)",
    "CREATE TABLE c (k BIGINT, m VARCHAR, at TIMESTAMP NOT NULL, x VARCHAR, PRIMARY KEY (k, m)) WITH (entity = 'pair')",
    "CALL seal_table('c')",
    "CREATE TABLE loading (k BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, x VARCHAR)",
]


class Guarded:
    """A server, and what was in it before the last statement."""

    def __init__(self, server: Server, connection: Any) -> None:
        self.server, self.connection = server, connection
        self.cursor = connection.cursor()
        for statement in SET_UP:
            self.cursor.execute(statement)
        self.before = self.state()

    def state(self) -> Any:
        """What is declared, and every row."""
        with raw.connect(self.server.url) as client:
            declared = [raw.action(client, name, {}) for name in ("list_tables", "list_entities")]
        tables = sorted(row[0] for row in answer(self.cursor, "SHOW TABLES"))
        rows = {table: sorted(map(repr, answer(self.cursor, f"SELECT * FROM history('{table}')"))) for table in tables}
        return declared, rows

    def by_text(self, statement: str) -> tuple[str, str] | None:
        """The code and the message of a statement that is sent as it is; none if it is not refused."""
        with raw.connect(self.server.url) as client:
            try:
                flight_sql.run(client, flight_sql.query(statement))
            except (pa.ArrowException, flight.FlightError, OSError) as error:
                code, message = flight_sql.code_of(error)
                return code, without_the_clock(message)
        return None

    def changed(self) -> bool:
        """Whether something is another than it was before; what is now is what the next statement finds."""
        before, self.before = self.before, self.state()
        return bool(before != self.before)

    def restore(self) -> None:
        """Makes all anew."""
        with raw.connect(self.server.url) as client:
            for table in raw.action(client, "list_tables", {})["tables"]:
                raw.action(client, "drop_table", {"table": table["table"]})
            for entity in raw.action(client, "list_entities", {})["entities"]:
                raw.action(client, "drop_entity", {"entity": entity["entity"]})
        for statement in SET_UP:
            self.cursor.execute(statement)
        self.before = self.state()


@pytest.fixture(scope="module")
def guarded(program: pathlib.Path) -> Iterator[Guarded]:
    with Server(program) as server, connect(server) as connection:
        yield Guarded(server, connection)
        assert server.process is not None and server.process.poll() is None, server.output()[-4000:]
        if RECORD:
            FILE.write_text(json.dumps(SECTIONS, indent=1, ensure_ascii=False) + "\n")


def title_of(case: dict[str, Any]) -> str:
    values = f" with {case['parameters']}" if "parameters" in case else ""
    return f"{case['statement']}{values}".replace("\n", " ")


@pytest.mark.parametrize(("section", "case"), CASES, ids=[f"{section}: {title_of(case)}" for section, case in CASES])
def test_refused(guarded: Guarded, section: str, case: dict[str, Any]) -> None:
    statement = LONG.get(case["statement"], case["statement"])
    values = case.get("parameters")
    try:
        code, message = refusal(guarded.connection, statement, values and tuple(values))
        by_text = guarded.by_text(statement) if values is None and statement not in LONG.values() else None
    finally:
        changed = guarded.changed()
        if changed:
            guarded.restore()
    assert not changed, f"it changed something: {statement}"
    message = without_the_clock(message)
    missing = [part for part in case.get("says", []) if part not in message]
    machinery = [word for word in MACHINERY if word in message and word not in statement]
    # The DBAPI of ADBC does not show what UNIMPLEMENTED says when a statement is prepared, so there it is INVALID_ARGUMENT.
    codes = {case["code"], "INVALID_ARGUMENT" if case["code"] == "UNIMPLEMENTED" else case["code"]}
    alike = by_text is None or by_text == (case["code"], message)
    if RECORD and code in codes and alike and not missing and not machinery:
        case["message"] = message
    elif RECORD:
        case.pop("message", None)
    assert code in codes, message
    assert alike, f"sent as it is, not prepared, it is refused with {by_text}"
    assert not missing, f"{missing} is not in: {message}"
    assert not machinery, f"{machinery} tells nobody what to write: {message}"
    assert message == case.get("message")


def test_the_statements_are_different_and_many() -> None:
    assert len({title_of(case) for _, case in CASES}) == len(CASES) >= 80


def test_an_update_is_refused_with_the_same_words(guarded: Guarded) -> None:
    with raw.connect(guarded.server.url) as client:
        for _, case in CASES:
            if not case["statement"].startswith(("INSERT", "DELETE", "CREATE", "ALTER", "DROP")) or "message" not in case or "parameters" in case:
                continue
            with pytest.raises((pa.ArrowException, flight.FlightError, OSError)) as caught:
                command = flight_sql.message("CommandStatementUpdate", flight_sql.field(1, case["statement"]))
                flight_sql.put(client, command, [])
            code, message = flight_sql.code_of(caught.value)
            assert (code, without_the_clock(message)) == (case["code"], case["message"]), case["statement"]
    assert not guarded.changed()


def test_a_cursor_goes_on_after_a_refusal(guarded: Guarded) -> None:
    with guarded.connection.cursor() as cursor:
        for _, case in CASES[::20]:
            try:
                answer(cursor, LONG.get(case["statement"], case["statement"]))
            except AdbcError:
                pass
            assert answer(cursor, "SELECT x FROM w WHERE k = ?", (1,)) == [("b",)]
    assert not guarded.changed()
