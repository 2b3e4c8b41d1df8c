//! Format 1 is frozen: files that were written in it are kept beside this one, and stay readable.
//!
//! `FIRN_WRITE_FROZEN=1 cargo test -p firn-storage frozen` writes them, once per format.

#![expect(clippy::disallowed_methods, reason = "the kept files are part of the tree")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeBinaryArray, Float32Array, Int16Array, Int32Array, Int64Array, StringArray};
use arrow_schema::DataType;
use roaring::RoaringBitmap;

use super::format::{Footer, SectionKind, TAIL_BYTES, read_tail};
use super::testing::{TestRow, disk, random, rows_of, run_of, sort};
use super::writer::SegmentWriter;
use super::{SegmentMeta, describe, file_name, open, open_rows, write_rows_part};
use crate::compaction::merge::{KeepAll, Merge};
use crate::io::Files;
use crate::rows::RowKind;

/// The files, and how their rows are made.
const FROZEN: [(&str, fn(i64) -> TestRow); 2] = [("1-dense.segment", dense), ("1-sparse.segment", sparse)];
const ROWS: i64 = 600;
/// The sparse rows with a section beside them that no FirnDB of format 1 knows and that none needs.
const OPTIONAL: &str = "1-optional.segment";
/// The rows part of the sparse file, with words in place of what describes the ice that has its cells.
const ROWS_PART: &str = "1-rows.segment";
const DESCRIPTION: &[u8] = b"what describes the ice";

/// One row per entity, each with every cell: a strip, wide values, and strings.
fn dense(at: i64) -> TestRow {
    let wide = FixedSizeBinaryArray::try_from_iter([[at as u8; 100]].into_iter()).expect("one value");
    let cells: [(u32, ArrayRef); 4] = [
        (1, Arc::new(Int64Array::from(vec![at * 1_000_003]))),
        (2, Arc::new(Float32Array::from(vec![at as f32 / 8.0]))),
        (3, Arc::new(wide)),
        (4, Arc::new(StringArray::from(vec![format!("value {at}")]))),
    ];
    row(at, 10 + at as u32, RowKind::Write, at as u32 + 70_000, cells.into())
}

/// Few entities that lie far apart, with row ids, tombstones, nulls, and cells that are not there.
fn sparse(at: i64) -> TestRow {
    let kind = match at % 17 {
        3 => RowKind::Delete,
        5 => RowKind::Retract,
        7 => RowKind::RetractCells,
        _ => RowKind::Write,
    };
    let mut cells: BTreeMap<u32, ArrayRef> = BTreeMap::new();
    if kind == RowKind::Write {
        cells.insert(1, Arc::new(Int64Array::from(vec![(at % 11 != 0).then_some(at)])));
        cells.insert(2, Arc::new(Int32Array::from(vec![at as i32 - 300])));
        if at % 3 == 0 {
            cells.insert(5, Arc::new(Int16Array::from(vec![(at % 2 == 0).then_some(at as i16)])));
        }
        if at % 4 == 1 {
            cells.insert(6, Arc::new(StringArray::from(vec![(at % 5 != 0).then(|| "é".repeat(at as usize % 7))])));
        }
    }
    let retracted = if kind == RowKind::RetractCells { vec![1, 5] } else { Vec::new() };
    let row_id = vec![b'r'; at as usize % 3];
    TestRow { row_id, retracted, ..row(at, (at as u32 % 40) * 1000, kind, at as u32 % 50, cells) }
}

fn row(at: i64, ordinal: u32, kind: RowKind, place: u32, cells: BTreeMap<u32, ArrayRef>) -> TestRow {
    let sequence = 1 + at as u64 / 50;
    let ingest_time = TestRow::ingested(sequence);
    let event_time = 1_600_000_000_000_000 + (at * 7_919) % 1_000;
    let (row_id, retracted) = (Vec::new(), Vec::new());
    TestRow { ordinal, event_time, row_id, sequence, ingest_time, place, kind, retracted, cells }
}

/// The rows of a frozen file.
fn rows(make: fn(i64) -> TestRow) -> Vec<TestRow> {
    let mut rows: Vec<TestRow> = (0..ROWS).map(make).collect();
    sort(&mut rows);
    rows
}

fn frozen(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/segment/golden").join(name)).expect("a kept file")
}

/// What is written of `rows` now.
fn written(rows: &[TestRow]) -> Vec<u8> {
    let run = Arc::new(run_of(rows, rows.iter().any(|row| !row.row_id.is_empty()), 1, &mut random(0)));
    let memory = disk();
    let files: Arc<dyn Files> = Arc::new(memory.clone());
    let mut types: BTreeMap<u32, DataType> = BTreeMap::new();
    rows.iter()
        .flat_map(|row| &row.cells)
        .for_each(|(feature, cell)| drop(types.insert(*feature, cell.data_type().clone())));
    let merge = Merge {
        files: &files,
        runs: &[run],
        erased: &RoaringBitmap::new(),
        filter: &KeepAll,
        types: &types.into_iter().collect::<Vec<_>>(),
        segment_rows_max: 1 << 20,
        segment_bytes_max: 1 << 30,
        next_number: &|| 7,
        throttle: &|_| {},
        cancelled: &|| false,
    };
    merge.run().expect("sound rows");
    memory.content(&file_name(7))
}

