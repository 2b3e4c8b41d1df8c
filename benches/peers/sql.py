"""Point queries through ADBC, as a program in Python makes them.

Started by the harness as `sql.py URL USERS`; answers each line, {"work": "select"} or {"work": "point"}, with the median
of the milliseconds of one query, from its parameters to its rows.
"""

import json
import statistics
import sys
import time

import adbc_driver_flightsql.dbapi
import pyarrow

CALLS = 500


def main():
    url, users = sys.argv[1], int(sys.argv[2])
    connection = adbc_driver_flightsql.dbapi.connect(url.replace("grpc://", "grpc+tcp://"), autocommit=True)
    statements = {"select": "SELECT 1", "point": 'SELECT * FROM t WHERE "user" = ?'}
    cursors = {}
    for work, statement in statements.items():
        cursors[work] = connection.cursor()
        cursors[work].adbc_prepare(statement)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        work = json.loads(line)["work"]
        cursor, waits = cursors[work], []
        for call in range(CALLS):
            user = pyarrow.array([call * 7919 % users], pyarrow.int64())
            parameters = pyarrow.record_batch([user], names=["user"]) if work == "point" else None
            started = time.perf_counter()
            cursor.execute(statements[work], parameters)
            cursor.fetch_arrow_table()
            waits.append(time.perf_counter() - started)
        print(json.dumps({"p50": statistics.median(waits) * 1000}), flush=True)


main()
