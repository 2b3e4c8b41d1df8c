//! The pass over the tokens of a statement, before it is parsed: what the parser has no grammar for is turned into what it
//! has, places stay as they were written, and other engines' spellings of time are refused with ours.
//!
//! | written | becomes |
//! |---|---|
//! | `?` | `$1`, `$2`, … in their order |
//! | `FOR VALID_TIME AS OF x` | `FOR SYSTEM_TIME AS OF <mark> x` |
//! | `ASOF JOIN … ON`, `ASOF INNER JOIN … ON` | `STRAIGHT_JOIN`, which nobody else may write |
//! | `ASOF LEFT JOIN … ON`, `LEFT ASOF JOIN … ON` | `GLOBAL STRAIGHT_JOIN` |

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

use super::dialect::VALID_TIME;
use crate::error::{invalid, unsupported};
use firn_storage::error::Result;

/// The tokens of a statement without white space, rewritten, and how many parameters it has.
pub(super) struct Rewritten {
    pub(super) tokens: Vec<TokenWithSpan>,
    pub(super) parameters: usize,
}

/// Rewrites `tokens`.
pub(super) fn rewrite(tokens: Vec<TokenWithSpan>) -> Result<Rewritten> {
    let tokens = tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    let mut pass = Pass { tokens, at: 0, out: Vec::new(), numbered: 0, greatest: 0 };
    while pass.at < pass.tokens.len() {
        pass.step()?;
    }
    Ok(Rewritten { parameters: pass.numbered.max(pass.greatest), tokens: pass.out })
}

struct Pass {
    tokens: Vec<TokenWithSpan>,
    at: usize,
    out: Vec<TokenWithSpan>,
    /// How many `?` there were.
    numbered: usize,
    /// The greatest `$n`.
    greatest: usize,
}

/// A parameter by number may not be beyond this.
const PARAMETERS_MAX: usize = 10_000;

impl Pass {
    /// Takes one or several tokens.
    fn step(&mut self) -> Result<()> {
        if let Token::Placeholder(written) = &self.tokens[self.at].token {
            let written = written.clone();
            return self.parameter(&written);
        }
        self.refuse_names()?;
        self.refuse_clauses()?;
        self.refuse_misplaced()?;
        if self.begins(&["FOR", "VALID_TIME", "AS", "OF"]) {
            let span = self.tokens[self.at + 1].span;
            for keyword in [Keyword::FOR, Keyword::SYSTEM_TIME, Keyword::AS, Keyword::OF] {
                self.put(word(&format!("{keyword:?}"), keyword, span));
            }
            self.put(word(VALID_TIME, Keyword::NoKeyword, span));
            self.at += 4;
            return Ok(());
        }
        self.refuse()?;
        if let Some((taken, left)) = self.as_of_join()? {
            let span = self.tokens[self.at].span;
            if left {
                self.put(word("GLOBAL", Keyword::GLOBAL, span));
            }
            self.put(word("STRAIGHT_JOIN", Keyword::STRAIGHT_JOIN, span));
            self.at += taken;
            return Ok(());
        }
        self.out.push(self.tokens[self.at].clone());
        self.at += 1;
        Ok(())
    }

    fn put(&mut self, token: TokenWithSpan) {
        self.out.push(token);
    }

    fn parameter(&mut self, written: &str) -> Result<()> {
        let number = match written.strip_prefix('$') {
            None if written == "?" => {
                self.numbered += 1;
                self.numbered
            }
            None => return Err(invalid(format!("`{written}` is no parameter; write `?`, or `$1`, `$2`, …"))),
            Some(number) => {
                let number: usize = number.parse().unwrap_or(0);
                if !(1..=PARAMETERS_MAX).contains(&number) {
                    return Err(invalid(format!(
                        "`{written}` is no parameter; they are numbered from `$1` to `${PARAMETERS_MAX}`"
                    )));
                }
                self.greatest = self.greatest.max(number);
                number
            }
        };
        if self.numbered > 0 && self.greatest > 0 {
            return Err(invalid("the statement has parameters as `?` and as `$1`; write all of them in one way"));
        }
        if number > PARAMETERS_MAX {
            return Err(invalid(format!("the statement has more than {PARAMETERS_MAX} parameters")));
        }
        let span = self.tokens[self.at].span;
        self.put(TokenWithSpan { token: Token::Placeholder(format!("${number}")), span });
        self.at += 1;
        Ok(())
    }

    /// The word at `ahead` tokens from here, upper case, if it is one that is not quoted.
    fn word(&self, ahead: usize) -> Option<String> {
        match &self.tokens.get(self.at + ahead)?.token {
            Token::Word(Word { value, quote_style: None, .. }) => Some(value.to_ascii_uppercase()),
            _ => None,
        }
    }

