//! One column: made from Python values or from numpy, read as Python values or into numpy.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, ArrayRef, BooleanArray, FixedSizeListArray};
use arrow_array::{PrimitiveArray, make_array};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::{DataType, Field, TimeUnit};
use arrow_select::concat::concat;
use numpy::{Element, PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyList, PyTuple};
use pyo3_arrow::ffi::to_array_pycapsules;
use pyo3_arrow::input::AnyArray;

use crate::table::wrong;
use crate::{from_python, to_python};

/// Values of one type.
#[pyclass(frozen, module = "firndb._native")]
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) array: ArrayRef,
}

#[pymethods]
impl Column {
    /// The values of anything that speaks Arrow's PyCapsule interface.
    #[staticmethod]
    fn take(data: AnyArray) -> PyResult<Self> {
        let chunks = data.into_chunked_array()?;
        let (chunks, field) = chunks.into_inner();
        let array = match chunks.as_slice() {
            [] => arrow_array::new_empty_array(field.data_type()),
            [one] => Arc::clone(one),
            many => concat(&many.iter().map(AsRef::as_ref).collect::<Vec<_>>()).map_err(wrong)?,
        };
        Ok(Self { array })
    }

    /// Python values. `declared` is an empty table of one column whose type decides what a value could be; `missing`
    /// says that NaN is a gap.
    #[staticmethod]
    #[pyo3(signature = (name, values, declared, missing))]
    fn of_values(
        name: &str,
        values: &Bound<'_, PyList>,
        declared: Option<PyRef<'_, crate::table::Table>>,
        missing: bool,
    ) -> PyResult<Self> {
        let declared =
            declared.and_then(|like| like.schema.fields().find(name).map(|(_, field)| field.data_type().clone()));
        Ok(Self { array: from_python::array(name, values, declared.as_ref(), missing)? })
    }

    /// A numpy array of one dimension in the machine's byte order. Where `gaps` is true there is no value, nor,
    /// if `missing` says so, where there is NaN.
    #[staticmethod]
    #[pyo3(signature = (values, gaps=None, missing=false))]
    fn of_numpy(values: &Bound<'_, PyAny>, gaps: Option<PyReadonlyArray1<'_, bool>>, missing: bool) -> PyResult<Self> {
        let valid = gaps.as_ref().map(|gaps| gaps.as_array().iter().map(|gap| !gap).collect::<BooleanBuffer>());
        let nulls = valid.map(NullBuffer::new);
        let array = fixed(values, nulls)?;
        let array = array.ok_or_else(|| PyTypeError::new_err("no column has values like these"))?;
        Ok(Self { array: if missing { without_nan(array) } else { array } })
    }

    /// These integers as moments, `unit`s ("s", "ms", "us", "ns") since 1970, of `zone` or of none.
    fn moments(&self, unit: &str, zone: Option<&str>) -> PyResult<Self> {
        let unit = match unit {
            "s" => TimeUnit::Second,
            "ms" => TimeUnit::Millisecond,
            "us" => TimeUnit::Microsecond,
            _ => TimeUnit::Nanosecond,
        };
        self.seen_as(DataType::Timestamp(unit, zone.map(Into::into)))
    }

    /// These integers as microseconds.
    fn durations(&self) -> PyResult<Self> {
        self.seen_as(DataType::Duration(TimeUnit::Microsecond))
    }

    /// Lists of `width` of these values each.
    fn lists(&self, width: usize) -> PyResult<Self> {
        let field = Arc::new(Field::new("item", self.array.data_type().clone(), true));
        let width = i32::try_from(width).map_err(wrong)?;
        let lists = FixedSizeListArray::try_new(field, width, Arc::clone(&self.array), None).map_err(wrong)?;
        Ok(Self { array: Arc::new(lists) })
    }

    /// The values at `places`; none where a place is null.
    fn at(&self, places: &Column) -> PyResult<Self> {
        Ok(Self { array: arrow_select::take::take(&self.array, &places.array, None).map_err(wrong)? })
    }

    /// Of moments: their unit and their zone. None for other columns.
    #[getter]
    fn moment(&self) -> Option<(&'static str, Option<String>)> {
        let DataType::Timestamp(unit, zone) = self.array.data_type() else { return None };
        let unit = match unit {
            TimeUnit::Second => "s",
            TimeUnit::Millisecond => "ms",
            TimeUnit::Microsecond => "us",
            TimeUnit::Nanosecond => "ns",
        };
        Some((unit, zone.as_ref().map(ToString::to_string)))
    }

    /// Whether the values are text.
    #[getter]
    fn is_text(&self) -> bool {
        matches!(self.array.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
    }

    /// How many gaps there are.
    #[getter]
    fn null_count(&self) -> usize {
        self.array.logical_null_count()
    }

    /// The values as Python has them.
    fn to_pylist<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        to_python::list_of(py, &self.array)
    }

