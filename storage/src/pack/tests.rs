//! Packs of every type of feature, dense and packed, against what they were built from, and against damage.

use arrow_array::builder::{Int32Builder, ListBuilder, MapBuilder, StringBuilder, StringDictionaryBuilder};
use arrow_array::types::{Float32Type, Int8Type};
use arrow_array::*;
use arrow_buffer::{MutableBuffer, NullBuffer};
use arrow_cast::cast;
use arrow_schema::{Field, Fields, TimeUnit};

use super::gather::gather;
use super::*;
use crate::checksum::{checksum, checksum64};
use crate::error::Kind;
use crate::io::simulated::Simulated;

/// Winners that are made up from the ordinal and the feature.
struct Made {
    features: Vec<(u32, DataType)>,
    all: Vec<StretchColumn>,
}

impl Winners for Made {
    fn stretch(&mut self, start: u32, length: usize, values: bool) -> Result<Vec<StretchColumn>> {
        let range = start as usize..start as usize + length;
        Ok(self
            .all
            .iter()
            .map(|column| StretchColumn {
                statuses: column.statuses[range.clone()].to_vec(),
                event_times: column.event_times[range.clone()].to_vec(),
                values: column.values.as_ref().filter(|_| values).map(|array| array.slice(range.start, length)),
            })
            .collect())
    }
}

/// The status of a feature for an ordinal: mostly values.
fn made_status(feature: usize, ordinal: usize) -> u8 {
    match (ordinal * 7 + feature * 13) % 29 {
        0 => NULL,
        1 => DELETED,
        2 => NEVER,
        _ => VALUE,
    }
}

/// `values` with the statuses of `feature`, null where there is no value; the first `skip` of every `of` ordinals have
/// no row at all.
fn column(feature: usize, values: ArrayRef, skip: (usize, usize), event_time: impl Fn(usize) -> i64) -> StretchColumn {
    let status = |ordinal| if ordinal % skip.1 < skip.0 { NEVER } else { made_status(feature, ordinal) };
    let statuses: Vec<u8> = (0..values.len()).map(status).collect();
    let picks: UInt32Array =
        statuses.iter().zip(0..).map(|(&status, index)| (status == VALUE).then_some(index)).collect();
    let values = arrow_select::take::take(&values, &picks, None).unwrap();
    let event_times = (0..values.len()).map(event_time).collect();
    StretchColumn { statuses, event_times, values: Some(values) }
}

/// One array of `count` values of each type that a feature can have.
fn arrays_of_all_types(count: usize) -> Vec<ArrayRef> {
    let ints: ArrayRef = Arc::new(Int64Array::from_iter_values((0..count as i64).map(|i| i * 37 % 100)));
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(BooleanArray::from_iter((0..count).map(|i| Some(i % 3 == 0))))];
    for data_type in [
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::UInt8,
        DataType::UInt16,
        DataType::UInt32,
        DataType::UInt64,
        DataType::Float16,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal32(7, 2),
        DataType::Decimal64(12, 2),
        DataType::Decimal128(20, 2),
        DataType::Decimal256(50, 2),
        DataType::Date32,
        DataType::Date64,
        DataType::Time32(TimeUnit::Second),
        DataType::Time64(TimeUnit::Nanosecond),
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Duration(TimeUnit::Millisecond),
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Binary,
    ] {
        let through = match &data_type {
            DataType::Date32 | DataType::Time32(_) => cast(&ints, &DataType::Int32).unwrap(),
            DataType::Binary => cast(&ints, &DataType::Utf8).unwrap(),
            _ => Arc::clone(&ints),
        };
        arrays.push(cast(&through, &data_type).unwrap_or_else(|error| panic!("{data_type}: {error}")));
    }
    let triples = (0..count).map(|i| Some([i as u8, 1, 2]));
    arrays.push(Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(triples, 3).unwrap()));
    arrays.push(embeddings(count, |_| false));
    arrays.push(embeddings(count, |i| i % 10 == 5));
    arrays.extend(nested_arrays(count));
    arrays
}

