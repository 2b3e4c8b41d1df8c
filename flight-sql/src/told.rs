//! What clients are told of an answer, and get: no views, no dictionaries, which tools do not read.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields, Schema, SchemaRef};

/// The columns that clients are told.
pub(crate) fn told_schema(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(told_fields(schema.fields())))
}

fn told_fields(fields: &Fields) -> Fields {
    fields.iter().map(told_field).collect()
}

fn told_field(field: &FieldRef) -> FieldRef {
    let told = told_type(field.data_type());
    // DataFusion's own metadata says nothing to clients; drivers for Java read the digits of a decimal from there alone.
    let digits = match &told {
        DataType::Decimal128(precision, scale) => vec![
            ("ARROW:FLIGHT:SQL:PRECISION".to_owned(), precision.to_string()),
            ("ARROW:FLIGHT:SQL:SCALE".to_owned(), scale.to_string()),
        ],
        _ => Vec::new(),
    };
    Arc::new(Field::new(field.name(), told, field.is_nullable()).with_metadata(digits.into_iter().collect()))
}

fn told_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Dictionary(_, values) => told_type(values),
        DataType::List(item) | DataType::ListView(item) | DataType::LargeList(item) | DataType::LargeListView(item) => {
            DataType::List(told_field(item))
        }
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(told_field(item), *length),
        DataType::Struct(fields) => DataType::Struct(told_fields(fields)),
        DataType::Map(entries, sorted) => DataType::Map(told_field(entries), *sorted),
        other => other.clone(),
    }
}

/// `batch` as it is told.
pub(crate) fn tell(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() { Ok(Arc::clone(column)) } else { cast(column, field.data_type()) }
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect::<Result<_, _>>()?, &options)
}
