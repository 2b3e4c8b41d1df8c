//! What is written comes back bit for bit, from the bytes that were asked for and no others, or is an error.

#![expect(clippy::unwrap_used, reason = "a test may stop at what must not happen")]
#![allow(missing_docs, reason = "a test binary: nothing uses it but itself")]

use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::{FixedSizeListBuilder, Float32Builder};
use arrow_array::*;
use arrow_cast::cast;
use arrow_schema::{DataType, TimeUnit};
use arrow_select::concat::concat;
use bytes::Bytes;
use firn_ice::{ColumnSpec, Encodings, Error, Meta, Options, Reader, Writer, Written, merge_ranges};
use half::f16;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A column of each type that is stored, with nulls, the ends of each type, and what floats have beside numbers.
fn columns(rows: usize, random: &mut StdRng) -> Vec<ArrayRef> {
    let numbers: Vec<Option<i64>> = (0..rows)
        .map(|row| match random.random_range(0..10) {
            0 => None,
            1 => Some(i64::MIN),
            2 => Some(i64::MAX),
            3..6 => Some(random.random()),
            _ => Some(row as i64 / 7),
        })
        .collect();
    let wrapped = |to: fn(i64) -> i64| numbers.iter().map(|n| n.map(to)).collect::<Int64Array>();
    let doubles: Float64Array = numbers.iter().map(|n| n.map(|n| f64::from_bits(n as u64))).collect();
    let texts: StringArray =
        numbers.iter().map(|n| n.map(|n| "words ".repeat((n.unsigned_abs() % 5) as usize) + &n.to_string())).collect();
    let mut embeddings = FixedSizeListBuilder::new(Float32Builder::new(), 3);
    for number in &numbers {
        (0..3).for_each(|place| embeddings.values().append_value(number.unwrap_or(0).wrapping_add(place) as f32));
        embeddings.append(number.is_some());
    }
    let lists = ListArray::from_iter_primitive::<types::UInt8Type, _, _>(
        numbers.iter().map(|n| n.map(|n| (0..n.unsigned_abs() % 4).map(|at| (at > 0).then_some(at as u8)))),
    );
    vec![
        Arc::new(numbers.iter().map(|n| n.map(|n| n & 1 == 1)).collect::<BooleanArray>()),
        Arc::new(wrapped(|n| i64::from(n as i8)).iter().map(|n| n.map(|n| n as i8)).collect::<Int8Array>()),
        Arc::new(numbers.iter().map(|n| n.map(|n| n as u8)).collect::<UInt8Array>()),
        Arc::new(numbers.iter().map(|n| n.map(|n| n as u16)).collect::<UInt16Array>()),
        Arc::new(numbers.iter().map(|n| n.map(|n| n as u32)).collect::<UInt32Array>()),
        Arc::new(numbers.iter().map(|n| n.map(|n| n as u64)).collect::<UInt64Array>()),
        Arc::new(numbers.iter().copied().collect::<Int64Array>()),
        Arc::new(numbers.iter().map(|n| n.map(|n| f16::from_f64((n % 1000) as f64 / 8.0))).collect::<Float16Array>()),
        Arc::new(numbers.iter().map(|n| n.map(|n| f32::from_bits(n as u32))).collect::<Float32Array>()),
        Arc::new(doubles),
        cast(&wrapped(|n| n % 1_000_000_007), &DataType::Decimal128(38, 3)).unwrap(),
        cast(&wrapped(|n| n % 1_000_000_007), &DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))).unwrap(),
        cast(&wrapped(|n| n), &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))).unwrap(),
        cast(&wrapped(|n| n), &DataType::Timestamp(TimeUnit::Second, None)).unwrap(),
        cast(&wrapped(|n| n), &DataType::Duration(TimeUnit::Millisecond)).unwrap(),
        cast(&wrapped(|n| n.rem_euclid(86_400_000_000)), &DataType::Time64(TimeUnit::Microsecond)).unwrap(),
        Arc::new(numbers.iter().map(|n| n.map(|n| n as i32)).collect::<Date32Array>()),
        cast(&texts, &DataType::LargeUtf8).unwrap(),
        cast(&texts, &DataType::Binary).unwrap(),
        Arc::new(texts),
        Arc::new(embeddings.finish()),
        Arc::new(lists),
    ]
}