/// Lists of four floats, whose second element is null where `null` says so.
fn embeddings(count: usize, null: impl Fn(usize) -> bool) -> ArrayRef {
    let lists = (0..count).map(|i| Some((0..4).map(move |j| i * 4 + j).collect::<Vec<_>>()));
    let lists = lists.map(|list| {
        list.map(|list| list.iter().map(|&at| (at % 4 != 1 || !null(at / 4)).then_some(at as f32)).collect::<Vec<_>>())
    });
    Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(lists, 4))
}

fn nested_arrays(count: usize) -> Vec<ArrayRef> {
    let mut lists = ListBuilder::new(StringBuilder::new());
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    let mut dictionary = StringDictionaryBuilder::<Int8Type>::new();
    for i in 0..count {
        for j in 0..i % 4 {
            lists.values().append_value(format!("{i}-{j}"));
            maps.keys().append_value(format!("k{j}"));
            maps.values().append_value(i as i32);
        }
        lists.append(true);
        maps.append(true).unwrap();
        dictionary.append_value(["red", "green", "blue"][i % 3]);
    }
    let fields = Fields::from(vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Utf8, true)]);
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..count as i32));
    let texts = cast(&numbers, &DataType::Utf8).unwrap();
    let nulls = NullBuffer::from((0..count).map(|_| true).collect::<Vec<_>>());
    let structs = StructArray::new(fields, vec![numbers, texts], Some(nulls));
    vec![Arc::new(lists.finish()), Arc::new(maps.finish()), Arc::new(dictionary.finish()), Arc::new(structs)]
}

fn disk() -> (Simulated, Arc<dyn Files>) {
    let simulated = Simulated::new();
    let files: Arc<dyn Files> = Arc::new(simulated.clone());
    files.create_directory("packs").unwrap();
    (simulated, files)
}

/// Features of all types; the first `skip.0` of every `skip.1` ordinals have no row.
fn made(count: usize, skip: (usize, usize)) -> Made {
    let columns = arrays_of_all_types(count).into_iter().enumerate().map(|(feature, values)| {
        // Features are written together in threes.
        column(feature, values, skip, move |ordinal| (ordinal * 100 + feature / 3) as i64)
    });
    let all: Vec<StretchColumn> = columns.collect();
    let features = all
        .iter()
        .enumerate()
        .map(|(index, column)| (index as u32 * 2 + 5, column.values.as_ref().unwrap().data_type().clone()));
    Made { features: features.collect(), all }
}

fn build_from(files: &Arc<dyn Files>, winners: &mut Made, number: u64) -> Result<PackMeta> {
    let features = winners.features.clone();
    let ordinals = winners.all.first().map_or(0, |column| column.statuses.len()) as u32;
    build(files, number, &features, ordinals, 42, 4096, winners)
}

/// The rows at (place, ordinal) as they are gathered.
fn rows_of<'a>(pack: &'a Pack, rows: &'a [(u32, u32)]) -> impl Iterator<Item = Result<(u32, &'a [u8])>> {
    rows.iter().map(|&(place, ordinal)| Ok((place, pack.row(ordinal)?)))
}

