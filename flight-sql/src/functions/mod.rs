//! Functions that are ours, most in place of DataFusion's of the same name: those whose answer could be endless ([`bounded`]),
//! integers that would wrap ([`checked`], [`sum`], [`distinct_sum`]), and what tools ask for to show where they are.

mod bounded;
pub(crate) mod checked;
mod distinct_sum;
mod sum;

use std::sync::Arc;

use arrow_schema::DataType;
use datafusion::error::Result;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{
    AggregateUDF, ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::names::{CATALOG, SCHEMA};

/// The functions of many rows.
pub(crate) fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let functions = SessionStateDefaults::default_aggregate_functions().into_iter();
    let exact = |function: Arc<AggregateUDF>| match function.name() {
        "sum" => Arc::new(AggregateUDF::from(sum::ExactSum::new(function))),
        _ => function,
    };
    functions.map(exact).collect()
}

/// The functions of one row, of which none answers more than `bytes_max` for the rows of a batch.
pub(crate) fn scalar_functions(bytes_max: u64) -> Vec<Arc<ScalarUDF>> {
    let ours = [
        ("version", format!("FirnDB {}", env!("CARGO_PKG_VERSION"))),
        ("current_catalog", CATALOG.to_owned()),
        ("current_database", CATALOG.to_owned()),
        ("current_schema", SCHEMA.to_owned()),
    ];
    let ours = ours.map(|(name, value)| Constant { name, value, signature: Signature::nullary(Volatility::Immutable) });
    let others = SessionStateDefaults::default_scalar_functions().into_iter();
    let others = others.filter(|other| ours.iter().all(|own| own.name != other.name()));
    let others: Vec<_> = others.map(|function| bounded::bounded(function, bytes_max)).collect();
    others.into_iter().chain(ours.map(|own| Arc::new(ScalarUDF::from(own)))).collect()
}

/// The names of functions of `state` whose documentation is in a section of these, sorted.
pub(crate) fn names_of(state: &SessionState, sections: &[&str]) -> Vec<String> {
    let functions = state.scalar_functions().values();
    let documented = functions.filter_map(|function| Some((function.name(), function.documentation()?)));
    let named = documented.filter(|(_, documentation)| sections.contains(&documentation.doc_section.label));
    let mut names: Vec<String> = named.map(|(name, _)| name.to_owned()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// What tools ask for to show where they are.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Constant {
    name: &'static str,
    value: String,
    signature: Signature,
}

impl ScalarUDFImpl for Constant {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(self.value.clone()))))
    }
}
