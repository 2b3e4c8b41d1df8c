"""Feast's point-in-time join over a Parquet file: its offline store that needs no other system.

Started by the harness as `feast_join.py DIRECTORY`; talks as joins.py does. The work is "join".
"""

import json
import sys
import time
from datetime import timedelta

import pandas
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float64
from feast.value_type import ValueType


def main():
    directory = sys.argv[1]
    config = RepoConfig(
        project="bench",
        provider="local",
        registry=f"{directory}/registry.db",
        online_store=None,
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    user = Entity(name="user", join_keys=["user"], value_type=ValueType.INT64)
    features = [f"f{number}" for number in range(10)]
    view = FeatureView(
        name="t",
        entities=[user],
        ttl=timedelta(days=36500),
        schema=[Field(name=feature, dtype=Float64) for feature in features],
        source=FileSource(path=f"{directory}/history.parquet", timestamp_field="at"),
    )
    store.apply([user, view])
    spine = pandas.read_parquet(f"{directory}/spine.parquet").rename(columns={"decided_at": "event_timestamp"})
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        joined = store.get_historical_features(entity_df=spine, features=[f"t:{feature}" for feature in features]).to_df()
        seconds = time.perf_counter() - started
        print(json.dumps({"seconds": seconds, "matched": int(joined["f0"].count())}), flush=True)


if __name__ == "__main__":
    main()
