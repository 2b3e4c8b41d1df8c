//! The exact total of terms `integer · 2^exponent` that come and go.
//!
//! A total is the sum of two parts. The narrow one is a machine integer times a power of two that adapts to the terms: it
//! takes nearly every one, and for columns of ordinary values all of them. What does not fit into it, because exponents lie
//! too far apart or a carry would be lost, spills into the wide part: a two's complement of so many limbs that the total of
//! 2^64 terms of any exponent fits. So the total is exact whatever came in whatever order; only which part holds it differs.

use std::hint::select_unpredictable;

use arrow_buffer::i256;

use crate::limbs::{add_shifted, to_magnitude, trimmed};
use crate::natural::Natural;

/// An integer of the machine that holds the narrow part of a total.
pub(crate) trait Narrow: Copy {
    const ZERO: Self;
    /// Bits of a magnitude that has its negative.
    const BITS: u32;
    /// So many bits below the terms seen so far are kept free for smaller ones.
    const SLACK: i32;

    fn is_zero(self) -> bool;

    /// The sum, if it fits.
    fn plus(self, other: Self) -> Option<Self>;

    /// Itself times 2^`bits`, which fits.
    fn shifted(self, bits: u32) -> Self;

    /// As many bits as it can be shifted by, and one more.
    fn spare_bits(self) -> u32;

    /// Itself without the zeros at its lower end, and how many there were. It is not zero.
    fn stripped(self) -> (Self, u32);

    /// Whether it is negative, and its magnitude.
    fn magnitude(self) -> (bool, [u64; 4]);
}

impl Narrow for i128 {
    const ZERO: Self = 0;
    const BITS: u32 = 127;
    const SLACK: i32 = 16;

    fn is_zero(self) -> bool {
        self == 0
    }

    #[inline]
    fn plus(self, other: Self) -> Option<Self> {
        self.checked_add(other)
    }

    #[inline]
    fn shifted(self, bits: u32) -> Self {
        self << bits
    }

    fn spare_bits(self) -> u32 {
        (self ^ (self >> 127)).leading_zeros()
    }

    fn stripped(self) -> (Self, u32) {
        (self >> self.trailing_zeros(), self.trailing_zeros())
    }

    fn magnitude(self) -> (bool, [u64; 4]) {
        let magnitude = self.unsigned_abs();
        (self < 0, [magnitude as u64, (magnitude >> 64) as u64, 0, 0])
    }
}

impl Narrow for i256 {
    const ZERO: Self = Self::ZERO;
    const BITS: u32 = 255;
    const SLACK: i32 = 32;

    fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    #[inline]
    fn plus(self, other: Self) -> Option<Self> {
        self.checked_add(other)
    }

    #[inline]
    fn shifted(self, bits: u32) -> Self {
        self << bits as u8
    }

    fn spare_bits(self) -> u32 {
        if self.is_negative() { (!self).leading_zeros() } else { self.leading_zeros() }
    }

    fn stripped(self) -> (Self, u32) {
        (self >> self.trailing_zeros() as u8, self.trailing_zeros())
    }

    fn magnitude(self) -> (bool, [u64; 4]) {
        // The magnitude of the least one does not fit with a sign, but its bits are those of 2^255.
        let (low, high) = self.wrapping_abs().to_parts();
        let high = high.cast_unsigned();
        (self.is_negative(), [low as u64, (low >> 64) as u64, high as u64, (high >> 64) as u64])
    }
}

/// A total in an `N` and, where that does not hold it, in `LIMBS` limbs of which the lowest bit is worth 2^`LOWEST`.
///
/// It is right for terms of at most `TERM_BITS` bits and a sign, with exponents of `LOWEST` or more, whose total at no time
/// needs more than the limbs; the types that own one choose its limbs for their terms.
#[derive(Clone, Debug)]
pub(crate) struct Accumulator<N, const TERM_BITS: u32, const LIMBS: usize, const LOWEST: i32> {
    narrow: N,
    /// What the lowest bit of `narrow` is worth.
    exponent: i32,
    wide: Option<Box<[u64; LIMBS]>>,
}

/// A total as sign, magnitude, and what the lowest bit of the magnitude is worth.
#[derive(Clone, Debug)]
pub(crate) struct Total {
    pub(crate) negative: bool,
    pub(crate) magnitude: Natural,
    pub(crate) exponent: i32,
}

impl<N: Narrow, const TERM_BITS: u32, const LIMBS: usize, const LOWEST: i32> Default
    for Accumulator<N, TERM_BITS, LIMBS, LOWEST>
{
    fn default() -> Self {
        Self { narrow: N::ZERO, exponent: 0, wide: None }
    }
}

