//! The same answers by Python's fractions, which know nothing of this crate nor of its other oracle.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::process::{Command, Stdio};

use arrow_buffer::i256;
use fastrand::Rng;

use super::floats::{moments_of, of_moments};
use super::lists::hostile;
use crate::IntegerMoments;

fn line_of(answers: &[Option<u64>]) -> String {
    let words = answers.iter().map(|answer| answer.map_or_else(|| "-".to_owned(), |bits| format!("{bits:x}")));
    words.collect::<Vec<_>>().join(" ")
}

/// A question for Python, and what this crate answers.
fn float_question(random: &mut Rng) -> (String, String) {
    let mut values = hostile(random);
    if random.u8(..16) == 0 {
        values.push([f64::NAN, f64::INFINITY, f64::NEG_INFINITY][random.usize(..3)]);
    }
    let mut question = "float".to_owned();
    for value in &values {
        let _ = write!(question, " {:x}", value.to_bits());
    }
    let found = of_moments(&moments_of(&values));
    (question, line_of(&[vec![Some(found.sum), found.average], found.spread.to_vec()].concat()))
}

fn integer_question(random: &mut Rng) -> (String, String) {
    let (scale, shift) = (random.i8(-76..=76), random.u32(..127));
    let mut question = format!("integer {scale}");
    let mut moments = IntegerMoments::default();
    for _ in 0..random.usize(1..30) {
        let value = i256::from_parts(random.u128(..), random.i128(..) >> shift) >> (random.u8(..2) * 120);
        let _ = write!(question, " {value}");
        moments.add_wide(value);
    }
    let spread = [
        moments.variance_population(scale),
        moments.variance_sample(scale),
        moments.deviation_population(scale),
        moments.deviation_sample(scale),
    ];
    let spread = spread.map(|answer| answer.map(f64::to_bits));
    let average = moments.sum().average(scale).map(f64::to_bits);
    (question, line_of(&[vec![average], spread.to_vec()].concat()))
}

#[test]
fn python_answers_the_same() {
    let mut random = Rng::with_seed(10);
    let floats = (0..10_000).map(|_| float_question(&mut random)).collect::<Vec<_>>();
    let integers = (0..3_000).map(|_| integer_question(&mut random)).collect::<Vec<_>>();
    let questions: Vec<_> = floats.into_iter().chain(integers).collect();
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/exact.py");
    let python = Command::new("python3").arg(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut python = match python {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("NOT TESTED: there is no python3 here, so nothing was compared with its fractions");
            return;
        }
        other => other.unwrap(),
    };
    let mut input = python.stdin.take().unwrap();
    let lines: String = questions.iter().map(|(question, _)| format!("{question}\n")).collect();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()).unwrap());
    let output = python.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.lines().count() == questions.len(), "Python answers every line");
    writer.join().unwrap();
    for ((question, found), answer) in questions.iter().zip(text.lines()) {
        // A total of integers is no float64 here: Python's first word is left out.
        let answer = if question.starts_with("integer") { answer.split_once(' ').unwrap().1 } else { answer };
        assert_eq!(found, answer, "{question}");
    }
}
