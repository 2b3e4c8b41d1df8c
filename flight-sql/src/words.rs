//! Errors in the words of SQL: those of the engine speak of the native protocol, those of DataFusion of itself and of Rust.

use firn_storage::error::Error;

/// The engine's errors tell how to mend a request of the native protocol.
pub(crate) fn in_words_of_sql(error: Error) -> Error {
    const WORDS: &[(&str, &str)] = &[
        ("no answer at a \"known_at\"", "no answer at a moment of what was known"),
        ("\"known_at\"", "the moment of what was known"),
        ("seal it with seal_table when its history is complete", "CALL seal_table('…') when its history is complete"),
        (", or \"latest\"", ", or leave the clause out"),
        (
            "list_tables names those there are, create_table declares one",
            "SHOW TABLES lists them, CREATE TABLE declares one",
        ),
        (
            "list_entities names those there are, create_entity declares one",
            "firn_system.entities lists them, CREATE TABLE declares one",
        ),
        ("say \"if_not_exists\": true", "write IF NOT EXISTS"),
        ("cast it before sending", "CAST it"),
        (
            "write RFC 3339, such as 2026-01-31T12:00:00Z, or {\"us\": microseconds since 1970}",
            "write '2026-01-31T12:00:00Z'",
        ),
        ("of create_table is", "is"),
    ];
    let mut said = error.message().to_owned();
    let unsealed =
        said.strip_prefix("table ").and_then(|rest| rest.split_once(" is not sealed")).map(|(name, _)| name.to_owned());
    for (native, ours) in WORDS {
        said = said.replace(native, ours);
    }
    if let Some(table) = unsealed {
        said = said.replace("seal_table('…')", &format!("seal_table('{table}')"));
    }
    error.saying(said)
}

/// What DataFusion calls types, and SQL.
const TYPES: &[(&str, &str)] = &[
    ("Timestamp(µs, \"UTC\")", "TIMESTAMP WITH TIME ZONE"),
    ("Timestamp(ns, \"UTC\")", "TIMESTAMP WITH TIME ZONE"),
    ("Timestamp(µs)", "TIMESTAMP"),
    ("Timestamp(ns)", "TIMESTAMP"),
    ("UInt64", "BIGINT UNSIGNED"),
    ("UInt32", "INT UNSIGNED"),
    ("Int64", "BIGINT"),
    ("Int32", "INT"),
    ("Int16", "SMALLINT"),
    ("Int8", "TINYINT"),
    ("Float64", "DOUBLE"),
    ("Float32", "REAL"),
    ("Utf8", "VARCHAR"),
    ("Boolean", "BOOLEAN"),
    ("Date32", "DATE"),
];

/// What comes before what is said.
const PREFIXES: &[&str] = &[
    "Internal error: ",
    "Error during planning: ",
    "Execution error: ",
    "This feature is not implemented: ",
    "Arrow error: ",
    "Invalid argument error: ",
    "Cast error: ",
    "Parser error: ",
    "Compute error: ",
    "External error: ",
];

/// What DataFusion says of a statement, without its own bug tracker, settings and types of Rust.
pub(crate) fn in_our_words(said: &str) -> String {
    let mut said = said.to_owned();
    for prefix in PREFIXES {
        said = said.replace(prefix, "");
    }
    for end in [
        "\nThis issue was likely caused by a bug",
        ". To disable identifier normalization",
        " disable the datafusion.sql_parser",
    ] {
        said.truncate(said.find(end).unwrap_or(said.len()));
    }
    known(&said).unwrap_or_else(|| with_types(&said))
}

/// The part of `said` between two others.
fn between<'a>(said: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = said.split_once(before)?;
    Some(rest.split(after).next().unwrap_or(rest))
}