impl<N: Narrow, const TERM_BITS: u32, const LIMBS: usize, const LOWEST: i32> Accumulator<N, TERM_BITS, LIMBS, LOWEST> {
    /// Adds `value · 2^exponent`.
    #[inline]
    pub(crate) fn add(&mut self, value: N, exponent: i32) {
        // A term below the lowest bit has a huge shift. Zero fits anywhere, and comes and goes too often to be predicted.
        let shift = exponent.wrapping_sub(self.exponent).cast_unsigned();
        let shift = select_unpredictable(value.is_zero(), 0, shift);
        // Any term fits when it is shifted by no more than this.
        let fits = shift <= N::BITS - TERM_BITS;
        match fits.then(|| value.shifted(shift)).and_then(|term| self.narrow.plus(term)) {
            Some(narrow) => self.narrow = narrow,
            None => self.adapt(value, exponent),
        }
    }

    /// Adds what the narrow part does not take as it is: by another exponent if one suits both, else it starts anew.
    #[cold]
    fn adapt(&mut self, value: N, exponent: i32) {
        if value.is_zero() {
            return;
        }
        let (own, term) = ((self.narrow, self.exponent), (value, exponent));
        // It has no bits, and so no need of an exponent.
        let own = if self.narrow.is_zero() { (N::ZERO, exponent) } else { own };
        let lowest = own.1.min(exponent);
        let sum = sum_of(own, term, (lowest - N::SLACK).max(LOWEST)).or_else(|| sum_of(own, term, lowest));
        let sum = sum.or_else(|| {
            let (own, term) = (stripped(own), stripped(term));
            sum_of(own, term, own.1.min(term.1))
        });
        if sum.is_none() {
            self.spill();
        }
        (self.narrow, self.exponent) = sum.unwrap_or(term);
    }

    /// Moves the narrow part into the wide one. The total stays what it is.
    pub(crate) fn spill(&mut self) {
        let (negative, magnitude) = self.narrow.magnitude();
        self.add_wide(negative, &magnitude, self.exponent);
        self.narrow = N::ZERO;
    }

    /// Adds `magnitude · 2^exponent` to the wide part, or takes it away if it is `negative`.
    pub(crate) fn add_wide(&mut self, negative: bool, magnitude: &[u64], exponent: i32) {
        let shift = usize::try_from(exponent - LOWEST).expect("no term lies below the lowest bit");
        let wide = self.wide.get_or_insert_with(|| Box::new([0; LIMBS]));
        add_shifted(&mut wide[..], negative, magnitude, shift);
    }

    /// Adds the total of another one.
    pub(crate) fn merge(&mut self, other: &Self) {
        if let Some(theirs) = &other.wide {
            let mut magnitude = **theirs;
            let negative = to_magnitude(&mut magnitude);
            self.add_wide(negative, &magnitude, LOWEST);
        }
        self.adapt(other.narrow, other.exponent);
    }

    /// The total as a machine integer times a power of two, if the narrow part holds all of it.
    #[inline]
    pub(crate) fn narrow(&self) -> Option<(N, i32)> {
        self.wide.is_none().then_some((self.narrow, self.exponent))
    }

    /// The total.
    pub(crate) fn total(&self) -> Total {
        let (negative, magnitude) = self.narrow.magnitude();
        match &self.wide {
            None => Total { negative, magnitude: Natural::new(&magnitude), exponent: self.exponent },
            Some(wide) => {
                let mut sum = **wide;
                if !trimmed(&magnitude).is_empty() {
                    let shift = usize::try_from(self.exponent - LOWEST).expect("no term lies below the lowest bit");
                    add_shifted(&mut sum, negative, &magnitude, shift);
                }
                let negative = to_magnitude(&mut sum);
                Total { negative, magnitude: Natural::new(&sum), exponent: LOWEST }
            }
        }
    }
}

/// The sum of two terms in units of 2^`exponent`, which is not above theirs, if it fits.
fn sum_of<N: Narrow>(one: (N, i32), other: (N, i32), exponent: i32) -> Option<(N, i32)> {
    let scaled = |(value, own): (N, i32)| {
        let shift = (own - exponent).cast_unsigned();
        (shift < value.spare_bits()).then(|| value.shifted(shift))
    };
    Some((scaled(one)?.plus(scaled(other)?)?, exponent))
}

/// The same term without the zeros at its lower end.
fn stripped<N: Narrow>((value, exponent): (N, i32)) -> (N, i32) {
    let (value, zeros) = value.stripped();
    (value, exponent + zeros.cast_signed())
}
