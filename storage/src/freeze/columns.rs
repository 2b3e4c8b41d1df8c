//! The columns of a file of ice: everything from which a reader who knows no FirnDB reproduces the rule of time.
//!
//! They are those of a history, with cells as they are stored, but that `features` is null where a row has a cell for each
//! feature of the file; the ordinal of each row's entity comes last.

use std::sync::Arc;

use arrow_schema::DataType;
use firn_ice::ColumnSpec;

use crate::error::Result;
use crate::lake;
use crate::model::catalog::{Entity, Feature, Table};
use crate::read::scan::ScanRequest;
use crate::run::Run;

/// The columns that a segment has as ice.
pub(super) struct Columns {
    /// The table as they name its features.
    pub(super) table: Arc<Table>,
    /// The scan that reads them.
    pub(super) request: ScanRequest,
    pub(super) specs: Vec<ColumnSpec>,
}

impl Columns {
    /// Those of `run`, which holds rows of `table`; none if it has cells of a feature that is not there any more, or of a type
    /// that it had before: then it is to be merged first.
    pub(super) fn of(run: &Run, table: &Table, entity: &Entity) -> Result<Option<Self>> {
        let table = as_frozen(table);
        let columns = || run.chunks.iter().flat_map(|chunk| &chunk.columns);
        let declared = |id: u32| table.features.iter().find(|feature| feature.id == id);
        let is_current =
            |id: u32, of: &DataType| declared(id).is_some_and(|feature: &Arc<Feature>| feature.stored_type() == *of);
        if !columns().all(|column| is_current(column.feature(), column.data_type())) {
            return Ok(None);
        }
        let there: Vec<&Arc<Feature>> = table.features.iter().filter(|feature| run.has_feature(feature.id)).collect();
        let specs = lake::columns(&table, entity, &there)?;
        let request = lake::history_of(&table, &there);
        Ok(Some(Self { table: Arc::new(table), request, specs }))
    }
}

/// `table` as ice names its features: also those that are retired, which an older schema version still reads, by a name that
/// no other feature can have.
fn as_frozen(table: &Table) -> Table {
    let retired = |feature: &Arc<Feature>| {
        let name = format!("_retired_{}", feature.id);
        Arc::new(Feature { name, ..Feature::clone(feature) })
    };
    let features = table.features.iter().cloned().chain(table.retired.iter().map(retired)).collect();
    Table { features, retired: Vec::new(), ..table.clone() }
}
