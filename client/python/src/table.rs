//! Rows in Arrow: what goes to the server and what comes from it. Every library that knows Arrow reads it without a copy.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{
    Array, ArrayRef, NullArray, RecordBatch, RecordBatchOptions, RecordBatchReader, StructArray, make_array,
};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict};
use pyo3_arrow::error::{PyArrowError, PyArrowResult};
use pyo3_arrow::ffi::{ArrayIterator, to_schema_pycapsule, to_stream_pycapsule};
use pyo3_arrow::input::AnyRecordBatch;

use crate::column::Column;

/// Columns of one length, in one or more batches.
#[pyclass(frozen, module = "firndb._native")]
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
}

pub(crate) fn wrong(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}

impl Table {
    pub(crate) fn of_batch(batch: RecordBatch) -> Self {
        Self { schema: batch.schema(), batches: vec![batch] }
    }

    /// All rows in one batch.
    pub(crate) fn whole(&self) -> PyResult<RecordBatch> {
        match self.batches.as_slice() {
            [one] => Ok(one.clone()),
            batches => concat_batches(&self.schema, batches).map_err(wrong),
        }
    }

    fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    fn with(&self, schema: SchemaRef, change: impl Fn(&RecordBatch) -> PyResult<RecordBatch>) -> PyResult<Self> {
        let batches = self.batches.iter().map(change).collect::<PyResult<_>>()?;
        Ok(Self { schema, batches })
    }
}