/// What is said often, said better.
fn known(said: &str) -> Option<String> {
    if said.contains("does not support logical expression ScalarSubquery")
        || said.contains("does not support logical expression Exists")
    {
        return Some(
            "this subquery is not served where it stands: write it as a join, such as LEFT JOIN LATERAL (…) ON true, or as an \
             ASOF JOIN; EXISTS stands in WHERE"
                .to_owned(),
        );
    }
    if said.contains("does not support logical expression Wildcard") {
        return Some("`*` stands alone in SELECT and in count(*): name columns".to_owned());
    }
    if said.contains("OuterReferenceColumn(Field") {
        return Some(
            "a subquery in FROM reads no columns of the tables before it: write JOIN LATERAL (…) ON true".to_owned(),
        );
    }
    if said.contains("Unsupported ast node") {
        let written = said.split_once("sqltorel: ").map_or("", |(_, written)| written);
        let written = if written.contains(['{', '(']) { "" } else { written };
        return Some(format!("this expression is not served: {written}").trim_end_matches([' ', ':']).to_owned());
    }
    if said.starts_with("Unsupported LIMIT expression") {
        return Some("LIMIT and OFFSET are numbers or parameters, and name no column".to_owned());
    }
    if let Some(name) = between(said, "Projections require unique expression names but the expression \"", "\"") {
        return Some(format!("two columns are called `{name}`: give one another name with AS"));
    }
    if let Some(function) = between(said, "Invalid function '", "'") {
        return Some(match function {
            "as_of" | "history" | "changes" => {
                format!(
                    "`{function}` is a table, and stands in FROM: SELECT … FROM {function}('t', …), as as_of('t', moment)"
                )
            }
            _ => format!("there is no function `{function}`"),
        });
    }
    if let Some(qualifier) = said.strip_prefix("Invalid qualifier ") {
        return Some(format!("there is no table `{qualifier}` in FROM"));
    }
    if let Some(column) = said.strip_prefix("Ambiguous reference to unqualified field ") {
        return Some(format!("`{column}` is a column of several tables: say of which, as in `t.{column}`"));
    }
    let column = said.strip_prefix("No field named ")?;
    let (column, rest) = column.split_once(". ").unwrap_or((column.trim_end_matches('.'), ""));
    let near = between(rest, "Did you mean '", "'").map(|near| format!(" (did you mean `{near}`?)"));
    Some(format!("there is no column `{}`{}", column.replace('"', ""), near.unwrap_or_default()))
}

/// `said` with SQL's names of types, and constants as they are written.
fn with_types(said: &str) -> String {
    let mut said = said.to_owned();
    for (rust, _) in TYPES {
        let opened = format!("{rust}(");
        while let Some(start) = said.find(&opened) {
            let inner = start + opened.len();
            let Some(length) = said[inner..].find(')') else { break };
            let constant = said[inner..inner + length].replace('"', "'");
            said.replace_range(start..=inner + length, &constant);
        }
    }
    for (rust, sql) in TYPES {
        said = said.replace(rust, sql);
    }
    said
}

#[cfg(test)]
mod tests {
    use super::in_our_words;

    #[test]
    fn what_datafusion_says_is_said_in_sql() {
        for (said, ours) in [
            (
                "Arrow error: Cast error: Cannot cast string 'a' to value of Int64 type",
                "Cannot cast string 'a' to value of BIGINT type",
            ),
            ("No field named v.x. Did you mean 'w.x'?", "there is no column `v.x` (did you mean `w.x`?)"),
            ("Invalid function 'abss'.\nDid you mean 'abs'?", "there is no function `abss`"),
            (
                "Ambiguous reference to unqualified field k",
                "`k` is a column of several tables: say of which, as in `t.k`",
            ),
            ("w.x = Utf8(\"a\") AND n > Int64(1)", "w.x = 'a' AND n > 1"),
            (
                "Unsupported LIMIT expression: Some(ScalarSubquery(<subquery>))",
                "LIMIT and OFFSET are numbers or parameters, and name no column",
            ),
        ] {
            assert_eq!(in_our_words(said), ours);
        }
    }
}
