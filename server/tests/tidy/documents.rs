//! Documents: their links, the files that they name, and the format that they describe.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::text::{is_word, without_tests};
use crate::tree::{files, none, root};

/// Where a path in the text of a document may start from.
const CODE_ROOTS: [&str; 6] = ["", "storage/src/", "server/src/", "client/src/", "client/python/", "storage/tests/"];

#[test]
fn links_in_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for page in files(&[".md"]) {
        let folder = page.name.rsplit_once('/').map_or("", |(folder, _)| folder);
        for link in links(&page.text).filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            let (target, heading) = link.split_once('#').unwrap_or((link, ""));
            let path = match target {
                "" => root().join(&page.name),
                _ => root().join(folder).join(target),
            };
            if !path.exists() {
                broken.push(format!("{}: {link} does not exist", page.name));
            } else if !heading.is_empty() && !headings(&path).contains(heading) {
                broken.push(format!("{}: {link} names no heading", page.name));
            }
        }
    }
    none("a link is broken", &broken);
}

/// The targets of the links in a page, outside of its code blocks.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let outside = text.split("\n```").step_by(2);
    let ends = outside.flat_map(|part| part.split("](").skip(1));
    ends.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

/// The anchors of the headings of the page at `path`.
fn headings(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let headings = text
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    let anchor = |heading: &str| -> String {
        let letters = heading.trim().to_lowercase();
        let kept = letters.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn documents_name_files_that_exist() {
    let mut missing = Vec::new();
    for page in files(&[".md"]) {
        for name in page.text.split('`').skip(1).step_by(2) {
            let is_path = name.contains('/') && [".rs", ".md", ".py"].iter().any(|ending| name.ends_with(ending));
            let is_plain = name.bytes().all(|byte| is_word(byte) || b"/.-".contains(&byte));
            if is_path && is_plain && !CODE_ROOTS.iter().any(|start| root().join(format!("{start}{name}")).exists()) {
                missing.push(format!("{}: {name}", page.name));
            }
        }
    }
    none("a document names a file that does not exist", &missing);
}

#[test]
fn sources_name_documents_that_exist() {
    let mut missing = Vec::new();
    for file in files(&[".rs", ".py", ".toml", "Makefile"]) {
        for (at, _) in file.text.match_indices("docs/") {
            let letters = file.text[at..].bytes().take_while(|byte| is_word(*byte) || b"/.-".contains(byte)).count();
            let name = file.text[at..at + letters].trim_end_matches('.');
            if name.ends_with(".md") && !root().join(name).exists() {
                missing.push(format!("{}: {name}", file.name));
            }
        }
    }
    none("a source names a document that does not exist", &missing);
}

#[test]
fn the_format_page_names_what_the_code_writes() {
    let page = fs::read_to_string(root().join("docs/format.md")).expect("there is a page on the format");
    let mut missing = Vec::new();
    for file in files(&[".rs"]).iter().filter(|file| file.name.starts_with("storage/src/")) {
        for line in without_tests(&file.text).lines() {
            // Four letters or a magic number, in a constant.
            let is_magic = line.contains("const ") && (line.contains("MAGIC") || line.contains("letters:"));
            let magic = line.split_once("b\"").and_then(|(_, rest)| rest.split_once('"')).map(|(magic, _)| magic);
            if let Some(magic) = magic.filter(|magic| is_magic && !page.contains(&format!("`{magic}`"))) {
                missing.push(format!("{}: {magic}", file.name));
            }
        }
    }
    let segments = fs::read_to_string(root().join("storage/src/segment/format.rs")).expect("segments have a format");
    let kinds = segments.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(" = "));
    let kinds: Vec<_> = kinds.filter(|(_, number)| number.bytes().all(|byte| byte.is_ascii_digit())).collect();
    assert!(kinds.len() > 10, "the kinds of sections are where they were");
    let unnamed = kinds.iter().filter(|(name, number)| !page.contains(&format!("| {number} | `{name}` |")));
    missing.extend(unnamed.map(|(name, number)| format!("storage/src/segment/format.rs: section {number}, {name}")));
    none("docs/format.md does not name what is on disk", &missing);
}