    /// Numbers, or moments as integers, in a numpy array; what stands at a gap means nothing. None if they are neither.
    fn to_numpy<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        to_python::numpy_of(py, &self.array)
    }

    /// A numpy array that is true where there is a gap.
    fn gaps<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<bool>> {
        let gaps: Vec<bool> = match self.array.logical_nulls() {
            None => vec![false; self.array.len()],
            Some(nulls) => nulls.iter().map(|valid| !valid).collect(),
        };
        PyArray1::from_vec(py, gaps)
    }

    /// Of a column of few words: the number of each row's word (-1 at a gap), and the words. None for other columns.
    fn words<'py>(&self, py: Python<'py>) -> PyResult<Option<(Bound<'py, PyArray1<i8>>, Bound<'py, PyList>)>> {
        let Some(words) = self.array.as_any_dictionary_opt() else { return Ok(None) };
        let Some(codes) = words.keys().as_primitive_opt::<Int8Type>() else { return Ok(None) };
        let codes = codes.iter().map(|code| code.unwrap_or(-1)).collect();
        Ok(Some((PyArray1::from_vec(py, codes), to_python::list_of(py, words.values())?)))
    }

    /// Of lists of one width: all their values, and the width. None for other columns.
    fn elements(&self) -> Option<(Self, usize)> {
        let lists = self.array.as_fixed_size_list_opt()?;
        Some((Self { array: Arc::clone(lists.values()) }, lists.value_length() as usize))
    }

    fn __len__(&self) -> usize {
        self.array.len()
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let field = Arc::new(Field::new("", self.array.data_type().clone(), true));
        Ok(to_array_pycapsules(py, field, &self.array, requested_schema)?)
    }
}

impl Column {
    /// The same 64-bit integers under another type.
    fn seen_as(&self, data_type: DataType) -> PyResult<Self> {
        let data = self.array.to_data().into_builder().data_type(data_type).build().map_err(wrong)?;
        Ok(Self { array: make_array(data) })
    }
}

/// A numpy array of one of the types that Arrow has too.
fn fixed(values: &Bound<'_, PyAny>, nulls: Option<NullBuffer>) -> PyResult<Option<ArrayRef>> {
    use arrow_array::types as arrow;
    if let Ok(flags) = values.extract::<PyReadonlyArray1<'_, bool>>() {
        let flags: BooleanBuffer = flags.as_array().iter().copied().collect();
        return Ok(Some(Arc::new(BooleanArray::new(flags, nulls))));
    }
    macro_rules! first_of {
        ($($kind:ty),*) => {
            $(if let Some(array) = primitive::<$kind>(values, nulls.as_ref())? {
                return Ok(Some(array));
            })*
        };
    }
    first_of!(arrow::Float64Type, arrow::Int64Type, arrow::Float32Type, arrow::Int32Type, arrow::UInt8Type);
    first_of!(arrow::Int8Type, arrow::Int16Type, arrow::UInt16Type, arrow::UInt32Type, arrow::UInt64Type);
    Ok(None)
}

fn primitive<T>(values: &Bound<'_, PyAny>, nulls: Option<&NullBuffer>) -> PyResult<Option<ArrayRef>>
where
    T: arrow_array::types::ArrowPrimitiveType,
    T::Native: Element,
{
    let Ok(values) = values.extract::<PyReadonlyArray1<'_, T::Native>>() else { return Ok(None) };
    let values = match values.as_slice() {
        Ok(together) => together.to_vec(),
        // A column of a frame lies beside the others, row by row.
        Err(_) => values.as_array().iter().copied().collect(),
    };
    Ok(Some(Arc::new(PrimitiveArray::<T>::new(values.into(), nulls.cloned()))))
}

/// Floats whose NaN are gaps.
fn without_nan(array: ArrayRef) -> ArrayRef {
    fn gaps<T: ArrowPrimitiveType>(array: &ArrayRef, is_nan: impl Fn(T::Native) -> bool) -> ArrayRef {
        let floats = array.as_primitive::<T>();
        // Counted, not searched for: a loop without an early end takes a fourth of the time.
        if floats.values().iter().filter(|float| is_nan(**float)).count() == 0 {
            return Arc::clone(array);
        }
        let values = floats.values();
        let valid = BooleanBuffer::collect_bool(values.len(), |row| !is_nan(values[row]));
        let nulls = NullBuffer::union(Some(&NullBuffer::new(valid)), floats.nulls());
        Arc::new(PrimitiveArray::<T>::new(values.clone(), nulls))
    }
    match array.data_type() {
        DataType::Float32 => gaps::<Float32Type>(&array, f32::is_nan),
        DataType::Float64 => gaps::<Float64Type>(&array, f64::is_nan),
        _ => array,
    }
}

/// The integers of moments, whatever their unit.
pub(crate) fn moments_of(array: &ArrayRef) -> Option<&[i64]> {
    Some(match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => array.as_primitive::<TimestampSecondType>().values(),
        DataType::Timestamp(TimeUnit::Millisecond, _) => array.as_primitive::<TimestampMillisecondType>().values(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => array.as_primitive::<TimestampMicrosecondType>().values(),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => array.as_primitive::<TimestampNanosecondType>().values(),
        _ => return None,
    })
}
