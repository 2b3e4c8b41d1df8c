//! Telling code from comments, strings and inline tests. It knows Rust well enough for that and no better: it is no
//! parser.

use std::ops::Range;

/// `text` with every comment, string and character blanked out, line by line as long as it was.
pub(crate) fn code_of(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = end_of_blank(bytes, at);
        if end == at {
            at += 1;
            continue;
        }
        code[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end;
    }
    String::from_utf8(code).expect("whole strings and comments were blanked")
}

/// Where the comment, string or character that begins at `at` ends; `at` if none does.
pub(crate) fn end_of_blank(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let after = |needle: &[u8], from: usize| {
        let found = rest[from..].windows(needle.len()).position(|window| window == needle);
        at + found.map_or(rest.len(), |found| from + found + needle.len())
    };
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return after(b"*/", 2);
    }
    let within_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    let raw = if rest.starts_with(b"br") { 2 } else { usize::from(rest.starts_with(b"r")) };
    if raw > 0 && !within_word {
        let hashes = rest[raw..].iter().take_while(|byte| **byte == b'#').count();
        if rest.get(raw + hashes) == Some(&b'"') {
            let end = [&b"\""[..], &vec![b'#'; hashes]].concat();
            return after(&end, raw + hashes + 1);
        }
    }
    match rest {
        [b'"', ..] => at + end_of_quoted(rest, b'"'),
        [b'\'', b'\\', ..] => at + end_of_quoted(rest, b'\''),
        [b'\'', ..] => {
            // A character, if a quote follows the next one; else a lifetime.
            let next = std::str::from_utf8(&rest[1..rest.len().min(5)]);
            let next = next.map_or_else(|error| error.valid_up_to(), str::len);
            let first = std::str::from_utf8(&rest[1..=next]).ok().and_then(|text| text.chars().next());
            let width = first.map_or(0, char::len_utf8);
            if width > 0 && rest.get(1 + width) == Some(&b'\'') { at + width + 2 } else { at }
        }
        _ => at,
    }
}

/// The length of the quoted text that `bytes` begins with.
pub(crate) fn end_of_quoted(bytes: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether `word` stands in `text` on its own, with no letter on either side.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = at.checked_sub(1).map(|before| text.as_bytes()[before]);
        let after = text.as_bytes().get(at + word.len()).copied();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// The lines of `text` from the first that begins an inline module of tests: `#[cfg(test)] mod tests {`.
pub(crate) fn inline_tests(text: &str) -> Option<Range<usize>> {
    let lines: Vec<&str> = text.lines().collect();
    let begins = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].contains("mod ") && pair[1].ends_with('{');
    lines.windows(2).position(begins).map(|start| start..lines.len())
}

/// `text` without its inline module of tests.
pub(crate) fn without_tests(text: &str) -> String {
    let end = inline_tests(text).map_or(usize::MAX, |tests| tests.start);
    text.lines().take(end).flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn code_is_told_from_text() {
    let text =
        "let a = \"unsafe \\\" x\"; // unsafe\nlet b = r#\"unsafe \"#; let c = 'u'; let d: &'static str = f('\\'');\n";
    let code = code_of(text);
    assert!(!has_word(&code, "unsafe"), "{code}");
    assert!(code.contains("&'static str = f("), "{code}");
    assert_eq!(code.lines().count(), 2);
    assert!(has_word("an unsafe word", "unsafe") && !has_word("unsafe_code", "unsafe"));
}
