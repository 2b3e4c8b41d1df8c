//! A merge against a sort of all rows; every type there and back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, StringArray};
use arrow_cast::cast;
use arrow_schema::DataType;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use roaring::RoaringBitmap;

use super::*;
use crate::io::TEMPORARY;
use crate::io::simulated::Fault;
use crate::rows::RowKind;
use crate::segment::testing::{TestRow, disk, random, rows_of, run_of, sort};
use crate::segment::{open, samples};

/// A merge with the usual limits.
fn merge(
    files: &Arc<dyn Files>,
    runs: &[Arc<Run>],
    types: &[(u32, DataType)],
    rows_max: u32,
    erased: &RoaringBitmap,
    filter: &dyn RowFilter,
) -> Result<Vec<SegmentMeta>> {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let merge = Merge {
        files,
        runs,
        erased,
        filter,
        types,
        segment_rows_max: rows_max,
        segment_bytes_max: 1 << 30,
        next_number: &|| NUMBER.fetch_add(1, Ordering::Relaxed),
        throttle: &|_| {},
        cancelled: &|| false,
    };
    merge.run()
}

fn open_all(files: &Arc<dyn Files>, metas: &[SegmentMeta]) -> Vec<Arc<Run>> {
    metas.iter().map(|meta| Arc::new(open(files, meta).expect("a segment just written"))).collect()
}

fn read_all(runs: &[Arc<Run>]) -> Vec<TestRow> {
    runs.iter().flat_map(|run| rows_of(run).expect("a sound run")).collect()
}

fn in_memory() -> Arc<dyn Files> {
    Arc::new(disk())
}

/// Rows of which no two are equal in storage order.
fn random_rows(count: usize, row_ids: bool, features: &[(u32, ArrayRef)], random: &mut StdRng) -> Vec<TestRow> {
    let sparse: BTreeMap<u32, f64> =
        features.iter().map(|(feature, _)| (*feature, [0.0, 0.01, 0.5, 1.0][random.random_range(0..4)])).collect();
    let tombstones = random.random_bool(0.5);
    let mut taken = BTreeSet::new();
    let mut rows = Vec::new();
    while rows.len() < count {
        let sequence = random.random_range(1..40);
        let place = random.random_range(0..50);
        if !taken.insert((sequence, place)) {
            continue;
        }
        let kind = if tombstones && random.random_bool(0.2) {
            [RowKind::Delete, RowKind::Retract, RowKind::RetractCells][random.random_range(0..3)]
        } else {
            RowKind::Write
        };
        let mut cells = BTreeMap::new();
        for (feature, values) in features {
            if kind == RowKind::Write && !random.random_bool(sparse[feature]) {
                cells.insert(*feature, values.slice(random.random_range(0..values.len()), 1));
            }
        }
        rows.push(TestRow {
            ordinal: random.random_range(0..60) * random.random_range(1..3),
            event_time: random.random_range(-20..20),
            row_id: if row_ids { vec![b'r'; random.random_range(0..3)] } else { Vec::new() },
            sequence,
            ingest_time: TestRow::ingested(sequence),
            place,
            kind,
            retracted: if kind == RowKind::RetractCells { vec![1, 7] } else { Vec::new() },
            cells,
        });
    }
    sort(&mut rows);
    rows
}

/// Splits rows into runs, as commits would arrive in any order of the test's choosing.
fn split(rows: &[TestRow], into: usize, row_ids: bool, random: &mut StdRng) -> Vec<Arc<Run>> {
    let mut parts = vec![Vec::new(); into];
    rows.iter().for_each(|row| parts[random.random_range(0..into)].push(row.clone()));
    parts.retain(|part| !part.is_empty());
    let chunks = random.random_range(1..4);
    let mut runs: Vec<_> = parts.iter().map(|part| Arc::new(run_of(part, row_ids, chunks, random))).collect();
    runs.shuffle(random);
    runs
}

#[test]
fn every_type_comes_back_as_it_was() {
    let random = &mut random(1);
    for data_type in samples::types() {
        for _ in 0..6 {
            let features = [(3, samples::array(&data_type, 300, random))];
            let rows = random_rows(300, true, &features, random);
            let runs = split(&rows, 3, true, random);
            let files = in_memory();
            let types = [(3, data_type.clone())];
            let metas = merge(&files, &runs, &types, 1000, &RoaringBitmap::new(), &KeepAll).expect("sound runs");
            assert_eq!(read_all(&open_all(&files, &metas)), rows, "{data_type}");
        }
    }
}

struct DropOddPlaces<'a>(&'a [Arc<Run>]);

