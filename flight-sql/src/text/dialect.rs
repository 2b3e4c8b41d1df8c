//! How SQL is spelled here: sqlparser's generic dialect, less what is not honoured, plus clauses of time.
//!
//! Valid time has no grammar in sqlparser. The pass over the tokens ([`rewrite`](super::rewrite)) turns its clause into one
//! of system time with a mark before the expression, and this dialect reads the mark.

use std::any::TypeId;

use sqlparser::ast::{Expr, Ident};
use sqlparser::dialect::{Dialect, GenericDialect};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, Word};

/// The mark before the expression of a clause of valid time. Nobody can write it: it has a space and no quotes.
pub(crate) const VALID_TIME: &str = "valid time";

/// Binds weaker than every operator, so that the clause before it is whole.
const CLAUSE: u8 = 1;

/// The dialect.
#[derive(Debug)]
pub(super) struct FirnDialect;

/// What of the generic dialect is honoured, as it says it.
macro_rules! as_generic {
    ($($name:ident)+) => {
        $(fn $name(&self) -> bool {
            GenericDialect.$name()
        })+
    };
}

impl Dialect for FirnDialect {
    /// Much of the parser asks for the generic dialect by its type.
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '"'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_'
    }

    fn supports_table_versioning(&self) -> bool {
        true
    }

    /// What an as-of join became is no alias.
    fn is_table_factor_alias(&self, explicit: bool, keyword: &Keyword, parser: &mut Parser) -> bool {
        explicit || (*keyword != Keyword::STRAIGHT_JOIN && self.is_table_alias(keyword, parser))
    }

    as_generic! {
        allow_extract_custom
        allow_extract_single_quotes
        support_map_literal_syntax
        supports_array_typedef_with_brackets
        supports_bitwise_shift_operators
        supports_comma_separated_trim
        supports_comment_on
        supports_data_type_signed_suffix
        supports_dictionary_syntax
        supports_extract_comma_syntax
        supports_filter_during_aggregation
        supports_group_by_expr
        supports_left_associative_joins_without_parens
        supports_limit_comma
        supports_nested_comments
        supports_parens_around_table_factor
        supports_select_wildcard_except
        supports_select_wildcard_exclude
        supports_select_wildcard_replace
        supports_string_escape_constant
        supports_struct_literal
        supports_try_convert
        supports_unicode_string_literal
        supports_values_as_table_factor
        supports_window_clause_named_window_reference
        supports_window_function_null_treatment_arg
    }

    /// Reads the mark, and the moment behind it.
    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        if !is_valid_time(&parser.peek_token_ref().token) {
            return None;
        }
        let mark = parser.next_token();
        let moment = parser.parse_subexpr(CLAUSE);
        let prefix = Ident::with_span(mark.span, VALID_TIME);
        Some(moment.map(|value| Expr::Prefixed { prefix, value: Box::new(value) }))
    }

    /// A second clause of time goes on with the expression of the first.
    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        begins_clause(parser).then_some(Ok(CLAUSE))
    }

    /// Reads a second clause of time: both are a tuple.
    fn parse_infix(&self, parser: &mut Parser, first: &Expr, precedence: u8) -> Option<Result<Expr, ParserError>> {
        if let Some(negated) = begins_distinct(parser) {
            return Some(distinct(parser, first, precedence, negated));
        }
        if precedence != CLAUSE || !begins_clause(parser) {
            return None;
        }
        for _ in 0..4 {
            parser.next_token();
        }
        let second = parser.parse_subexpr(CLAUSE);
        Some(second.map(|second| Expr::Tuple(vec![first.clone(), second])))
    }
}

/// Whether a token is the mark.
pub(super) fn is_valid_time(token: &Token) -> bool {
    matches!(token, Token::Word(Word { value, quote_style: None, .. }) if value == VALID_TIME)
}

/// Whether `IS DISTINCT FROM` comes, or with NOT, which is true then.
fn begins_distinct(parser: &Parser) -> Option<bool> {
    let is = |keywords: &[Keyword]| {
        let tokens = parser.peek_tokens_ref::<4>();
        tokens.iter().zip(keywords).all(|(token, keyword)| match &token.token {
            Token::Word(word) => word.keyword == *keyword,
            _ => false,
        })
    };
    let plain = is(&[Keyword::IS, Keyword::DISTINCT, Keyword::FROM]);
    let negated = is(&[Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM]);
    (plain || negated).then_some(negated)
}

/// The parser would take all that follows for the right side, `AND` and `OR` too.
fn distinct(parser: &mut Parser, first: &Expr, precedence: u8, negated: bool) -> Result<Expr, ParserError> {
    for _ in 0..if negated { 4 } else { 3 } {
        parser.next_token();
    }
    let (left, right) = (Box::new(first.clone()), Box::new(parser.parse_subexpr(precedence)?));
    Ok(if negated { Expr::IsNotDistinctFrom(left, right) } else { Expr::IsDistinctFrom(left, right) })
}

fn begins_clause(parser: &Parser) -> bool {
    let tokens = parser.peek_tokens_ref::<4>();
    let clause = [Keyword::FOR, Keyword::SYSTEM_TIME, Keyword::AS, Keyword::OF];
    tokens.iter().zip(clause).all(|(token, keyword)| match &token.token {
        Token::Word(word) => word.keyword == keyword,
        _ => false,
    })
}
