//! Numbers as slices of 64-bit limbs, the least first: what accumulators and natural numbers have in common.
//!
//! A magnitude is a natural number. A total is a two's complement in a fixed number of limbs, which its owner chose so that
//! it cannot overflow; nothing here checks that.

/// The limbs of a magnitude without the zeros at its upper end; none for zero.
pub(crate) fn trimmed(limbs: &[u64]) -> &[u64] {
    let zeros = limbs.iter().rev().take_while(|limb| **limb == 0).count();
    &limbs[..limbs.len() - zeros]
}

/// Bits of a magnitude from its highest one on; 0 for zero.
pub(crate) fn bit_length(limbs: &[u64]) -> usize {
    let limbs = trimmed(limbs);
    limbs.last().map_or(0, |top| limbs.len() * 64 - top.leading_zeros() as usize)
}

/// Limb `index` of `limbs` shifted to the left by `bits` (below 64); zero beyond its end.
fn shifted_limb(limbs: &[u64], index: usize, bits: u32) -> u64 {
    let limb = limbs.get(index).map_or(0, |limb| limb << bits);
    let below = index.checked_sub(1).and_then(|below| limbs.get(below)).map_or(0, |limb| (limb >> 1) >> (63 - bits));
    limb | below
}

/// Adds a magnitude times 2^`shift` to a total, or takes it from the total if it is `negative`.
pub(crate) fn add_shifted(total: &mut [u64], negative: bool, magnitude: &[u64], shift: usize) {
    let (whole, bits) = (shift / 64, (shift % 64) as u32);
    let magnitude = trimmed(magnitude);
    let mut pending = false;
    for (index, place) in total[whole..].iter_mut().enumerate() {
        if index > magnitude.len() && !pending {
            break;
        }
        let limb = shifted_limb(magnitude, index, bits);
        (*place, pending) =
            if negative { place.borrowing_sub(limb, pending) } else { place.carrying_add(limb, pending) };
    }
}

/// Turns a total into its magnitude in place, and says whether it was negative.
pub(crate) fn to_magnitude(total: &mut [u64]) -> bool {
    let negative = total.last().is_some_and(|top| top >> 63 == 1);
    if negative {
        let mut pending = true;
        for limb in total {
            (*limb, pending) = (!*limb).carrying_add(0, pending);
        }
    }
    negative
}
