"""Words of SQL as names of columns and tables: not quoted they work, or the error says that they must be quoted; quoted they
always work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flight_sql
import pyarrow as pa
import pyarrow.flight as flight
import pytest

# What sqlparser knows as a keyword and somebody calls a column, and what SQL reserves.
WORDS = """
    abs action all alter analyze and any array as asc asof at before begin between by case cast category change changes check
    class cluster code column comment condition constraint count create cross cube current current_date current_time
    current_timestamp current_user data date datetime day default delete desc describe distinct drop duration else end
    epoch escape event except exclude exists explain extract false fetch filter first float for foreign format from full
    function global grant group grouping groups having history hour id identity if in index inner insert int intersect
    interval into is item join json key language last lateral left length level like limit list local location lower map
    match max message min minus minute mode month name natural new next no not null nulls number object of off offset old
    on one only option or order other outer over owner parameter partition path percent period pivot plan point position
    power precision prepare primary procedure public qualify quarter query range rank real recursive references release
    rename replace result return returning right role rollup rows sample schema score second select semi server session set
    show similar size some sort source sql start state status string struct sum system_time table tablesample tag target temp
    text then time timestamp timezone to top total trim true truncate try type union unique unknown unnest until update url
    user using valid valid_time value values version view week when where window with within year zone
