"""Feast's online store on Redis, as a service uses it: 50 float64 features of some thousand users.

Started by the harness as `feast_online.py REDIS_PORT USERS DIRECTORY`; talks as joins.py does. The work is "1" or "100",
the number of entities of a call.
"""

import json
import random
import sys
import time
from datetime import datetime, timedelta, timezone

import numpy
import pandas
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float64
from feast.value_type import ValueType

PORT, USERS, DIRECTORY = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
NAMES = [f"f{number}" for number in range(50)]


def store():
    config = RepoConfig(
        project="bench",
        provider="local",
        registry=f"{DIRECTORY}/online_registry.db",
        online_store={"type": "redis", "connection_string": f"127.0.0.1:{PORT}"},
        entity_key_serialization_version=3,
    )
    made = FeatureStore(config=config)
    user = Entity(name="user", join_keys=["user"], value_type=ValueType.INT64)
    rows = pandas.DataFrame(numpy.random.default_rng(1).random((USERS, 50)), columns=NAMES)
    rows.insert(0, "user", range(USERS))
    rows.insert(1, "at", datetime.now(timezone.utc))
    rows.to_parquet(f"{DIRECTORY}/online.parquet")
    view = FeatureView(
        name="t",
        entities=[user],
        ttl=timedelta(days=36500),
        schema=[Field(name=name, dtype=Float64) for name in NAMES],
        source=FileSource(path=f"{DIRECTORY}/online.parquet", timestamp_field="at"),
    )
    made.apply([user, view])
    made.write_to_online_store("t", rows)
    return made


def main():
    feast = store()
    features = [f"t:{name}" for name in NAMES]
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        count = int(json.loads(line)["work"])
        waits = []
        for _ in range(200 if USERS > 100 else 3):
            entities = [{"user": random.randrange(USERS)} for _ in range(count)]
            started = time.perf_counter()
            answer = feast.get_online_features(features=features, entity_rows=entities).to_dict()
            waits.append(time.perf_counter() - started)
            assert answer["f0"][0] is not None
        print(json.dumps({"seconds": sorted(waits)[len(waits) // 2]}), flush=True)


if __name__ == "__main__":
    main()