    fn begins(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(ahead, word)| self.word(ahead).as_deref() == Some(word))
    }

    /// Whether what comes before is the name of a table, or its alias.
    fn follows_name(&self) -> bool {
        let before = self.at.checked_sub(1).map(|at| &self.tokens[at].token);
        matches!(before, Some(Token::Word(word)) if word.keyword == Keyword::NoKeyword || word.quote_style.is_some())
            || matches!(before, Some(Token::RParen))
    }

    /// Refuses other spellings of time.
    fn refuse(&self) -> Result<()> {
        let ours = "write `t FOR SYSTEM_TIME AS OF s` for what was known at s, `as_of('t', e)` for what was true at e";
        for axis in ["SYSTEM_TIME", "VALID_TIME"] {
            let ranged = self.begins(&["FOR", axis]) && self.word(2).as_deref() != Some("AS");
            if ranged || self.begins(&["FOR", "ALL", axis]) {
                return Err(unsupported(format!(
                    "a range of {axis} in FROM is not served{}; use history('t', from, to) for rows by event time, or \
                     changes('t', after, until) for what became known",
                    self.place()
                )));
            }
        }
        for kind in ["TIMESTAMP", "VERSION"] {
            if self.begins(&[kind, "AS", "OF"]) && self.follows_name() {
                return Err(unsupported(format!("`{kind} AS OF` is not served{}: {ours}", self.place())));
            }
        }
        if self.begins(&["AS", "OF"]) && self.follows_name() {
            return Err(unsupported(format!("`AS OF` alone is not served{}: {ours}", self.place())));
        }
        let call = matches!(self.tokens.get(self.at + 1).map(|next| &next.token), Some(Token::LParen));
        for kind in ["AT", "BEFORE", "CHANGES"] {
            if call && self.begins(&[kind]) && self.follows_name() {
                return Err(unsupported(format!(
                    "`{kind} (…)` after a table is not served{}: {ours}, `changes('t', after, until)` for what became known",
                    self.place()
                )));
            }
        }
        if self.begins(&["STRAIGHT_JOIN"]) || self.begins(&["GLOBAL", "STRAIGHT_JOIN"]) {
            return Err(unsupported(format!("STRAIGHT_JOIN is not served{}: write JOIN", self.place())));
        }
        if self.begins(&["TOLERANCE"]) && self.follows_name() {
            return Err(unsupported(format!(
                "TOLERANCE is not served{}: how old a value may be is the max age of its feature: ALTER TABLE t SET (max_age = '1h')",
                self.place()
            )));
        }
        for (kind, instead) in
            [("LT", "write ASOF JOIN with `>` in MATCH_CONDITION"), ("SPLICE", "write two ASOF JOINs")]
        {
            if self.begins(&[kind, "JOIN"]) {
                return Err(unsupported(format!("{kind} JOIN is not served{}: {instead}", self.place())));
            }
        }
        Ok(())
    }

    /// Refuses names in place of parameters.
    fn refuse_names(&self) -> Result<()> {
        let token = |ahead: usize| self.tokens.get(self.at + ahead).map(|token| &token.token);
        if let (Some(sign @ (Token::Colon | Token::AtSign)), Some(Token::Word(name))) = (token(0), token(1)) {
            let before = self.at.checked_sub(1).map(|at| &self.tokens[at].token);
            let earlier = &self.tokens[..self.at];
            let depth = |open: &Token, close: &Token| {
                let count = |of: &Token| earlier.iter().filter(|token| token.token == *of).count();
                count(open) > count(close)
            };
            let within = depth(&Token::LBrace, &Token::RBrace) || depth(&Token::LBracket, &Token::RBracket);
            let begins_value = !within
                && !matches!(before, Some(Token::Word(Word { keyword: Keyword::NoKeyword, .. })))
                && !matches!(before, Some(Token::LBracket | Token::RBracket | Token::RParen | Token::Number(..)));
            if begins_value {
                return Err(invalid(format!(
                    "`{sign}{name}` is no parameter{}: write `?`, or `$1`, `$2`, …",
                    self.place()
                )));
            }
        }
        Ok(())
    }

    /// Refuses clauses of time of other engines.
    fn refuse_clauses(&self) -> Result<()> {
        let ours = "write `t FOR SYSTEM_TIME AS OF s` for what was known at s, `as_of('t', e)` for what was true at e";
        if self.begins(&["FOR", "PORTION"]) {
            return Err(unsupported(format!("`FOR PORTION` is not served{}: {ours}", self.place())));
        }
        let other = self.word(1).filter(|axis| !["SYSTEM_TIME", "VALID_TIME"].contains(&axis.as_str()));
        if let Some(axis) = other.filter(|_| self.begins(&["FOR"]) && self.word(2).as_deref() == Some("AS")) {
            return Err(unsupported(format!("`FOR {axis}` is not served{}: {ours}", self.place())));
        }
        if self.tokens[self.at].token == Token::AtSign && self.follows_name() {
            return Err(unsupported(format!("`@` after a table is not served{}: {ours}", self.place())));
        }
        if self.begins(&["FOR", "SYSTEM", "TIME"]) {
            return Err(invalid(format!("SYSTEM_TIME is one word{}: {ours}", self.place())));
        }
        Ok(())
    }

    /// Refuses clauses of time where they mean nothing.
    fn refuse_misplaced(&self) -> Result<()> {
        let follows_parentheses =
            matches!(self.at.checked_sub(1).map(|at| &self.tokens[at].token), Some(Token::RParen));
        let clause = |axis: &str| self.begins(&["FOR", axis, "AS", "OF"]);
        if !clause("SYSTEM_TIME") && !clause("VALID_TIME") {
            return Ok(());
        }
        let named = |back: usize| {
            let at = self.at.checked_sub(back)?;
            match &self.tokens[at].token {
                Token::Word(word) if word.keyword == Keyword::NoKeyword || word.quote_style.is_some() => Some(word),
                _ => None,
            }
        };
        let before = |back: usize| self.at.checked_sub(back).map(|at| &self.tokens[at].token);
        let follows_as = matches!(before(2), Some(Token::Word(word)) if word.keyword == Keyword::AS);
        let alias = named(1).filter(|_| named(2).is_some() || follows_as || matches!(before(2), Some(Token::RParen)));
        if let Some(alias) = alias {
            return Err(invalid(format!(
                "the clause of time stands before the name `{alias}` that the table gets{}, and only after a table: write `t \
                 FOR SYSTEM_TIME AS OF s AS {alias}`, and put the clauses of a subquery after the tables inside it",
                self.place()
            )));
        }
        // After the first clause there may be a second, whose moment may end with a parenthesis.
        let earlier = self
            .out
            .iter()
            .rev()
            .take(64)
            .any(|token| matches!(&token.token, Token::Word(word) if word.keyword == Keyword::SYSTEM_TIME));
        if follows_parentheses && !earlier {
            return Err(invalid(format!(
                "a clause of time stands after a table alone{}: put it after the tables inside a subquery, and give the table \
                 functions their moments as arguments (at => …, known_at => …)",
                self.place()
            )));
        }
        Ok(())
    }

    /// The tokens that begin an as-of join here, if one does that has no MATCH_CONDITION, and whether all left rows stay.
    fn as_of_join(&self) -> Result<Option<(usize, bool)>> {
        let (taken, kind) = if self.begins(&["ASOF", "JOIN"]) {
            (2, None)
        } else if self.begins(&["ASOF", "LEFT", "OUTER", "JOIN"]) || self.begins(&["LEFT", "OUTER", "ASOF", "JOIN"]) {
            (4, Some("LEFT".to_owned()))
        } else if self.begins(&["ASOF"]) && self.word(2).as_deref() == Some("JOIN") {
            (3, self.word(1))
        } else if self.word(1).as_deref() == Some("ASOF") && self.word(2).as_deref() == Some("JOIN") {
            (3, self.word(0).filter(|kind| ["LEFT", "INNER", "RIGHT", "FULL", "SEMI", "ANTI"].contains(&kind.as_str())))
        } else {
            return Ok(None);
        };
        if taken == 3 && kind.is_none() {
            // A name before `ASOF JOIN`, whose turn comes.
            return Ok(None);
        }
        let matched = self.has_match_condition(self.at + taken);
        match kind.as_deref() {
            None if matched => Ok(None),
            None | Some("INNER") if !matched => Ok(Some((taken, false))),
            Some("LEFT") if !matched => Ok(Some((taken, true))),
            Some("LEFT" | "INNER") => Err(unsupported(format!(
                "ASOF JOIN with MATCH_CONDITION keeps every left row{}: write it without LEFT or INNER; an inner join is ASOF \
                 JOIN … ON l.k = r.k AND l.ts >= r.observed, without MATCH_CONDITION",
                self.place()
            ))),
            Some(kind) => Err(unsupported(format!(
                "{kind} ASOF JOIN is not served{}: each row on the left gets what was true of it before; write ASOF JOIN, and \
                 filter its rows in WHERE",
                self.place()
            ))),
            None => unreachable!("both cases without a kind are above"),
        }
    }

    /// Whether MATCH_CONDITION comes before the condition of the join whose right side begins at token `at`.
    fn has_match_condition(&self, at: usize) -> bool {
        let mut depth = 0_usize;
        for token in &self.tokens[at..] {
            match &token.token {
                Token::LParen => depth += 1,
                Token::RParen if depth == 0 => return false,
                Token::RParen => depth -= 1,
                Token::SemiColon => return false,
                Token::Word(word) if depth == 0 && word.quote_style.is_none() => match word.keyword {
                    Keyword::MATCH_CONDITION => return true,
                    Keyword::ON | Keyword::USING | Keyword::JOIN | Keyword::WHERE => return false,
                    _ => {}
                },
                _ => {}
            }
        }
        false
    }

    /// Where the pass is, for a message.
    fn place(&self) -> String {
        let start = self.tokens[self.at].span.start;
        format!(" (line {}, column {})", start.line, start.column)
    }
}

fn word(value: &str, keyword: Keyword, span: Span) -> TokenWithSpan {
    TokenWithSpan { token: Token::Word(Word { value: value.to_owned(), quote_style: None, keyword }), span }
}