""".split()  # fmt: skip
# By the standard these are values wherever an expression may stand, and no column has their name unless it is quoted.
VALUES = {"current_date", "current_time", "current_timestamp", "null", "true", "false", "default", "current_user", "user"}
# Where a word stands for a column: the statement, and whether it answers the value of the column, which is its name.
COLUMNS = {
    "as a column": ("SELECT {} FROM words", True),
    "as a column of a table": ("SELECT words.{} FROM words", True),
    "as a column of an alias": ("SELECT t.{} FROM words t", True),
    "in a filter": ("SELECT k FROM words WHERE {} = 'x'", False),
    "in a filter with its table": ("SELECT k FROM words WHERE words.{} = 'x'", False),
    "in an order": ("SELECT k FROM words ORDER BY {}", False),
    "in a group": ("SELECT count(*) FROM words GROUP BY {}", False),
    "in a call": ("SELECT max({}) FROM words", True),
    "as an alias": ("SELECT k AS {} FROM words", False),
    "as a column of a subquery": ("SELECT {} FROM (SELECT {} FROM words) t", True),
    "as a name of a derived column": ("SELECT t.k FROM (SELECT k, x FROM words) AS t (k, {})", False),
    "in a condition of a join": ("SELECT a.k FROM words a JOIN words b ON a.{} = b.{}", False),
    "in a lookup": ("SELECT {} FROM as_of('words', '2021-01-01') WHERE k = 1", True),
    "in history": ("SELECT {} FROM history('words')", True),
}  # fmt: skip
TABLES = {
    "as an alias of a table": "SELECT k FROM words AS {}",
    "as an alias of a table without AS": "SELECT k FROM words {}",
    "as an alias that is named": "SELECT {}.k FROM words AS {}",
    "as a common table expression": "WITH {} AS (SELECT k FROM words) SELECT k FROM {}",
}  # fmt: skip


@pytest.fixture(scope="module")
def client(server: Any) -> Iterator[flight.FlightClient]:
    """A table that has each word as a feature with its name as its value."""
    with flight.FlightClient(server.url) as connected:
        columns = ", ".join(f'"{word}" VARCHAR' for word in WORDS)
        do(connected, f"CREATE TABLE words (k BIGINT PRIMARY KEY, moment TIMESTAMP NOT NULL, x VARCHAR, {columns}) "
                      "WITH (event_time = 'moment')")  # fmt: skip
        names = ", ".join(f'"{word}"' for word in WORDS)
        values = ", ".join(f"'{word}'" for word in WORDS)
        do(connected, f"INSERT INTO words (k, moment, x, {names}) VALUES (1, '2020-01-01', 'x', {values})")
        yield connected
        do(connected, "DROP TABLE words")


def do(client: flight.FlightClient, statement: str) -> list[Any] | None:
    """What a statement answers in its first column; none if it answers nothing."""
    table = flight_sql.run(client, flight_sql.query(statement))
    return None if table is None else table.column(0).to_pylist()


def refused(client: flight.FlightClient, statement: str) -> tuple[str, str] | None:
    """The code and the message, if it is refused."""
    try:
        do(client, statement)
    except (pa.ArrowException, flight.FlightError, OSError) as error:
        return flight_sql.code_of(error)
    return None


# A word that the parser takes for the beginning of something else is missed, and the error is about what does not follow.
UNHINTED_MAX = 20


def hinted(word: str, said: tuple[str, str]) -> bool:
    """Whether an error tells which word is to be quoted, and how."""
    code, message = said
    return code == "INVALID_ARGUMENT" and f'"{word}"' in message and "quote" in message


@pytest.mark.parametrize("place", COLUMNS)
def test_a_word_names_a_column(client: flight.FlightClient, place: str) -> None:
    written, is_value = COLUMNS[place]
    wrong: list[str] = []
    unhinted: list[str] = []
    for word in WORDS:
        quoted = written.replace("{}", f'"{word}"')
        answered = do(client, quoted)
        assert answered == [word] or not is_value, quoted
        plain = written.replace("{}", word)
        try:
            answered = do(client, plain)
        except (pa.ArrowException, flight.FlightError, OSError) as error:
            said = flight_sql.code_of(error)
            if said[0] not in ("INVALID_ARGUMENT", "UNIMPLEMENTED"):
                wrong.append(f"{plain}: {said}")
            if not hinted(word, said):
                unhinted.append(word)
            continue
        if is_value and answered != [word] and word not in VALUES:
            wrong.append(f"{plain} answers {answered}")
    assert not wrong, f"{len(wrong)} of {len(WORDS)} words:\n" + "\n".join(wrong)
    assert len(unhinted) <= UNHINTED_MAX, unhinted


@pytest.mark.parametrize("place", TABLES)
def test_a_word_names_a_table(client: flight.FlightClient, place: str) -> None:
    wrong = []
    for word in WORDS:
        assert do(client, TABLES[place].replace("{}", f'"{word}"')) == [1], word
        plain = TABLES[place].replace("{}", word)
        said = refused(client, plain)
        # The words that begin a clause after a table are no aliases, so what they begin is missed.
        if said is not None and not hinted(word, said):
            wrong.append(f"{plain}: {said}")
    assert len(wrong) <= UNHINTED_MAX, f"{len(wrong)} of {len(WORDS)} words:\n" + "\n".join(wrong)


def test_words_are_declared_and_written(client: flight.FlightClient) -> None:
    """CREATE, ALTER and INSERT take a word as DESCRIBE and SHOW CREATE TABLE say it."""
    wrong = []
    do(client, "CREATE TABLE declared (k BIGINT PRIMARY KEY, moment TIMESTAMP NOT NULL) WITH (event_time = 'moment')")
    for word in WORDS:
        for name in (f'"{word}"', word):
            statements = [
                f"ALTER TABLE declared ADD COLUMN {name} VARCHAR",
                f"INSERT INTO declared (k, moment, {name}) VALUES (1, '2020-01-01', 'x')",
                f"COMMENT ON COLUMN declared.{name} IS 'x'",
                f"ALTER TABLE declared DROP COLUMN {name}",
            ]
            for statement in statements:
                said = refused(client, statement)
                if said is not None and not hinted(word, said):
                    wrong.append(f"{statement}: {said}")
                if said is not None:
                    refused(client, f'ALTER TABLE declared DROP COLUMN "{word}"')
                    break
    do(client, "DROP TABLE declared")
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong)


def test_what_declares_a_table_of_words_declares_it_again(client: flight.FlightClient) -> None:
    (statement,) = do(client, "SHOW CREATE TABLE words") or []
    do(client, statement.replace('CREATE TABLE "words"', 'CREATE TABLE IF NOT EXISTS "words"'))
    assert do(client, "DESCRIBE words") == ["k", "moment", "x", *WORDS]
