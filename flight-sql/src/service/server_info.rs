//! What the server is and can, as Flight SQL asks for it. Drivers for Java fail on whatever is not answered, so all is.

use std::collections::HashMap;

use arrow_array::RecordBatch;
use arrow_flight::sql::metadata::SqlInfoDataBuilder;
use arrow_flight::sql::{CommandGetSqlInfo, SqlInfo};
use datafusion::execution::session_state::SessionState;
use firn_storage::error::Result;

use crate::error::defect;
use crate::functions::names_of;
use crate::limits::Limits;

/// Transactions: none (`SqlSupportedTransaction`).
const NO_TRANSACTIONS: i32 = 0;
/// Names are folded to lower case (`SqlSupportedCaseSensitivity`), quoted ones are kept.
const LOWER_CASE: i32 = 3;
const AS_WRITTEN: i32 = 1;
/// NULLs are greatest (`SqlNullOrdering`).
const NULLS_HIGH: i32 = 0;
/// Bits of sets of the protocol, which number what they may hold from 0.
const FIRST_TWO: i32 = 0b11;
const FIRST_THREE: i32 = 0b111;
const FIRST_FOUR: i32 = 0b1111;
/// Answers are read forwards only (`SqlSupportedResultSetType`).
const FORWARD_ONLY: i32 = 1 << 1;
/// The words of statements that standard SQL does not have.
const KEYWORDS: &[&str] = &["ASOF", "MATCH_CONDITION", "SYSTEM_TIME", "VALID_TIME"];

