//! What the answers of an aggregate are of: the columns that it reads of its table, and the types that follow from theirs.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields};

use super::declared::{Aggregate, Function, Input};
use crate::model::catalog::{Feature, Table};
use crate::model::types::{integer, stored_type, time_type};

impl Aggregate {
    /// The type of its answers in `table`, as it is declared there.
    pub fn data_type(&self, table: &Table) -> DataType {
        let of = || input_type(table, self.of[0]);
        match &self.function {
            Function::Count => DataType::Int64,
            Function::Sum { data_type: Some(data_type) } => data_type.clone(),
            Function::Sum { data_type: None } => {
                sum_type(&stored_type(&of())).expect("it was declared for such a type")
            }
            Function::Avg => DataType::Float64,
            Function::Min | Function::Max => of(),
            Function::First(_) | Function::Last(_) => {
                let one = self.listed_type(table);
                if self.lists() { DataType::List(Arc::new(Field::new("item", one, true))) } else { one }
            }
        }
    }

    /// The type of a value of `first` and `last`.
    fn listed_type(&self, table: &Table) -> DataType {
        if let [of] = self.of[..] {
            return input_type(table, of);
        }
        let field = |of: &Input| Field::new(input_name(table, *of), input_type(table, *of), true);
        DataType::Struct(self.of.iter().map(field).collect::<Fields>())
    }
}

/// What the sum of values of the stored type `of` is, exactly; `None` if they have none.
pub(crate) fn sum_type(of: &DataType) -> Option<DataType> {
    match of {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => Some(DataType::Float64),
        DataType::Decimal128(_, scale) => Some(DataType::Decimal128(38, *scale)),
        DataType::Decimal256(_, scale) => Some(DataType::Decimal256(76, *scale)),
        DataType::Duration(unit) => Some(DataType::Duration(*unit)),
        of => integer(of).map(|(signed, _)| if signed { DataType::Int64 } else { DataType::UInt64 }),
    }
}

/// The declared type of a column of `table`.
pub(crate) fn input_type(table: &Table, input: Input) -> DataType {
    match input {
        Input::Feature(feature) => feature_of(table, feature).data_type.clone(),
        Input::EventTime => time_type(),
        Input::RowId(place) => table.row_id[place].data_type.clone(),
    }
}

/// The name of a column of `table`.
pub(crate) fn input_name(table: &Table, input: Input) -> &str {
    match input {
        Input::Feature(feature) => &feature_of(table, feature).name,
        Input::EventTime => &table.event_time,
        Input::RowId(place) => &table.row_id[place].name,
    }
}

/// The feature that an aggregate of `table` reads, which is retired only after it.
pub(crate) fn feature_of(table: &Table, feature: u32) -> &Arc<Feature> {
    let found = table.features.iter().find(|known| known.id == feature);
    found.expect("a feature is not retired while an aggregate reads it")
}