/// Everything that a pack says about its features, gathered for `ordinals`: statuses, event times, values.
fn read_all(pack: &Pack, ordinals: &[u32]) -> Result<Vec<(Vec<u8>, Vec<i64>, ArrayRef)>> {
    let layout = pack.layout();
    // Places run backwards, so that they do not follow one another.
    let last = ordinals.len() as u32 - 1;
    let rows: Vec<(u32, u32)> = ordinals.iter().zip(0..).map(|(&ordinal, at)| (last - at, ordinal)).collect();
    let mut answers = Vec::new();
    for (index, laid) in layout.features().iter().enumerate() {
        let wanted = [layout.cell(index), layout.time_cell(laid.group)];
        let [mut values, mut times] =
            wanted.map(|cell| MutableBuffer::from_len_zeroed(cell.width as usize * ordinals.len()));
        let mut statuses = vec![VALUE; ordinals.len()];
        gather(
            rows_of(pack, &rows),
            &wanted,
            &mut [values.as_slice_mut(), times.as_slice_mut()],
            |cell, place, status| {
                assert_eq!(cell, 0, "event times have no status");
                statuses[place as usize] = status;
            },
        )?;
        let valid: NullBuffer = statuses.iter().map(|&status| status == VALUE).collect();
        let backwards = UInt32Array::from_iter_values((0..=last).rev());
        let values = match laid.slot {
            Slot::Fixed { .. } => {
                let array = array_of(&laid.data_type, values.into(), Some(valid))?;
                arrow_select::take::take(&array, &backwards, None)?
            }
            Slot::Variable(variable) => pack.gather_variable(variable, ordinals)?,
        };
        let (times, _) = times.as_slice().as_chunks::<8>();
        let times = times.iter().rev().map(|time| i64::from_le_bytes(*time)).collect();
        statuses.reverse();
        answers.push((statuses, times, values));
    }
    Ok(answers)
}

fn assert_answers(pack: &Pack, winners: &Made, ordinals: &[u32]) {
    let picks = UInt32Array::from_iter_values(ordinals.iter().copied());
    for (index, (statuses, times, values)) in read_all(pack, ordinals).unwrap().into_iter().enumerate() {
        let expected = &winners.all[index];
        let data_type = &winners.features[index].1;
        for (at, &ordinal) in ordinals.iter().enumerate() {
            let ordinal = ordinal as usize;
            assert_eq!(statuses[at], expected.statuses[ordinal], "{data_type}, ordinal {ordinal}");
            if statuses[at] < DELETED {
                assert_eq!(times[at], expected.event_times[ordinal], "{data_type}, ordinal {ordinal}");
            }
            let row = pack.row(ordinal as u32).unwrap();
            assert_eq!(pack.layout().status(row, index), statuses[at]);
        }
        let expected = arrow_select::take::take(expected.values.as_ref().unwrap(), &picks, None).unwrap();
        assert_eq!(values.to_data(), expected.to_data(), "{data_type}");
    }
}

#[test]
fn every_type_comes_back() {
    for (count, skip) in [(1, (0, 1)), (700, (0, 1)), (700, (1, 2)), (1500, (9, 10)), (600, (1, 1))] {
        let (_, files) = disk();
        let mut winners = made(count, skip);
        let meta = build_from(&files, &mut winners, 1).unwrap();
        let rows = (0..count).filter(|at| winners.all.iter().any(|column| column.statuses[*at] != NEVER)).count();
        assert_eq!((meta.rows as usize, meta.ordinals as usize, meta.position), (rows, count, 42));
        let pack = Pack::open(&files, &serde_json::from_str(&serde_json::to_string(&meta).unwrap()).unwrap()).unwrap();
        pack.check_all().unwrap();
        let ordinals: Vec<u32> = (0..count as u32).rev().chain((0..count as u32).step_by(3)).collect();
        assert_answers(&pack, &winners, &ordinals);
    }
}

#[test]
fn lists_with_null_elements_lie_beside_the_rows() {
    let (_, files) = disk();
    let mut winners = made(100, (0, 1));
    let pack = Pack::open(&files, &build_from(&files, &mut winners, 1).unwrap()).unwrap();
    let slots: Vec<bool> = (0..winners.features.len())
        .filter(|&index| matches!(winners.features[index].1, DataType::FixedSizeList(..)))
        .map(|index| matches!(pack.layout().features()[index].slot, Slot::Fixed { .. }))
        .collect();
    assert_eq!(slots, [true, false]);
}

