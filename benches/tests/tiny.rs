//! Every bench at a tiny size, so that none of them rots. What they measure there means nothing; that they measure does.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

#[test]
fn every_bench_runs_and_reports() {
    let output = tempfile::tempdir().expect("a temporary directory");
    let ran = Command::new(env!("CARGO_BIN_EXE_firn-bench"))
        .args(["--shrink", "1000", "--rounds", "1", "--without-peers", "--full", "--output"])
        .arg(output.path())
        .output()
        .expect("the harness starts");
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{said}");
    let report = std::fs::read(output.path().join("report.json")).expect("the harness writes its report");
    let Value::Array(figures) = serde_json::from_slice(&report).expect("the report is JSON") else {
        panic!("the report is a list")
    };
    let mut benches = BTreeSet::new();
    for figure in &figures {
        let fields: Vec<&String> = figure.as_object().expect("a figure is an object").keys().collect();
        assert_eq!(fields, ["bench", "system", "metric", "unit", "value"], "{figure}");
        assert!(figure["value"].as_f64().is_some_and(|value| value >= 0.0), "{figure}");
        benches.insert(figure["bench"].as_str().expect("a name").to_owned());
    }
    let expected = [
        "as_of",
        "erase",
        "freshness",
        "growth",
        "ice",
        "ingest",
        "join",
        "large_join",
        "lookup",
        "memory",
        "open",
        "python",
        "scan",
        "serving",
        "space",
        "sql",
        "tables",
    ];
    assert_eq!(benches, expected.map(str::to_owned).into(), "{said}");
    for bench in benches {
        let chart = std::fs::read_to_string(output.path().join(format!("{bench}.svg"))).expect("a chart per bench");
        assert!(chart.starts_with("<svg ") && chart.contains("<rect x="), "{bench}: {chart}");
    }
}

#[test]
fn an_unknown_bench_is_refused_with_the_list_of_all() {
    let output = tempfile::tempdir().expect("a temporary directory");
    let ran = Command::new(env!("CARGO_BIN_EXE_firn-bench"))
        .args(["--only", "jion", "--output"])
        .arg(output.path())
        .output()
        .expect("the harness starts");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success() && said.contains("no bench `jion`") && said.contains("join "), "{said}");
}