struct File {
    bytes: Bytes,
    reader: Reader,
    columns: Vec<ArrayRef>,
}

/// A file of `rows` rows, and what was written.
fn file(rows: usize, seed: u64, compatible: bool) -> File {
    file_with(rows, seed, compatible, None).0
}

/// The same, with encodings that were found for another; and those that it has.
fn file_with(rows: usize, seed: u64, compatible: bool, encodings: Option<&Arc<Encodings>>) -> (File, Arc<Encodings>) {
    let mut random = StdRng::seed_from_u64(seed);
    let columns = columns(rows, &mut random);
    let spec = |(place, array): (usize, &ArrayRef)| ColumnSpec {
        name: format!("c{place}"),
        data_type: array.data_type().clone(),
        nullable: true,
        field_id: Some(place as i32 + 100),
        statistics: place == 6,
    };
    let specs: Vec<ColumnSpec> = columns.iter().enumerate().map(spec).collect();
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, &specs, Options { compatible, encodings: encodings.cloned() }).unwrap();
    let mut start = 0;
    while start < rows {
        let count = random.random_range(1..9000).min(rows - start);
        writer.write(&columns.iter().map(|array| array.slice(start, count)).collect::<Vec<_>>()).unwrap();
        start += count;
    }
    let Written { footer, encodings } = writer.finish().unwrap();
    let meta = Meta::new(footer, &bytes).unwrap();
    let described = Bytes::from(meta.encode().unwrap());
    let reader = Reader::new(Meta::decode(&described).unwrap()).unwrap();
    assert_eq!(reader.rows(), rows as u64);
    (File { bytes: bytes.into(), reader, columns }, encodings)
}

impl File {
    /// Some columns of some rows, from nothing but the bytes that were asked for.
    fn read(&self, columns: &[usize], rows: &[Range<u64>], bytes: &Bytes) -> Result<Vec<ArrayRef>, Error> {
        let asked = self.reader.ranges(columns, rows);
        let types: Vec<DataType> = columns.iter().map(|column| self.columns[*column].data_type().clone()).collect();
        let mut parts: Vec<Vec<ArrayRef>> = vec![Vec::new(); columns.len()];
        for (group, rows) in self.reader.by_group(rows) {
            let get = |range: &Range<u64>| {
                assert!(asked.contains(range), "only what was asked for is decoded");
                bytes.slice(range.start as usize..range.end as usize)
            };
            let arrays = self.reader.decode(group, (columns, &types), &rows, &get)?;
            parts.iter_mut().zip(arrays).for_each(|(parts, array)| parts.push(array));
        }
        let whole = |parts: &Vec<ArrayRef>| concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>()).unwrap();
        Ok(parts.iter().map(whole).collect())
    }

    fn expected(&self, column: usize, rows: &[Range<u64>]) -> ArrayRef {
        let slice =
            |rows: &Range<u64>| self.columns[column].slice(rows.start as usize, (rows.end - rows.start) as usize);
        let slices: Vec<ArrayRef> = rows.iter().map(slice).collect();
        concat(&slices.iter().map(AsRef::as_ref).collect::<Vec<_>>()).unwrap()
    }
}

/// Some rows, ascending and apart.
fn some_rows(rows: u64, random: &mut StdRng) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < rows {
        let start = at + random.random_range(0..5000);
        let end = (start + random.random_range(1..3000)).min(rows);
        if start < end {
            ranges.push(start..end);
        }
        at = end.max(start) + 1;
    }
    ranges
}