/// The footer of a segment.
fn footer_of(bytes: &[u8]) -> Footer {
    let tail = bytes.len() - TAIL_BYTES as usize;
    let (length, _) = read_tail(&bytes[tail..]).expect("a tail");
    let start = tail - length as usize;
    Footer::decode(&bytes[start..tail], start as u64).expect("a sound footer")
}

/// The segment in `bytes` as a newer FirnDB might have written it: with one more section, that may be left out.
fn with_hint(bytes: &[u8]) -> Vec<u8> {
    let footer = footer_of(bytes);
    let memory = disk();
    let files: Arc<dyn Files> = Arc::new(memory.clone());
    let written = crate::io::publish(&files, &file_name(7), |file| {
        let mut writer = SegmentWriter::new(file, 7, &|_| {});
        footer.features.iter().for_each(|(feature, data_type)| writer.feature(*feature, data_type.clone()));
        for sections in footer.sections.chunk_by(|left, right| left.offset == right.offset) {
            let first = sections[0];
            writer.begin(first.kind, first.feature)?;
            writer.append_bytes(&bytes[first.offset as usize..(first.offset + first.length) as usize])?;
            match first.kind {
                SectionKind::Strip => {
                    writer.end_strip(first.count, sections.iter().map(|section| (section.feature, section.aux)));
                }
                _ => writer.end(first.count, first.aux),
            }
        }
        writer.section(SectionKind::Hint, 0, &[1_u64, 2, 3])?;
        writer.finish(footer.meta, footer.steps).map(drop)
    });
    written.expect("a sound disk");
    memory.content(&file_name(7))
}

/// The rows of a segment, once it is verified.
fn read(bytes: &[u8]) -> Vec<TestRow> {
    let memory = disk();
    memory.plant(&file_name(7), bytes);
    let files: Arc<dyn Files> = Arc::new(memory);
    let meta: SegmentMeta = describe(&files, 7).expect("a sound file");
    let run = open(&files, &meta).expect("a sound file");
    super::verify(&run, &meta, u32::MAX).expect("a sound file");
    rows_of(&run).expect("a sound file")
}

#[test]
fn an_optional_section_that_nobody_knows_is_left_out() {
    let bytes = with_hint(&frozen("1-sparse.segment"));
    keep(OPTIONAL, &bytes);
    assert!(bytes == frozen(OPTIONAL), "another file is written");
    assert_eq!(footer_of(&bytes).sections.len(), footer_of(&frozen("1-sparse.segment")).sections.len());
    assert_eq!(read(&frozen(OPTIONAL)), rows(sparse));
}

#[test]
fn a_rows_part_is_its_segment_without_values() {
    let memory = disk();
    memory.plant(&file_name(7), &frozen("1-sparse.segment"));
    let files: Arc<dyn Files> = Arc::new(memory.clone());
    let segment = describe(&files, 7).expect("a sound file");
    let meta = write_rows_part(&files, &segment, 8, DESCRIPTION).expect("a sound file");
    keep(ROWS_PART, &memory.content(&file_name(8)));
    assert!(memory.content(&file_name(8)) == frozen(ROWS_PART), "another file is written");
    assert_eq!(
        SegmentMeta { number: 7, length: segment.length, footer_crc: segment.footer_crc, ..meta.clone() },
        segment
    );
    let run = open_rows(&files, &meta).expect("a sound file");
    super::verify(&run, &meta, u32::MAX).expect("a sound file");
    let without_cells = |row: TestRow| TestRow { cells: BTreeMap::new(), ..row };
    let expected: Vec<TestRow> = rows(sparse).into_iter().map(without_cells).collect();
    assert_eq!(rows_of(&run).expect("a sound file"), expected);
    let footer = footer_of(&frozen(ROWS_PART));
    assert!(footer.sections.iter().all(|section| section.away == section.kind.holds_cells()));
    assert!(open(&files, &meta).is_err(), "it is no segment by itself");
}

#[test]
fn what_format_1_wrote_is_read() {
    for (name, make) in FROZEN {
        assert_eq!(read(&frozen(name)), rows(make), "{name}");
    }
}

/// Writes a file into the tree if that is asked for.
fn keep(name: &str, bytes: &[u8]) {
    if std::env::var_os("FIRN_WRITE_FROZEN").is_some() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/segment/golden");
        std::fs::create_dir_all(&directory).expect("a directory of the tree");
        std::fs::write(directory.join(name), bytes).expect("a file of the tree");
    }
}

#[test]
fn format_1_is_what_is_written() {
    for (name, make) in FROZEN {
        let bytes = written(&rows(make));
        keep(name, &bytes);
        assert!(
            bytes == frozen(name),
            "{name}: another file is written; a new format needs a new number and a new file"
        );
    }
}

/// Every kind of section is in one of the files, so that none can change unseen.
#[test]
fn frozen_files_have_every_section() {
    let mut kinds = BTreeSet::new();
    for name in FROZEN.iter().map(|(name, _)| *name).chain([ROWS_PART]) {
        let footer = footer_of(&frozen(name));
        kinds.extend(footer.sections.iter().map(|section| section.kind));
    }
    assert_eq!(kinds, SectionKind::ALL.into_iter().collect());
}
