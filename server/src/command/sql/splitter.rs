//! Text as it is typed or lies in a script, cut into statements and backslash commands.
//!
//! It knows where the server's reader begins and ends quotes and comments, and nothing else of SQL.

/// Something to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Input<'a> {
    /// A statement without its semicolon, or a backslash command without its backslash.
    pub(super) text: &'a str,
    pub(super) is_backslash: bool,
    /// The line in which it begins, from 1.
    pub(super) line: usize,
}

/// Text that was cut.
#[derive(Debug, Default)]
pub(super) struct Split<'a> {
    /// What is complete.
    pub(super) inputs: Vec<Input<'a>>,
    /// A statement that no semicolon ends.
    pub(super) rest: Option<Input<'a>>,
    /// What the rest ends inside of, if it is a quote or a comment.
    pub(super) open: Option<&'static str>,
}

/// The smallest parts that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// White space, or a comment.
    Blank,
    /// A keyword, a name without quotes, a number.
    Word,
    /// Text or a name in quotes.
    Quoted,
    /// One sign.
    Sign,
}

/// Cuts `text`.
pub(super) fn split(text: &str) -> Split<'_> {
    let mut split = Split::default();
    let (mut at, mut begin) = (0, None);
    let (mut line, mut counted) = (1, 0);
    let mut input = |begin: usize, end: usize, is_backslash: bool| {
        line += text[counted..begin].matches('\n').count();
        counted = begin;
        Input { text: text[begin..end].trim().trim_start_matches('\\'), is_backslash, line }
    };
    while at < text.len() {
        let left = &text[at..];
        if begin.is_none() && left.starts_with('\\') {
            let end = at + left.find('\n').unwrap_or(left.len());
            split.inputs.push(input(at, end, true));
            at = end;
            continue;
        }
        match element(left) {
            Err(open) => {
                begin.get_or_insert(at);
                split.open = Some(open);
                break;
            }
            Ok((Kind::Sign, length)) if left.starts_with(';') => {
                split.inputs.extend(begin.take().map(|begin| input(begin, at, false)));
                at += length;
            }
            Ok((kind, length)) => {
                if kind != Kind::Blank {
                    begin.get_or_insert(at);
                }
                at += length;
            }
        }
    }
    split.rest = begin.map(|begin| input(begin, text.len(), false));
    split
}

/// The words of `text`, and each sign, without blanks and what is in quotes.
pub(super) fn words(text: &str) -> Vec<&str> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Ok((kind, length)) = element(&text[at..]) {
        if matches!(kind, Kind::Word | Kind::Sign) {
            found.push(&text[at..at + length]);
        }
        at += length;
        if at == text.len() {
            break;
        }
    }
    found
}

/// The keyword with which `statement` begins, in capitals.
pub(super) fn verb(statement: &str) -> String {
    words(statement).into_iter().find(|word| *word != "(").unwrap_or_default().to_uppercase()
}

/// Whether a letter may stand in a name without quotes.
pub(super) fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// What `text` begins with, and how long it is; what it is called if it does not end.
fn element(text: &str) -> Result<(Kind, usize), &'static str> {
    let mut letters = text.chars();
    let Some(first) = letters.next() else { return Ok((Kind::Blank, 0)) };
    let second = letters.next();
    let quoted = |end: Option<usize>, name| end.map(|end| (Kind::Quoted, end)).ok_or(name);
    match (first, second) {
        ('-', Some('-')) => Ok((Kind::Blank, text.find('\n').unwrap_or(text.len()))),
        ('/', Some('*')) => comment_end(text).map(|end| (Kind::Blank, end)).ok_or("comment"),
        ('\'', _) => quoted(quote_end(text, 0, false), "quote"),
        ('"', _) => quoted(quote_end(text, 0, false), "quoted name"),
        ('e' | 'E' | 'x' | 'X', Some('\'')) => quoted(quote_end(text, 1, true), "quote"),
        ('$', _) => {
            let tag = text[1..].find(|letter| !is_word(letter)).map_or(text.len(), |end| end + 1);
            if !text[tag..].starts_with('$') {
                return Ok((Kind::Word, tag));
            }
            let (mark, body) = text.split_at(tag + 1);
            quoted(body.find(mark).map(|end| end + 2 * mark.len()), "dollar quote")
        }
        _ if is_word(first) => Ok((Kind::Word, text.find(|letter| !is_word(letter)).unwrap_or(text.len()))),
        _ => Ok((if first.is_whitespace() { Kind::Blank } else { Kind::Sign }, first.len_utf8())),
    }
}