#[test]
fn ordinals_beyond_the_pack_were_never_written() {
    let (_, files) = disk();
    let mut winners = made(10, (0, 1));
    let pack = Pack::open(&files, &build_from(&files, &mut winners, 1).unwrap()).unwrap();
    let answers = read_all(&pack, &[9, 10, 4_000_000_000]).unwrap();
    for (statuses, _, values) in answers {
        assert_eq!(statuses[1..], [NEVER, NEVER]);
        assert!(values.is_null(1) && values.is_null(2));
    }
    assert_eq!(pack.layout().index_of(5), Some(0));
    assert_eq!(pack.layout().index_of(6), None);
}

#[test]
fn a_pack_without_features_or_ordinals_opens() {
    let (_, files) = disk();
    let mut nothing = Made { features: Vec::new(), all: Vec::new() };
    let meta = build_from(&files, &mut nothing, 1).unwrap();
    assert_eq!(Pack::open(&files, &meta).unwrap().rows(), 0);
    let mut no_entities = made(0, (0, 1));
    let meta = build_from(&files, &mut no_entities, 2).unwrap();
    assert!(Pack::open(&files, &meta).unwrap().row(0).unwrap()[0] == 0);
}

#[test]
fn event_times_are_shared_as_far_as_they_are_equal() {
    let count = 40_000;
    let values: ArrayRef = Arc::new(Float64Array::from_iter_values((0..count).map(|i| i as f64)));
    let times: [fn(usize) -> i64; 4] = [
        |ordinal| ordinal as i64,
        |ordinal| ordinal as i64,
        // Differs once, late, in another stretch.
        |ordinal| ordinal as i64 + i64::from(ordinal == 39_999),
        |_| 7,
    ];
    let all: Vec<StretchColumn> = times
        .iter()
        .map(|time| StretchColumn {
            statuses: vec![VALUE; count],
            event_times: (0..count).map(time).collect(),
            values: Some(Arc::clone(&values)),
        })
        .collect();
    let mut winners = Made { features: (0..4).map(|id| (id, DataType::Float64)).collect(), all };
    // Where the fourth feature was never written it agrees with everything; the second is missing here and there.
    winners.all[1].statuses[5] = NEVER;
    winners.all[1].event_times[5] = i64::MIN;
    let present: Vec<bool> = (0..count).map(|ordinal| ordinal != 5).collect();
    winners.all[1].values =
        Some(Arc::new(Float64Array::new((0..count).map(|i| i as f64).collect(), Some(NullBuffer::from(present)))));
    let (_, files) = disk();
    let pack = Pack::open(&files, &build_from(&files, &mut winners, 1).unwrap()).unwrap();
    let groups: Vec<u16> = pack.layout().features().iter().map(|laid| laid.group).collect();
    assert_eq!((groups, pack.layout().groups()), (vec![0, 0, 2, 1], 3));
    assert_answers(&pack, &winners, &[0, 4, 5, 6, 20_000, 39_998, 39_999]);
    let row = pack.row(39_999).unwrap();
    assert!(pack.layout().all_values(row));
    assert_eq!([0, 1, 2].map(|group| pack.layout().event_time(row, group)), [39_999, 7, 40_000]);
}

#[test]
fn wide_and_narrow_gathers_agree() {
    let (_, files) = disk();
    let mut winners = made(3_000, (0, 1));
    let pack = Pack::open(&files, &build_from(&files, &mut winners, 1).unwrap()).unwrap();
    let layout = pack.layout();
    let rows: Vec<(u32, u32)> = (0..1_000).map(|place| (place, place * 7919 % 3_000)).collect();
    let all: Vec<Cell> = (0..layout.features().len()).map(|index| layout.cell(index)).collect();
    let gathered = |wanted: &[Cell]| {
        let mut cells: Vec<Vec<u8>> = wanted.iter().map(|cell| vec![0; cell.width as usize * 1_000]).collect();
        let mut statuses = vec![vec![VALUE; 1_000]; wanted.len()];
        let mut bytes: Vec<&mut [u8]> = cells.iter_mut().map(Vec::as_mut_slice).collect();
        gather(rows_of(&pack, &rows), wanted, &mut bytes, |cell, place, status| {
            statuses[cell][place as usize] = status
        })
        .unwrap();
        (cells, statuses)
    };
    let (cells, statuses) = gathered(&all);
    for (index, cell) in all.iter().enumerate() {
        let (alone, alone_statuses) = gathered(&[*cell]);
        assert_eq!((&alone[0], &alone_statuses[0]), (&cells[index], &statuses[index]));
    }
}