impl RowFilter for DropOddPlaces<'_> {
    fn keep(&self, ordinal: u32, rows: &[MergedRow], keep: &mut [bool]) -> Result<()> {
        for (row, keep) in rows.iter().zip(keep) {
            let of = &self.0[row.run as usize].rows;
            assert!(of.range(ordinal)?.contains(&row.row));
            *keep = of.places.of(row.row).is_multiple_of(2);
        }
        Ok(())
    }
}

#[test]
fn a_merge_is_a_sort() {
    for seed in 0..150 {
        let random = &mut random(seed);
        let all = samples::types();
        let features: Vec<(u32, ArrayRef)> = (0..4)
            .map(|feature| (feature * 5 + 1, samples::array(&all[random.random_range(0..all.len())], 50, random)))
            .collect();
        let mut types: Vec<(u32, DataType)> =
            features.iter().map(|(feature, values)| (*feature, values.data_type().clone())).collect();
        let row_ids = random.random_bool(0.5);
        let mut rows = random_rows(random.random_range(1..700), row_ids, &features, random);

        // Flush in parts, so that the merge finds memory and segments, then merge everything.
        let files = in_memory();
        let runs = split(&rows, 5, row_ids, random);
        let flushed = random.random_range(0..=runs.len());
        let rows_max = random.random_range(50..1000);
        let none = RoaringBitmap::new();
        let metas = merge(&files, &runs[..flushed], &types, rows_max, &none, &KeepAll).expect("sound runs");
        let mut runs = [open_all(&files, &metas), runs[flushed..].to_vec()].concat();
        runs.shuffle(random);

        let erased: RoaringBitmap = (0..random.random_range(0..10)).map(|_| random.random_range(0..60)).collect();
        let odd_stay = random.random_bool(0.5);
        let purged = random.random_bool(0.3).then(|| types.remove(0).0);
        let drop_odd = DropOddPlaces(&runs);
        let filter: &dyn RowFilter = if odd_stay { &KeepAll } else { &drop_odd };
        let metas = merge(&files, &runs, &types, rows_max, &erased, filter).expect("sound runs");

        rows.retain(|row| !erased.contains(row.ordinal) && (odd_stay || row.place % 2 == 0));
        rows.iter_mut().for_each(|row| row.cells.retain(|feature, _| Some(*feature) != purged));
        let merged = open_all(&files, &metas);
        assert_eq!(read_all(&merged), rows, "seed {seed}");
        assert_eq!(metas.len(), rows.len().div_ceil(rows_max as usize), "seed {seed}");
        for (meta, rows) in metas.iter().zip(rows.chunks(rows_max as usize)) {
            check_meta(meta, rows);
        }
    }
}

fn check_meta(meta: &SegmentMeta, rows: &[TestRow]) {
    let least_greatest = |of: fn(&TestRow) -> i64| (rows.iter().map(of).min(), rows.iter().map(of).max());
    assert_eq!(meta.rows as usize, rows.len());
    assert_eq!(meta.tombstones as usize, rows.iter().filter(|row| row.kind != RowKind::Write).count());
    let event_times = (Some(meta.event_time_min), Some(meta.event_time_max));
    assert_eq!(event_times, least_greatest(|row| row.event_time));
    let ingest_times = (Some(meta.ingest_time_min), Some(meta.ingest_time_max));
    assert_eq!(ingest_times, least_greatest(|row| row.ingest_time));
    let sequences = (Some(meta.sequence_min as i64), Some(meta.sequence_max as i64));
    assert_eq!(sequences, least_greatest(|row| row.sequence as i64));
    let ordinals = (Some(i64::from(meta.ordinal_min)), Some(i64::from(meta.ordinal_max)));
    assert_eq!(ordinals, least_greatest(|row| i64::from(row.ordinal)));
    let lead = |row: &TestRow| row.event_time - row.ingest_time;
    assert_eq!(Some(meta.lead_max), least_greatest(lead).1);
    let json = serde_json::to_string(meta).expect("plain numbers");
    assert_eq!(serde_json::from_str::<SegmentMeta>(&json).expect("what was just written"), *meta);
}

