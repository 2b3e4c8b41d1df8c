//! Python values as Arrow: each goes in as what it is, and the server takes it where it fits the declared type exactly.
//!
//! The declared type decides where a value could be several things: a dict is a map or a struct, and NaN is a gap where no
//! float is declared. A value that no column could hold is refused with its row and its column.

mod nested;
mod numbers;
mod times;

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, DurationMicrosecondArray, NullArray, StringArray, Time64MicrosecondArray,
};
use arrow_schema::DataType;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMapping, PyMemoryView, PyString, PyTuple,
};

use crate::to_python::imported;

/// The column `name` of `values`.
pub(crate) fn array(
    name: &str,
    values: &Bound<'_, PyList>,
    declared: Option<&DataType>,
    missing: bool,
) -> PyResult<ArrayRef> {
    let py = values.py();
    let builder = Builder { py, name, missing };
    let cells = values.iter().enumerate().map(|(row, value)| Cell { row, value: Some(value) });
    builder.array(cells.collect(), declared)
}

/// A value and the row that it is of.
struct Cell<'py> {
    row: usize,
    value: Option<Bound<'py, PyAny>>,
}

/// What a value is, of which a column has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Flag,
    Integer,
    Float,
    Decimal,
    Text,
    Bytes,
    Moment,
    Date,
    Time,
    Duration,
    List,
    Dict,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Flag => "a bool",
            Self::Integer => "an int",
            Self::Float => "a float",
            Self::Decimal => "a Decimal",
            Self::Text => "a str",
            Self::Bytes => "bytes",
            Self::Moment => "a datetime",
            Self::Date => "a date",
            Self::Time => "a time",
            Self::Duration => "a timedelta",
            Self::List => "a list",
            Self::Dict => "a dict",
        }
    }

    fn is_temporal(self) -> bool {
        matches!(self, Self::Moment | Self::Date | Self::Time)
    }
}

struct Builder<'a, 'py> {
    py: Python<'py>,
    name: &'a str,
    missing: bool,
}