/// Found by fuzzing: Arrow panics at the numbers of types that it does not know, behind whatever checksum.
#[test]
fn nonsense_that_checks_does_not_panic() {
    let (simulated, files) = disk();
    let meta = build_from(&files, &mut made(4, (0, 1)), 1).unwrap();
    let whole = simulated.content(&meta.name());
    let foot = whole.len() - 40;
    let body = number_at(&whole[foot..], 8) as usize;
    let mut refused = 0;
    for place in 64..body {
        let mut bytes = whole.clone();
        bytes[place] = 0xfd;
        let checks: Vec<u8> = bytes[..body].chunks(64 * 1024).flat_map(|block| checksum(block).to_le_bytes()).collect();
        bytes[body..foot].copy_from_slice(&checks);
        let crc = checksum64(&bytes[body..foot + 32]);
        bytes[foot + 32..].copy_from_slice(&crc.to_le_bytes());
        simulated.plant(&meta.name(), &bytes);
        let meta = PackMeta { crc, ..meta.clone() };
        let read = Pack::open(&files, &meta).and_then(|pack| read_all(&pack, &[0, 1, 2, 3]));
        refused += usize::from(read.is_err_and(|error| error.kind() == Kind::Corrupt));
    }
    assert!(refused > 0 && refused < body, "{refused} of {body} bytes are proven");
}

/// Damages a pack in every place: each answer is an error that says corrupt, or right.
fn survive_damage(skip: (usize, usize), damage: impl Fn(&Simulated, &str, usize), step: usize) {
    let (simulated, files) = disk();
    let mut winners = made(20, skip);
    let meta = build_from(&files, &mut winners, 1).unwrap();
    let ordinals: Vec<u32> = (0..20).collect();
    for place in (0..meta.length as usize).step_by(step) {
        let copy = simulated.copy();
        damage(&copy, &meta.name(), place);
        let files: Arc<dyn Files> = Arc::new(copy);
        let answer = Pack::open(&files, &meta).and_then(|pack| read_all(&pack, &ordinals));
        let error = answer.err().unwrap_or_else(|| panic!("place {place}: a small file is read whole"));
        assert_eq!(error.kind(), Kind::Corrupt, "place {place}: {error}");
    }
}

#[test]
fn every_flipped_byte_is_found() {
    survive_damage((0, 1), Simulated::flip, 1);
    survive_damage((1, 2), Simulated::flip, 7);
}

#[test]
fn every_truncation_is_found() {
    survive_damage((1, 2), Simulated::truncate, 5);
}

/// A pack of more than one block: the whole of it can be damaged, and what is read from other blocks stays right.
#[test]
fn damage_is_found_where_it_is_touched() {
    let (simulated, files) = disk();
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(0..40_000));
    let statuses = vec![VALUE; 40_000];
    let column = StretchColumn { statuses, event_times: vec![1; 40_000], values: Some(values) };
    let mut winners = Made { features: vec![(1, DataType::Int64)], all: vec![column] };
    let meta = build_from(&files, &mut winners, 1).unwrap();
    simulated.flip(&meta.name(), 300_000);
    let pack = Pack::open(&files, &meta).unwrap();
    let stride = pack.layout().stride() as u32;
    assert_eq!(pack.row(0).unwrap().len() as u32, stride);
    assert_eq!(pack.row(300_000 / stride).unwrap_err().kind(), Kind::Corrupt);
    assert!(pack.row(290_000 / stride).is_err(), "the same block");
    assert!(pack.row(200_000 / stride).is_ok());
    assert_eq!(pack.check_all().unwrap_err().kind(), Kind::Corrupt);
}
