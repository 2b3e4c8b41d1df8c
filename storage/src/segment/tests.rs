//! Damage is an error and never a wrong answer or a panic; directories; what a newer FirnDB may add.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array};
use arrow_schema::DataType;
use rand::Rng;
use rand::rngs::StdRng;
use roaring::RoaringBitmap;

use super::directory::Directory;
use super::format::{SectionKind, TAIL_BYTES, read_tail, tail};
use super::testing::{TestRow, disk, random, rows_of, run_of, sort};
use super::*;
use crate::checksum::{checksum, checksum64};
use crate::compaction::merge::{KeepAll, Merge};
use crate::error::{Kind, Result};
use crate::io::Files;
use crate::io::simulated::Simulated;
use crate::rows::RowKind;
use crate::run::Run;
use crate::segment::checks::{BLOCK_BYTES, Checks};

/// A small segment with a bit of everything.
struct Small {
    memory: Simulated,
    files: Arc<dyn Files>,
    meta: SegmentMeta,
    rows: Vec<TestRow>,
    bytes: Vec<u8>,
}

impl Small {
    fn new(row_count: u32, types: &[DataType], ordinals: u32) -> Self {
        let random = &mut random(11);
        let types: Vec<(u32, DataType)> = (1..).zip(types.iter().cloned()).collect();
        let values: Vec<(u32, ArrayRef)> =
            types.iter().map(|(feature, of)| (*feature, samples::array(of, 20, random))).collect();
        let mut rows: Vec<TestRow> = (0..row_count).map(|row| random_row(row, ordinals, &values, random)).collect();
        sort(&mut rows);
        let run = Arc::new(run_of(&rows, true, 1, random));
        let memory = disk();
        let files: Arc<dyn Files> = Arc::new(memory.clone());
        let merge = Merge {
            files: &files,
            runs: &[run],
            erased: &RoaringBitmap::new(),
            filter: &KeepAll,
            types: &types,
            segment_rows_max: 1 << 20,
            segment_bytes_max: 1 << 30,
            next_number: &|| 7,
            throttle: &|_| {},
            cancelled: &|| false,
        };
        let meta = merge.run().expect("a sound run").remove(0);
        let bytes = memory.content(&file_name(7));
        assert_eq!(bytes.len() as u64, meta.length);
        Self { memory, files, meta, rows, bytes }
    }

    /// What is read of the file if it has these bytes.
    fn read(&self, bytes: &[u8], meta: &SegmentMeta) -> Result<Vec<TestRow>> {
        self.memory.plant(&file_name(7), bytes);
        let run = open(&self.files, meta)?;
        read(&run)
    }

    /// The bytes with all checksums made right again, and a manifest entry that agrees with them.
    fn resealed(&self, mut bytes: Vec<u8>, footer: Option<Vec<u8>>) -> (Vec<u8>, SegmentMeta) {
        let footer_start = self.footer_start();
        let end = bytes.len() - TAIL_BYTES as usize;
        let mut footer = footer.unwrap_or_else(|| bytes[footer_start..end].to_vec());
        let blocks = bytes[..footer_start].chunks(BLOCK_BYTES as usize).map(checksum);
        let table: Vec<u8> = blocks.flat_map(u32::to_le_bytes).collect();
        let at = footer.len() - table.len();
        footer[at..].copy_from_slice(&table);
        bytes.truncate(footer_start);
        bytes.extend_from_slice(&footer);
        let footer_crc = checksum64(&footer);
        bytes.extend_from_slice(&tail(footer.len() as u64, footer_crc));
        let meta = SegmentMeta { footer_crc, length: bytes.len() as u64, ..self.meta.clone() };
        (bytes, meta)
    }

    fn footer_start(&self) -> usize {
        let end = self.bytes.len() - TAIL_BYTES as usize;
        end - read_tail(&self.bytes[end..]).expect("a tail").0 as usize
    }
}

