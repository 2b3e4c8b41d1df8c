//! Lists of float64 that are hard to add: random ones of many kinds.

use fastrand::Rng;

/// Values at the edges of what there is.
pub(super) const EDGES: [f64; 24] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    f64::MAX,
    f64::MIN,
    f64::MIN_POSITIVE,
    -f64::MIN_POSITIVE,
    5e-324,
    -5e-324,
    2.225_073_858_507_201e-308,
    1e16,
    -1e16,
    1e-16,
    0.1,
    0.3,
    -0.2,
    9_007_199_254_740_993.0,
    1.797_693_134_862_315_5e308,
    9.979_201_547_673_6e291,
    1.000_000_000_000_000_2,
    0.999_999_999_999_999_9,
    1.5,
    3e-324,
];

/// A float64 of any bits that is finite.
pub(super) fn any_finite(random: &mut Rng) -> f64 {
    loop {
        let value = f64::from_bits(random.u64(..));
        if value.is_finite() {
            return value;
        }
    }
}

/// One with a given exponent field and a fraction that is random, short, empty or full.
fn of_field(random: &mut Rng, field: u64) -> f64 {
    let full = (1u64 << 52) - 1;
    let fraction = match random.u8(..4) {
        0 => random.u64(..) & full,
        1 => random.u64(..) & full & (full << random.u32(..52)),
        2 => 0,
        _ => full,
    };
    f64::from_bits(u64::from(random.bool()) << 63 | field << 52 | fraction)
}

/// A list of one to forty values, all finite.
pub(super) fn hostile(random: &mut Rng) -> Vec<f64> {
    let length = random.usize(1..=40).min(random.usize(1..=40));
    let (kind, field, spread) = (random.u8(..12), random.u64(..2047), random.u64(1..200));
    let mut values: Vec<f64> = (0..length)
        .map(|_| {
            let field = match kind {
                0 => return (random.f64() * 100_000.0).round() / 100.0,
                1 => return random.f64() * 2.0 - 1.0,
                2 => return any_finite(random),
                3 => return EDGES[random.usize(..EDGES.len())],
                4 => return random.i64(-1000..1000) as f64,
                5 => return random.f64() * 1e-3 + 1e6,
                6 => field,
                7 => (field + random.u64(..spread)).min(2046),
                8 => random.u64(..3),
                9 => 2044 + random.u64(..3),
                // Bits about a half of the last place of one.
                10 => [1023, 1022, 970, 969, 917, 916][random.usize(..6)],
                _ => random.u64(..2047),
            };
            of_field(random, field)
        })
        .collect();
    // A list whose values mostly cancel.
    if random.u8(..3) == 0 {
        let negated: Vec<f64> = values.iter().map(|value| -value).collect();
        values.extend(negated.into_iter().filter(|_| random.u8(..8) != 0));
        random.shuffle(&mut values);
        values.truncate(40);
    }
    values
}
