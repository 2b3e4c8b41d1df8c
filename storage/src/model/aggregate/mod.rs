//! Aggregates: what a table counts and adds up over windows of its events, as it was declared.
//!
//! An aggregate is declared once and never changes: it is retired and another is added. Each of its windows is an *output*, which is
//! read like a feature, under a name of its own. Inputs are known by the numbers of their features, so that they may be renamed and
//! widened. What an aggregate means is said in `docs/aggregates.md`; how it is reckoned, in `read/window/`.

mod answered;
mod check;
mod declaration;
pub(crate) mod declared;
mod describe;
mod listed;

pub(crate) use answered::{feature_of, input_type};
pub use declaration::AggregateDeclaration;
pub use declared::{Aggregate, Condition, Ends, Function, Input, Output, Reach, Test};
pub(in crate::model) use describe::{aggregate_declaration, output_declarations};

#[cfg(test)]
mod tests;