#[test]
fn older_runs_are_widened() {
    let random = &mut random(5);
    let pairs = [
        (DataType::Int32, DataType::Int64),
        (DataType::Float32, DataType::Float64),
        (DataType::Utf8, DataType::LargeUtf8),
    ];
    for (narrow, wide) in pairs {
        let features = [(1, samples::array(&narrow, 100, random))];
        let mut rows = random_rows(600, false, &features, random);
        rows.iter_mut().filter(|row| row.sequence > 20).for_each(|row| {
            row.cells.iter_mut().for_each(|(_, cell)| *cell = cast(cell, &wide).expect("widening"));
        });
        let (old, new): (Vec<_>, Vec<_>) = rows.iter().cloned().partition(|row| row.sequence <= 20);
        let files = in_memory();
        let none = RoaringBitmap::new();
        let old = split(&old, 2, false, random);
        let metas = merge(&files, &old, &[(1, narrow)], 1000, &none, &KeepAll).expect("sound runs");
        let runs = [open_all(&files, &metas), split(&new, 2, false, random)].concat();
        let metas = merge(&files, &runs, &[(1, wide.clone())], 250, &none, &KeepAll).expect("sound runs");
        rows.iter_mut().for_each(|row| {
            row.cells.iter_mut().for_each(|(_, cell)| *cell = cast(cell, &wide).expect("widening"));
        });
        assert_eq!(read_all(&open_all(&files, &metas)), rows, "{wide}");
    }
}

#[test]
fn many_stretches_and_blocks() {
    let count = 200_000u32;
    let random = &mut random(6);
    let strings: Vec<Option<String>> =
        (0..count).map(|row| (row % 7 != 0).then(|| format!("{row} {}", "x".repeat((row % 50) as usize)))).collect();
    let numbers: Vec<Option<i64>> =
        (0..count).map(|row| (row > 150_000 && row % 3 > 0).then_some(i64::from(row))).collect();
    let strings: ArrayRef = Arc::new(StringArray::from(strings));
    let numbers: ArrayRef = Arc::new(Int64Array::from(numbers));
    let rows: Vec<TestRow> = (0..count)
        .map(|row| (row, 1 + random.random_range(0..3)))
        .map(|(row, sequence)| TestRow {
            ordinal: row / 1000 * 3,
            event_time: -i64::from(row),
            row_id: Vec::new(),
            sequence,
            ingest_time: TestRow::ingested(sequence),
            place: row,
            kind: RowKind::Write,
            retracted: Vec::new(),
            cells: BTreeMap::new(),
        })
        .collect();
    let mut run = run_of(&rows, false, 1, random);
    run.chunks = vec![Arc::new(crate::run::Chunk {
        columns: vec![
            crate::column::Column::in_memory(1, Arc::clone(&strings), None),
            crate::column::Column::in_memory(2, Arc::clone(&numbers), None),
            crate::column::Column::in_memory(
                3,
                Arc::clone(&strings),
                numbers.nulls().map(|nulls| nulls.inner().clone()),
            ),
        ],
    })];
    let types = [(1, DataType::Utf8), (2, DataType::Int64), (3, DataType::Utf8)];
    let files = in_memory();
    let none = RoaringBitmap::new();
    let runs = [Arc::new(run)];
    let metas = merge(&files, &runs, &types, 1 << 20, &none, &KeepAll).expect("a sound run");
    let again = merge(&files, &open_all(&files, &metas), &types, 1 << 20, &none, &KeepAll).expect("sound runs");
    for metas in [metas, again] {
        let run = &open_all(&files, &metas)[0];
        let columns = &run.chunks[0].columns;
        assert_eq!(columns[0].values().expect("sound").as_ref(), strings.as_ref());
        assert_eq!(columns[1].values().expect("sound").as_ref(), numbers.as_ref());
        assert!(columns[0].locate(count - 1).0 > 3, "the strings fill several stretches");
        for row in (0..count).step_by(997) {
            let cell = crate::segment::testing::cell_of(&columns[2], row).expect("sound");
            let expected = numbers.is_valid(row as usize).then(|| strings.slice(row as usize, 1));
            assert_eq!(cell, expected);
        }
    }
}

#[test]
fn a_merge_that_stops_leaves_no_more_than_the_numbers_that_it_was_given() {
    let random = &mut random(7);
    let features = [(1, samples::array(&DataType::Utf8, 50, random))];
    let rows = random_rows(300, false, &features, random);
    let runs = split(&rows, 2, false, random);
    let memory = disk();
    let files: Arc<dyn Files> = Arc::new(memory.clone());
    let asked = AtomicU64::new(0);
    let numbers = AtomicU64::new(1);
    let merge = Merge {
        files: &files,
        runs: &runs,
        erased: &RoaringBitmap::new(),
        filter: &KeepAll,
        types: &[(1, DataType::Utf8)],
        segment_rows_max: 100,
        segment_bytes_max: 1 << 30,
        next_number: &|| numbers.fetch_add(1, Ordering::Relaxed),
        throttle: &|_| {},
        cancelled: &|| asked.fetch_add(1, Ordering::Relaxed) > 3,
    };
    assert_eq!(merge.run().expect_err("it was cancelled").kind(), Kind::Unavailable);
    let given = numbers.load(Ordering::Relaxed);
    assert!(given > 2, "it was stopped in the middle");
    let removable: Vec<String> = (1..given).map(file_name).collect();
    assert!(memory.names().iter().all(|name| removable.contains(&name.replace(TEMPORARY, ""))), "{:?}", memory.names());
}

