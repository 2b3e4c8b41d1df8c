//! The aggregates of a table: added, renamed and retired.

use std::sync::Arc;

use super::declaration::AggregateDeclaration;
use crate::error::{Error, Kind, Result};
use crate::model::catalog::{Table, listed};

impl Table {
    /// Adds aggregates, which read its features as they are now.
    pub(in crate::model) fn add_aggregates(&mut self, declared: &[AggregateDeclaration]) -> Result<()> {
        for declaration in declared {
            if self.aggregates.iter().any(|known| known.name == declaration.name) {
                let (table, name) = (&self.name, &declaration.name);
                return Err(Error::new(
                    Kind::AlreadyExists,
                    format!(
                        "table `{table}` has an aggregate `{name}`, and no aggregate changes; give the new one another name"
                    ),
                ));
            }
            let id = self.next_feature;
            self.next_feature =
                id.checked_add(1).ok_or_else(|| Error::exhausted("all 2^32 ids of features are used up"))?;
            self.aggregates.push(Arc::new(declaration.aggregate(self, id)?));
        }
        Ok(())
    }

    /// Gives answers of aggregates other names, of those that it has.
    pub(in crate::model) fn rename_outputs(&mut self, renamed: &[&(String, String)]) {
        for aggregate in &mut self.aggregates {
            let new = |name: &str| renamed.iter().find(|(from, _)| from == name).map(|(_, to)| to.clone());
            if aggregate.outputs.iter().any(|output| new(&output.name).is_some()) {
                for output in &mut Arc::make_mut(aggregate).outputs {
                    output.name = new(&output.name).unwrap_or_else(|| output.name.clone());
                }
            }
        }
    }

    /// Removes the aggregates of these names.
    pub(in crate::model) fn retire_aggregates(&mut self, names: &[String]) -> Result<()> {
        for name in names {
            let place = self.aggregates.iter().position(|aggregate| aggregate.name == *name).ok_or_else(|| {
                let known = listed(self.aggregates.iter().map(|aggregate| aggregate.name.as_str()));
                Error::not_found(format!("table `{}` has no aggregate `{name}`; its aggregates are {known}", self.name))
            })?;
            self.aggregates.remove(place);
        }
        Ok(())
    }

    /// The name of an aggregate that reads `feature`.
    pub(in crate::model) fn aggregate_of(&self, feature: u32) -> Option<&str> {
        let reads = self.aggregates.iter().find(|aggregate| aggregate.features().any(|read| read == feature));
        reads.map(|aggregate| aggregate.name.as_str())
    }
}