/// Answers `asked` about a server with `limits` and the functions of `state`.
pub(super) fn info(asked: &CommandGetSqlInfo, limits: &Limits, state: &SessionState) -> Result<RecordBatch> {
    let data = server(limits, state).build().map_err(failed)?;
    asked.clone().into_builder(&data).build().map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> firn_storage::error::Error {
    defect(&format!("what the server is cannot be answered: {error}"))
}

/// Everything.
fn server(limits: &Limits, state: &SessionState) -> SqlInfoDataBuilder {
    let mut builder = SqlInfoDataBuilder::new();
    for (info, value) in FLAGS {
        builder.append(*info, *value);
    }
    for (info, value) in SETS {
        builder.append(*info, *value);
    }
    for (info, value) in WORDS {
        builder.append(*info, *value);
    }
    // 0 says that there is no limit of its own; the length of the statement bounds all of these.
    for info in UNLIMITED {
        builder.append(*info, 0_i64);
    }
    builder.append(SqlInfo::SqlMaxStatementLength, i64::try_from(limits.statement_bytes_max).unwrap_or(i64::MAX));
    builder.append(SqlInfo::SqlDefaultTransactionIsolation, 0_i64);
    builder.append(SqlInfo::SqlKeywords, KEYWORDS);
    for (info, sections) in FUNCTIONS {
        builder.append(*info, names_of(state, sections));
    }
    builder.append(SqlInfo::SqlSupportsConvert, HashMap::<i32, Vec<i32>>::new());
    let seconds = i32::try_from(limits.query_time_max.as_secs()).unwrap_or(i32::MAX);
    builder.append(SqlInfo::FlightSqlServerStatementTimeout, seconds.saturating_mul(1000));
    builder
}

const FLAGS: &[(SqlInfo, bool)] = &[
    (SqlInfo::FlightSqlServerReadOnly, false),
    (SqlInfo::FlightSqlServerSql, true),
    (SqlInfo::FlightSqlServerSubstrait, false),
    (SqlInfo::FlightSqlServerCancel, true),
    (SqlInfo::FlightSqlServerBulkIngestion, true),
    (SqlInfo::FlightSqlServerIngestTransactionsSupported, false),
    (SqlInfo::SqlDdlCatalog, false),
    (SqlInfo::SqlDdlSchema, false),
    (SqlInfo::SqlDdlTable, true),
    (SqlInfo::SqlAllTablesAreSelectable, true),
    (SqlInfo::SqlSupportsColumnAliasing, true),
    (SqlInfo::SqlNullPlusNullIsNull, true),
    (SqlInfo::SqlSupportsTableCorrelationNames, true),
    (SqlInfo::SqlSupportsDifferentTableCorrelationNames, false),
    (SqlInfo::SqlSupportsExpressionsInOrderBy, true),
    (SqlInfo::SqlSupportsOrderByUnrelated, true),
    (SqlInfo::SqlSupportsLikeEscapeClause, true),
    (SqlInfo::SqlSupportsNonNullableColumns, true),
    (SqlInfo::SqlSupportsIntegrityEnhancementFacility, false),
    (SqlInfo::SqlCatalogAtStart, true),
    (SqlInfo::SqlSelectForUpdateSupported, false),
    (SqlInfo::SqlStoredProceduresSupported, false),
    (SqlInfo::SqlCorrelatedSubqueriesSupported, true),
    (SqlInfo::SqlMaxRowSizeIncludesBlobs, true),
    (SqlInfo::SqlTransactionsSupported, false),
    (SqlInfo::SqlDataDefinitionCausesTransactionCommit, false),
    (SqlInfo::SqlDataDefinitionsInTransactionsIgnored, false),
    (SqlInfo::SqlBatchUpdatesSupported, true),
    (SqlInfo::SqlSavepointsSupported, false),
    (SqlInfo::SqlNamedParametersSupported, false),
    (SqlInfo::SqlLocatorsUpdateCopy, false),
    (SqlInfo::SqlStoredFunctionsUsingCallSyntaxSupported, false),
];

const SETS: &[(SqlInfo, i32)] = &[
    (SqlInfo::FlightSqlServerTransaction, NO_TRANSACTIONS),
    (SqlInfo::FlightSqlServerTransactionTimeout, 0),
    (SqlInfo::SqlIdentifierCase, LOWER_CASE),
    (SqlInfo::SqlQuotedIdentifierCase, AS_WRITTEN),
    (SqlInfo::SqlNullOrdering, NULLS_HIGH),
    // By columns that are not selected, and by more than are.
    (SqlInfo::SqlSupportedGroupBy, FIRST_TWO),
    (SqlInfo::SqlSupportedGrammar, FIRST_TWO),
    (SqlInfo::SqlAnsi92SupportedLevel, 1),
    // Limited and full outer joins.
    (SqlInfo::SqlOuterJoinsSupportLevel, FIRST_THREE & !1),
    (SqlInfo::SqlSchemasSupportedActions, 0),
    (SqlInfo::SqlCatalogsSupportedActions, 0),
    (SqlInfo::SqlSupportedPositionedCommands, 0),
    // In comparisons, EXISTS, IN and quantified.
    (SqlInfo::SqlSupportedSubqueries, FIRST_FOUR),
    // UNION and UNION ALL.
    (SqlInfo::SqlSupportedUnions, FIRST_TWO),
    (SqlInfo::SqlSupportedTransactionsIsolationLevels, 1),
    (SqlInfo::SqlSupportedResultSetTypes, FORWARD_ONLY),
    (SqlInfo::SqlSupportedConcurrenciesForResultSetUnspecified, 0),
    // Read only.
    (SqlInfo::SqlSupportedConcurrenciesForResultSetForwardOnly, 1 << 1),
    (SqlInfo::SqlSupportedConcurrenciesForResultSetScrollSensitive, 0),
    (SqlInfo::SqlSupportedConcurrenciesForResultSetScrollInsensitive, 0),
];

const WORDS: &[(SqlInfo, &str)] = &[
    (SqlInfo::FlightSqlServerName, "FirnDB"),
    (SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION")),
    (SqlInfo::FlightSqlServerArrowVersion, "1.3"),
    (SqlInfo::SqlIdentifierQuoteChar, "\""),
    (SqlInfo::SqlSearchStringEscape, "\\"),
    (SqlInfo::SqlExtraNameCharacters, ""),
    (SqlInfo::SqlSchemaTerm, "schema"),
    (SqlInfo::SqlProcedureTerm, "procedure"),
    (SqlInfo::SqlCatalogTerm, "catalog"),
];

/// Lists of functions, by the sections of their documentation.
const FUNCTIONS: &[(SqlInfo, &[&str])] = &[
    (SqlInfo::SqlNumericFunctions, &["Math Functions"]),
    (SqlInfo::SqlStringFunctions, &["String Functions", "Regular Expression Functions"]),
    (SqlInfo::SqlSystemFunctions, &["Conditional Functions", "Other Functions"]),
    (SqlInfo::SqlDatetimeFunctions, &["Time and Date Functions"]),
];

const UNLIMITED: &[SqlInfo] = &[
    SqlInfo::SqlMaxBinaryLiteralLength,
    SqlInfo::SqlMaxCharLiteralLength,
    SqlInfo::SqlMaxColumnNameLength,
    SqlInfo::SqlMaxColumnsInGroupBy,
    SqlInfo::SqlMaxColumnsInIndex,
    SqlInfo::SqlMaxColumnsInOrderBy,
    SqlInfo::SqlMaxColumnsInSelect,
    SqlInfo::SqlMaxColumnsInTable,
    SqlInfo::SqlMaxConnections,
    SqlInfo::SqlMaxCursorNameLength,
    SqlInfo::SqlMaxIndexLength,
    SqlInfo::SqlDbSchemaNameLength,
    SqlInfo::SqlMaxProcedureNameLength,
    SqlInfo::SqlMaxCatalogNameLength,
    SqlInfo::SqlMaxRowSize,
    SqlInfo::SqlMaxStatements,
    SqlInfo::SqlMaxTableNameLength,
    SqlInfo::SqlMaxTablesInSelect,
    SqlInfo::SqlMaxUsernameLength,
];