#[test]
fn a_merge_survives_every_failed_call() {
    let random = &mut random(14);
    let features =
        [(1, samples::array(&DataType::Utf8, 50, random)), (2, samples::array(&DataType::Int64, 50, random))];
    let types: Vec<_> = features.iter().map(|(feature, of)| (*feature, of.data_type().clone())).collect();
    let rows = random_rows(250, true, &features, random);
    let none = RoaringBitmap::new();
    for fault in [Fault::NoSpace, Fault::Io, Fault::TooManyFiles, Fault::SyncLost] {
        let simulated = disk();
        let files: Arc<dyn Files> = Arc::new(simulated.clone());
        let flushed = split(&rows, 3, true, random);
        let metas = merge(&files, &flushed, &types, 100, &none, &KeepAll).expect("no call fails");
        let runs = open_all(&files, &metas);
        let before = simulated.names();
        let mut call = 1;
        loop {
            simulated.fail_call(call, fault);
            let merged = merge(&files, &runs, &types, 100, &none, &KeepAll);
            simulated.heal();
            match merged {
                Ok(metas) => {
                    assert_eq!(read_all(&open_all(&files, &metas)), rows);
                    break;
                }
                // What was begun has another number, and goes with those of the edit.
                Err(_) => {
                    let (left, begun): (Vec<_>, Vec<_>) =
                        simulated.names().into_iter().partition(|name| before.contains(name));
                    assert_eq!(left, before, "call {call}, {fault:?}");
                    begun.iter().for_each(|name| files.remove(name).expect("it is there"));
                }
            }
            call += 1;
        }
        assert!(call > 10);
    }
}

#[test]
fn nothing_kept_is_no_segment() {
    let random = &mut random(8);
    let rows = random_rows(50, false, &[], random);
    let runs = split(&rows, 1, false, random);
    let metas = merge(&in_memory(), &runs, &[], 100, &(0..200).collect(), &KeepAll).expect("sound runs");
    assert_eq!(metas, []);
}

#[test]
fn bytes_cut_segments() {
    let random = &mut random(9);
    let strings: ArrayRef = Arc::new(StringArray::from_iter_values((0..50).map(|_| "x".repeat(1000))));
    let mut rows = random_rows(400, false, &[(1, strings)], random);
    rows.retain(|row| row.kind == RowKind::Write);
    let runs = split(&rows, 1, false, random);
    let files = in_memory();
    let numbers = AtomicU64::new(1);
    let merge = Merge {
        files: &files,
        runs: &runs,
        erased: &RoaringBitmap::new(),
        filter: &KeepAll,
        types: &[(1, DataType::Utf8)],
        segment_rows_max: 1 << 20,
        segment_bytes_max: 100_000,
        next_number: &|| numbers.fetch_add(1, Ordering::Relaxed),
        throttle: &|_| {},
        cancelled: &|| false,
    };
    let metas = merge.run().expect("a sound run");
    assert!(metas.iter().all(|meta| meta.length < 130_000));
    assert_eq!(read_all(&open_all(&files, &metas)), rows);
}

/// What ten dense float64 features cost, everything included.
#[test]
fn bytes_per_row() {
    let count = 200_000u32;
    let random = &mut random(10);
    let mut rows = Vec::new();
    for row in 0..count {
        rows.push(TestRow {
            ordinal: row * 7,
            event_time: i64::from(row),
            row_id: Vec::new(),
            sequence: u64::from(row / 1000),
            ingest_time: TestRow::ingested(u64::from(row / 1000)),
            place: row % 1000,
            kind: RowKind::Write,
            retracted: Vec::new(),
            cells: BTreeMap::new(),
        });
    }
    let mut run = run_of(&rows, false, 1, random);
    let values: ArrayRef = Arc::new(Float64Array::from_iter_values((0..count).map(f64::from)));
    let column = |feature| crate::column::Column::in_memory(feature, Arc::clone(&values), None);
    run.chunks = vec![Arc::new(crate::run::Chunk { columns: (0..10).map(column).collect() })];
    let types: Vec<_> = (0..10).map(|feature| (feature, DataType::Float64)).collect();
    let metas =
        merge(&in_memory(), &[Arc::new(run)], &types, 1 << 20, &RoaringBitmap::new(), &KeepAll).expect("a sound run");
    let bytes = metas[0].length as f64 / f64::from(count);
    println!("10 float64 features, one row per entity: {bytes:.2} bytes per row");
    assert!(bytes <= 105.6, "{bytes}");
}