/// Where the quote ends that opens at `open`; two in a row are one inside of it.
fn quote_end(text: &str, open: usize, backslash_escapes: bool) -> Option<usize> {
    let quote = text[open..].chars().next()?;
    let mut letters = text[open + 1..].char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        if letter == '\\' && backslash_escapes {
            letters.next();
        } else if letter == quote && letters.next_if(|(_, next)| *next == quote).is_none() {
            return Some(open + 1 + at + 1);
        }
    }
    None
}

/// Where the comment ends that `text` begins with; comments nest.
fn comment_end(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0, 0);
    loop {
        let next = at + text[at..].find(['/', '*'])?;
        at = next + 2;
        match text.get(next..at) {
            Some("/*") => depth += 1,
            Some("*/") if depth == 1 => return Some(at),
            Some("*/") => depth -= 1,
            _ => at = next + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> (Vec<&str>, Option<&str>, Option<&'static str>) {
        let split = split(text);
        (split.inputs.iter().map(|input| input.text).collect(), split.rest.map(|rest| rest.text), split.open)
    }

    #[test]
    fn a_semicolon_ends_a_statement_unless_it_is_quoted() {
        assert_eq!(texts("SELECT 1; select 2 ;;"), (vec!["SELECT 1", "select 2"], None, None));
        for whole in [
            "SELECT 'a;''b;'",
            r"SELECT E'it\'s; one'",
            "SELECT \"a;\"\"b\"",
            "SELECT $$a;b$$, $tag$ $$;$tag$",
            "SELECT 1 -- one; two\n + 2",
            "SELECT 1 /* a; /* b; */ ; */ + 2",
            "SELECT 5 / 2 * 3, '\\', $1",
            "SELECT 'ä;ö' AS ü",
        ] {
            assert_eq!(texts(&format!("{whole};")), (vec![whole], None, None));
            assert_eq!(texts(whole), (vec![], Some(whole), None));
        }
    }

    #[test]
    fn what_does_not_end_is_told() {
        for (text, open) in [
            ("SELECT 'a;", "quote"),
            (r"SELECT e'a\';", "quote"),
            ("SELECT \"a;", "quoted name"),
            ("SELECT /* /* */ ;", "comment"),
            ("SELECT $a$;$b$", "dollar quote"),
        ] {
            assert_eq!(texts(text), (vec![], Some(text), Some(open)));
        }
        assert_eq!(texts(" -- nothing;\n /* here; */ \n"), (vec![], None, None));
    }

    #[test]
    fn backslash_commands_end_with_their_line() {
        let text = "\\timing\n\n-- then\nSELECT 1;\n\\o a;b.csv\nSELECT\n 2 \\;\n  SELECT 3";
        let split = split(text);
        let found: Vec<_> = split.inputs.iter().map(|input| (input.line, input.is_backslash, input.text)).collect();
        let expected =
            [(1, true, "timing"), (4, false, "SELECT 1"), (5, true, "o a;b.csv"), (6, false, "SELECT\n 2 \\")];
        assert_eq!(found, expected);
        assert_eq!(split.rest.map(|rest| (rest.line, rest.text)), Some((8, "SELECT 3")));
    }

    #[test]
    fn a_statement_is_known_by_its_first_word() {
        assert_eq!(verb("-- why\n /* not */ insert INTO t"), "INSERT");
        assert_eq!(verb("(SELECT 1)"), "SELECT");
        assert_eq!(verb(""), "");
    }
}