/// A batch of columns, also where there are none.
pub(crate) fn batch_of(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> PyResult<RecordBatch> {
    RecordBatch::try_new_with_options(schema, columns, &RecordBatchOptions::new().with_row_count(Some(rows)))
        .map_err(wrong)
}

#[pymethods]
impl Table {
    /// The rows of anything that speaks Arrow's PyCapsule interface.
    #[staticmethod]
    fn take(data: AnyRecordBatch) -> PyResult<Self> {
        let reader = data.into_reader()?;
        let schema = plain_schema(&reader.schema());
        let batches = reader.map(|batch| plain(&schema, batch?)).collect::<PyArrowResult<_>>()?;
        Ok(Self { schema, batches })
    }

    /// Columns of one length under their names.
    #[staticmethod]
    fn of_columns(names: Vec<String>, columns: Vec<PyRef<'_, Column>>) -> PyResult<Self> {
        let fields = names.iter().zip(&columns);
        let fields: Vec<_> =
            fields.map(|(name, column)| Field::new(name, column.array.data_type().clone(), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let rows = columns.first().map_or(0, |column| column.array.len());
        let arrays = columns.iter().map(|column| Arc::clone(&column.array)).collect();
        Ok(Self { schema: Arc::clone(&schema), batches: vec![batch_of(schema, arrays, rows)?] })
    }

    /// The rows of tables with the same columns, one after the other.
    #[staticmethod]
    fn chained(tables: Vec<PyRef<'_, Table>>) -> PyResult<Self> {
        let schema = tables.first().map(|table| Arc::clone(&table.schema));
        let schema = schema.ok_or_else(|| PyValueError::new_err("no table has no columns"))?;
        let batches = tables.iter().flat_map(|table| table.batches.iter().cloned()).collect();
        Ok(Self { schema, batches })
    }

    /// Columns without rows and without a type that could be wrong.
    #[staticmethod]
    fn nothing(names: Vec<String>) -> PyResult<Self> {
        let fields: Vec<_> = names.iter().map(|name| Field::new(name, DataType::Null, true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let arrays = names.iter().map(|_| Arc::new(NullArray::new(0)) as ArrayRef).collect();
        Ok(Self { schema: Arc::clone(&schema), batches: vec![batch_of(schema, arrays, 0)?] })
    }

    /// The same rows, their columns named anew.
    fn renamed(&self, names: HashMap<String, String>) -> PyResult<Self> {
        let fields = self.schema.fields().iter().map(|field| match names.get(field.name()) {
            Some(name) => field.as_ref().clone().with_name(name),
            None => field.as_ref().clone(),
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        self.with(Arc::clone(&schema), |batch| {
            batch_of(Arc::clone(&schema), batch.columns().to_vec(), batch.num_rows())
        })
    }

    /// The same values without types that polars lacks: maps are lists of their entries, half floats whole ones.
    fn without_maps(&self) -> PyResult<Self> {
        let fields = self.schema.fields().iter();
        let fields = fields.map(|field| Field::new(field.name(), without_maps(field.data_type()), field.is_nullable()));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        self.with(Arc::clone(&schema), |batch| {
            let columns = batch.columns().iter().zip(schema.fields());
            let columns = columns.map(|(array, field)| cast_without_maps(array, field.data_type()));
            batch_of(Arc::clone(&schema), columns.collect::<PyResult<_>>()?, batch.num_rows())
        })
    }

    /// Whether the columns of another table have the same names and types.
    fn same_columns(&self, other: &Table) -> bool {
        self.schema.fields() == other.schema.fields()
    }

    /// What the schema says beside its columns.
    #[getter]
    fn metadata(&self) -> HashMap<String, String> {
        self.schema.metadata().clone()
    }

    /// How many rows there are.
    #[getter]
    fn num_rows(&self) -> usize {
        self.rows()
    }

    /// How many bytes they take.
    #[getter]
    fn nbytes(&self) -> usize {
        self.batches.iter().map(RecordBatch::get_array_memory_size).sum()
    }

    /// The names of the columns.
    #[getter]
    fn column_names(&self) -> Vec<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    /// The columns.
    fn columns(&self) -> PyResult<Vec<Column>> {
        Ok(self.whole()?.columns().iter().map(|array| Column { array: Arc::clone(array) }).collect())
    }

    /// The columns at `places`, counted from 0.
    fn select(&self, places: Vec<usize>) -> PyResult<Self> {
        let schema = Arc::new(self.schema.project(&places).map_err(wrong)?);
        self.with(schema, |batch| batch.project(&places).map_err(wrong))
    }

    /// These columns and those of a table with as many rows, after them.
    fn beside(&self, other: &Table) -> PyResult<Self> {
        let fields: Vec<_> = self.schema.fields().iter().chain(other.schema.fields()).cloned().collect();
        let schema = Arc::new(Schema::new(fields));
        let (left, right) = (self.whole()?, other.whole()?);
        let columns = left.columns().iter().chain(right.columns()).cloned().collect();
        Ok(Self { schema: Arc::clone(&schema), batches: vec![batch_of(schema, columns, left.num_rows())?] })
    }

    /// `rows` rows from row `start` on.
    fn slice(&self, start: usize, rows: usize) -> PyResult<Self> {
        let (mut batches, mut before) = (Vec::new(), 0);
        for batch in &self.batches {
            let (from, to) = (start.max(before), (start + rows).min(before + batch.num_rows()));
            if from < to {
                batches.push(batch.slice(from - before, to - from));
            }
            before += batch.num_rows();
        }
        Ok(Self { schema: Arc::clone(&self.schema), batches })
    }

    /// All rows in one batch.
    fn combined(&self) -> PyResult<Self> {
        Ok(Self { schema: Arc::clone(&self.schema), batches: vec![self.whole()?] })
    }

    /// The rows in pieces of one batch each, of up to `rows` rows and about `bytes` bytes; at least one piece.
    fn pieces(&self, rows: usize, bytes: usize) -> PyResult<Vec<Self>> {
        let small = self.batches.len() > 2 + 2 * (self.rows() / rows.max(1));
        let batches = if small || self.batches.is_empty() { vec![self.whole()?] } else { self.batches.clone() };
        let mut pieces = Vec::new();
        for batch in batches {
            for start in (0..batch.num_rows()).step_by(rows.max(1)) {
                halve(batch.slice(start, rows.max(1).min(batch.num_rows() - start)), bytes, &mut pieces);
            }
        }
        if pieces.is_empty() {
            pieces.push(self.whole()?);
        }
        Ok(pieces.into_iter().map(Self::of_batch).collect())
    }

    /// The columns as lists of Python values.
    fn to_pydict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let batch = self.whole()?;
        let columns = PyDict::new(py);
        for (field, array) in self.schema.fields().iter().zip(batch.columns()) {
            columns.set_item(field.name(), crate::to_python::list_of(py, array)?)?;
        }
        Ok(columns)
    }

    fn __len__(&self) -> usize {
        self.rows()
    }

    fn __repr__(&self) -> String {
        format!("<firndb rows: {} of {}>", self.rows(), self.column_names().join(", "))
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        Ok(to_schema_pycapsule(py, self.schema.as_ref())?)
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let field =
            Field::new_struct("", self.schema.fields().clone(), false).with_metadata(self.schema.metadata().clone());
        let batches: Vec<_> =
            self.batches.iter().cloned().map(|batch| Ok(Arc::new(StructArray::from(batch)) as ArrayRef)).collect();
        let reader = ArrayIterator::new(batches.into_iter(), Arc::new(field));
        Ok(to_stream_pycapsule(py, Box::new(reader), requested_schema)?)
    }
}

/// A type without maps and half floats.
fn without_maps(data_type: &DataType) -> DataType {
    let inner = |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(without_maps(field.data_type())));
    match data_type {
        DataType::Float16 => DataType::Float32,
        DataType::Map(entries, _) => DataType::List(inner(entries)),
        DataType::List(item) => DataType::List(inner(item)),
        DataType::LargeList(item) => DataType::LargeList(inner(item)),
        DataType::FixedSizeList(item, width) => DataType::FixedSizeList(inner(item), *width),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        other => other.clone(),
    }
}

/// `array` as a type that [`without_maps`] made of its own.
fn cast_without_maps(array: &ArrayRef, to: &DataType) -> PyResult<ArrayRef> {
    let from = array.data_type();
    if from == to {
        return Ok(Arc::clone(array));
    }
    match to {
        // The layout is the same; what is inside is seen to by itself.
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) | DataType::Struct(_) => {
            let data = array.to_data();
            let children: Vec<_> = data.child_data().iter().map(|child| make_array(child.clone())).collect();
            let types: Vec<&DataType> = match to {
                DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
                DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                    vec![item.data_type()]
                }
                _ => Vec::new(),
            };
            let children = children.iter().zip(types).map(|(child, to)| Ok(cast_without_maps(child, to)?.to_data()));
            let children = children.collect::<PyResult<_>>()?;
            let built = data.into_builder().data_type(to.clone()).child_data(children).build();
            built.map(make_array).map_err(wrong)
        }
        _ => arrow_cast::cast(array, to).map_err(wrong),
    }
}

/// Halves a batch until each part takes `bytes` bytes at most or is one row.
fn halve(batch: RecordBatch, bytes: usize, pieces: &mut Vec<RecordBatch>) {
    let sizes = batch.columns().iter().map(|array| array.to_data().get_slice_memory_size().unwrap_or(0));
    let rows = batch.num_rows();
    if rows <= 1 || sizes.sum::<usize>() <= bytes {
        pieces.push(batch);
        return;
    }
    halve(batch.slice(0, rows / 2), bytes, pieces);
    halve(batch.slice(rows / 2, rows - rows / 2), bytes, pieces);
}

/// The columns alone: what else a library writes beside them is its own business.
fn plain_schema(schema: &Schema) -> SchemaRef {
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| Field::new(field.name(), field.data_type().clone(), field.is_nullable()))
        .collect();
    Arc::new(Schema::new(fields))
}

fn plain(schema: &SchemaRef, batch: RecordBatch) -> PyArrowResult<RecordBatch> {
    let rows = batch.num_rows();
    Ok(batch_of(Arc::clone(schema), batch.columns().to_vec(), rows)?)
}

/// The batches of something that speaks Arrow's PyCapsule interface, one at a time, each a table.
#[pyclass(frozen, module = "firndb._native")]
pub(crate) struct Batches {
    schema: SchemaRef,
    reader: Mutex<Box<dyn RecordBatchReader + Send>>,
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches").field("schema", &self.schema).finish_non_exhaustive()
    }
}

#[pymethods]
impl Batches {
    #[new]
    fn new(data: AnyRecordBatch) -> PyResult<Self> {
        let reader = data.into_reader()?;
        Ok(Self { schema: plain_schema(&reader.schema()), reader: Mutex::new(reader) })
    }

    /// The columns, without rows.
    fn empty(&self) -> Table {
        Table { schema: Arc::clone(&self.schema), batches: Vec::new() }
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self) -> PyResult<Option<Table>> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        match reader.next() {
            None => Ok(None),
            Some(batch) => Ok(Some(Table::of_batch(plain(&self.schema, batch.map_err(PyArrowError::from)?)?))),
        }
    }
}
