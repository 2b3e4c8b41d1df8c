//! Imports of the storage crate: they follow its layers, and it is synchronous and alone.

use std::collections::BTreeSet;
use std::fs;

use crate::imports::Crate;
use crate::text::{code_of, has_word};
use crate::tree::{files, none, root};

/// The layers of the storage crate: a module imports from its own layer and from those above it in this list.
///
/// An entry names a module with all that is in it, unless a longer entry names a part of it. Modules that import each
/// other are in one layer: `column`, `rows`, `run` and `segment` are one notion in four files; `erase` is why `view`,
/// `manifest`, `versions`, `engine` and `read` are in one layer.
const LAYERS: [&[&str]; 7] = [
    &[
        "checksum",
        "error",
        "fixed_values",
        "parallel",
        "places",
        "prefetch",
        "priority",
        "row_kind",
        "signal",
        "statistics",
        "time",
        "traffic",
        "transpose",
    ],
    &[
        "annex",
        "block_list",
        "blocks",
        "budget",
        "config",
        "ice",
        "ingest_clock",
        "io",
        "objects",
        "poison",
        "position",
        "published",
    ],
    &["column", "gather", "horizon", "pack", "rows", "run", "segment", "wal"],
    &["compaction::merge", "dictionary", "memtable", "model"],
    &[
        "edit", "engine", "erase", "home", "lake", "leaving", "manifest", "merging", "read", "retired", "versions",
        "view",
    ],
    &["commit", "compaction", "flush", "freeze", "purge", "scrub"],
    &["background", "checkpoints", "database", "follow", "opened", "recovery", "repair", "status", "verify"],
];

/// What the storage crate must not depend on: it is synchronous and knows no network and no SQL.
const STORAGE_WITHOUT: [&str; 7] = ["arrow-flight", "async-trait", "datafusion", "futures", "hyper", "tokio", "tonic"];

/// The layer of `module`, and the entry of [`LAYERS`] that says so.
fn layer_of(module: &str) -> Option<(usize, &'static str)> {
    let holds = |entry: &str| module == entry || module.strip_prefix(entry).is_some_and(|rest| rest.starts_with("::"));
    let entries =
        LAYERS.iter().enumerate().flat_map(|(layer, entries)| entries.iter().map(move |entry| (layer, *entry)));
    entries.filter(|(_, entry)| holds(entry)).max_by_key(|(_, entry)| entry.len())
}

#[test]
fn storage_imports_follow_its_layers() {
    let storage = Crate::read("storage/src/");
    let (mut wrong, mut used) = (Vec::new(), BTreeSet::new());
    let mut layer = |path: &[String]| {
        let found = layer_of(&path.join("::"));
        used.extend(found.map(|(_, entry)| entry));
        found
    };
    for (path, module) in storage.modules.iter().filter(|(path, _)| !path.is_empty()) {
        if layer(path).is_none() {
            wrong.push(format!("{}: the module has no layer yet; add it to LAYERS", module.file));
        }
    }
    for import in storage.imports() {
        let (Some((above, entry)), Some((below, other))) = (layer(&import.from), layer(&import.to)) else { continue };
        if below > above {
            let file = &storage.modules[&import.from].file;
            wrong.push(format!("{file}:{}: {entry} (layer {above}) imports {other} (layer {below})", import.line));
        }
    }
    let listed = LAYERS.iter().flat_map(|entries| entries.iter());
    wrong.extend(listed.filter(|entry| !used.contains(*entry)).map(|entry| format!("LAYERS: {entry} is no module")));
    none("an import goes against the layers (docs/architecture.md)", &wrong);
}

#[test]
fn storage_is_synchronous_and_alone() {
    let manifest = fs::read_to_string(root().join("storage/Cargo.toml")).expect("the storage crate has a manifest");
    let crates: Vec<&str> = manifest.lines().map(|line| line.split([' ', '.', '=']).next().unwrap_or(line)).collect();
    let mut found: Vec<String> = STORAGE_WITHOUT
        .iter()
        .filter(|name| crates.contains(*name))
        .map(|name| format!("storage/Cargo.toml: {name}"))
        .collect();
    for file in files(&[".rs"]).iter().filter(|file| file.name.starts_with("storage/src/")) {
        let code = code_of(&file.text);
        if has_word(&code, "async") || code.contains(".await") {
            found.push(format!("{}: async code", file.name));
        }
    }
    none("the storage crate is to know no network and no async runtime", &found);
}
