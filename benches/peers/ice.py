"""The best Parquet of pyarrow of the same columns in the same order, against files of ice.

Started by the harness as `ice.py DIRECTORY`; answers each line, {"work": "size"}, with the bytes of the files of ice, of their cells,
and of what pyarrow makes of them: each column as the smaller of two settings, zstd 3, row groups of a million rows.
"""

import glob
import io
import json
import os
import sys

import pyarrow
import pyarrow.parquet as parquet


def plainly(kind):
    """How a column of that type is written without a dictionary."""
    if pyarrow.types.is_floating(kind):
        return "BYTE_STREAM_SPLIT"
    if pyarrow.types.is_integer(kind) or pyarrow.types.is_timestamp(kind):
        return "DELTA_BINARY_PACKED"
    return None


def smallest(table, name):
    """The bytes of the column alone, as the smaller of the two."""
    column = table.select([name])
    encoding = plainly(column.schema.field(0).type)
    settings = [{"use_dictionary": True}]
    if encoding:
        settings.append({"use_dictionary": False, "column_encoding": {name: encoding}})
    sizes = []
    for setting in settings:
        file = io.BytesIO()
        options = {"compression": "zstd", "compression_level": 3, "row_group_size": 1 << 20, "write_statistics": False}
        parquet.write_table(column, file, store_schema=False, **options, **setting)
        sizes.append(file.tell())
    return min(sizes)


def main():
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        sums = {"ice": 0, "cells": 0, "pyarrow": 0}
        for path in glob.glob(f"{sys.argv[1]}/**/*.parquet", recursive=True):
            file = parquet.ParquetFile(path)
            sums["ice"] += os.path.getsize(path)
            for group in range(file.metadata.num_row_groups):
                for place in range(file.metadata.num_columns):
                    column = file.metadata.row_group(group).column(place)
                    if column.path_in_schema.startswith("f") and column.path_in_schema[1:].isdigit():
                        sums["cells"] += column.total_compressed_size
            table = file.read()
            sums["pyarrow"] += sum(smallest(table, name) for name in table.column_names)
        print(json.dumps(sums), flush=True)


main()