#[test]
fn every_type_comes_back_bit_for_bit_from_the_pages_that_were_asked_for() {
    for (seed, rows) in [(1, 1), (2, 2047), (3, 2049), (4, 30_000), (5, 90_001)] {
        let file = file(rows, seed, seed == 4);
        let mut random = StdRng::seed_from_u64(seed);
        for round in 0..6 {
            let whole = || std::iter::once(0..rows as u64).collect();
            let rows = if round == 0 { whole() } else { some_rows(rows as u64, &mut random) };
            let mut wanted: Vec<usize> =
                (0..file.columns.len()).filter(|_| round < 2 || random.random_bool(0.3)).collect();
            wanted.reverse();
            if rows.is_empty() || wanted.is_empty() {
                continue;
            }
            for (column, read) in wanted.iter().zip(file.read(&wanted, &rows, &file.bytes).unwrap()) {
                let expected = file.expected(*column, &rows);
                assert_eq!(
                    read.to_data(),
                    expected.to_data(),
                    "seed {seed}, column {column} of type {}",
                    read.data_type()
                );
            }
        }
    }
}

#[test]
fn a_file_goes_by_the_trial_of_another_of_the_same_columns() {
    let (first, found) = file_with(70_000, 11, false, None);
    let (second, kept) = file_with(9000, 12, false, Some(&found));
    assert!(Arc::ptr_eq(&found, &kept), "nothing is tried again");
    assert!(found.rows() >= firn_ice::GROUP_ROWS_MAX, "a whole row group was tried");
    let (_, other) = file_with(9000, 12, true, Some(&found));
    assert!(!Arc::ptr_eq(&found, &other), "for other readers it is tried again");
    for file in [first, second] {
        let (all, rows) = ((0..file.columns.len()).collect::<Vec<_>>(), 0..file.reader.rows());
        let read = file.read(&all, &[rows], &file.bytes).unwrap();
        assert_eq!(read, file.columns, "encodings change no value");
    }
}

#[test]
fn columns_are_found_by_number() {
    let file = file(10, 1, false);
    assert_eq!(file.reader.column_of(103), Some(3));
    assert_eq!(file.reader.column_of(3), None);
}

#[test]
fn a_flipped_bit_of_a_page_is_damage() {
    let file = file(5000, 9, false);
    let all: Vec<usize> = (0..file.columns.len()).collect();
    let mut random = StdRng::seed_from_u64(9);
    let whole = 0..5000;
    for range in file.reader.ranges(&all, std::slice::from_ref(&whole)) {
        let mut bytes = file.bytes.to_vec();
        bytes[random.random_range(range.start as usize..range.end as usize)] ^= 1 << random.random_range(0..8);
        let error = file.read(&all, std::slice::from_ref(&whole), &bytes.into()).expect_err("a bit is not what it was");
        assert!(matches!(&error, Error::Damaged(what) if what.contains("does not match its checksum")), "{error}");
    }
}

#[test]
fn a_description_that_is_cut_or_changed_is_damage_or_reads_the_same() {
    let file = file(3000, 3, false);
    let mut bytes = Vec::new();
    let specs = [ColumnSpec {
        name: "n".into(),
        data_type: DataType::Int64,
        nullable: false,
        field_id: Some(1),
        statistics: false,
    }];
    let mut writer = Writer::new(&mut bytes, &specs, Options::default()).unwrap();
    writer.write(&[Arc::new(Int64Array::from_iter_values(0..5000)) as ArrayRef]).unwrap();
    let footer = writer.finish().unwrap().footer;
    let described = Meta::new(footer, &bytes).unwrap().encode().unwrap();
    for length in 0..described.len() - 1 {
        let cut = Bytes::copy_from_slice(&described[..length]);
        assert!(Meta::decode(&cut).and_then(Reader::new).is_err(), "{length} bytes are too few");
    }
    drop(file);
}

#[test]
fn merged_ranges_hold_every_page() {
    let file = file(30_000, 4, false);
    let all: Vec<usize> = (0..file.columns.len()).collect();
    let ranges = file.reader.ranges(&all, &[100..200, 20_000..20_001]);
    let merged = merge_ranges(&ranges, 1 << 16, 1 << 20);
    assert!(merged.len() < ranges.len() && merged.is_sorted_by(|a, b| a.end < b.start));
    assert!(ranges.iter().all(|range| merged.iter().any(|of| of.start <= range.start && range.end <= of.end)));
}
