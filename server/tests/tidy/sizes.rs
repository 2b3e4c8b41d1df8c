//! How long sources and functions may be.

use crate::text::{code_of, inline_tests, is_word, without_tests};
use crate::tree::{files, none, test_files};

/// Lines of a file without its tests, at most.
const FILE_LINES_MAX: usize = 500;
/// Lines of a function from its name to its end, at most.
const FUNCTION_LINES_MAX: usize = 70;

/// The functions of `code` with the line in which each begins and how many it takes.
fn functions(code: &str) -> Vec<(&str, usize, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let within_word = at > 0 && is_word(code.as_bytes()[at - 1]);
        let name: &str =
            code[at + 3..].split(|letter: char| !(letter.is_alphanumeric() || letter == '_')).next().unwrap_or("");
        let Some(length) = length_of(&code[at..]).filter(|_| !within_word && !name.is_empty()) else { continue };
        let first = code[..at].matches('\n').count() + 1;
        found.push((name, first, code[at..at + length].matches('\n').count() + 1));
    }
    found
}

/// The bytes of the function that `code` begins with; none if it has no body.
fn length_of(code: &str) -> Option<usize> {
    let (mut round, mut curly) = (0, 0);
    for (at, letter) in code.char_indices() {
        match letter {
            '(' | '[' => round += 1,
            ')' | ']' => round -= 1,
            ';' if round == 0 && curly == 0 => return None,
            '{' => curly += 1,
            '}' => {
                curly -= 1;
                if curly == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[test]
fn no_source_is_too_long() {
    let sources = files(&[".rs"]);
    let tests = test_files(&sources);
    let lengths = sources.iter().filter(|file| !tests.contains(&file.name)).map(|file| {
        let end = inline_tests(&file.text).map_or_else(|| file.text.lines().count(), |tests| tests.start);
        (&file.name, end)
    });
    let long = lengths.filter(|(_, lines)| *lines > FILE_LINES_MAX);
    let long: Vec<_> = long.map(|(name, lines)| format!("{name}: {lines} lines")).collect();
    none(&format!("a source has more than {FILE_LINES_MAX} lines without its tests"), &long);
}

#[test]
fn no_function_is_too_long() {
    let sources = files(&[".rs"]);
    let tests = test_files(&sources);
    let mut long = Vec::new();
    for file in sources.iter().filter(|file| !tests.contains(&file.name)) {
        let code = code_of(&without_tests(&file.text));
        for (name, first, lines) in functions(&code).into_iter().filter(|(.., lines)| *lines > FUNCTION_LINES_MAX) {
            long.push(format!("{}:{first}: {name} has {lines} lines", file.name));
        }
    }
    none(&format!("a function has more than {FUNCTION_LINES_MAX} lines"), &long);
}

#[test]
fn functions_are_measured_from_name_to_end() {
    let code = "fn a() {\n    b();\n}\ntrait T {\n    fn c(&self) -> [u8; 3];\n    fn d() { if x { y } }\n}\n";
    assert_eq!(functions(code), [("a", 1, 3), ("d", 6, 1)]);
}
