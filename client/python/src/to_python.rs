//! Arrow as Python has it: values one by one, and numpy arrays of numbers.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, types};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, TimeUnit};
use numpy::{Element, PyArray1};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::column::moments_of;
use crate::table::wrong;

/// The values of an array; a gap is None.
pub(crate) fn list_of<'py>(py: Python<'py>, array: &ArrayRef) -> PyResult<Bound<'py, PyList>> {
    let nulls = array.logical_nulls();
    let valid = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
    let read = reader(py, array)?;
    let list = PyList::empty(py);
    for row in 0..array.len() {
        if valid(row) { list.append(read(row)?)? } else { list.append(py.None())? }
    }
    Ok(list)
}

type ReadRow<'a, 'py> = Box<dyn Fn(usize) -> PyResult<Bound<'py, PyAny>> + 'a>;

/// How one row of an array that holds a value is read.
fn reader<'a, 'py: 'a>(py: Python<'py>, array: &'a ArrayRef) -> PyResult<ReadRow<'a, 'py>> {
    macro_rules! numbers {
        ($kind:ty) => {{
            let values = array.as_primitive::<$kind>();
            Ok(Box::new(move |row| values.value(row).into_bound_py_any(py)))
        }};
    }
    match array.data_type() {
        DataType::Null => Ok(Box::new(move |_| Ok(py.None().into_bound(py)))),
        DataType::Boolean => {
            let values = array.as_boolean();
            Ok(Box::new(move |row| values.value(row).into_bound_py_any(py)))
        }
        DataType::Int8 => numbers!(types::Int8Type),
        DataType::Int16 => numbers!(types::Int16Type),
        DataType::Int32 => numbers!(types::Int32Type),
        DataType::Int64 => numbers!(types::Int64Type),
        DataType::UInt8 => numbers!(types::UInt8Type),
        DataType::UInt16 => numbers!(types::UInt16Type),
        DataType::UInt32 => numbers!(types::UInt32Type),
        DataType::UInt64 => numbers!(types::UInt64Type),
        DataType::Float32 => numbers!(types::Float32Type),
        DataType::Float64 => numbers!(types::Float64Type),
        DataType::Float16 => {
            let values = array.as_primitive::<types::Float16Type>();
            Ok(Box::new(move |row| values.value(row).to_f32().into_bound_py_any(py)))
        }
        DataType::Dictionary(..) => {
            let words = array.as_any_dictionary();
            let (keys, values) = (words.normalized_keys(), list_of(py, words.values())?);
            Ok(Box::new(move |row| values.get_item(keys[row])))
        }
        DataType::Timestamp(..)
        | DataType::Date32
        | DataType::Date64
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Duration(_) => time_reader(py, array),
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            let text = ArrayFormatter::try_new(array, &FormatOptions::default()).map_err(wrong)?;
            let decimal = imported(py, "decimal", "Decimal")?;
            Ok(Box::new(move |row| decimal.call1((text.value(row).to_string(),))))
        }
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(..)
        | DataType::Struct(_)
        | DataType::Map(..) => nested_reader(py, array),
        _ => text_reader(py, array),
    }
}

/// [`reader`] of text and bytes, in each of their layouts.
fn text_reader<'a, 'py: 'a>(py: Python<'py>, array: &'a ArrayRef) -> PyResult<ReadRow<'a, 'py>> {
    match array.data_type() {
        DataType::Utf8 => {
            let values = array.as_string::<i32>();
            Ok(Box::new(move |row| Ok(PyString::new(py, values.value(row)).into_any())))
        }
        DataType::LargeUtf8 => {
            let values = array.as_string::<i64>();
            Ok(Box::new(move |row| Ok(PyString::new(py, values.value(row)).into_any())))
        }
        DataType::Utf8View => {
            let values = array.as_string_view();
            Ok(Box::new(move |row| Ok(PyString::new(py, values.value(row)).into_any())))
        }
        DataType::Binary => {
            let values = array.as_binary::<i32>();
            Ok(Box::new(move |row| Ok(PyBytes::new(py, values.value(row)).into_any())))
        }
        DataType::LargeBinary => {
            let values = array.as_binary::<i64>();
            Ok(Box::new(move |row| Ok(PyBytes::new(py, values.value(row)).into_any())))
        }
        DataType::BinaryView => {
            let values = array.as_binary_view();
            Ok(Box::new(move |row| Ok(PyBytes::new(py, values.value(row)).into_any())))
        }
        DataType::FixedSizeBinary(_) => {
            let values = array.as_fixed_size_binary();
            Ok(Box::new(move |row| Ok(PyBytes::new(py, values.value(row)).into_any())))
        }
        other => Err(PyTypeError::new_err(format!("Python has no value like those of {other}"))),
    }
}

