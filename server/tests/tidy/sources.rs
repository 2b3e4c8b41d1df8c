//! What every source must have and must not have.

use std::collections::BTreeSet;

use crate::text::{code_of, has_word, without_tests};
use crate::tree::{files, module_folder, none, test_files};

/// Files that may hold unsafe code.
const UNSAFE_ALLOWED: [&str; 3] = ["storage/src/io/map.rs", "storage/src/io/region.rs", "storage/src/prefetch.rs"];

#[test]
fn every_source_says_first_what_it_is() {
    let silent = files(&[".rs"]).into_iter().filter(|file| !file.text.starts_with("//! "));
    none("a source does not open with \"//!\"", &silent.map(|file| file.name).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_for_later() {
    let sources = files(&[".rs"]);
    let tests = test_files(&sources);
    let mut found = Vec::new();
    for file in &sources {
        // Put together, so that this file does not find itself.
        for word in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")] {
            if has_word(&file.text, word) {
                found.push(format!("{}: {word}", file.name));
            }
        }
        if tests.contains(&file.name) {
            continue;
        }
        let code = code_of(&without_tests(&file.text));
        for word in ["todo!", "unimplemented!", "dbg!", ".unwrap()", "allow(dead_code"] {
            let lines = code.lines().enumerate().filter(|(_, line)| line.contains(word));
            found.extend(lines.map(|(line, _)| format!("{}:{}: {word}", file.name, line + 1)));
        }
    }
    none("outside of tests, something is unfinished or may panic without saying why", &found);
}

#[test]
fn unsafe_code_is_where_it_is_expected() {
    let sources = files(&[".rs"]);
    let holders = sources.iter().filter(|file| has_word(&code_of(&file.text), "unsafe"));
    let holders: BTreeSet<&str> = holders.map(|file| file.name.as_str()).collect();
    let unexpected = holders.iter().filter(|name| !UNSAFE_ALLOWED.contains(name)).map(|name| (*name).to_owned());
    none("unsafe code outside of the files that may have it", &unexpected.collect::<Vec<_>>());
    let idle = UNSAFE_ALLOWED.iter().filter(|name| !holders.contains(*name)).map(|name| (*name).to_owned());
    none("a file that may have unsafe code has none; take it off the list", &idle.collect::<Vec<_>>());
}

#[test]
fn every_source_is_part_of_its_crate() {
    let sources = files(&[".rs"]);
    let mut declared = BTreeSet::new();
    for file in &sources {
        let folder = module_folder(&file.name);
        let modules = file.text.lines().filter_map(|line| line.trim().strip_suffix(';')?.rsplit_once("mod "));
        declared.extend(modules.map(|(_, name)| format!("{folder}/{name}")));
    }
    let is_root = |module: &str| module.ends_with("/lib") || module.ends_with("/main") || module.contains("/bin/");
    let modules = sources
        .iter()
        .filter(|file| file.name.contains("/src/"))
        .map(|file| (&file.name, file.name.trim_end_matches(".rs").trim_end_matches("/mod")));
    let orphans = modules.filter(|(_, module)| !is_root(module) && !declared.contains(*module));
    let orphans: Vec<String> = orphans.map(|(name, _)| name.clone()).collect();
    none("a source is declared by no \"mod\"", &orphans);
}

#[test]
fn nothing_names_a_place_on_one_machine() {
    let mut found = Vec::new();
    for file in files(&[".rs", ".py", ".md", ".toml", ".sh", ".yml", "Makefile"]) {
        // Put together, so that this file does not find itself.
        for place in [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")] {
            let starts = |at: usize| at == 0 || b" \t\n\"'`(=".contains(&file.text.as_bytes()[at - 1]);
            if let Some((at, _)) = file.text.match_indices(place).find(|(at, _)| starts(*at)) {
                found.push(format!("{}:{}: {place}", file.name, file.text[..at].matches('\n').count() + 1));
            }
        }
    }
    none("a file names a place that only one machine has", &found);
}

#[test]
fn a_module_with_children_is_a_folder() {
    let sources = files(&[".rs"]);
    let tests = test_files(&sources);
    let is_beside = |file: &str| {
        let folder = format!("{}/", file.trim_end_matches(".rs"));
        sources.iter().any(|child| child.name.starts_with(&folder) && !tests.contains(&child.name))
    };
    let lone = sources.iter().filter(|file| !tests.contains(&file.name) && is_beside(&file.name));
    let lone: Vec<_> = lone.map(|file| file.name.clone()).collect();
    none("a module has children beside it; call it mod.rs and put it into their folder", &lone);
}
