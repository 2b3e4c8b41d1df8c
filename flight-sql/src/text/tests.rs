//! What is read, what it becomes, and what is refused with which words.

use sqlparser::ast::Statement;

use super::*;
use firn_storage::error::Kind;

fn read(text: &str) -> Result<Parsed> {
    parse(text, &Limits::default())
}

fn refused(text: &str) -> (Kind, String) {
    let error = read(text).expect_err(text);
    (error.kind(), error.message().to_owned())
}

#[test]
fn parameters_are_numbered_in_their_order() {
    let parsed = read("SELECT * FROM t WHERE a = ? AND b IN (?, ?)").expect("a query");
    assert_eq!(parsed.parameters, 3);
    assert!(parsed.statement.to_string().contains("a = $1 AND b IN ($2, $3)"), "{}", parsed.statement);
    assert_eq!(read("SELECT $2").expect("a query").parameters, 2);
    for text in ["SELECT ?, $1", "SELECT $0", "SELECT $x", "SELECT ?1"] {
        assert_eq!(refused(text).0, Kind::Invalid, "{text}");
    }
}

#[test]
fn clauses_of_both_times_are_read_in_both_orders() {
    for text in [
        "SELECT * FROM w FOR SYSTEM_TIME AS OF '2020-01-01' FOR VALID_TIME AS OF $1 x WHERE x.a = 1",
        "SELECT * FROM w FOR VALID_TIME AS OF $1 FOR SYSTEM_TIME AS OF '2020-01-01' AS x WHERE x.a = 1",
        "SELECT * FROM w FOR VALID_TIME AS OF now() - INTERVAL '1 hour' AS x JOIN y ON x.k = y.k",
    ] {
        let parsed = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(matches!(parsed.statement, Statement::Query(_)));
    }
}

#[test]
fn as_of_joins_are_nested_before_what_follows() {
    let parsed = read(
        "SELECT * FROM s ASOF JOIN w MATCH_CONDITION (s.ts >= w.at) ON s.k = w.k JOIN a ON a.k = s.k \
         ASOF LEFT JOIN v ON s.k = v.k AND s.ts >= v.at LEFT JOIN b ON b.k = s.k",
    );
    let said = parsed.expect("a query").statement.to_string();
    assert!(said.contains("FROM (s ASOF JOIN w"), "{said}");
    assert!(said.ends_with("LEFT JOIN b ON b.k = s.k"), "{said}");
}

#[test]
fn other_spellings_are_refused_with_ours() {
    for (text, part) in [
        ("SELECT * FROM w FOR SYSTEM_TIME BETWEEN 1 AND 2", "history('t', from, to)"),
        ("SELECT * FROM w FOR SYSTEM_TIME ALL", "changes('t', after, until)"),
        ("SELECT * FROM w FOR ALL VALID_TIME", "a range of VALID_TIME"),
        ("SELECT * FROM w TIMESTAMP AS OF '2020-01-01'", "FOR SYSTEM_TIME AS OF s"),
        ("SELECT * FROM w VERSION AS OF 5", "FOR SYSTEM_TIME AS OF s"),
        ("SELECT * FROM w AT (TIMESTAMP => '2020-01-01')", "`AT (…)`"),
        ("SELECT * FROM w BEFORE (TIMESTAMP => '2020-01-01')", "`BEFORE (…)`"),
        ("SELECT * FROM w AS OF '2020-01-01'", "`AS OF` alone"),
        ("SELECT * FROM a STRAIGHT_JOIN b ON a.k = b.k", "write JOIN"),
        ("SELECT * FROM a LT JOIN b ON a.k = b.k", "`>` in MATCH_CONDITION"),
        ("SELECT * FROM a SPLICE JOIN b ON a.k = b.k", "two ASOF JOINs"),
        ("SELECT * FROM a ASOF RIGHT JOIN b ON a.k = b.k AND a.t >= b.t", "RIGHT ASOF JOIN"),
        ("SELECT * FROM a FULL ASOF JOIN b ON a.k = b.k AND a.t >= b.t", "FULL ASOF JOIN"),
        ("SELECT * FROM a ASOF LEFT JOIN b MATCH_CONDITION (a.t >= b.t) ON a.k = b.k", "keeps every left row"),
        ("SELECT * FROM a TABLESAMPLE (10)", "TABLESAMPLE is not served"),
        ("SELECT * FROM a FOR UPDATE", "FOR UPDATE"),
        ("SELECT * FROM a FETCH FIRST 1 ROW ONLY", "write LIMIT"),
        ("SELECT TOP 5 * FROM a", "write LIMIT"),
        ("SELECT * INTO b FROM a", "INSERT INTO … SELECT"),
        ("WITH RECURSIVE r AS (SELECT 1) SELECT * FROM r", "WITH RECURSIVE"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("SELECT * FROM a CROSS APPLY b", "APPLY"),
    ] {
        let (kind, message) = refused(text);
        assert_eq!(kind, Kind::Unsupported, "{text}: {message}");
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[test]
fn what_is_no_sql_says_where() {
    for (text, part) in [
        ("", "empty"),
        (" ; ", "empty"),
        ("SELEC 1", "line: 1, column: 1"),
        ("SELECT * FROM", "cannot be read"),
        ("SELECT 'a", "no SQL"),
        ("SELECT 1 2", "goes on with `2`"),
    ] {
        let (kind, message) = refused(text);
        assert_eq!(kind, Kind::Invalid, "{text}: {message}");
        let part = part.to_lowercase();
        assert!(message.to_lowercase().contains(&part), "{text}: {message}");
    }
}

#[test]
fn limits_are_named() {
    let limits = Limits { statement_bytes_max: 1 << 10, ..Limits::default() };
    let long = format!("SELECT '{}'", "x".repeat(2000));
    let error = parse(&long, &limits).expect_err("too long");
    assert!(error.message().contains("sql-statement-bytes-max"), "{error}");
    let deep = format!("SELECT {}1{}", "(".repeat(500), ")".repeat(500));
    let error = read(&deep).expect_err("too deep");
    assert!(error.message().contains("sql-depth-max"), "{error}");
    assert_eq!(error.kind(), Kind::Exhausted);
}