fn random_row(row: u32, ordinals: u32, values: &[(u32, ArrayRef)], random: &mut StdRng) -> TestRow {
    let kind = match row % 9 {
        6 => RowKind::Delete,
        7 => RowKind::RetractCells,
        _ => RowKind::Write,
    };
    let mut cells = BTreeMap::new();
    for (feature, values) in values {
        // Every other feature is dense.
        if kind == RowKind::Write && (feature % 2 == 0 || random.random_bool(0.6)) {
            cells.insert(*feature, values.slice(random.random_range(0..values.len()), 1));
        }
    }
    TestRow {
        ordinal: random.random_range(0..ordinals),
        event_time: random.random_range(-9..9),
        row_id: vec![b'i'; random.random_range(0..3)],
        sequence: 1 + u64::from(row / 4),
        ingest_time: TestRow::ingested(1 + u64::from(row / 4)),
        place: row,
        kind,
        retracted: if kind == RowKind::RetractCells { vec![1, 3] } else { Vec::new() },
        cells,
    }
}

fn read(run: &Run) -> Result<Vec<TestRow>> {
    let rows = rows_of(run)?;
    run.chunks.iter().flat_map(|chunk| &chunk.columns).try_for_each(crate::column::Column::verify)?;
    for ordinal in 0..run.rows.directory.last().saturating_add(2).min(5000) {
        run.rows.range(ordinal)?;
    }
    Ok(rows)
}

fn few_types() -> Vec<DataType> {
    let all = samples::types();
    let chosen = |name: &str| all.iter().find(|of| of.to_string().starts_with(name)).expect("a sample type").clone();
    ["Int64", "Float32", "Utf8", "Boolean", "FixedSizeList", "List", "Dictionary"].into_iter().map(chosen).collect()
}

#[test]
fn every_flipped_byte_is_found() {
    let small = Small::new(40, &few_types(), 30);
    assert_eq!(small.read(&small.bytes, &small.meta).expect("a sound file"), small.rows);
    let mut bytes = small.bytes.clone();
    for at in 0..bytes.len() {
        for mask in [0xff, 1 << (at % 8)] {
            bytes[at] ^= mask;
            match small.read(&bytes, &small.meta) {
                Err(error) => assert_eq!(error.kind(), Kind::Corrupt, "byte {at}: {error}"),
                Ok(rows) => assert_eq!(rows, small.rows, "byte {at}"),
            }
            bytes[at] ^= mask;
        }
    }
}

#[test]
fn every_truncation_is_found() {
    let small = Small::new(40, &few_types(), 30);
    for length in 0..small.bytes.len() {
        let error = small.read(&small.bytes[..length], &small.meta).expect_err("a short file");
        assert_eq!(error.kind(), Kind::Corrupt);
        // Even if the length is believed.
        let meta = SegmentMeta { length: length as u64, ..small.meta.clone() };
        let error = small.read(&small.bytes[..length], &meta).expect_err("a short file");
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(describe(&small.files, 7).is_err());
    }
    small.memory.plant(&file_name(7), &small.bytes);
    assert_eq!(describe(&small.files, 7).expect("a whole file"), small.meta);
    small.memory.plant(&file_name(8), &small.bytes);
    assert_eq!(describe(&small.files, 8).expect_err("a renamed file").kind(), Kind::Corrupt);
}

/// Bytes that check but make no sense are an error too, or an answer, but never a panic.
#[test]
fn nonsense_does_not_panic() {
    let small = Small::new(40, &few_types(), 30);
    let random = &mut random(12);
    for round in 0..8_000 {
        let mut bytes = small.bytes.clone();
        let end = bytes.len() - TAIL_BYTES as usize;
        let at = if round % 2 == 0 {
            random.random_range(small.footer_start()..end)
        } else {
            random.random_range(64..small.footer_start())
        };
        bytes[at] = match random.random_range(0..3) {
            0 => random.random(),
            1 => bytes[at].wrapping_add(1),
            _ => 0xff,
        };
        let (bytes, meta) = small.resealed(bytes, None);
        small.memory.plant(&file_name(7), &bytes);
        let meta = describe(&small.files, 7).unwrap_or(meta);
        if let Err(error) = small.read(&bytes, &meta) {
            assert!(matches!(error.kind(), Kind::Corrupt | Kind::Precondition), "byte {at}: {error:?}");
        }
    }
}

/// Found by fuzzing: Arrow panics at the numbers of types that it does not know.
#[test]
fn a_type_that_does_not_exist_is_damage() {
    let small = Small::new(4, &few_types(), 3);
    let schema = small.footer_start() + 100 + 40 * section_count(&small);
    let mut unknown = 0;
    for at in schema..small.bytes.len() - TAIL_BYTES as usize {
        let mut bytes = small.bytes.clone();
        bytes[at] = 0xfd;
        let (bytes, meta) = small.resealed(bytes, None);
        if let Err(error) = small.read(&bytes, &meta) {
            assert_eq!(error.kind(), Kind::Corrupt, "byte {at}: {error:?}");
            unknown += u32::from(error.message().contains("a type that does not exist"));
        }
    }
    assert!(unknown > 0, "some byte of the schema is the number of a type");
}

