/* The numbers of f32, f16 and bf16 as float: decoded, rounded and encoded in plain C. */
#ifndef GEMMILL_TESTS_FLOATS_H
#define GEMMILL_TESTS_FLOATS_H

#include "check.h"
#include <math.h>

enum { F32 = GEMMILL_TYPE_F32, F16 = GEMMILL_TYPE_F16, BF16 = GEMMILL_TYPE_BF16 };

static inline int is_float_type(int32_t type) { return type == F32 || type == F16 || type == BF16; }

static inline uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float with_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The number of a type, 16 bits of it or 32, as float. */
static inline float decode(int32_t type, uint32_t bits)
{
    if (type == F32) return with_bits(bits);
    if (type == BF16) return with_bits(bits << 16);
    const int exponent = (int)(bits >> 10 & 31), fraction = (int)(bits & 1023);
    float x = exponent == 0 ? ldexpf((float)fraction, -24) : ldexpf((float)(1024 + fraction), exponent - 25);
    if (exponent == 31) x = fraction ? NAN : INFINITY;
    return bits & 0x8000 ? -x : x;
}

/* The nearest number of a type, ties to even: the step of the type at x divides, rint rounds. */
static inline float rounded(int32_t type, float x)
{
    if (type == F32 || isnan(x) || isinf(x) || x == 0.0f) return x;
    const int digits = type == F16 ? 11 : 8, lowest = type == F16 ? -24 : -133, most = type == F16 ? 16 : 128;
    int exponent;
    frexpf(x, &exponent);
    const int step = exponent - digits > lowest ? exponent - digits : lowest;
    const double y = ldexp(rint(ldexp((double)x, -step)), step);
    return fabs(y) >= ldexp(1.0, most) ? (x > 0 ? INFINITY : -INFINITY) : (float)y;
}

static inline float largest(int32_t type)
{
    return type == F16 ? 65504.0f : type == BF16 ? with_bits(0x7f7f0000) : with_bits(0x7f7fffff);
}

/* The bits of a float that is a number of the type; NaN is a quiet one. */
static inline uint32_t encode(int32_t type, float x)
{
    if (type == F32) return bits_of(x);
    if (type == BF16) return isnan(x) ? 0x7fc0 : bits_of(x) >> 16;
    const uint32_t sign = signbit(x) ? 0x8000 : 0;
    if (isnan(x)) return 0x7e00;
    if (isinf(x)) return sign | 0x7c00;
    int exponent;
    const float fraction = frexpf(fabsf(x), &exponent);
    if (x == 0.0f) return sign;
    if (exponent <= -14) return sign | (uint32_t)ldexpf(fabsf(x), 24);
    return sign | (uint32_t)(exponent + 14) << 10 | ((uint32_t)ldexpf(fraction, 11) & 1023);
}

static inline size_t bytes_of(int32_t type) { return type == F32 ? 4 : 2; }

static inline void put(int32_t type, void *array, size_t at, float x)
{
    const uint32_t bits = encode(type, x);
    const uint16_t half = (uint16_t)bits;
    memcpy((char *)array + at * bytes_of(type), type == F32 ? (const void *)&bits : &half, bytes_of(type));
}

static inline float get(int32_t type, const void *array, size_t at)
{
    uint32_t bits = 0;
    uint16_t half = 0;
    if (type == F32) memcpy(&bits, (const char *)array + 4 * at, 4);
    else memcpy(&half, (const char *)array + 2 * at, 2), bits = half;
    return decode(type, bits);
}

#endif
