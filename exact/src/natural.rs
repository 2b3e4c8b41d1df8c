//! A natural number in a place of fixed size: the few operations with which an answer is finished, without allocation.
//!
//! The place has room for the largest number that a window can ask for: the variance of fewer than 2^64 float64 values. A
//! number that does not fit is our own mistake and panics; nothing wraps.

use std::cmp::Ordering;

use crate::limbs::{add_shifted, trimmed};

/// Limbs of a number: `count * sum of squares` of float64 has 2,148 + 2,048 + 128 bits, which is 68 limbs; two are spare.
const LIMBS: usize = 70;

/// A natural number below 2^(64 · 70).
#[derive(Clone, Debug)]
pub(crate) struct Natural {
    limbs: [u64; LIMBS],
    /// How many limbs there are without zeros at the upper end.
    length: usize,
}

impl Natural {
    /// The number with these limbs.
    pub(crate) fn new(limbs: &[u64]) -> Self {
        let given = trimmed(limbs);
        let mut limbs = [0; LIMBS];
        limbs[..given.len()].copy_from_slice(given);
        Self { limbs, length: given.len() }
    }

    /// 5^`power`, for powers of which each fits.
    pub(crate) fn power_of_five(power: u32) -> Self {
        /// The greatest power of five in a limb.
        const LIMB_POWER: u32 = 27;
        let mut product = Self::new(&[5u64.pow(power % LIMB_POWER)]);
        for _ in 0..power / LIMB_POWER {
            product = product.times(&[5u64.pow(LIMB_POWER)]);
        }
        product
    }

    /// Its limbs, without zeros at the upper end.
    pub(crate) fn limbs(&self) -> &[u64] {
        &self.limbs[..self.length]
    }

    /// Itself times a magnitude.
    pub(crate) fn times(&self, factor: &[u64]) -> Self {
        let (own, factor) = (self.limbs(), trimmed(factor));
        let mut product = [0; LIMBS];
        for (shift, digit) in factor.iter().enumerate() {
            let mut carry = 0;
            for (place, limb) in product[shift..].iter_mut().zip(own) {
                (*place, carry) = limb.carrying_mul_add(*digit, *place, carry);
            }
            // The place above is not in use yet: a row of the product reaches one limb further than the one before.
            product[shift + own.len()] = carry;
        }
        Self { length: trimmed(&product[..own.len() + factor.len()]).len(), limbs: product }
    }

    /// Itself times 2^`bits`.
    pub(crate) fn shifted_left(self, bits: usize) -> Self {
        if bits == 0 || self.length == 0 {
            return self;
        }
        let end = self.length + bits / 64 + 1;
        let mut limbs = [0; LIMBS];
        add_shifted(&mut limbs[..end], false, self.limbs(), bits);
        Self { length: trimmed(&limbs[..end]).len(), limbs }
    }

    /// Doubles it and adds `bit`.
    pub(crate) fn push_bit(&mut self, bit: bool) {
        let mut carry = u64::from(bit);
        for limb in &mut self.limbs[..self.length] {
            (*limb, carry) = ((*limb << 1) | carry, *limb >> 63);
        }
        if carry != 0 {
            self.limbs[self.length] = carry;
            self.length += 1;
        }
    }

    /// How it compares with a magnitude.
    pub(crate) fn compare(&self, other: &[u64]) -> Ordering {
        let (own, other) = (self.limbs(), trimmed(other));
        own.len().cmp(&other.len()).then_with(|| own.iter().rev().cmp(other.iter().rev()))
    }

    /// Takes away a magnitude that is not greater than it.
    pub(crate) fn subtract(&mut self, other: &[u64]) {
        assert!(self.compare(other).is_ge(), "a natural number would become negative");
        add_shifted(&mut self.limbs[..self.length], true, other, 0);
        self.length = trimmed(self.limbs()).len();
    }
}