/// Found by fuzzing: a merge takes for granted that sequences and ingest times grow together, and stopped the process.
#[test]
fn commits_out_of_order_are_damage() {
    let small = Small::new(40, &few_types(), 30);
    let footer = super::format::Footer::decode(
        &small.bytes[small.footer_start()..small.bytes.len() - TAIL_BYTES as usize],
        small.footer_start() as u64,
    );
    let footer = footer.expect("a sound footer");
    for kind in [SectionKind::StepSequences, SectionKind::StepIngestTimes] {
        let section = footer.sections.iter().find(|section| section.kind == kind).expect("there are commits");
        let (first, last) = (section.offset as usize, (section.offset + section.length) as usize - 8);
        let mut bytes = small.bytes.clone();
        bytes[first..first + 8].copy_from_slice(&small.bytes[last..last + 8]);
        bytes[last..last + 8].copy_from_slice(&small.bytes[first..first + 8]);
        let (bytes, meta) = small.resealed(bytes, None);
        let error = small.read(&bytes, &meta).expect_err("the commits are out of order");
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.message().contains("out of order"), "{error}");
    }
}

fn section_count(small: &Small) -> usize {
    let at = small.footer_start() + 96;
    u32::from_le_bytes(small.bytes[at..at + 4].try_into().expect("four bytes")) as usize
}

#[test]
fn unknown_sections() {
    let small = Small::new(40, &few_types(), 30);
    let start = small.footer_start();
    let with_section = |kind: u16, version: u16, flags: u32| {
        let mut footer = small.bytes[start..small.bytes.len() - TAIL_BYTES as usize].to_vec();
        footer[96..100].copy_from_slice(&(section_count(&small) as u32 + 1).to_le_bytes());
        let mut section = Vec::new();
        section.extend_from_slice(&kind.to_le_bytes());
        section.extend_from_slice(&version.to_le_bytes());
        section.extend_from_slice(&flags.to_le_bytes());
        section.resize(40, 0);
        footer.splice(100..100, section);
        let (bytes, meta) = small.resealed(small.bytes.clone(), Some(footer));
        small.read(&bytes, &meta)
    };
    assert_eq!(with_section(999, 0, 0).expect("it may be skipped"), small.rows);
    assert_eq!(with_section(5, 9, 0).expect("it may be skipped"), small.rows);
    for error in [with_section(999, 0, 1), with_section(5, 9, 1)] {
        let error = error.expect_err("it is required");
        assert_eq!(error.kind(), Kind::Precondition);
        assert!(error.message().contains("newer"), "{error}");
    }
}

/// Damage in one column, or in the strip that it shares, is found by those who read it, and by a scrub.
#[test]
fn damage_is_found_at_first_touch() {
    let types = [DataType::FixedSizeBinary(100), DataType::Int64, DataType::Utf8, DataType::Int32];
    let small = Small::new(30_000, &types, 20_000);
    let mut footer = format::Footer::decode(
        &small.bytes[small.footer_start()..small.bytes.len() - TAIL_BYTES as usize],
        small.footer_start() as u64,
    )
    .expect("a sound footer");
    assert!(footer.sort_sections());
    for (kind, feature, damaged) in
        [(format::SectionKind::Strip, 4, &[2, 4][..]), (format::SectionKind::Values, 1, &[1][..])]
    {
        let values = footer.section(kind, feature).expect("the feature has values");
        assert!(values.length > 2 * BLOCK_BYTES);
        let mut bytes = small.bytes.clone();
        bytes[(values.offset + values.length / 2) as usize] ^= 1;
        small.memory.plant(&file_name(7), &bytes);
        let run = open(&small.files, &small.meta).expect("opening touches no column");
        for feature in 1..=4 {
            let column = run.chunks[0].column(feature).expect("a column");
            if !damaged.contains(&feature) {
                column.verify().expect("another column");
                continue;
            }
            column.check(0).expect("another block");
            for error in [
                column.check(values.count / 2).expect_err("a damaged block"),
                column.take(&[0, values.count / 2]).expect_err("a damaged block"),
            ] {
                assert_eq!(error.kind(), Kind::Corrupt);
                assert!(error.message().contains("segments/00000000000000000007.segment"), "{error}");
            }
            column.verify().expect_err("a damaged block");
        }
        let checks = run.rows.checks.as_ref().expect("a mapped run");
        checks.rows(0..run.rows.len()).expect("other sections");
        checks.all().expect_err("a damaged block");
    }
}