impl<'py> Builder<'_, 'py> {
    fn refused(&self, row: usize, what: impl std::fmt::Display) -> PyErr {
        let error =
            firn_client::Error::new(firn_client::Kind::Invalid, format!("row {row}, column `{}`: {what}", self.name));
        crate::error::raise(self.py, &error.at(Some(self.name.to_owned()), Some(row as u64)))
    }

    fn array(&self, mut cells: Vec<Cell<'py>>, declared: Option<&DataType>) -> PyResult<ArrayRef> {
        if let Some(array) = self.floats(&cells, declared)? {
            return Ok(array);
        }
        let mut kinds: Vec<(Kind, usize)> = Vec::new();
        for cell in &mut cells {
            self.plain(cell, declared)?;
            let Some(value) = &cell.value else { continue };
            let kind = self.kind(cell.row, value)?;
            if !kinds.iter().any(|(known, _)| *known == kind) {
                kinds.push((kind, cell.row));
            }
        }
        match declared {
            Some(DataType::Map(entries, _)) => return self.maps(&cells, entries),
            Some(DataType::Struct(fields)) => return self.structs(&cells, Some(fields)),
            _ => {}
        }
        let all = |allowed: &[Kind]| kinds.iter().all(|(kind, _)| allowed.contains(kind));
        let item = match declared {
            Some(DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)) => {
                Some(item.data_type())
            }
            _ => None,
        };
        match kinds.as_slice() {
            [] => Ok(Arc::new(NullArray::new(cells.len()))),
            [(Kind::Flag, _)] => self
                .each(&cells, |_, value| value.extract::<bool>())
                .map(|flags| Arc::new(BooleanArray::from(flags)) as ArrayRef),
            [(Kind::Text, _)] => self.texts(&cells),
            [(Kind::Bytes, _)] => self.bytes(&cells),
            [(Kind::Date, _)] => self.dates(&cells),
            [(Kind::Time, _)] => self
                .numbers(&cells, "time_number")
                .map(|times| Arc::new(Time64MicrosecondArray::from(times)) as ArrayRef),
            [(Kind::Duration, _)] => self
                .numbers(&cells, "duration_number")
                .map(|lengths| Arc::new(DurationMicrosecondArray::from(lengths)) as ArrayRef),
            [(Kind::List, _)] => self.lists(&cells, item),
            [(Kind::Dict, _)] => self.structs(&cells, None),
            _ if all(&[Kind::Moment, Kind::Date]) => self.moments(&cells),
            _ if all(&[Kind::Integer]) => self.integers(&cells),
            _ if all(&[Kind::Integer, Kind::Float]) => self.mixed_numbers(&cells, declared),
            _ if all(&[Kind::Integer, Kind::Float, Kind::Decimal]) => self.decimals(&cells),
            _ if kinds.iter().all(|(kind, _)| *kind == Kind::Text || kind.is_temporal()) => self.spelled(&cells),
            [(first, row), (other, place), ..] => {
                let found = cells.iter().find(|cell| cell.row == *place).and_then(|cell| cell.value.as_ref());
                let shown = found.map(|value| shown(value)).unwrap_or_default();
                let (other, first) = (other.word(), first.word());
                Err(self.refused(
                    *place,
                    format!("{shown} is {other}, and row {row} has {first}; a column has values of one kind"),
                ))
            }
            [_] => unreachable!("each single kind has its arm"),
        }
    }

    /// Takes what libraries wrap around a value off, and every form of a gap.
    fn plain(&self, cell: &mut Cell<'py>, declared: Option<&DataType>) -> PyResult<()> {
        let Some(value) = &cell.value else { return Ok(()) };
        if value.is_none() {
            cell.value = None;
            return Ok(());
        }
        if is_plain(value) {
            return Ok(());
        }
        let module = imported(self.py, "firndb.plain", "plain_value")?;
        let unwrapped = module.call1((value,))?;
        cell.value = Some(unwrapped).filter(|value| !value.is_none());
        let gaps = self.missing || declared.is_some_and(|declared| !declared.is_floating());
        if gaps
            && let Some(value) = &cell.value
            && let Ok(float) = value.cast::<PyFloat>()
            && float.extract::<f64>()?.is_nan()
        {
            cell.value = None;
        }
        Ok(())
    }

    fn kind(&self, row: usize, value: &Bound<'py, PyAny>) -> PyResult<Kind> {
        let of = |module, name| imported(self.py, module, name).and_then(|class| value.is_instance(&class));
        Ok(if value.is_instance_of::<PyFloat>() {
            Kind::Float
        } else if value.is_instance_of::<PyBool>() {
            Kind::Flag
        } else if value.is_instance_of::<PyInt>() {
            Kind::Integer
        } else if value.is_instance_of::<PyString>() {
            Kind::Text
        } else if of("datetime", "datetime")? {
            Kind::Moment
        } else if of("datetime", "date")? {
            Kind::Date
        } else if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
            Kind::List
        } else if value.cast::<PyMapping>().is_ok() {
            Kind::Dict
        } else if of("decimal", "Decimal")? {
            Kind::Decimal
        } else if value.is_instance_of::<PyBytes>()
            || value.is_instance_of::<PyByteArray>()
            || value.is_instance_of::<PyMemoryView>()
        {
            Kind::Bytes
        } else if of("datetime", "timedelta")? {
            Kind::Duration
        } else if of("datetime", "time")? {
            Kind::Time
        } else {
            let class = value.get_type().name()?;
            return Err(self.refused(row, format!("{} is a {class}, which no feature can hold", shown(value))));
        })
    }

    fn each<T>(
        &self,
        cells: &[Cell<'py>],
        mut read: impl FnMut(usize, &Bound<'py, PyAny>) -> PyResult<T>,
    ) -> PyResult<Vec<Option<T>>> {
        cells.iter().map(|cell| cell.value.as_ref().map(|value| read(cell.row, value)).transpose()).collect()
    }

    fn texts(&self, cells: &[Cell<'py>]) -> PyResult<ArrayRef> {
        let texts = self.each(cells, |row, value| {
            let text = value.cast::<PyString>()?;
            text.to_str().map(str::to_owned).map_err(|_| self.refused(row, format!("{} is no Unicode", shown(value))))
        })?;
        Ok(Arc::new(texts.into_iter().collect::<StringArray>()))
    }

    fn bytes(&self, cells: &[Cell<'py>]) -> PyResult<ArrayRef> {
        let class = self.py.get_type::<PyBytes>();
        let bytes = self.each(cells, |_, value| match value.cast::<PyBytes>() {
            Ok(bytes) => Ok(bytes.as_bytes().to_vec()),
            Err(_) => Ok(class.call1((value,))?.cast::<PyBytes>()?.as_bytes().to_vec()),
        })?;
        Ok(Arc::new(bytes.into_iter().collect::<BinaryArray>()))
    }
}

/// Whether a value is of one of Python's own classes for values, and no gap.
fn is_plain(value: &Bound<'_, PyAny>) -> bool {
    value.cast_exact::<PyInt>().is_ok()
        || value.cast_exact::<PyString>().is_ok()
        || value.cast_exact::<PyBool>().is_ok()
        || value.cast_exact::<PyList>().is_ok()
        || value.cast_exact::<PyDict>().is_ok()
        || value.cast_exact::<PyBytes>().is_ok()
}

/// A value as a message shows it.
fn shown(value: &Bound<'_, PyAny>) -> String {
    let text = value.repr().map(|text| text.to_string()).unwrap_or_default();
    if text.chars().count() <= 100 { text } else { text.chars().take(97).collect::<String>() + "…" }
}