fn nested_reader<'a, 'py: 'a>(py: Python<'py>, array: &'a ArrayRef) -> PyResult<ReadRow<'a, 'py>> {
    match array.data_type() {
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            Ok(Box::new(move |row| Ok(list_of(py, &lists.value(row))?.into_any())))
        }
        DataType::LargeList(_) => {
            let lists = array.as_list::<i64>();
            Ok(Box::new(move |row| Ok(list_of(py, &lists.value(row))?.into_any())))
        }
        DataType::FixedSizeList(..) => {
            let lists = array.as_fixed_size_list();
            Ok(Box::new(move |row| Ok(list_of(py, &lists.value(row))?.into_any())))
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let columns: Vec<_> = columns.iter().map(|column| list_of(py, column)).collect::<PyResult<_>>()?;
            Ok(Box::new(move |row| {
                let made = PyDict::new(py);
                for (field, column) in fields.iter().zip(&columns) {
                    made.set_item(field.name(), column.get_item(row)?)?;
                }
                Ok(made.into_any())
            }))
        }
        _ => {
            let maps = array.as_map();
            Ok(Box::new(move |row| {
                let entries = maps.value(row);
                let (keys, values) = (list_of(py, entries.column(0))?, list_of(py, entries.column(1))?);
                let pairs = keys.iter().zip(values.iter()).map(|(key, value)| PyTuple::new(py, [key, value]));
                Ok(PyList::new(py, pairs.collect::<PyResult<Vec<_>>>()?)?.into_any())
            }))
        }
    }
}

/// Something that a module of Python holds.
pub(crate) fn imported<'py>(py: Python<'py>, module: &'static str, name: &'static str) -> PyResult<Bound<'py, PyAny>> {
    static FOUND: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    let found = FOUND.get_or_init(py, || PyDict::new(py).unbind()).bind(py);
    if let Some(known) = found.get_item((module, name))? {
        return Ok(known);
    }
    let made = py.import(module)?.getattr(name)?;
    found.set_item((module, name), &made)?;
    Ok(made)
}

fn time_reader<'a, 'py: 'a>(py: Python<'py>, array: &'a ArrayRef) -> PyResult<ReadRow<'a, 'py>> {
    // How a time is made of its number is Python's affair: `firndb.moments`.
    let module = "firndb.moments";
    match array.data_type() {
        DataType::Timestamp(unit, zone) => {
            let values = moments_of(array).unwrap_or(&[]);
            let make = imported(py, module, "moment_of")?;
            let (unit, zone) = (per_second(*unit), zone.clone());
            let zone = zone.map(|zone| PyString::new(py, &zone));
            Ok(Box::new(move |row| make.call1((values[row], unit, zone.clone()))))
        }
        DataType::Date32 => {
            let (values, make) = (array.as_primitive::<types::Date32Type>(), imported(py, module, "date_of")?);
            Ok(Box::new(move |row| make.call1((values.value(row),))))
        }
        other => {
            let (wide, make) = match other {
                DataType::Date64 => (DataType::Int64, "date_of_milliseconds"),
                DataType::Time32(TimeUnit::Second) => (DataType::Int32, "time_of_seconds"),
                DataType::Time32(_) => (DataType::Int32, "time_of_milliseconds"),
                DataType::Time64(TimeUnit::Microsecond) => (DataType::Int64, "time_of_microseconds"),
                DataType::Time64(_) => (DataType::Int64, "time_of_nanoseconds"),
                DataType::Duration(TimeUnit::Second) => (DataType::Int64, "duration_of_seconds"),
                DataType::Duration(TimeUnit::Millisecond) => (DataType::Int64, "duration_of_milliseconds"),
                DataType::Duration(TimeUnit::Microsecond) => (DataType::Int64, "duration_of_microseconds"),
                _ => (DataType::Int64, "duration_of_nanoseconds"),
            };
            let numbers = arrow_cast::cast(array, &wide).map_err(wrong)?;
            let numbers = arrow_cast::cast(&numbers, &DataType::Int64).map_err(wrong)?;
            let make = imported(py, module, make)?;
            Ok(Box::new(move |row| make.call1((numbers.as_primitive::<types::Int64Type>().value(row),))))
        }
    }
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Numbers, booleans and moments in a numpy array.
pub(crate) fn numpy_of<'py>(py: Python<'py>, array: &ArrayRef) -> PyResult<Option<Bound<'py, PyAny>>> {
    macro_rules! numbers {
        ($kind:ty) => {
            copied(py, array.as_primitive::<$kind>().values())
        };
    }
    if let Some(moments) = moments_of(array) {
        return Ok(Some(copied(py, moments)));
    }
    Ok(Some(match array.data_type() {
        DataType::Boolean => {
            let flags: Vec<bool> = array.as_boolean().values().iter().collect();
            PyArray1::from_vec(py, flags).into_any()
        }
        DataType::Int8 => numbers!(types::Int8Type),
        DataType::Int16 => numbers!(types::Int16Type),
        DataType::Int32 => numbers!(types::Int32Type),
        DataType::Int64 => numbers!(types::Int64Type),
        DataType::UInt8 => numbers!(types::UInt8Type),
        DataType::UInt16 => numbers!(types::UInt16Type),
        DataType::UInt32 => numbers!(types::UInt32Type),
        DataType::UInt64 => numbers!(types::UInt64Type),
        DataType::Float32 => numbers!(types::Float32Type),
        DataType::Float64 => numbers!(types::Float64Type),
        _ => return Ok(None),
    }))
}

fn copied<'py, T: Element + Copy>(py: Python<'py>, values: &[T]) -> Bound<'py, PyAny> {
    PyArray1::from_slice(py, values).into_any()
}