#[test]
fn directories_equal_a_map() {
    for seed in 0..300 {
        let random = &mut random(seed);
        let spread = [1, 3, 40, 1000][random.random_range(0..4)];
        let count = random.random_range(0..3000);
        let mut ordinals: Vec<u32> = (0..count).map(|_| 5 + random.random_range(0..=count * spread)).collect();
        ordinals.sort_unstable();
        let directory = Directory::from_sorted_ordinals(&ordinals);
        let mut expected: BTreeMap<u32, std::ops::Range<u32>> = BTreeMap::new();
        for (row, &ordinal) in ordinals.iter().enumerate() {
            expected.entry(ordinal).or_insert(row as u32..row as u32).end = row as u32 + 1;
        }
        assert_eq!(directory.entities() as usize, expected.len());
        assert_eq!(directory.first(), ordinals.first().copied().unwrap_or(0));
        assert_eq!(directory.last(), ordinals.last().copied().unwrap_or(0));
        let pairs: Vec<_> = expected.iter().map(|(ordinal, rows)| (*ordinal, rows.clone())).collect();
        assert_eq!(directory.iter().collect::<Vec<_>>(), pairs);
        let mut hint = directory::Hint::default();
        let mut asked = 0;
        while asked < 10 + count * spread {
            let rows = expected.get(&asked).cloned().unwrap_or(0..0);
            assert_eq!(directory.range(asked, None).expect("in memory"), rows);
            assert_eq!(hinted(&directory, &mut hint, asked, None), rows);
            asked += 1 + random.random_range(0..=count * spread / 200);
        }
        // A hint that is too far ahead costs time, not the answer.
        for (ordinal, rows) in pairs.into_iter().rev() {
            assert_eq!(hinted(&directory, &mut hint, ordinal, None), rows);
        }
    }
}

/// The rows of `ordinal`, sought from `hint`.
fn hinted(
    directory: &Directory,
    hint: &mut directory::Hint,
    ordinal: u32,
    checks: Option<&Checks>,
) -> std::ops::Range<u32> {
    let entity = directory.entity_from(hint, ordinal, checks).expect("a sound directory");
    entity.map_or(0..0, |entity| directory.rows_of(entity as usize, checks).expect("a sound directory"))
}

/// Both forms of the directory, in memory and mapped, are met by these tests.
#[test]
fn both_directories_are_mapped() {
    for (rows, ordinals) in [(2000, 2100), (2000, 2_000_000)] {
        let small = Small::new(rows, &[DataType::Int64], ordinals);
        let run = open(&small.files, &small.meta).expect("a sound file");
        let bitmap = matches!(run.rows.directory.parts().0, directory::Ordinals::Bitmap { .. });
        assert_eq!(bitmap, ordinals == 2100);
        let mut hint = directory::Hint::default();
        let checks = run.rows.checks.as_ref();
        for row in &small.rows {
            let range = hinted(&run.rows.directory, &mut hint, row.ordinal, checks);
            assert_eq!(range, run.rows.range(row.ordinal).expect("a sound file"));
            assert!(range.clone().any(|at| run.rows.places.of(at) == row.place));
        }
        assert_eq!(read(&run).expect("a sound file"), small.rows);
    }
}

#[test]
fn values_by_position_in_memory() {
    let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3), Some(4)]).slice(1, 3));
    let present = [true, false, true].into_iter().collect();
    let column = crate::column::Column::in_memory(4, values, Some(present));
    assert!(!column.is_dense());
    assert_eq!(column.position(1).expect("in memory"), None);
    assert_eq!(column.position(2).expect("in memory"), Some(2));
    let fixed = column.fixed().expect("int64 has a fixed width");
    assert_eq!((fixed.width, &fixed.bytes[16..]), (8, &4i64.to_le_bytes()[..]));
    assert!(fixed.nulls.is_some_and(|nulls| nulls.is_null(0) && !nulls.is_null(2)));
}
