//! The tree's own rules, as tests: headers, sizes, banned words, circles, layers, links.
//!
//! Each test reads the whole tree and lists every offender at once. What a lint of the compiler checks is not checked
//! again here.

mod circles;
mod documents;
mod imports;
mod layers;
mod sizes;
mod sources;
mod text;
mod tree;
