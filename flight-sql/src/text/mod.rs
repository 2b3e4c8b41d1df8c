//! From text to a statement: tokens, the pass over them, the parser, and the gate.
//!
//! What comes out is one statement of which everything is honoured, or an error that says what is not and what to write
//! instead. Nothing here knows tables.

mod dialect;
mod gate;
mod length;
mod needs;
mod nest;
mod rewrite;

#[cfg(test)]
mod tests;

use sqlparser::ast::Statement;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Word};

pub(crate) use dialect::VALID_TIME;
pub(crate) use needs::needs;
pub(crate) use nest::is_as_of;

use crate::error::{invalid, unsupported};
use crate::limits::Limits;
use firn_storage::error::{Error, Result};

/// A statement, and how many parameters it has.
#[derive(Debug, Clone)]
pub(crate) struct Parsed {
    pub(crate) statement: Statement,
    pub(crate) parameters: usize,
    /// As it was sent.
    pub(crate) text: String,
}

/// Reads `text`, which is one statement.
pub(crate) fn parse(text: &str, limits: &Limits) -> Result<Parsed> {
    let most = limits.statement_bytes_max;
    if text.len() > most {
        let found = text.len();
        return Err(Error::exhausted(format!(
            "the statement has {found} bytes; it may have {most} (sql-statement-bytes-max): bind values as parameters, or \
             load rows with bulk ingest"
        )));
    }
    let dialect = dialect::FirnDialect;
    let tokens = Tokenizer::new(&dialect, text).tokenize_with_location();
    let tokens = tokens.map_err(|error| invalid(format!("the statement is no SQL: {error}")))?;
    let rewritten = rewrite::rewrite(tokens)?;
    length::check_tokens(&rewritten.tokens, limits)?;
    let mut parser = Parser::new(&dialect).with_recursion_limit(limits.depth_max);
    parser = parser.with_tokens_with_locations(rewritten.tokens.clone());
    while parser.consume_token(&Token::SemiColon) {}
    if parser.peek_token_ref().token == Token::EOF {
        return Err(invalid("the statement is empty"));
    }
    let mut statement = parser.parse_statement().map_err(|error| refused(&error, &rewritten.tokens, limits))?;
    let ended = parser.consume_token(&Token::SemiColon);
    while parser.consume_token(&Token::SemiColon) {}
    let next = parser.peek_token_ref();
    if next.token != Token::EOF {
        let place = next.span.start;
        return Err(match ended {
            true => unsupported("a request holds one statement; send the next with a request of its own"),
            false => {
                let said = format!(
                    "the statement goes on with `{next}` at line {}, column {}, where it should end",
                    place.line, place.column
                );
                let at = format!("Line: {}, Column: {}", place.line, place.column);
                invalid(said + &hint(&at, &rewritten.tokens))
            }
        });
    }
    length::check_tree(&statement, limits)?;
    gate::check(&statement)?;
    nest::nest(&mut statement);
    Ok(Parsed { statement, parameters: rewritten.parameters, text: text.to_owned() })
}

/// What to do with a name that is a word of SQL, if the parser stopped at one or behind one.
fn hint(text: &str, tokens: &[TokenWithSpan]) -> String {
    let number = |name: &str| {
        let (_, rest) = text.rsplit_once(name)?;
        rest.split(|sign: char| !sign.is_ascii_digit()).next()?.parse::<u64>().ok()
    };
    let place = number("Line: ").zip(number("Column: "));
    let at = place.and_then(|(line, column)| {
        tokens.iter().position(|token| (token.span.start.line, token.span.start.column) == (line, column))
    });
    let at = at.unwrap_or(tokens.len());
    let name = |at: usize| match &tokens.get(at)?.token {
        Token::Word(Word { value, quote_style: None, keyword }) if may_be_meant(*keyword) => Some(value.clone()),
        _ => None,
    };
    let meant = at.checked_sub(1).and_then(name).or_else(|| name(at));
    meant.map_or_else(String::new, |word| format!("; if `{word}` is a name, write it in double quotes: \"{word}\""))
}

/// Whether a word of SQL is one that people call columns and tables by.
fn may_be_meant(keyword: Keyword) -> bool {
    !matches!(
        keyword,
        Keyword::NoKeyword
            | Keyword::SELECT
            | Keyword::FROM
            | Keyword::WHERE
            | Keyword::AND
            | Keyword::OR
            | Keyword::ON
            | Keyword::AS
            | Keyword::JOIN
            | Keyword::BY
            | Keyword::INTO
            | Keyword::VALUES
            | Keyword::CREATE
            | Keyword::INSERT
            | Keyword::TABLE
    )
}

fn refused(error: &ParserError, tokens: &[TokenWithSpan], limits: &Limits) -> Error {
    match error {
        ParserError::RecursionLimitExceeded => {
            Error::exhausted(format!("the statement is nested deeper than {} (sql-depth-max)", limits.depth_max))
        }
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => {
            invalid(format!("the statement cannot be read: {text}{}", hint(text, tokens)))
        }
    }
}
