//! How long a statement may be, in every direction: what is read in a loop becomes a tree as deep as it is long, and every walk
//! over it, its end too, takes as much of the stack.

use std::collections::HashMap;
use std::ops::ControlFlow;

use sqlparser::ast::{Cte, Query, Select, Statement, TableFactor, Visit, Visitor, With};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::limits::Limits;
use firn_storage::error::{Error, Result};

/// How deep `NOT (` may be nested.
const NEGATIONS_MAX: usize = 10;

/// Refuses tokens that are too many, or too many in one chain of operators.
pub(super) fn check_tokens(tokens: &[TokenWithSpan], limits: &Limits) -> Result<()> {
    if tokens.len() > limits.tokens_max {
        return Err(Error::exhausted(format!(
            "the statement has {} words and signs; it may have {} (sql-tokens-max): bind values as parameters, or load rows \
             with bulk ingest",
            tokens.len(),
            limits.tokens_max
        )));
    }
    // How many operators each open parenthesis has had since its last comma.
    let (mut chains, mut joins) = (vec![0_usize], 0_usize);
    // The parser tries what follows NOT ( in two ways, each of which tries what is inside in two ways.
    let (mut negated, mut before): (Vec<bool>, Option<&Token>) = (Vec::new(), None);
    for TokenWithSpan { token, span } in tokens {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                chains.push(0);
                negated.push(matches!(before, Some(Token::Word(word)) if word.keyword == Keyword::NOT));
                if negated.iter().filter(|negated| **negated).count() > NEGATIONS_MAX {
                    return Err(Error::exhausted(format!(
                        "NOT (…) is nested deeper than {NEGATIONS_MAX} at line {}, column {}: take some of them together",
                        span.start.line, span.start.column
                    )));
                }
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                chains.pop();
                negated.pop();
                if chains.is_empty() {
                    chains.push(0);
                }
                // What is called or indexed again and again is a chain too.
                add(&mut chains);
            }
            Token::Comma => *last(&mut chains) = 0,
            Token::Word(word) if word.quote_style.is_none() => {
                joins += usize::from(matches!(word.keyword, Keyword::JOIN | Keyword::STRAIGHT_JOIN));
                if continues(word.keyword) {
                    add(&mut chains);
                }
            }
            Token::Word(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::Placeholder(_)
            | Token::Period => {}
            _ => add(&mut chains),
        }
        before = Some(token);
        if *last(&mut chains) > limits.terms_max {
            return Err(Error::exhausted(format!(
                "an expression has more than {} operators in a row at line {}, column {} (sql-terms-max): put its parts in \
                 parentheses, or write a list with IN",
                limits.terms_max, span.start.line, span.start.column
            )));
        }
        if joins > limits.joins_max {
            return Err(Error::exhausted(format!(
                "the statement has more than {} joins (sql-joins-max): take its parts apart",
                limits.joins_max
            )));
        }
    }
    Ok(())
}

fn last(chains: &mut [usize]) -> &mut usize {
    chains.last_mut().expect("the outermost is never closed")
}

fn add(chains: &mut [usize]) {
    *last(chains) += 1;
}

/// Whether a word goes on with what stands before it.
fn continues(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::AND
            | Keyword::OR
            | Keyword::NOT
            | Keyword::IS
            | Keyword::BETWEEN
            | Keyword::LIKE
            | Keyword::ILIKE
            | Keyword::SIMILAR
            | Keyword::AT
            | Keyword::COLLATE
            | Keyword::UNION
            | Keyword::INTERSECT
            | Keyword::EXCEPT
            | Keyword::DIV
            | Keyword::XOR
    )
}

/// Refuses lists of columns that are too long, and common table expressions that name each other too often.
pub(super) fn check_tree(statement: &Statement, limits: &Limits) -> Result<()> {
    match statement.visit(&mut Tree { limits }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Tree<'a> {
    limits: &'a Limits,
}

impl Visitor for Tree<'_> {
    type Break = Error;

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Error> {
        let (found, most) = (select.projection.len(), self.limits.columns_max);
        match found > most {
            true => ControlFlow::Break(Error::exhausted(format!(
                "SELECT names {found} columns; it may name {most} (sql-columns-max): ask for fewer at once"
            ))),
            false => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        let Some(With { cte_tables, .. }) = &query.with else { return ControlFlow::Continue(()) };
        let mut count = Reads { named: HashMap::new(), reads: 0 };
        for Cte { alias, query, .. } in cte_tables {
            count.reads = 0;
            let _ = query.visit(&mut count);
            count.named.insert(alias.name.value.to_lowercase(), count.reads.max(1));
        }
        count.reads = 0;
        let _ = query.body.visit(&mut count);
        let most = self.limits.reads_max;
        match count.reads > most {
            true => ControlFlow::Break(Error::exhausted(format!(
                "the statement reads tables more than {most} times, its common table expressions counted each time that they are \
                 named (sql-reads-max): take its parts apart"
            ))),
            false => ControlFlow::Continue(()),
        }
    }
}

/// How often tables are read, those in common table expressions each time that these are named.
struct Reads {
    named: HashMap<String, u64>,
    reads: u64,
}

impl Visitor for Reads {
    type Break = std::convert::Infallible;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        if let TableFactor::Table { name, .. } = factor {
            let reads = self.named.get(&name.to_string().to_lowercase()).copied().unwrap_or(1);
            self.reads = self.reads.saturating_add(reads);
        }
        ControlFlow::Continue(())
    }
}
