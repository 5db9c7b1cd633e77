/*
 * What the tests of misuse share. They call every function with pointers that are null or misaligned, sizes that are negative or
 * overflow, codes that nothing has, and settings that make no sense: a status each time, with a message of the call, and outputs
 * as they were.
 */
#ifndef GEMMILL_TESTS_MISUSE_H
#define GEMMILL_TESTS_MISUSE_H

#include "check.h"
#include <math.h>

enum { K = 6, N = 4, M = 3 };

static int8_t b[K * N];
static uint8_t a[2 * M * K];
static float x[64];
static int32_t integers[64];

static const int32_t bad_codes[] = {-1, 6, 99, INT32_MIN, INT32_MAX};
#define EACH_BAD_CODE(code) for (size_t at_ = 0, one_; at_ < sizeof bad_codes / sizeof *bad_codes; at_++) \
    for (int32_t code = (one_ = 1, bad_codes[at_]); one_; one_ = 0)

/* A pointer that is not a multiple of anything but one. */
static inline void *odd(const void *pointer)
{
    return (char *)(uintptr_t)pointer + 1;
}

static inline gemmill_weights *packed(void)
{
    gemmill_weights *weights = NULL;
    OK(gemmill_weights_create(GEMMILL_TYPE_I8, b, K, N, N, 1, NULL, &weights));
    return weights;
}

static inline void fill(void)
{
    for (int i = 0; i < K * N; i++) b[i] = (int8_t)(37 * i);
    for (int i = 0; i < 2 * M * K; i++) a[i] = (uint8_t)(29 * i);
    for (int i = 0; i < 64; i++) x[i] = 1.0f;
    for (int i = 0; i < 64; i++) integers[i] = 0;
}

#endif
