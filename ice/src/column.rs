//! A column of a file, as it is asked for.

use arrow_schema::{DataType, Field};

use crate::lake::lake_type;

/// The key under which a Parquet reader finds the number of a column.
const FIELD_ID: &str = "PARQUET:field_id";
/// The key under which the type is found that a column has in FirnDB, if it is another than in the file.
pub(crate) const FIRN_TYPE: &str = "firn.type";

/// A column of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnSpec {
    /// The name.
    pub name: String,
    /// The type of the arrays that are written and read.
    pub data_type: DataType,
    /// Whether a value may be null.
    pub nullable: bool,
    /// The number by which it is found whatever its name.
    pub field_id: Option<i32>,
    /// Whether least and greatest values are written. They are data: those of an entity would survive its erase.
    pub statistics: bool,
}

impl ColumnSpec {
    /// The column as it is in the file.
    pub(crate) fn field(&self) -> Field {
        let lake = lake_type(&self.data_type);
        let mut metadata = std::collections::HashMap::new();
        if let Some(id) = self.field_id {
            metadata.insert(FIELD_ID.to_owned(), id.to_string());
        }
        if lake != self.data_type {
            metadata.insert(FIRN_TYPE.to_owned(), self.data_type.to_string());
        }
        Field::new(&self.name, lake, self.nullable).with_metadata(metadata)
    }
}

/// The number of the column `field` of a file.
pub(crate) fn field_id(field: &Field) -> Option<i32> {
    field.metadata().get(FIELD_ID).and_then(|id| id.parse().ok())
}
