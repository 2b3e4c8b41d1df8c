//! Parameters: which types they have, and values for them that are not changed on the way.

use arrow_schema::DataType;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::scalar::ScalarValue;
use firn_storage::error::Result;

use crate::as_of_join::rule::written_in;
use crate::error::{from_datafusion, invalid};
use crate::table::time_type;

/// The number less one of a parameter, which is written `$1`.
pub(crate) fn number(id: &str) -> Option<usize> {
    id.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}

/// The types of `count` parameters of `plan`; none where any type will do.
pub(crate) fn types_of(plan: &LogicalPlan, count: usize) -> Result<Vec<Option<DataType>>> {
    let mut types = vec![None; count];
    let fields = plan.get_parameter_fields().map_err(|error| from_datafusion(&error))?;
    for (id, field) in fields {
        if let Some(slot) = number(&id).and_then(|number| types.get_mut(number)) {
            *slot = field.map(|field| field.data_type().clone());
        }
    }
    let visited = plan.apply_with_subqueries(|node| {
        let limits = match node {
            LogicalPlan::Limit(limit) => [&limit.skip, &limit.fetch].into_iter().flatten().map(AsRef::as_ref).collect(),
            _ => Vec::new(),
        };
        for (expr, data_type) in written_in(node)
            .into_iter()
            .map(|expr| (expr, time_type()))
            .chain(limits.into_iter().map(|expr| (expr, DataType::Int64)))
        {
            // A moment that is computed of parameters leaves their types open.
            if let Expr::Placeholder(placeholder) = expr
                && let Some(slot) = number(&placeholder.id).and_then(|number| types.get_mut(number))
                && slot.is_none()
            {
                *slot = Some(data_type);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    visited.map_err(|error| from_datafusion(&error))?;
    Ok(types)
}

/// `values` in the types of the parameters: the same values, or an error.
pub(crate) fn cast(values: Vec<ScalarValue>, types: &[Option<DataType>]) -> Result<Vec<ScalarValue>> {
    let cast = values.into_iter().zip(types).enumerate().map(|(number, (value, data_type))| match data_type {
        // What bounds a table is read as it is, in any unit and as text.
        Some(data_type) if *data_type != time_type() => cast_one(&value, data_type, number + 1),
        _ => Ok(value),
    });
    cast.collect()
}

fn cast_one(value: &ScalarValue, data_type: &DataType, number: usize) -> Result<ScalarValue> {
    let given = value.data_type();
    if given == *data_type {
        return Ok(value.clone());
    }
    let misfit = || {
        invalid(format!(
            "the parameter ${number} is {value} ({given}), which is no {data_type}: bind a value of that type"
        ))
    };
    let cast = value.cast_to(data_type).map_err(|_| misfit())?;
    if cast.is_null() != value.is_null() {
        return Err(misfit());
    }
    let exact =
        !(given.is_numeric() && data_type.is_numeric()) || cast.cast_to(&given).is_ok_and(|back| back == *value);
    if exact { Ok(cast) } else { Err(misfit()) }
}
