//! From text to a statement: tokens, the pass over them, the parser, and the gate.
//!
//! What comes out is one statement of which everything is honoured, or an error that says what is not and what to write
//! instead. Nothing here knows tables.

mod dialect;
mod gate;
mod needs;
mod nest;
mod rewrite;

#[cfg(test)]
mod tests;

use sqlparser::ast::Statement;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, Tokenizer};

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
    let mut parser = Parser::new(&dialect).with_recursion_limit(limits.depth_max);
    parser = parser.with_tokens_with_locations(rewritten.tokens);
    while parser.consume_token(&Token::SemiColon) {}
    if parser.peek_token_ref().token == Token::EOF {
        return Err(invalid("the statement is empty"));
    }
    let mut statement = parser.parse_statement().map_err(|error| refused(&error, limits))?;
    let ended = parser.consume_token(&Token::SemiColon);
    while parser.consume_token(&Token::SemiColon) {}
    let next = parser.peek_token_ref();
    if next.token != Token::EOF {
        let place = next.span.start;
        return Err(match ended {
            true => unsupported("a request holds one statement; send the next with a request of its own"),
            false => invalid(format!(
                "the statement goes on with `{next}` at line {}, column {}, where it should end",
                place.line, place.column
            )),
        });
    }
    gate::check(&statement)?;
    nest::nest(&mut statement);
    Ok(Parsed { statement, parameters: rewritten.parameters })
}

fn refused(error: &ParserError, limits: &Limits) -> Error {
    match error {
        ParserError::RecursionLimitExceeded => {
            Error::exhausted(format!("the statement is nested deeper than {} (sql-depth-max)", limits.depth_max))
        }
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => {
            invalid(format!("the statement cannot be read: {text}"))
        }
    }
}
