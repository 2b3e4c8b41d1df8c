"""As-of joins with other systems: the newest row of each user at or before each row of the spine.

Started by the harness as `joins.py SYSTEM DIRECTORY`, where history.parquet and spine.parquet are. Loads and sorts
before it says that it is ready; then answers each line, {"work": "memory"} or {"work": "parquet"}, with the seconds of
one join, how many rows found something, and the sum of the first feature, so that the harness can compare answers.
"""

import json
import sys
import time


class Pandas:
    def __init__(self, history, spine):
        import pandas

        self.pandas, self.files = pandas, (history, spine)
        self.history, self.spine = self.load()

    def load(self):
        history, spine = (self.pandas.read_parquet(file) for file in self.files)
        return history.sort_values("at"), spine.sort_values("decided_at")

    def join(self, history, spine):
        return self.pandas.merge_asof(spine, history, left_on="decided_at", right_on="at", by="user")

    def memory(self):
        return self.join(self.history, self.spine)

    def parquet(self):
        return self.join(*self.load())

    def check(self, joined):
        return int(joined["f0"].count()), float(joined["f0"].sum())


class Polars:
    def __init__(self, history, spine):
        import polars

        self.polars, self.files = polars, (history, spine)
        self.history, self.spine = self.load()

    def load(self):
        history, spine = (self.polars.read_parquet(file) for file in self.files)
        return history.sort("at"), spine.sort("decided_at")

    def join(self, history, spine):
        return spine.join_asof(history, left_on="decided_at", right_on="at", by="user", check_sortedness=False)

    def memory(self):
        return self.join(self.history, self.spine)

    def parquet(self):
        return self.join(*self.load())

    def check(self, joined):
        return joined["f0"].count(), joined["f0"].sum()


class DuckDB:
    QUERY = """SELECT s.user, s.decided_at, h.* EXCLUDE ("user", "at")
        FROM {spine} s ASOF LEFT JOIN {history} h ON s.user = h.user AND s.decided_at >= h."at" """

    def __init__(self, history, spine):
        import duckdb

        self.database = duckdb.connect()
        self.database.execute("SET preserve_insertion_order = false")
        self.files = {"history": f"'{history}'", "spine": f"'{spine}'"}
        for table, file in self.files.items():
            self.database.execute(f"CREATE TABLE {table} AS SELECT * FROM {file}")

    def run(self, **tables):
        return self.database.sql(self.QUERY.format(**tables)).to_arrow_table()

    def memory(self):
        return self.run(history="history", spine="spine")

    def parquet(self):
        return self.run(**self.files)

    def averages(self):
        """The same join, of which only the averages leave the engine."""
        averages = ", ".join(f"avg(h.f{number})" for number in range(10))
        joined = f"""SELECT {averages} FROM spine s ASOF LEFT JOIN history h
            ON s.user = h.user AND s.decided_at >= h."at" """
        return self.database.sql(joined).fetchall()

    def check(self, joined):
        import pyarrow.compute

        if isinstance(joined, list):
            return 1, joined[0][0]
        column = joined.column("f0")
        return len(column) - column.null_count, pyarrow.compute.sum(column).as_py()


class ClickHouse:
    """chdb. The answer is thrown away where it is made, which is faster than anything that keeps it."""

    QUERY = """SELECT {what} FROM {spine} AS s ASOF LEFT JOIN {history} AS h
        ON s.user = h.user AND s.decided_at >= h.at {settings} FORMAT {form}"""

    def __init__(self, history, spine):
        from chdb import session

        self.session = session.Session()
        self.session.query("CREATE DATABASE b ENGINE = Atomic")
        self.files = {"history": f"file('{history}', Parquet)", "spine": f"file('{spine}', Parquet)"}
        for table, file in self.files.items():
            self.session.query(f"CREATE TABLE b.{table} ENGINE = Memory AS SELECT * FROM {file}")
        features = [f"h.f{number}" for number in range(10)]
        self.columns = ", ".join(["s.user", "s.decided_at", *features])

    def run(self, what, form, **tables):
        settings = "SETTINGS join_use_nulls = 1"
        return self.session.query(self.QUERY.format(what=what, form=form, settings=settings, **tables))

    def memory(self):
        self.run(self.columns, "Null", history="b.history", spine="b.spine")

    def parquet(self):
        self.run(self.columns, "Null", **self.files)

    def check(self, _):
        answer = self.run("count(h.f0), sum(h.f0)", "TSV", history="b.history", spine="b.spine")
        matched, total = str(answer).split()
        return int(matched), float(total)


SYSTEMS = {"pandas": Pandas, "Polars": Polars, "DuckDB": DuckDB, "ClickHouse": ClickHouse}


def main():
    name, directory = sys.argv[1:]
    system = SYSTEMS[name](f"{directory}/history.parquet", f"{directory}/spine.parquet")
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        work = getattr(system, json.loads(line)["work"])
        started = time.perf_counter()
        joined = work()
        seconds = time.perf_counter() - started
        matched, total = system.check(joined)
        del joined
        print(json.dumps({"seconds": seconds, "matched": matched, "sum": total}), flush=True)


if __name__ == "__main__":
    main()
