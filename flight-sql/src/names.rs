//! Names that statements find without a declaration: the catalog, its schemas.

/// The name of the one catalog.
pub(crate) const CATALOG: &str = "firn";
/// The schema of feature tables.
pub(crate) const SCHEMA: &str = "public";
/// The schema of what is declared, in the words of the standard.
pub(crate) const INFORMATION_SCHEMA: &str = "information_schema";
/// The schema of what only FirnDB has.
pub(crate) const FIRN_SYSTEM: &str = "firn_system";
/// The schemas of tables that nobody writes.
pub(crate) const SYSTEM_SCHEMAS: [&str; 2] = [INFORMATION_SCHEMA, FIRN_SYSTEM];
/// The table of what runs, which not everybody may see.
pub(crate) const QUERIES: &str = "queries";
