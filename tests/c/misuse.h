/*
 * What the tests of misuse share. They call every function with pointers that are null or misaligned, sizes that are
 * negative or overflow, codes that nothing has, and settings that make no sense: a status each time, with a message of
 * the call, and outputs as they were.
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

/* A call that is refused with the status in the variable `refused`. */
#define REFUSED(call) expect_status(refused, call, #call, __LINE__)

/* A getter of `value`, of a handle and to a place that are null or, where `misaligned`, odd. */
#define REFUSED_PROPERTY(get, handle, misaligned, value) \
    do { \
        REFUSED(get((misaligned) ? odd(handle) : NULL, &(value))); \
        REFUSED(get(handle, (misaligned) ? odd(x) : NULL)); \
    } while (0)

/* A setter of threads with how and counts that make no sense. */
#define REFUSES_THREADS(set_threads, handle) \
    do { \
        EACH_BAD_CODE(code) EXPECT(OUT_OF_RANGE, set_threads(handle, code, 1)); \
        EXPECT(OUT_OF_RANGE, set_threads(handle, GEMMILL_THREADS_AUTO, 1)); \
        EXPECT(OUT_OF_RANGE, set_threads(handle, GEMMILL_THREADS_MAX, 0)); \
        EXPECT(OUT_OF_RANGE, set_threads(handle, GEMMILL_THREADS_EXACTLY, -1)); \
        EXPECT(OUT_OF_RANGE, set_threads(handle, GEMMILL_THREADS_EXACTLY, INT64_MIN)); \
    } while (0)

/* A run of M rows with pointers, sizes and strides that make no sense, each alone. */
#define REFUSES_RUNS(run, gemm, a, c) \
    do { \
        EXPECT(NULL_POINTER, run(NULL, M, a, K, 1, c, N, NULL)); \
        EXPECT(MISALIGNED, run(odd(gemm), M, a, K, 1, c, N, NULL)); \
        EXPECT(NULL_POINTER, run(gemm, M, NULL, K, 1, c, N, NULL)); \
        EXPECT(NULL_POINTER, run(gemm, M, a, K, 1, NULL, N, NULL)); \
        EXPECT(MISALIGNED, run(gemm, M, a, K, 1, odd(c), N, NULL)); \
        EXPECT(MISALIGNED, run(gemm, M, a, K, 1, c, N, odd(x))); \
        EXPECT(OUT_OF_RANGE, run(gemm, -1, a, K, 1, c, N, NULL)); \
        EXPECT(OUT_OF_RANGE, run(gemm, M, a, -K, 1, c, N, NULL)); \
        EXPECT(OUT_OF_RANGE, run(gemm, M, a, K, INT64_MIN, c, N, NULL)); \
        EXPECT(OUT_OF_RANGE, run(gemm, M, a, K, 1, c, -N, NULL)); \
        EXPECT(OVERFLOW, run(gemm, INT64_MAX, a, K, 1, c, N, NULL)); \
        EXPECT(OVERFLOW, run(gemm, M, a, INT64_MAX, 1, c, N, NULL)); \
        EXPECT(OVERFLOW, run(gemm, M, a, K, INT64_MAX, c, N, NULL)); \
        EXPECT(OVERFLOW, run(gemm, M, a, K, 1, c, INT64_MAX, NULL)); \
        EXPECT(OVERFLOW, run(gemm, M, a, K, 1, c, INT64_MAX / 8, NULL)); \
        EXPECT(OVERLAP, run(gemm, M, a, K, 1, c, N - 1, NULL)); \
        EXPECT(OVERLAP, run(gemm, M, a, K, 1, c, 0, NULL)); \
    } while (0)

/* What reads bytes, without them, with a part of them, and with each of them damaged. */
#define REFUSES_BYTES(from_bytes, bytes, length, made) \
    do { \
        EXPECT(NULL_POINTER, from_bytes(NULL, length, made)); \
        EXPECT(OUT_OF_RANGE, from_bytes(bytes, -1, made)); \
        EXPECT(OVERFLOW, from_bytes(bytes, INT64_MAX, made)); \
        for (int64_t part = 0; part < (length); part++) EXPECT(BAD_DATA, from_bytes(bytes, part, made)); \
        for (int64_t i = 0; i < (length); i++) { \
            (bytes)[i] ^= 1; \
            EXPECT(BAD_DATA, from_bytes(bytes, length, made)); \
            (bytes)[i] ^= 1; \
        } \
    } while (0)

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
