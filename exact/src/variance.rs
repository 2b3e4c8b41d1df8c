//! The exact variance of values of which the sum and the sum of squares are known.

use crate::accumulator::Total;
use crate::natural::Natural;
use crate::ratio::Ratio;

/// `(count · squares - sum²) / (count · divisor)`, in units of the values' scale.
#[derive(Debug)]
pub(crate) struct Variance {
    numerator: Natural,
    denominator: Natural,
    exponent: i32,
}

impl Variance {
    /// The variance of `count` values, by a `divisor` that is `count` for a population and one less for a sample. The values
    /// are those of the totals, each divided by 10^`scale`.
    pub(crate) fn new(count: u64, divisor: u64, sum: &Total, squares: &Total, scale: i8) -> Self {
        assert!(!squares.negative, "squares are taken back that were not added");
        let square = sum.magnitude.times(sum.magnitude.limbs());
        let squares_times_count = squares.magnitude.times(&[count]);
        let (own, other) = (2 * sum.exponent, squares.exponent);
        let exponent = own.min(other);
        // No difference of squares is below zero, if the totals are those of values.
        let mut numerator = squares_times_count.shifted_left((other - exponent).cast_unsigned() as usize);
        numerator.subtract(square.shifted_left((own - exponent).cast_unsigned() as usize).limbs());
        let variance = Self { numerator, denominator: Natural::new(&[count]).times(&[divisor]), exponent };
        variance.scaled(scale)
    }

    /// Itself divided by 10^(2 · `scale`).
    fn scaled(self, scale: i8) -> Self {
        if scale == 0 {
            return self;
        }
        let power = Natural::power_of_five(2 * u32::from(scale.unsigned_abs()));
        let exponent = self.exponent - 2 * i32::from(scale);
        let Self { mut numerator, mut denominator, .. } = self;
        let changed = if scale < 0 { &mut numerator } else { &mut denominator };
        *changed = changed.times(power.limbs());
        Self { numerator, denominator, exponent }
    }

    /// The nearest float64, ties to even.
    pub(crate) fn round(&self) -> f64 {
        self.ratio().round()
    }

    /// The float64 nearest to the exact square root, ties to even.
    pub(crate) fn round_root(&self) -> f64 {
        self.ratio().round_root()
    }

    fn ratio(&self) -> Ratio<'_> {
        let (numerator, denominator) = (self.numerator.limbs(), self.denominator.limbs());
        Ratio { negative: false, numerator, denominator, exponent: self.exponent }
    }
}
