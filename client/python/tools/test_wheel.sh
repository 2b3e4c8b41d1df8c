#!/usr/bin/env bash
# Tries the wheel as its users have it: installed alone into a clean environment, without an index and so without anything
# to compile, and then with the oldest and the newest libraries on every Python that is here.
#
#     tools/test_wheel.sh DIRECTORY        environments and the wheel are made in DIRECTORY; FIRN_BINARY names the server
set -euo pipefail
cd "$(dirname "$0")/.."
made="$(mkdir -p "$1" && cd "$1" && pwd)"

# Newer versions of a library may not be there for an older Python: pip takes the newest that is.
newest="numpy pandas polars pyarrow pytest gunicorn tqdm"
tests="tests/test_calls.py tests/test_containers.py tests/test_doors.py tests/test_round_trips.py"

python() { # VERSION: where it is, if it is; a shim may stand for one that is not chosen
    for found in "python$1" "$HOME"/.pyenv/versions/"$1".*/bin/python; do
        if "$found" -c '' 2>/dev/null; then echo "$found" && return; fi
    done
}

fresh() { # PYTHON NAME: a clean environment with the wheel alone
    rm -rf "$made/$2"
    "$1" -m venv "$made/$2"
    "$made/$2/bin/python" -m pip install --quiet --no-index "$made"/wheels/firndb-*.whl
}

run() { # NAME: the tests of data and calls against the installed wheel, which lies beside no source
    rm -rf "$made/tests" && cp -r tests "$made/tests" && cp pyproject.toml "$made/tests/.."
    (cd "$made" && "$made/$1/bin/python" -m pytest -q -p no:cacheprovider $tests \
        --deselect tests/test_doors.py::test_the_types_are_complete \
        --deselect tests/test_calls.py::test_the_asynchronous_client_is_made_from_the_synchronous_one)
}

rm -rf "$made/wheels"
maturin build --release --quiet --out "$made/wheels"
tried=0
for version in 3.10 3.11 3.12 3.13; do
    interpreter="$(python "$version")"
    [ -n "$interpreter" ] || continue
    fresh "$interpreter" "alone-$version"
    (cd "$made" && "$made/alone-$version/bin/python" -I -c "
import firndb
client = firndb.connect('127.0.0.1:1')
try:
    client.status()
except firndb.Unavailable as error:
    print('$version:', error)")
    tried=$((tried + 1))
done
[ "$tried" -gt 0 ] || { echo "no Python from 3.10 to 3.13 is here" >&2; exit 1; }
oldest="$(python 3.10)"
if [ -n "$oldest" ]; then
    fresh "$oldest" oldest
    "$made/oldest/bin/python" -m pip install --quiet -r requirements-oldest.txt
    run oldest
fi
for version in 3.13 3.12 3.11; do
    interpreter="$(python "$version")"
    [ -n "$interpreter" ] || continue
    fresh "$interpreter" newest
    "$made/newest/bin/python" -m pip install --quiet $newest
    run newest
    break
done
