"""Functions of C that rules are written with. Each does what the function of `arith` of the same purpose does.

No shift of a negative value, no conversion of a value that does not fit: the standard leaves both open.
"""

from __future__ import annotations

from dataclasses import dataclass

from ....arith.fixed_functions import EXP_CONSTANTS, NEWTON_CONSTANTS

__all__ = ["HELPERS", "Helper"]


EXP_MINUS_EIGHTH, ONE_THIRD, *EXP_OF_BIT = EXP_CONSTANTS


@dataclass(frozen=True)
class Helper:
    """A C function.

    Attributes:
        text: the function.
        calls: names of other helpers that it calls.
        floats: whether it calculates with floats.
    """

    text: str
    calls: tuple[str, ...] = ()
    floats: bool = False


HELPERS: dict[str, Helper] = {
    "wrap32": Helper(
        """\
/* The low 32 bits, read as a signed integer. */
static int32_t wrap32(uint32_t bits) {
  return bits < UINT32_C(0x80000000) ? (int32_t)bits : -(int32_t)(UINT32_C(0xffffffff) - bits) - 1;
}"""
    ),
    "wrap16": Helper(
        """\
/* The low 16 bits, read as a signed integer. */
static int64_t wrap16(int64_t value) {
  const int64_t bits = (int64_t)((uint64_t)value & UINT64_C(0xffff));
  return bits < 32768 ? bits : bits - 65536;
}"""
    ),
    "wrap28": Helper(
        """\
/* The low 28 bits, read as a signed integer. */
static int32_t wrap28(uint32_t bits) {
  const int32_t low = (int32_t)(bits & UINT32_C(0xfffffff));
  return low < INT32_C(0x8000000) ? low : low - INT32_C(0x10000000);
}"""
    ),
    "wrap64": Helper(
        """\
/* 64 bits, read as a signed integer. */
static int64_t wrap64(uint64_t bits) {
  return bits < UINT64_C(0x8000000000000000) ? (int64_t)bits : -(int64_t)(UINT64_C(0xffffffffffffffff) - bits) - 1;
}"""
    ),
    "clamp": Helper(
        """\
/* The nearest value from low to high. */
static int64_t clamp(int64_t value, int64_t low, int64_t high) {
  return value < low ? low : value > high ? high : value;
}"""
    ),
    "shift_right": Helper(
        """\
/* value / 2^count, rounded down; count is 0 to 63. */
static int64_t shift_right(int64_t value, int32_t count) {
  return value >= 0 ? value >> count : -((-(value + 1)) >> count) - 1;
}"""
    ),
    "round_half_up": Helper(
        """\
/* value / 2^count, ties upwards; count is 0 to 62. */
static int64_t round_half_up(int64_t value, int32_t count) {
  return count > 0 ? shift_right(value + ((int64_t)1 << (count - 1)), count) : value;
}""",
        ("shift_right",),
    ),
    "round_half_away": Helper(
        """\
/* value / 2^count, ties away from zero; count is 0 to 62. */
static int64_t round_half_away(int64_t value, int32_t count) {
  const int64_t half = count > 0 ? (int64_t)1 << (count - 1) : 0;
  return value < 0 ? -((half - value) >> count) : (value + half) >> count;
}"""
    ),
    "round_half_even": Helper(
        """\
/* value / 2^count, ties to the even neighbour; count is 0 to 62. */
static int64_t round_half_even(int64_t value, int32_t count) {
  const int64_t below = shift_right(value, count);
  const int64_t twice = (value - below * ((int64_t)1 << count)) * 2;
  const int64_t unit = (int64_t)1 << count;
  return below + (twice > unit || (twice == unit && below % 2 != 0) ? 1 : 0);
}""",
        ("shift_right",),
    ),
    "high_product": Helper(
        """\
/* The high half of 2 * a * b, ties upwards; only the smallest integer's square does not fit, and saturates. */
static int32_t high_product(int32_t a, int32_t b) {
  const int64_t high = shift_right((int64_t)a * b + (INT64_C(1) << 30), 31);
  return high > INT32_C(0x7fffffff) ? INT32_C(0x7fffffff) : (int32_t)high;
}""",
        ("shift_right",),
    ),
    "multiply": Helper(
        """\
/* value * multiplier * 2^(shift - 31): the high product rounds half up, the right shift half away. */
static int64_t multiply(int64_t value, int32_t multiplier, int32_t shift) {
  const int32_t left = shift > 0 ? shift : 0;
  const int32_t shifted = wrap32((uint32_t)((uint64_t)value << left));
  return round_half_away(high_product(shifted, multiplier), left - shift);
}""",
        ("wrap32", "round_half_away", "high_product"),
    ),
    "bit_length": Helper(
        """\
/* How many bits a number has, without leading zeros. */
static int32_t bit_length(uint64_t value) {
  int32_t bits = 0;
  for (int32_t step = 32; step > 0; step /= 2) {
    if (value >> step != 0) {
      value >>= step;
      bits += step;
    }
  }
  return bits + (value != 0 ? 1 : 0);
}"""
    ),
    "keep_bits": Helper(
        """\
/* A number rounded to its first bits, ties to even, as floats are; what it lost is added to the exponent. */
static uint64_t keep_bits(uint64_t value, int32_t bits, int32_t *exponent) {
  const int32_t drop = bit_length(value) - bits;
  if (drop <= 0) {
    return value;
  }
  const uint64_t half = UINT64_C(1) << (drop - 1);
  const uint64_t rest = value & (half + half - 1);
  value >>= drop;
  *exponent += drop;
  return value + (rest > half || (rest == half && value % 2 != 0) ? 1 : 0);
}""",
        ("bit_length",),
    ),
    "whole_number": Helper(
        """\
/* value * 2^exponent as a whole number, 2^62 at most. tie 0: to even, 1: away from zero, 2: to zero. */
static int64_t whole_number(uint64_t value, int32_t exponent, int32_t tie) {
  if (exponent >= 0) {
    return bit_length(value) + exponent > 62 ? INT64_C(1) << 62 : (int64_t)(value << exponent);
  }
  if (exponent < -62) {
    return 0;
  }
  const uint64_t half = UINT64_C(1) << (-exponent - 1);
  const uint64_t rest = value & (half + half - 1);
  const uint64_t whole = value >> -exponent;
  const int32_t up = tie == 0 ? whole % 2 != 0 : tie == 1;
  return (int64_t)(whole + (rest > half || (rest == half && up) ? 1 : 0));
}""",
        ("bit_length",),
    ),
    "float32_product": Helper(
        """\
/* What a float32 product of acc and mantissa * 2^exponent is, as a whole number: in integers only. */
static int64_t float32_product(int64_t acc, int32_t mantissa, int32_t exponent, int32_t tie) {
  const uint64_t magnitude = keep_bits(acc < 0 ? (uint64_t)-acc : (uint64_t)acc, 24, &exponent);
  const uint64_t product = keep_bits(magnitude * (uint64_t)mantissa, 24, &exponent);
  const int64_t whole = whole_number(product, exponent, tie == 2 && acc >= 0 ? 1 : tie);
  return acc < 0 ? -whole : whole;
}""",
        ("keep_bits", "whole_number"),
    ),
    "float64_product": Helper(
        """\
/* The same of a float64 product: both factors have 53 bits, and their 106 bits are kept in two parts. */
static int64_t float64_product(int64_t acc, int64_t mantissa, int32_t exponent, int32_t tie) {
  uint64_t a = keep_bits(acc < 0 ? UINT64_C(0) - (uint64_t)acc : (uint64_t)acc, 53, &exponent);
  const uint64_t b = (uint64_t)mantissa;
  const uint64_t low32 = UINT64_C(0xffffffff);
  if (a == 0 || b == 0) {
    return 0;
  }
  const int32_t spare = 53 - bit_length(a);
  if (spare > 0) {
    a <<= spare;
    exponent -= spare;
  }
  const uint64_t low = (a & low32) * (b & low32);
  const uint64_t cross = (a >> 32) * (b & low32) + (low >> 32);
  const uint64_t middle = (a & low32) * (b >> 32) + (cross & low32);
  const uint64_t high = (a >> 32) * (b >> 32) + (cross >> 32) + (middle >> 32);
  const uint64_t rest = (middle << 32) | (low & low32);
  const uint64_t first = (high << 22) | (rest >> 42) | ((rest & ((UINT64_C(1) << 42) - 1)) != 0 ? 1 : 0);
  exponent += 42;
  const uint64_t product = keep_bits(first, 53, &exponent);
  const int64_t whole = whole_number(product, exponent, tie == 2 && acc >= 0 ? 1 : tie);
  return acc < 0 ? -whole : whole;
}""",
        ("keep_bits", "whole_number"),
    ),
    "saturating_left_shift": Helper(
        """\
/* x * 2^bits; what leaves 32 bits is the end, the lower one a value early. */
static int64_t saturating_left_shift(int64_t x, int32_t bits) {
  const int64_t threshold = (INT64_C(1) << (31 - bits)) - 1;
  return x > threshold    ? INT64_C(0x7fffffff)
         : x < -threshold ? -INT64_C(0x80000000)
                          : x * (INT64_C(1) << bits);
}"""
    ),
    "exp_on_negative_values": Helper(
        """\
/* exp(a), with 31 bits after the point; a is 0 or less, with integer_bits before the point. */
static int32_t exp_on_negative_values(int64_t a, int32_t integer_bits) {
  static const int32_t exp_of_bit[7] = {EXP_OF_BIT};
  if (a == 0) {
    return INT32_C(0x7fffffff);
  }
  const int32_t fraction_bits = 31 - integer_bits;
  const int64_t quarter = INT64_C(1) << (fraction_bits - 2);
  const int64_t low = (int64_t)((uint64_t)a & (uint64_t)(quarter - 1)) - quarter;
  const int32_t x = (int32_t)(saturating_left_shift(low, integer_bits) + (INT64_C(1) << 28));
  const int32_t x2 = high_product(x, x);
  const int32_t x3 = high_product(x2, x);
  const int32_t x4 = high_product(x2, x2);
  const int32_t cubic = high_product((int32_t)round_half_away(x4, 2) + x3, ONE_THIRD);
  const int32_t polynomial = x + (int32_t)round_half_away((int64_t)cubic + x2, 1);
  int32_t result = EXP_MINUS_EIGHTH + high_product(EXP_MINUS_EIGHTH, polynomial);
  const int64_t remainder = low - a;
  for (int32_t k = 0; k < 7 && k - 2 < integer_bits; k++) {
    if ((remainder >> (fraction_bits + k - 2)) % 2 != 0) {
      result = high_product(result, exp_of_bit[k]);
    }
  }
  return result;
}""".replace("EXP_OF_BIT", ", ".join(map(str, EXP_OF_BIT)))
        .replace("ONE_THIRD", str(ONE_THIRD))
        .replace("EXP_MINUS_EIGHTH", str(EXP_MINUS_EIGHTH)),
        ("saturating_left_shift", "high_product", "round_half_away"),
    ),
    "one_over_one_plus": Helper(
        """\
/* 1 / (1 + a), with 31 bits after the point in both: Newton's method from 48/17 - 32/17 d. */
static int32_t one_over_one_plus(int32_t a) {
  const int32_t half_denominator = (int32_t)(((int64_t)a + INT64_C(0x80000000)) >> 1);
  int64_t x = START + (int64_t)high_product(half_denominator, SLOPE);
  for (int32_t k = 0; k < 3; k++) {
    const int32_t error = (int32_t)(ONE - (int64_t)high_product(half_denominator, (int32_t)x));
    x += saturating_left_shift(high_product((int32_t)x, error), 2);
  }
  return (int32_t)saturating_left_shift(x, 1);
}""".replace("START", str(NEWTON_CONSTANTS[0]))
        .replace("SLOPE", str(NEWTON_CONSTANTS[1]))
        .replace("ONE", str(NEWTON_CONSTANTS[2])),
        ("saturating_left_shift", "high_product"),
    ),
    "interpolate": Helper(
        """\
/* 513 entries: the high 9 bits of the value choose, the low 7 lie between two; the slope has 16 bits. */
static int32_t interpolate(const int16_t *table, int32_t value) {
  const int32_t moved = value + 32768;
  const int32_t base = table[moved / 128];
  const int64_t slope = wrap16((int64_t)table[moved / 128 + 1] - base);
  return (int32_t)wrap16(base + shift_right(slope * (moved % 128) + 64, 7));
}""",
        ("wrap16", "shift_right"),
    ),
    "flush": Helper(
        """\
/* A float without subnormals. */
static float flush(float value) {
  return value < 1.17549435e-38f && value > -1.17549435e-38f ? 0.0f : value;
}""",
        floats=True,
    ),
    "rounded_sum": Helper(
        """\
/* a + b, rounded once to a float. A sum that is rounded to a double first, then to a float, differs from that only
 * where the double lies in the middle of two floats and is not exact. */
static float rounded_sum(double a, double b) {
  volatile double total = a + b;
  volatile double part = total - a;
  volatile double lost_of_a = total - part;
  lost_of_a = a - lost_of_a;
  volatile double lost = b - part;
  lost = lost + lost_of_a; /* exact: the sum is total + lost */
  const float nearest = (float)total;
  volatile double rest = total - (double)nearest;
  volatile double neighbour = (double)nearest + 2.0 * rest;
  if (rest != 0.0 && (double)(float)neighbour == neighbour && (rest > 0.0 ? lost > 0.0 : lost < 0.0)) {
    return (float)neighbour;
  }
  return nearest;
}""",
        floats=True,
    ),
    "fused_multiply_add": Helper(
        """\
/* a * b + c, rounded once. The product has 48 bits, which a double holds. */
static float fused_multiply_add(float a, float b, float c) {
  volatile double product = (double)a * b;
  return rounded_sum(product, c);
}""",
        ("rounded_sum",),
        floats=True,
    ),
    "with_bias": Helper(
        """\
/* An accumulator as a float32 plus a bias, rounded once: as a whole number times 2^exponent. */
static int32_t with_bias(int32_t acc, double bias, int32_t *exponent) {
  int32_t raised = 0;
  const uint64_t magnitude = keep_bits(acc < 0 ? (uint64_t)-(int64_t)acc : (uint64_t)acc, 24, &raised);
  const double start = (double)(int64_t)(magnitude << raised); /* exact */
  volatile float sum = rounded_sum(acc < 0 ? -start : start, bias);
  for (; sum >= 16777216.0f || sum <= -16777216.0f; *exponent += 1) {
    sum = sum * 0.5f;
  }
  for (; sum != 0.0f && sum < 8388608.0f && sum > -8388608.0f; *exponent -= 1) {
    sum = sum * 2.0f;
  }
  return (int32_t)sum; /* exact */
}""",
        ("keep_bits", "rounded_sum"),
        floats=True,
    ),
    "round_float": Helper(
        """\
/* A float as a whole number; tie 0: to even, 1: away from zero, 2: upwards. What no int32 holds is the smallest one. */
static int64_t round_float(double value, int32_t tie) {
  if (!(value > -2147483648.0 && value < 2147483648.0)) {
    return -INT64_C(0x80000000);
  }
  const int64_t toward_zero = (int64_t)value;
  const double rest = value - (double)toward_zero; /* exact */
  const int64_t away = rest < 0 ? toward_zero - 1 : toward_zero + 1;
  int64_t whole = rest > 0.5 || rest < -0.5 ? away : toward_zero;
  if (rest == 0.5 || rest == -0.5) {
    whole = tie == 1 || (tie == 2 && rest > 0) || (tie == 0 && toward_zero % 2 != 0) ? away : toward_zero;
  }
  return whole > INT64_C(0x7fffffff) ? -INT64_C(0x80000000) : whole;
}""",
        floats=True,
    ),
}
"""Name -> function."""
