//! Integers that do not fit are an error: DataFusion's own operators wrap.

use std::sync::Arc;

use arrow_schema::{ArrowError, DataType};
use datafusion::arrow::compute::kernels::numeric;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::analyzer::AnalyzerRule;
use datafusion::physical_expr_common::datum::apply;
use datafusion::scalar::ScalarValue;

use crate::error::{invalid, through};
use crate::types;

/// Puts operators on integers that check in place of those that wrap; it comes after types are known.
#[derive(Debug)]
pub(crate) struct CheckedIntegers {
    add: Arc<ScalarUDF>,
    subtract: Arc<ScalarUDF>,
    multiply: Arc<ScalarUDF>,
}

impl Default for CheckedIntegers {
    fn default() -> Self {
        let checked = |operator| Arc::new(ScalarUDF::from(Checked { operator, signature: signature() }));
        Self { add: checked(Operator::Plus), subtract: checked(Operator::Minus), multiply: checked(Operator::Multiply) }
    }
}

fn signature() -> Signature {
    Signature::any(2, Volatility::Immutable)
}

impl AnalyzerRule for CheckedIntegers {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let checked = plan.transform_up_with_subqueries(|node| {
            let names = NamePreserver::new(&node);
            let mut schema = merge_schema(&node.inputs());
            if let LogicalPlan::TableScan(scan) = &node {
                schema.merge(&scan.projected_schema);
            }
            let changed = node.map_expressions(|expr| {
                let name = names.save(&expr);
                let checked = expr.transform_up(|expr| {
                    Ok(match &expr {
                        Expr::BinaryExpr(BinaryExpr { op, .. }) => match (self.function(*op), expr.get_type(&schema)) {
                            (Some(function), Ok(data_type)) if data_type.is_integer() => {
                                Transformed::yes(call(function, expr))
                            }
                            _ => Transformed::no(expr),
                        },
                        // A literal is there as it was written; of all others one has no opposite.
                        Expr::Negative(inner) if !matches!(**inner, Expr::Literal(..)) => {
                            match expr.get_type(&schema) {
                                Ok(data_type) if data_type.is_signed_integer() => {
                                    Transformed::yes(self.opposite(&data_type, expr)?)
                                }
                                _ => Transformed::no(expr),
                            }
                        }
                        _ => Transformed::no(expr),
                    })
                })?;
                Ok(checked.update_data(|expr| name.restore(expr)))
            })?;
            if changed.transformed { changed.map_data(LogicalPlan::recompute_schema) } else { Ok(changed) }
        });
        checked.map(|checked| checked.data)
    }

    fn name(&self) -> &str {
        "checked_integers"
    }
}

impl CheckedIntegers {
    fn function(&self, operator: Operator) -> Option<&Arc<ScalarUDF>> {
        match operator {
            Operator::Plus => Some(&self.add),
            Operator::Minus => Some(&self.subtract),
            Operator::Multiply => Some(&self.multiply),
            _ => None,
        }
    }

    /// `-x` as `0 - x`.
    fn opposite(&self, data_type: &DataType, expr: Expr) -> Result<Expr> {
        let Expr::Negative(inner) = expr else { unreachable!("it was looked at") };
        let zero = Expr::Literal(ScalarValue::new_zero(data_type)?, None);
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&self.subtract), vec![zero, *inner])))
    }
}

fn call(function: &Arc<ScalarUDF>, expr: Expr) -> Expr {
    let Expr::BinaryExpr(BinaryExpr { left, op: _, right }) = expr else { unreachable!("it was looked at") };
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), vec![*left, *right]))
}

/// An operator on integers that checks.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operator: Operator,
    signature: Signature,
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.operator {
            Operator::Plus => "add",
            Operator::Minus => "subtract",
            _ => "multiply",
        }
    }

    fn display_name(&self, arguments: &[Expr]) -> Result<String> {
        let [left, right] = arguments else { unreachable!("an operator has two sides") };
        Ok(format!("{left} {} {right}", self.operator))
    }

    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        let [left, right] = arguments else { unreachable!("an operator has two sides") };
        Ok(format!("{} {} {}", left.schema_name(), self.operator, right.schema_name()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(arguments[0].clone())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let data_type = arguments.args[0].data_type();
        let [left, right] = arguments.args.as_slice() else { unreachable!("an operator has two sides") };
        let kernel = match self.operator {
            Operator::Plus => numeric::add,
            Operator::Minus => numeric::sub,
            _ => numeric::mul,
        };
        apply(left, right, kernel).map_err(|error| match &error {
            DataFusionError::ArrowError(inner, _) if matches!(**inner, ArrowError::ArithmeticOverflow(_)) => {
                through(invalid(format!(
                    "`{}` answers a number that no {} can be: cast one side to DECIMAL(38, 0)",
                    self.operator,
                    types::name(&data_type)
                )))
            }
            _ => error,
        })
    }
}
