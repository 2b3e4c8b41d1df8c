//! Declarations of entities and feature tables, built field by field and sent as JSON.
//!
//! Names, types and durations are spelled as on the wire (`"utf8"`, `"6h"`); the server alone judges them.

use serde_json::{Map, Value, json};

/// The declaration of an entity.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityDeclaration {
    fields: Map<String, Value>,
}

/// The declaration of a feature table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableDeclaration {
    fields: Map<String, Value>,
}

/// The declaration of a feature.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureDeclaration {
    fields: Map<String, Value>,
}

fn push(fields: &mut Map<String, Value>, list: &str, value: Value) {
    if let Some(Value::Array(values)) = fields.get_mut(list) {
        values.push(value);
    } else {
        fields.insert(list.to_owned(), Value::Array(vec![value]));
    }
}

fn start<const N: usize>(named: [(&str, Value); N]) -> Map<String, Value> {
    named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

impl EntityDeclaration {
    /// An entity, still without key columns.
    pub fn new(entity: &str) -> Self {
        Self { fields: start([("entity", json!(entity)), ("key", json!([]))]) }
    }

    /// One more key column.
    #[must_use]
    pub fn key(mut self, column: &str, data_type: &str) -> Self {
        push(&mut self.fields, "key", json!({"name": column, "type": data_type}));
        self
    }

    /// The leading key columns that decide where an entity is kept.
    #[must_use]
    pub fn bucket_by(mut self, columns: &[&str]) -> Self {
        self.fields.insert("bucket_by".to_owned(), json!(columns));
        self
    }

    /// How many buckets entities are spread over.
    #[must_use]
    pub fn buckets(mut self, buckets: u32) -> Self {
        self.fields.insert("buckets".to_owned(), json!(buckets));
        self
    }

    /// Accepts an entity that is already declared like this.
    #[must_use]
    pub fn if_not_exists(mut self) -> Self {
        self.fields.insert("if_not_exists".to_owned(), json!(true));
        self
    }

    /// The body of `create_entity`.
    pub fn body(&self) -> Value {
        Value::Object(self.fields.clone())
    }
}

impl TableDeclaration {
    /// A table of `entity` whose event time is the column `event_time`, still without features.
    pub fn new(table: &str, entity: &str, event_time: &str) -> Self {
        let names = [("table", json!(table)), ("entity", json!(entity)), ("event_time", json!(event_time))];
        let mut fields = start(names);
        fields.insert("features".to_owned(), json!([]));
        Self { fields }
    }

    /// One more column that tells apart rows of one entity at one event time.
    #[must_use]
    pub fn row_id(mut self, column: &str, data_type: &str) -> Self {
        push(&mut self.fields, "row_id", json!({"name": column, "type": data_type}));
        self
    }

    /// One more feature.
    #[must_use]
    pub fn feature(mut self, feature: FeatureDeclaration) -> Self {
        push(&mut self.fields, "features", Value::Object(feature.fields));
        self
    }

    /// One more aggregate, as JSON: `{"name":"plays","function":"count","windows":["1h","7d"]}`; `docs/aggregates.md` says what there is.
    #[must_use]
    pub fn aggregate(mut self, aggregate: Value) -> Self {
        push(&mut self.fields, "aggregates", aggregate);
        self
    }

    /// How old a value may be before it counts as expired; `"none"` for unlimited.
    #[must_use]
    pub fn max_age(self, duration: &str) -> Self {
        self.option("max_age", json!(duration))
    }

    /// How far event times may lie in the future; `"none"` for tables of planned facts.
    #[must_use]
    pub fn max_future_skew(self, duration: &str) -> Self {
        self.option("max_future_skew", json!(duration))
    }

    /// What the table is about.
    #[must_use]
    pub fn description(self, description: &str) -> Self {
        self.option("description", json!(description))
    }

    /// Accepts a table that is already declared like this.
    #[must_use]
    pub fn if_not_exists(self) -> Self {
        self.option("if_not_exists", json!(true))
    }

    /// Any other field of `create_table`.
    #[must_use]
    pub fn option(mut self, name: &str, value: Value) -> Self {
        self.fields.insert(name.to_owned(), value);
        self
    }

    /// The body of `create_table`.
    pub fn body(&self) -> Value {
        Value::Object(self.fields.clone())
    }
}

impl FeatureDeclaration {
    /// A feature of a type as the wire spells it.
    pub fn new(feature: &str, data_type: &str) -> Self {
        Self { fields: start([("name", json!(feature)), ("type", json!(data_type))]) }
    }

    /// How old a value may be before it counts as expired, instead of the table's; `"none"` for unlimited.
    #[must_use]
    pub fn max_age(self, duration: &str) -> Self {
        self.option("max_age", json!(duration))
    }

    /// What an entity without a value answers.
    #[must_use]
    pub fn default_value(self, value: Value) -> Self {
        self.option("default", value)
    }

    /// What the feature is.
    #[must_use]
    pub fn description(self, description: &str) -> Self {
        self.option("description", json!(description))
    }

    fn option(mut self, name: &str, value: Value) -> Self {
        self.fields.insert(name.to_owned(), value);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_are_the_bodies_of_their_actions() {
        let entity = EntityDeclaration::new("airport").key("origin", "utf8").bucket_by(&["origin"]).buckets(8);
        let spelled =
            r#"{"entity":"airport","key":[{"name":"origin","type":"utf8"}],"bucket_by":["origin"],"buckets":8}"#;
        assert_eq!(entity.body().to_string(), spelled);
        let temp = FeatureDeclaration::new("temp", "float64").max_age("3h").default_value(json!(0.5));
        let table = TableDeclaration::new("weather", "airport", "observed").feature(temp).max_age("6h").if_not_exists();
        let spelled = concat!(
            r#"{"table":"weather","entity":"airport","event_time":"observed","#,
            r#""features":[{"name":"temp","type":"float64","max_age":"3h","default":0.5}],"#,
            r#""max_age":"6h","if_not_exists":true}"#
        );
        assert_eq!(table.body().to_string(), spelled);
    }
}
