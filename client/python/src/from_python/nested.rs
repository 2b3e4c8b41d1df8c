//! Lists, structs and maps: what is inside is built as columns are, down to the declared type of each part.

use std::sync::Arc;

use arrow_array::{ArrayRef, ListArray, MapArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, FieldRef, Fields};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyMapping};

use super::{Builder, Cell, shown};
use crate::error::invalid;

impl<'py> Builder<'_, 'py> {
    pub(super) fn lists(&self, cells: &[Cell<'py>], item: Option<&DataType>) -> PyResult<ArrayRef> {
        let (mut items, mut lengths, mut valid) = (Vec::new(), Vec::new(), Vec::new());
        for cell in cells {
            let before = items.len();
            if let Some(value) = &cell.value {
                for inner in value.try_iter()? {
                    items.push(Cell { row: cell.row, value: Some(inner?) });
                }
            }
            lengths.push(items.len() - before);
            valid.push(cell.value.is_some());
        }
        let items = self.array(items, item)?;
        let field = Arc::new(Field::new("item", items.data_type().clone(), true));
        let lists =
            ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), items, Some(NullBuffer::from(valid)));
        Ok(Arc::new(lists.map_err(crate::table::wrong)?))
    }

    pub(super) fn structs(&self, cells: &[Cell<'py>], declared: Option<&Fields>) -> PyResult<ArrayRef> {
        let mut names: Vec<(String, Option<FieldRef>)> = Vec::new();
        names.extend(declared.into_iter().flatten().map(|field| (field.name().clone(), Some(Arc::clone(field)))));
        let mut maps: Vec<Option<Bound<'py, PyDict>>> = Vec::with_capacity(cells.len());
        for cell in cells {
            let Some(value) = &cell.value else {
                maps.push(None);
                continue;
            };
            let Ok(mapping) = value.cast::<PyMapping>() else {
                return Err(self.refused(cell.row, format!("{} is no struct; give a dict", shown(value))));
            };
            let made = PyDict::new(self.py);
            made.update(mapping)?;
            let mut unknown = Vec::new();
            for name in made.keys() {
                let name = name.str()?.extract::<String>()?;
                if !names.iter().any(|(known, _)| *known == name) {
                    unknown.push(name);
                }
            }
            if declared.is_none() {
                names.extend(unknown.into_iter().map(|name| (name, None)));
            } else if !unknown.is_empty() {
                let unknown: Vec<_> = unknown.iter().map(|name| format!("`{name}`")).collect();
                let known: Vec<_> = names.iter().map(|(name, _)| name.as_str()).collect();
                let message =
                    format!("the struct has no field {}; its fields are {}", unknown.join(", "), known.join(", "));
                return Err(self.refused(cell.row, message));
            }
            maps.push(Some(made));
        }
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for (name, declared) in &names {
            let values = maps.iter().zip(cells).map(|(made, cell)| {
                let value = made.as_ref().map(|made| made.get_item(name)).transpose()?.flatten();
                Ok(Cell { row: cell.row, value })
            });
            let column =
                self.array(values.collect::<PyResult<_>>()?, declared.as_ref().map(|field| field.data_type()))?;
            fields.push(Field::new(name, column.data_type().clone(), true));
            columns.push(column);
        }
        let valid: NullBuffer = maps.iter().map(Option::is_some).collect::<Vec<_>>().into();
        let made = StructArray::try_new_with_length(fields.into(), columns, Some(valid), cells.len());
        Ok(Arc::new(made.map_err(crate::table::wrong)?))
    }

    pub(super) fn maps(&self, cells: &[Cell<'py>], entries: &FieldRef) -> PyResult<ArrayRef> {
        let DataType::Struct(declared) = entries.data_type() else {
            return Err(invalid(self.py, "a map has keys and values"));
        };
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        let (mut lengths, mut valid) = (Vec::new(), Vec::new());
        for cell in cells {
            let before = keys.len();
            if let Some(value) = &cell.value {
                for (key, inner) in self.pairs(cell.row, value)? {
                    keys.push(Cell { row: cell.row, value: Some(key) });
                    values.push(Cell { row: cell.row, value: Some(inner) });
                }
            }
            lengths.push(keys.len() - before);
            valid.push(cell.value.is_some());
        }
        let none = keys.is_empty();
        let keys = self.array(keys, Some(declared[0].data_type()))?;
        let values = self.array(values, Some(declared[1].data_type()))?;
        // Keys of nothing are of no type, which a map's may not be.
        let keys = if none { arrow_array::new_empty_array(declared[0].data_type()) } else { keys };
        let fields = Fields::from(vec![
            Field::new("key", keys.data_type().clone(), false),
            Field::new("value", values.data_type().clone(), true),
        ]);
        let pairs = StructArray::try_new(fields.clone(), vec![keys, values], None).map_err(|error| {
            let row = cells.iter().find(|cell| cell.value.is_some()).map_or(0, |cell| cell.row);
            self.refused(row, format!("a map has a key without a value: {error}"))
        })?;
        let field = Arc::new(Field::new("entries", DataType::Struct(fields), false));
        let made =
            MapArray::try_new(field, OffsetBuffer::from_lengths(lengths), pairs, Some(NullBuffer::from(valid)), false);
        Ok(Arc::new(made.map_err(crate::table::wrong)?))
    }

    /// What a map holds, given as a dict or as a list of pairs.
    fn pairs(&self, row: usize, value: &Bound<'py, PyAny>) -> PyResult<Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
        if let Ok(mapping) = value.cast::<PyMapping>() {
            return mapping.items()?.iter().map(|pair| pair.extract()).collect();
        }
        let pairs = value.cast::<PyList>().ok().and_then(|list| list.iter().map(|pair| pair.extract().ok()).collect());
        pairs.ok_or_else(|| self.refused(row, format!("{} is no map; give a dict, or a list of pairs", shown(value))))
    }
}
