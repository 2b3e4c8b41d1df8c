//! Random changes of an input, the same for the same seed: what libFuzzer does, without looking where it leads.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Numbers at which code changes its mind.
const EDGES: [u64; 14] =
    [0, 1, 2, 7, 8, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 32, i64::MAX as u64, u64::MAX];

/// Inputs longer than this are cut.
const BYTES_MAX: usize = 64 << 10;

/// A stream of mutated inputs.
#[derive(Debug)]
pub struct Mutator {
    random: StdRng,
}

impl Mutator {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed) }
    }

    /// One of `inputs`, changed in a few places.
    pub fn next(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = inputs[self.random.random_range(0..inputs.len())].clone();
        for _ in 0..self.random.random_range(1..=4) {
            self.change(&mut bytes, inputs);
        }
        bytes.truncate(BYTES_MAX);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, inputs: &[Vec<u8>]) {
        if bytes.is_empty() {
            bytes.push(self.random.random());
            return;
        }
        let at = self.random.random_range(0..bytes.len());
        // Most changes of a text only make it unreadable; a number that is written out can be any other.
        if bytes[0] == b'{' && self.random.random_bool(0.6) {
            return self.digits(bytes, at);
        }
        match self.random.random_range(0..11) {
            0 | 1 => bytes[at] ^= 1 << self.random.random_range(0..8),
            2 => bytes[at] = self.random.random(),
            3 | 4 => self.number(bytes, at),
            5 => self.digits(bytes, at),
            6 => drop(bytes.drain(at..self.end(at, bytes.len()))),
            7 => {
                let count = self.random.random_range(1..=16);
                let fill: u8 = self.random.random();
                drop(bytes.splice(at..at, std::iter::repeat_n(fill, count)));
            }
            8 => {
                let again = bytes[at..self.end(at, bytes.len())].to_vec();
                let to = self.random.random_range(0..=bytes.len());
                drop(bytes.splice(to..to, again));
            }
            9 => {
                let other = &inputs[self.random.random_range(0..inputs.len())];
                if !other.is_empty() {
                    let from = self.random.random_range(0..other.len());
                    let taken = &other[from..self.end(from, other.len())];
                    let end = (at + taken.len()).min(bytes.len());
                    drop(bytes.splice(at..end, taken.iter().copied()));
                }
            }
            _ => bytes.truncate(at),
        }
    }

    /// The end of a range that begins at `at`: short ones are likelier.
    fn end(&mut self, at: usize, length: usize) -> usize {
        let most = if self.random.random_bool(0.8) { 32 } else { length };
        self.random.random_range(at..=(at + most).min(length))
    }

    /// Puts a number of some width there, or changes the one that is there by little.
    fn number(&mut self, bytes: &mut [u8], at: usize) {
        let width = [1, 2, 4, 8][self.random.random_range(0..4)];
        let at = if self.random.random_bool(0.7) { at / width * width } else { at };
        let Some(place) = bytes.get_mut(at..at + width) else { return };
        let mut number = [0; 8];
        number[..width].copy_from_slice(place);
        let number = match self.random.random_bool(0.5) {
            true => EDGES[self.random.random_range(0..EDGES.len())],
            false => u64::from_le_bytes(number).wrapping_add(self.random.random_range(-16_i64..=16).cast_unsigned()),
        };
        place.copy_from_slice(&number.to_le_bytes()[..width]);
    }

    /// Replaces a number that is written out.
    fn digits(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit).map(|found| at + found) else { return };
        let count = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let sign = if self.random.random_bool(0.2) { "-" } else { "" };
        let number = format!("{sign}{}", EDGES[self.random.random_range(0..EDGES.len())]);
        drop(bytes.splice(start..start + count, number.into_bytes()));
    }
}
