//! Gathered cells against a plain copy of each cell by itself.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int32Array, Int64Array, StringArray, make_array};
use arrow_cast::cast;
use arrow_data::transform::MutableArrayData;
use arrow_schema::DataType;
use proptest::prelude::*;

use super::{CellOrigin, Cells, FixedColumns, Found, gather};
use crate::column::Column;

/// The cells one by one.
fn one_by_one(columns: &[Option<ArrayRef>], data_type: &DataType, origins: &[CellOrigin]) -> ArrayRef {
    let cast: Vec<Option<_>> =
        columns.iter().map(|array| array.as_ref().map(|array| cast(array, data_type).unwrap().to_data())).collect();
    let sources: Vec<_> = cast.iter().flatten().collect();
    let mut cells = MutableArrayData::new(sources, true, origins.len());
    for origin in origins {
        let at = origin.position as usize;
        match cast.get(origin.column as usize) {
            Some(Some(_)) => {
                let source = cast[..origin.column as usize].iter().flatten().count();
                cells.try_extend(source, at, at + 1).unwrap();
            }
            _ => cells.try_extend_nulls(1).unwrap(),
        }
    }
    make_array(cells.freeze())
}

/// Columns of three kinds that one feature may have had, an older type among them, and a chunk without it.
fn columns(values: &[Option<i32>]) -> Vec<Option<ArrayRef>> {
    let wide: Int64Array = values.iter().map(|value| value.map(|value| i64::from(value) * 3)).collect();
    let narrow: Int32Array = values.iter().copied().collect();
    vec![Some(Arc::new(wide)), None, Some(Arc::new(narrow))]
}

fn in_memory(arrays: &[Option<ArrayRef>]) -> Vec<Option<Column>> {
    arrays.iter().map(|array| array.as_ref().map(|array| Column::in_memory(1, Arc::clone(array), None))).collect()
}

/// Some cells of three columns of `length` values each, or none.
fn origins(length: usize) -> impl Strategy<Value = Vec<CellOrigin>> {
    let cell = (0..4u32, 0..length as u32).prop_map(|(column, position)| match column {
        0 | 2 => CellOrigin { column, position },
        _ => CellOrigin::ABSENT,
    });
    prop::collection::vec(cell, 0..40)
}

fn cases() -> impl Strategy<Value = (Vec<Option<i32>>, Vec<CellOrigin>)> {
    prop::collection::vec(prop::option::weighted(0.8, any::<i32>()), 1..20).prop_flat_map(|values| {
        let length = values.len();
        (Just(values), origins(length))
    })
}

proptest! {
    #[test]
    fn arrays_are_what_their_cells_are((values, origins) in cases()) {
        let arrays = columns(&values);
        let columns = in_memory(&arrays);
        let columns: Vec<Option<&Column>> = columns.iter().map(Option::as_ref).collect();
        let expected = one_by_one(&arrays, &DataType::Int64, &origins);
        let found = Found::new(&columns, &origins).unwrap();
        for index in 0..origins.len() {
            prop_assert_eq!(found.is_null(index), expected.is_null(index));
        }
        prop_assert_eq!(&found.finish(&DataType::Int64).unwrap(), &expected);
        prop_assert_eq!(&gather(&DataType::Int64, &columns, &origins).unwrap(), &expected);
    }

    #[test]
    fn texts_are_what_their_cells_are((values, origins) in cases()) {
        let text: StringArray = values.iter().map(|value| value.map(|value| format!("{value} of many"))).collect();
        let arrays: Vec<Option<ArrayRef>> = vec![Some(Arc::new(text.clone())), None, Some(Arc::new(text))];
        let columns = in_memory(&arrays);
        let columns: Vec<Option<&Column>> = columns.iter().map(Option::as_ref).collect();
        let expected = one_by_one(&arrays, &DataType::Utf8, &origins);
        prop_assert_eq!(&gather(&DataType::Utf8, &columns, &origins).unwrap(), &expected);
    }

    #[test]
    fn bytes_go_to_their_rows((values, origins) in cases(), (start, after) in (0usize..9, 0usize..9)) {
        let arrays = columns(&values)[..1].to_vec();
        let owned = in_memory(&arrays);
        let fixed = FixedColumns::new(&owned.iter().map(Option::as_ref).collect::<Vec<_>>());
        let origins: Vec<CellOrigin> =
            origins.into_iter().map(|origin| if origin.column == 2 { CellOrigin::ABSENT } else { origin }).collect();
        let cells = Cells { width: 8, stride: start + 8 + after, start };
        let mut bytes = vec![0xAA; origins.len() * cells.stride];
        fixed.copy(&origins, &mut bytes, cells);
        let gathered = fixed.gather(&origins, 8);
        for (row, origin) in origins.iter().enumerate() {
            let (before, rest) = bytes[row * cells.stride..][..cells.stride].split_at(start);
            prop_assert!(before.iter().chain(&rest[8..]).all(|&byte| byte == 0xAA), "only the cell is written");
            let value = values[origin.position as usize].filter(|_| *origin != CellOrigin::ABSENT);
            let is_null = *origin != CellOrigin::ABSENT && value.is_none();
            prop_assert_eq!(fixed.is_valid(*origin), !is_null);
            if let Some(value) = value {
                prop_assert_eq!(&rest[..8], &(i64::from(value) * 3).to_le_bytes()[..]);
                prop_assert_eq!(&gathered.bytes[row * 8..][..8], &rest[..8]);
            } else if !is_null {
                prop_assert!(rest[..8].iter().all(|&byte| byte == 0xAA), "an absent cell is left as it was");
                prop_assert!(gathered.bytes[row * 8..][..8].iter().all(|&byte| byte == 0));
            }
            prop_assert_eq!(gathered.valid.as_ref().is_none_or(|valid| valid.value(row)), !is_null);
        }
    }
}

#[test]
fn a_value_beyond_the_type_is_an_error_and_no_null() {
    let column = Column::in_memory(1, Arc::new(Int64Array::from(vec![1, i64::MAX])), None);
    let at = |position| CellOrigin { column: 0, position };
    let narrowed = |position| gather(&DataType::Int32, &[Some(&column)], &[at(position)]);
    assert_eq!(narrowed(0).expect("it fits").as_ref(), &Int32Array::from(vec![1]) as &dyn Array);
    assert!(narrowed(1).is_err());
}
