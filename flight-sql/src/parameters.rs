//! Parameters: which types they have, and values for them that are not changed on the way.

use arrow_schema::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Cast, Expr, LogicalPlan};
use datafusion::scalar::ScalarValue;
use firn_storage::error::Result;

use crate::as_of_join::rule::written_in;
use crate::error::{from_datafusion, invalid};
use crate::types;
use firn_storage::model::types::time_type;

/// So many parameters, in words.
pub(crate) fn counted(count: usize) -> String {
    match count {
        0 => "no parameters".to_owned(),
        1 => "1 parameter".to_owned(),
        _ => format!("{count} parameters"),
    }
}

/// The number less one of a parameter, which is written `$1`.
pub(crate) fn number(id: &str) -> Option<usize> {
    id.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}

/// A parameter of a statement.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parameter {
    /// The type of its values; none if any will do.
    pub(crate) data_type: Option<DataType>,
    /// Whether it only bounds tables: such values are read as they are, in any unit and as text.
    is_bound: bool,
}

impl Parameter {
    /// One whose values are of `data_type`, if that is known.
    pub(crate) fn of(data_type: Option<DataType>) -> Self {
        Self { data_type, is_bound: false }
    }
}

/// The types of `count` parameters of `plan`.
pub(crate) fn types_of(plan: &LogicalPlan, count: usize) -> Result<Vec<Parameter>> {
    let mut parameters = vec![Parameter::default(); count];
    let fields = plan.get_parameter_fields().map_err(|error| from_datafusion(&error))?;
    for (id, field) in fields {
        say(&mut parameters, &id, field.map(|field| field.data_type().clone()), false);
    }
    let visited = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node {
            for expr in [&limit.skip, &limit.fetch].into_iter().flatten() {
                say_of(&mut parameters, expr, DataType::Int64, false);
            }
        }
        for expr in written_in(node) {
            // A moment that is computed of parameters leaves their types open.
            say_of(&mut parameters, expr, time_type(), true);
            casts(expr, &mut parameters)?;
        }
        node.apply_expressions(|expr| casts(expr, &mut parameters).map(|()| TreeNodeRecursion::Continue))
    });
    visited.map_err(|error| from_datafusion(&error))?;
    Ok(parameters)
}

/// Says the type of the parameter `id`, unless it is known.
fn say(parameters: &mut [Parameter], id: &str, data_type: Option<DataType>, is_bound: bool) {
    if let Some(parameter) = number(id).and_then(|number| parameters.get_mut(number))
        && parameter.data_type.is_none()
    {
        *parameter = Parameter { data_type, is_bound };
    }
}

fn say_of(parameters: &mut [Parameter], expr: &Expr, data_type: DataType, is_bound: bool) {
    if let Expr::Placeholder(placeholder) = expr {
        say(parameters, &placeholder.id, Some(data_type), is_bound);
    }
}

/// A parameter that is cast has the type that it is cast to.
fn casts(expr: &Expr, parameters: &mut [Parameter]) -> datafusion::error::Result<()> {
    let visited = expr.apply(|part| {
        if let Expr::Cast(Cast { expr, field }) = part {
            say_of(parameters, expr, field.data_type().clone(), false);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    visited.map(drop)
}

/// `values` in the types of the parameters: the same values, or an error.
pub(crate) fn cast(values: Vec<ScalarValue>, parameters: &[Parameter]) -> Result<Vec<ScalarValue>> {
    let cast = values.into_iter().zip(parameters).enumerate().map(|(number, (value, parameter))| match parameter {
        Parameter { data_type: Some(data_type), is_bound: false } => cast_one(&value, data_type, number + 1),
        _ => Ok(value),
    });
    cast.collect()
}

fn cast_one(value: &ScalarValue, data_type: &DataType, number: usize) -> Result<ScalarValue> {
    exactly(value, data_type, &format!("the parameter ${number}"))
}

/// `value`, which is called `what`, in the type `data_type`: the same value, or an error.
pub(crate) fn exactly(value: &ScalarValue, data_type: &DataType, what: &str) -> Result<ScalarValue> {
    let given = value.data_type();
    if given == *data_type {
        return Ok(value.clone());
    }
    let misfit = || {
        invalid(format!(
            "{what} is {value} ({}), which is no {}: give a value of that type",
            types::name(&given),
            types::name(data_type)
        ))
    };
    // A number is no time, though it could be cast to one.
    if given.is_numeric() && data_type.is_temporal() {
        return Err(misfit());
    }
    let cast = value.cast_to(data_type).map_err(|_| misfit())?;
    if cast.is_null() != value.is_null() {
        return Err(misfit());
    }
    let exact =
        !(given.is_numeric() && data_type.is_numeric()) || cast.cast_to(&given).is_ok_and(|back| back == *value);
    if exact { Ok(cast) } else { Err(misfit()) }
}
