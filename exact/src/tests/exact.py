"""Answers to lists of numbers, one a line, by fractions of the standard library.

A line is "float" and bits of float64 in hexadecimal, or "integer", a scale and integers. The answer is a line of bits of
sum, average, variances of the population and the sample, and their deviations, with "-" where there is none.
"""

import math
import struct
import sys
from fractions import Fraction

QUIET = 0x7FF8000000000000


def bits(value):
    return struct.unpack("<Q", struct.pack("<d", value))[0]


def rounded(fraction):
    try:
        # The division of two integers is rounded once.
        value = abs(fraction.numerator) / fraction.denominator
    except OverflowError:
        value = math.inf
    return bits(-value if fraction < 0 else value)


def rounded_root(fraction):
    if fraction == 0:
        return 0
    # Whole bits enough for any float64, and one more that says whether something is left.
    shift = 1200
    whole = math.isqrt((fraction.numerator << (2 * shift)) // fraction.denominator)
    exact = whole * whole * fraction.denominator == fraction.numerator << (2 * shift)
    return rounded(Fraction(2 * whole + (not exact), 1 << (shift + 1)))


def answers(values):
    count = len(values)
    total = sum(values)
    squares = sum(value * value for value in values)
    spread = squares * count - total * total
    population = Fraction(spread, count * count)
    sample = Fraction(spread, count * (count - 1)) if count > 1 else None
    variances = [population, sample]
    found = [rounded(total), rounded(Fraction(total, count))]
    found += [None if one is None else rounded(one) for one in variances]
    return found + [None if one is None else rounded_root(one) for one in variances]


def float_answers(values):
    if all(math.isfinite(value) for value in values):
        return answers([Fraction(value) for value in values])
    total = sum(value for value in values if not math.isfinite(value))
    first = QUIET if math.isnan(total) else bits(total)
    sample = QUIET if len(values) > 1 else None
    return [first, first, QUIET, sample, QUIET, sample]


for line in sys.stdin:
    kind, *words = line.split()
    if kind == "float":
        found = float_answers([struct.unpack("<d", struct.pack("<Q", int(word, 16)))[0] for word in words])
    else:
        scale = Fraction(10) ** int(words[0])
        found = answers([int(word) / scale for word in words[1:]])
    print(*("-" if one is None else format(one, "x") for one in found))
