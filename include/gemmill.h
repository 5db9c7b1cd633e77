/*
 * gemmill: exact int8 matrix products on x86 CPUs, with machine code generated at run time.
 *
 *     C[i][j] = epilogue( sum over k of (A[i][k] - A_zp[i]) * (B[k][j] - B_zp[j]) )
 *
 * A holds activations (u8, i8, or float that is quantized on the fly), B weights (i8 or u8, packed once), C i32 sums,
 * requantized bytes or float. Sums never saturate on the way, and every CPU, shape and number of threads gives the same bits.
 *
 * From zero to a requantized product:
 *
 *     #include <stdio.h>
 *     #include <gemmill.h>
 *
 *     int product(const uint8_t *a, const int8_t *b, uint8_t *c, int64_t m, int64_t n, int64_t k)
 *     {
 *         gemmill_weights *weights = NULL;
 *         gemmill_gemm *gemm = NULL;
 *         int failed = gemmill_weights_create(GEMMILL_TYPE_I8, b, k, n, n, 1, NULL, &weights)
 *                   || gemmill_gemm_create(weights, GEMMILL_TYPE_U8, GEMMILL_TYPE_U8, &gemm)
 *                   || gemmill_gemm_set_multiplier(gemm, 0.01f)
 *                   || gemmill_gemm_set_a_zero_point(gemm, 100)
 *                   || gemmill_gemm_set_c_zero_point(gemm, 128)
 *                   || gemmill_gemm_run(gemm, m, a, k, 1, c, n, NULL);
 *         if (failed)
 *             fprintf(stderr, "%s\n", gemmill_last_error());
 *         gemmill_gemm_destroy(gemm);
 *         gemmill_weights_destroy(weights);
 *         return failed;
 *     }
 *
 * What holds everywhere:
 * - Functions give a gemmill_status, 0 for success. Outputs are untouched after a failure, but new handles are null then.
 * - Pointers that are null or misaligned, and sizes and strides that are negative or too large, are refused. Whether memory is
 *   as large as they say cannot be seen: what a function requires of it is undefined behaviour if it does not hold.
 *   "Pointers" among a function's errors stands for GEMMILL_STATUS_NULL_POINTER and GEMMILL_STATUS_MISALIGNED; any function may
 *   give GEMMILL_STATUS_INTERNAL.
 * - Sizes and strides are int64_t and count elements, not bytes. A row-major matrix of n columns has row stride n and column
 *   stride 1. Codes of enums are int32_t, and numbers that an enum does not have are refused.
 * - Handles are created, set, used by any number of threads, and destroyed once, when no call uses them any more.
 * - Nothing throws, unwinds or exits, but for one case: the process ends if memory for the library's own use runs out.
 * - The floating-point environment must be the usual one: to nearest, subnormals kept.
 */


#ifndef GEMMILL_H
#define GEMMILL_H

#include <stdint.h>

/**
 * First part of the version of this header.
 */
#define GEMMILL_VERSION_MAJOR 0

/**
 * Second part of the version of this header.
 */
#define GEMMILL_VERSION_MINOR 1

/**
 * Third part of the version of this header.
 */
#define GEMMILL_VERSION_PATCH 0

/**
 * What a call gives back. After any other than GEMMILL_STATUS_OK, gemmill_last_error says what was expected and what was
 * given, and outputs are untouched (handles that would have been created are null).
 */
typedef enum {
    /**
     * Done.
     */
    GEMMILL_STATUS_OK = 0,
    /**
     * A pointer is null that must not be.
     */
    GEMMILL_STATUS_NULL_POINTER = 1,
    /**
     * A pointer is not a multiple of its type's alignment.
     */
    GEMMILL_STATUS_MISALIGNED = 2,
    /**
     * An integer is outside its range: a negative size or stride, a zero point that is no value of its type, a code that no
     * enum has, an activation beyond the bound that packing was promised.
     */
    GEMMILL_STATUS_OUT_OF_RANGE = 3,
    /**
     * A matrix would not fit the address space.
     */
    GEMMILL_STATUS_OVERFLOW = 4,
    /**
     * Elements of an output share an address with each other or with an input.
     */
    GEMMILL_STATUS_OVERLAP = 5,
    /**
     * Two sizes that must be equal are not.
     */
    GEMMILL_STATUS_MISMATCH = 6,
    /**
     * A scale, multiplier, bias, limit or activation is not a usable number.
     */
    GEMMILL_STATUS_BAD_NUMBER = 7,
    /**
     * Columns cannot be divided into so many groups.
     */
    GEMMILL_STATUS_GROUPS = 8,
    /**
     * Settings that do not go together, or one that is missing.
     */
    GEMMILL_STATUS_UNSUPPORTED = 9,
    /**
     * The CPU or its operating system lacks a tier, GEMMILL_TIER names none, or weights were packed for another one.
     */
    GEMMILL_STATUS_TIER = 10,
    /**
     * The system refused executable memory, or a kernel could not be generated.
     */
    GEMMILL_STATUS_MACHINE_CODE = 11,
    /**
     * There is not enough memory.
     */
    GEMMILL_STATUS_OUT_OF_MEMORY = 12,
    /**
     * The settings of an operation can no longer be changed.
     */
    GEMMILL_STATUS_FROZEN = 13,
    /**
     * A buffer is too small for what is to be written.
     */
    GEMMILL_STATUS_TOO_SMALL = 14,
    /**
     * Bytes are not packed weights, or not whole, or not from a version that is known.
     */
    GEMMILL_STATUS_BAD_DATA = 15,
    /**
     * The system refused threads.
     */
    GEMMILL_STATUS_THREADS = 16,
    /**
     * A defect of the library.
     */
    GEMMILL_STATUS_INTERNAL = 17,
} gemmill_status;

/**
 * Types of elements.
 */
typedef enum {
    /**
     * uint8_t: activations, weights, requantized outputs.
     */
    GEMMILL_TYPE_U8 = 0,
    /**
     * int8_t: activations, weights, requantized outputs.
     */
    GEMMILL_TYPE_I8 = 1,
    /**
     * int32_t: sums.
     */
    GEMMILL_TYPE_I32 = 2,
    /**
     * float: activations that are quantized on the fly, dequantized outputs.
     */
    GEMMILL_TYPE_F32 = 3,
} gemmill_type;

/**
 * By what parameters of columns are given.
 */
typedef enum {
    /**
     * One value for all columns.
     */
    GEMMILL_PER_TENSOR = 0,
    /**
     * One value for each group of columns.
     */
    GEMMILL_PER_GROUP = 1,
    /**
     * One value for each column.
     */
    GEMMILL_PER_COLUMN = 2,
} gemmill_per;

/**
 * Clusters of CPU features that kernels are generated for, the best last. All give the same bits.
 */
typedef enum {
    /**
     * No machine code, on every CPU.
     */
    GEMMILL_TIER_PORTABLE = 0,
    /**
     * AVX2, FMA and F16C.
     */
    GEMMILL_TIER_AVX2 = 1,
    /**
     * AVX2 and AVX-VNNI.
     */
    GEMMILL_TIER_AVX2_VNNI = 2,
    /**
     * AVX-512 F, BW, DQ and VL.
     */
    GEMMILL_TIER_AVX512 = 3,
    /**
     * AVX-512 and its VNNI.
     */
    GEMMILL_TIER_AVX512_VNNI = 4,
    /**
     * AVX-512, its VNNI, and AMX-INT8.
     */
    GEMMILL_TIER_AMX = 5,
} gemmill_tier;

/**
 * How hard packing searches for fast sequences.
 */
typedef enum {
    /**
     * One pass over neighbouring steps: for weights that are used once or twice.
     */
    GEMMILL_EFFORT_QUICK = 0,
    /**
     * A search over all steps of a block: some ten nanoseconds per weight, once.
     */
    GEMMILL_EFFORT_FULL = 1,
} gemmill_effort;

/**
 * How many threads a product may use.
 */
typedef enum {
    /**
     * As many as the pool has, if the product is large enough for them.
     */
    GEMMILL_THREADS_AUTO = 0,
    /**
     * At most so many, if the product is large enough. With one, the calling thread does all.
     */
    GEMMILL_THREADS_MAX = 1,
    /**
     * So many, however small the product, as far as the pool has them and C can be cut.
     */
    GEMMILL_THREADS_EXACTLY = 2,
} gemmill_threads;

/**
 * A product C = epilogue(A * B) with packed weights: created, set, run any number of times, destroyed.
 */
typedef struct gemmill_gemm gemmill_gemm;

/**
 * How weights are packed: groups, zero points, a bound of the activations, the tier.
 */
typedef struct gemmill_packing gemmill_packing;

/**
 * Threads that products may be carried out on, instead of those of the library's own pool.
 */
typedef struct gemmill_pool gemmill_pool;

/**
 * What may differ from run to run: zero points and scales of rows, a residual.
 */
typedef struct gemmill_run_options gemmill_run_options;

/**
 * Weights in the layout that kernels read, with their zero points. They never change once they are made.
 */
typedef struct gemmill_weights gemmill_weights;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * A status in a few words; "unknown status" for a number that is none.
 *
 * Ownership: the text is static. Threads: any. Errors: none.
 */
const char *gemmill_status_text(int32_t status);

/**
 * What was expected and what was given, by this thread's last call that failed; empty if none did.
 *
 * A call that succeeds leaves the message alone. It begins with the function's name.
 *
 * Ownership: the text belongs to the library and is there until a call on the same thread fails, or the thread ends.
 * Threads: each has its own message. Errors: none.
 */
const char *gemmill_last_error(void);

/**
 * major * 1000000 + minor * 1000 + patch of the library that is running, which may be newer than the header.
 *
 * Threads: any. Errors: none.
 */
int32_t gemmill_version(void);

/**
 * "major.minor.patch" of the library that is running.
 *
 * Ownership: the text is static. Threads: any. Errors: none.
 */
const char *gemmill_version_text(void);

/**
 * *tier = the best tier that this machine runs, or the one that the environment variable GEMMILL_TIER names: what packing
 * uses if no tier is set.
 *
 * The environment is read once, by the first call that needs it. Threads: any.
 * Errors: GEMMILL_STATUS_TIER if the variable names no tier, or one that this machine lacks; pointers.
 *
 * Requires: tier points to an int32_t.
 */
gemmill_status gemmill_tier_best(int32_t *tier);

/**
 * *tier = the tier of this name: "portable", "avx2", "avx2-vnni", "avx512", "avx512-vnni" or "amx".
 *
 * Whether this machine runs it is for gemmill_tier_missing_feature to say. Threads: any.
 * Errors: GEMMILL_STATUS_TIER if no tier has the name; pointers.
 *
 * Requires: name points to a text that ends with a NUL, tier to an int32_t.
 */
gemmill_status gemmill_tier_from_name(const char *name, int32_t *tier);

/**
 * The name of a tier; null for a number that is none.
 *
 * Ownership: the text is static. Threads: any. Errors: none but null.
 */
const char *gemmill_tier_name(int32_t tier);

/**
 * *feature = the name of the first CPU feature that this machine lacks for a tier, or null if it runs the tier.
 *
 * Ownership: the text is static. Threads: any.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE if no tier has this number; pointers.
 *
 * Requires: feature points to a pointer.
 */
gemmill_status gemmill_tier_missing_feature(int32_t tier, const char **feature);

/**
 * *packing = new settings: one group, zero points of 0, activations of up to 255, the best tier, full effort.
 *
 * Ownership: the caller's, to be given back to gemmill_packing_destroy; null after a failure. Threads: any.
 * Errors: pointers.
 *
 * Requires: packing points to a pointer.
 */
gemmill_status gemmill_packing_create(gemmill_packing **packing);

/**
 * Cuts the N columns of weights into groups of N / groups each: A has groups * K columns, and group g of C is the product
 * of columns g * K to g * K + K - 1 of A with group g of B.
 *
 * Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE for groups below 1; pointers. (Whether N can be divided is seen when
 * weights are packed.)
 *
 * Requires: packing is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_packing_set_groups(gemmill_packing *packing,
                                          int64_t groups);

/**
 * B_zp[j] = zero_point for all columns j.
 *
 * The range, 0 to 255 for u8 weights and -128 to 127 for i8 ones, is checked when weights are packed. Threads: any.
 * Errors: pointers.
 *
 * Requires: packing is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_packing_set_zero_point(gemmill_packing *packing, int32_t zero_point);

/**
 * B_zp[j] = zero_points[0], zero_points[group of j] or zero_points[j].
 *
 * per: a gemmill_per. count: 1, the number of groups, or N. As many as that, and the range, are checked when weights are
 * packed. Ownership: values are copied. Threads: any.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE for per and count, GEMMILL_STATUS_MISMATCH for a count per tensor other than 1;
 * pointers.
 *
 * Requires: packing is a handle that is not destroyed meanwhile; zero_points has count elements.
 */
gemmill_status gemmill_packing_set_zero_points(gemmill_packing *packing,
                                               int32_t per,
                                               const int32_t *zero_points,
                                               int64_t count);

/**
 * Promises A[i][k] <= max for all products with u8 activations: more 16-bit sums are safe then, and faster.
 *
 * Products check it. Other types of activations are refused then. Threads: any.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE unless max is 0 to 255; pointers.
 *
 * Requires: packing is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_packing_set_activation_max(gemmill_packing *packing, int32_t max);

/**
 * Packs for this tier, a gemmill_tier, instead of the best one. Its bits are the same.
 *
 * Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE if no tier has this number; pointers. (Whether this machine has it is
 * seen when weights are packed.)
 *
 * Requires: packing is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_packing_set_tier(gemmill_packing *packing,
                                        int32_t tier);

/**
 * How hard to search for fast sequences: effort is a gemmill_effort. Results are the same.
 *
 * Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE for another number; pointers.
 *
 * Requires: packing is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_packing_set_effort(gemmill_packing *packing, int32_t effort);

/**
 * Most elements of K in a cache block, instead of what suits this CPU. Results are the same.
 *
 * Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE for kc below 1; pointers.
 *
 * Requires: packing is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_packing_set_kc(gemmill_packing *packing, int64_t kc);

/**
 * B_scale[j] = scales[0], scales[group of j] or scales[j] that go with the weights, into bytes too, for gemmill_weights_scales to
 * give back. Products take theirs from gemmill_gemm_set_b_scales.
 *
 * per: a gemmill_per. count: 1, the number of groups, or N. As many as that, and that they are finite, above 0 and have a
 * finite reciprocal, is checked when weights are packed. Ownership: values are copied. Threads: any.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE for per and count, GEMMILL_STATUS_MISMATCH for a count per tensor other than 1;
 * pointers.
 *
 * Requires: packing is a handle that is not destroyed meanwhile; scales has count elements.
 */
gemmill_status gemmill_packing_set_scales(gemmill_packing *packing,
                                          int32_t per,
                                          const float *scales,
                                          int64_t count);

/**
 * Gives the settings back; null is nothing. Weights that were packed with them stay.
 *
 * Threads: no other may use the handle meanwhile or later. Errors: GEMMILL_STATUS_MISALIGNED.
 *
 * Requires: packing is a handle or null, and is not used again.
 */
gemmill_status gemmill_packing_destroy(gemmill_packing *packing);

/**
 * *weights = B, packed: element B[k][j] is b[k * row_stride + j * col_stride], for K rows and N columns.
 *
 * b_type: GEMMILL_TYPE_I8 or GEMMILL_TYPE_U8. Strides count elements: row-major weights have (n, 1), those of a layer that are
 * stored by output, N x K, have (1, k). packing: settings, or null for the usual ones. b may be null if K or N is 0.
 * Ownership: b is copied; the handle is the caller's, to be given back to gemmill_weights_destroy; null after a failure.
 * Threads: any; the handle may serve many at once.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE for negative sizes and strides and for zero points, GEMMILL_STATUS_OVERFLOW,
 * GEMMILL_STATUS_OUT_OF_MEMORY, GEMMILL_STATUS_GROUPS, GEMMILL_STATUS_MISMATCH for the number of zero points,
 * GEMMILL_STATUS_UNSUPPORTED for other types, GEMMILL_STATUS_TIER; pointers.
 *
 * Requires: b has the elements that sizes and strides reach; packing is a handle or null; weights points to a pointer.
 */
gemmill_status gemmill_weights_create(int32_t b_type,
                                      const void *b,
                                      int64_t k,
                                      int64_t n,
                                      int64_t row_stride,
                                      int64_t col_stride,
                                      const gemmill_packing *packing,
                                      gemmill_weights **weights);

/**
 * *repacked = the same weights with the same settings, packed for another tier, or once more for this one.
 *
 * tier: a gemmill_tier. Ownership: the handle is the caller's; null after a failure. Threads: any.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE if no tier has this number, GEMMILL_STATUS_TIER if this machine lacks it; pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; repacked points to a pointer.
 */
gemmill_status gemmill_weights_repack(const gemmill_weights *weights,
                                      int32_t tier,
                                      gemmill_weights **repacked);

/**
 * *copy = another handle of the same weights, which are not copied.
 *
 * Ownership: each handle is given back on its own; null after a failure. Threads: any. Errors: pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; copy points to a pointer.
 */
gemmill_status gemmill_weights_share(const gemmill_weights *weights, gemmill_weights **copy);

/**
 * Gives a handle back; null is nothing. Operations that were created with it go on.
 *
 * Threads: no other may use the handle meanwhile or later. Errors: GEMMILL_STATUS_MISALIGNED.
 *
 * Requires: weights is a handle or null, and is not used again.
 */
gemmill_status gemmill_weights_destroy(gemmill_weights *weights);

/**
 * *value = K, the rows of B.
 *
 * Threads: any. Errors: pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; value points to an int64_t.
 */
gemmill_status gemmill_weights_k(const gemmill_weights *weights, int64_t *value);

/**
 * *value = N, the columns of B, of all groups together.
 *
 * Threads: any. Errors: pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; value points to an int64_t.
 */
gemmill_status gemmill_weights_n(const gemmill_weights *weights, int64_t *value);

/**
 * *value = the number of groups.
 *
 * Threads: any. Errors: pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; value points to an int64_t.
 */
gemmill_status gemmill_weights_groups(const gemmill_weights *weights, int64_t *value);

/**
 * *value = the type that was packed: GEMMILL_TYPE_I8 or GEMMILL_TYPE_U8.
 *
 * Threads: any. Errors: pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; value points to an int32_t.
 */
gemmill_status gemmill_weights_type(const gemmill_weights *weights, int32_t *value);

/**
 * *value = the gemmill_tier that the weights were packed for.
 *
 * Threads: any. Errors: pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; value points to an int32_t.
 */
gemmill_status gemmill_weights_tier(const gemmill_weights *weights, int32_t *value);

/**
 * *value = the largest u8 activation that products may have.
 *
 * Threads: any. Errors: pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; value points to an int32_t.
 */
gemmill_status gemmill_weights_activation_max(const gemmill_weights *weights, int32_t *value);

/**
 * *value = bytes that the packed form takes.
 *
 * Threads: any. Errors: pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; value points to an int64_t.
 */
gemmill_status gemmill_weights_size(const gemmill_weights *weights, int64_t *value);

/**
 * *value = 1 if both pack the same weights with the same zero points, scales and settings, in the same layout, 0 if not.
 *
 * Threads: any. Errors: pointers.
 *
 * Requires: weights and other are handles that are not destroyed meanwhile; value points to an int32_t.
 */
gemmill_status gemmill_weights_equal(const gemmill_weights *weights,
                                     const gemmill_weights *other,
                                     int32_t *value);

/**
 * *per, buffer = the scales that came with the weights, as gemmill_packing_set_scales was given them.
 *
 * *count = their number: 0 if none came, and *per is GEMMILL_PER_TENSOR then. It is set even if the buffer is too small. buffer
 * may be null if capacity, in floats, is 0. Ownership: the buffer is the caller's. Threads: any.
 * Errors: GEMMILL_STATUS_TOO_SMALL, GEMMILL_STATUS_OUT_OF_RANGE for a negative capacity, GEMMILL_STATUS_OVERFLOW; pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; buffer has capacity floats; per points to an int32_t, count to an
 * int64_t.
 */
gemmill_status gemmill_weights_scales(const gemmill_weights *weights,
                                      int32_t *per,
                                      float *buffer,
                                      int64_t capacity,
                                      int64_t *count);

/**
 * buffer = the weights with their zero points, scales and settings as bytes, for gemmill_weights_from_bytes on any CPU.
 *
 * *length = how many: one for each weight, and few more. It is set even if the buffer is too small; asking with a capacity of 0
 * and a null buffer takes as long as writing. The format has a version and a checksum. Ownership: the buffer is the caller's.
 * Threads: any.
 * Errors: GEMMILL_STATUS_TOO_SMALL, GEMMILL_STATUS_OUT_OF_RANGE for a negative capacity, GEMMILL_STATUS_OVERFLOW; pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; buffer has capacity bytes; length points to an int64_t.
 */
gemmill_status gemmill_weights_to_bytes(const gemmill_weights *weights,
                                        uint8_t *buffer,
                                        int64_t capacity,
                                        int64_t *length);

/**
 * *weights = the weights that gemmill_weights_to_bytes wrote, on this CPU or another, packed for this one.
 *
 * packing: settings of which the tier alone is used, and nothing else may be set, or null for the best tier. Whatever the
 * bytes hold, the result is an error or weights whose products are exact. Ownership: bytes are not kept; the handle is the
 * caller's; null after a failure. Threads: any.
 * Errors: GEMMILL_STATUS_BAD_DATA for bytes that are not what was written, and all of gemmill_weights_create for content that
 * could not have been packed; GEMMILL_STATUS_OUT_OF_RANGE for a negative count, GEMMILL_STATUS_OVERFLOW,
 * GEMMILL_STATUS_UNSUPPORTED for other settings, GEMMILL_STATUS_TIER; pointers.
 *
 * Requires: bytes has count bytes; packing is a handle or null; weights points to a pointer.
 */
gemmill_status gemmill_weights_from_bytes(const uint8_t *bytes,
                                          int64_t count,
                                          const gemmill_packing *packing,
                                          gemmill_weights **weights);

/**
 * buffer = the share of each multiplication sequence that the weights were proven fit for, as a text such as "sum2 100%".
 *
 * *length = the length of the text, without the NUL that ends it; it is set even if the buffer is too small. buffer may be
 * null if capacity is 0. Ownership: the buffer is the caller's. Threads: any.
 * Errors: GEMMILL_STATUS_TOO_SMALL, GEMMILL_STATUS_OUT_OF_RANGE for a negative capacity; pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; buffer has capacity bytes; length points to an int64_t.
 */
gemmill_status gemmill_weights_sequences(const gemmill_weights *weights,
                                         char *buffer,
                                         int64_t capacity,
                                         int64_t *length);

/**
 * b[k * row_stride + j] = B[k][j]: the weights as they were before packing.
 *
 * b_type: the type that was packed. Strides count elements. b may be null if K or N is 0. Ownership: b is the caller's.
 * Threads: any.
 * Errors: GEMMILL_STATUS_UNSUPPORTED for another type, GEMMILL_STATUS_OVERLAP if row_stride is below N,
 * GEMMILL_STATUS_OUT_OF_RANGE, GEMMILL_STATUS_OVERFLOW; pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; b has the elements that K, N and row_stride reach, and nobody else
 * uses them meanwhile.
 */
gemmill_status gemmill_weights_unpack(const gemmill_weights *weights,
                                      int32_t b_type,
                                      void *b,
                                      int64_t row_stride);

/**
 * *pool = as many new threads, which sleep until a product needs them.
 *
 * Without a pool, products use the library's own, which is started by the first large product with as many threads as the
 * machine has cores, or as the environment variable RAYON_NUM_THREADS says. An operation that may use one thread only needs
 * no pool and starts none. Pools don't survive fork(): a child that wants threads must create its own.
 * Ownership: the caller's, to be given back to gemmill_pool_destroy; null after a failure. Operations that use the pool keep
 * its threads. Threads: any; one pool may serve many at once.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE unless threads is 1 to 65535, GEMMILL_STATUS_THREADS if the system refuses them;
 * pointers.
 *
 * Requires: pool points to a pointer.
 */
gemmill_status gemmill_pool_create(int64_t threads,
                                   gemmill_pool **pool);

/**
 * *threads = the number of threads of the pool.
 *
 * Threads: any. Errors: pointers.
 *
 * Requires: pool is a handle that is not destroyed meanwhile; threads points to an int64_t.
 */
gemmill_status gemmill_pool_threads(const gemmill_pool *pool, int64_t *threads);

/**
 * Gives a pool back; null is nothing. Its threads end once no operation uses them.
 *
 * Threads: no other may use the handle meanwhile or later. Errors: GEMMILL_STATUS_MISALIGNED.
 *
 * Requires: pool is a handle or null, and is not used again.
 */
gemmill_status gemmill_pool_destroy(gemmill_pool *pool);

/**
 * *gemm = a product C = epilogue(A * B): A is M x (K * groups), B the weights, C is M x N.
 *
 * raw[i][j] = sum over k of (A[i][k] - A_zp[i]) * (B[k][j] - B_zp[j]), exact modulo 2^32. a_type is GEMMILL_TYPE_U8,
 * GEMMILL_TYPE_I8, or GEMMILL_TYPE_F32 for activations that are quantized to u8 on the fly. c_type decides what C is:
 *
 *   GEMMILL_TYPE_I32            C = raw, or C + raw
 *   GEMMILL_TYPE_U8, _I8        C = zp + rne(clamp(x * multiplier[j], lo - zp, hi - zp)),
 *                               x = f32(raw + bias[j]) with an i32 bias, f32(raw) + bias[j] / (A_scale * B_scale[j]) with an
 *                               f32 one; rne rounds to nearest, ties to even
 *   GEMMILL_TYPE_F32            C = fma(f32(raw), A_scale[i] * B_scale[j], bias[j]), without a bias f32(raw) * that product;
 *                               plus the residual of a run, then ReLU and clamp
 *
 * Zero points are 0 and scales of A are 1 until they are set. Needed are a multiplier for u8 and i8 outputs, scales of B for
 * f32 outputs, a quantization for f32 activations.
 * Ownership: the handle is the caller's, to be given back to gemmill_gemm_destroy; null after a failure. It keeps what it
 * needs of the weights, whose own handle may be destroyed. Threads: any.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE for codes that no type has, GEMMILL_STATUS_UNSUPPORTED for i32 activations; pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; gemm points to a pointer.
 */
gemmill_status gemmill_gemm_create(const gemmill_weights *weights,
                                   int32_t a_type,
                                   int32_t c_type,
                                   gemmill_gemm **gemm);

/**
 * Gives an operation back; null is nothing.
 *
 * Threads: no other may use the handle meanwhile or later. Errors: GEMMILL_STATUS_MISALIGNED.
 *
 * Requires: gemm is a handle or null, and is not used again.
 */
gemmill_status gemmill_gemm_destroy(gemmill_gemm *gemm);

/**
 * A_zp[i] = zero_point, in the range of A's type, for u8 and i8 activations.
 *
 * Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE; GEMMILL_STATUS_UNSUPPORTED for f32 activations;
 * GEMMILL_STATUS_FROZEN after the first run; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_gemm_set_a_zero_point(gemmill_gemm *gemm, int32_t zero_point);

/**
 * A becomes zero_point + rne(clamp(a * (1 / scale), -zero_point, 255 - zero_point)), for f32 activations; NaN becomes
 * zero_point.
 *
 * The scale is finite, above 0 and has a finite reciprocal; the zero point is 0 to 255. Threads: any.
 * Errors: GEMMILL_STATUS_BAD_NUMBER, GEMMILL_STATUS_OUT_OF_RANGE; GEMMILL_STATUS_UNSUPPORTED for other activations;
 * GEMMILL_STATUS_FROZEN after the first run; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_gemm_set_a_quantization(gemmill_gemm *gemm, float scale, int32_t zero_point);

/**
 * As gemmill_gemm_set_a_quantization, with a scale and a zero point for each row, from its smallest and largest
 * element as gemmill_quantization_choose gives them; for f32 activations and outputs.
 *
 * NaN is left out of the range; a row that holds an infinity is refused by the run. Threads: any. Errors:
 * GEMMILL_STATUS_UNSUPPORTED for other activations or outputs; GEMMILL_STATUS_FROZEN after the first run; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_gemm_set_a_quantization_per_row(gemmill_gemm *gemm);

/**
 * A_scale[i] = scale, for u8 and i8 activations: of f32 outputs, and of u8 and i8 outputs with an f32 bias.
 *
 * The scale is finite, above 0 and has a finite reciprocal: checked by gemmill_gemm_prepare. Threads: any. Errors:
 * GEMMILL_STATUS_UNSUPPORTED for f32 activations or i32 outputs; GEMMILL_STATUS_FROZEN after the first run; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_gemm_set_a_scale(gemmill_gemm *gemm, float scale);

/**
 * B_scale[j] = scale for all columns: of f32 outputs, and of u8 and i8 outputs with an f32 bias.
 *
 * The scale is finite, above 0 and has a finite reciprocal: checked by gemmill_gemm_prepare. Threads: any.
 * Errors: GEMMILL_STATUS_UNSUPPORTED for i32 outputs; GEMMILL_STATUS_FROZEN after the first run; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_gemm_set_b_scale(gemmill_gemm *gemm, float scale);

/**
 * B_scale[j] = scales[0], scales[group of j] or scales[j], as gemmill_gemm_set_b_scale.
 *
 * per: a gemmill_per. count: 1, the number of groups, or N. Ownership: values are copied. Threads: any.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE for per and count; GEMMILL_STATUS_MISMATCH for another count;
 * GEMMILL_STATUS_UNSUPPORTED for i32 outputs; GEMMILL_STATUS_FROZEN after the first run; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile; scales has count elements.
 */
gemmill_status gemmill_gemm_set_b_scales(gemmill_gemm *gemm, int32_t per, const float *scales, int64_t count);

/**
 * multiplier[j] = multiplier for all columns, of u8 and i8 outputs: usually A_scale * B_scale / C_scale.
 *
 * It is finite and above 0: checked by gemmill_gemm_prepare. Threads: any.
 * Errors: GEMMILL_STATUS_UNSUPPORTED for other outputs; GEMMILL_STATUS_FROZEN after the first run; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_gemm_set_multiplier(gemmill_gemm *gemm, float multiplier);

/**
 * multiplier[j] = multipliers[0], multipliers[group of j] or multipliers[j], as gemmill_gemm_set_multiplier.
 *
 * per: a gemmill_per. count: 1, the number of groups, or N. Ownership: values are copied. Threads: any.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE for per and count; GEMMILL_STATUS_MISMATCH for another count;
 * GEMMILL_STATUS_UNSUPPORTED for other outputs; GEMMILL_STATUS_FROZEN after the first run; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile; multipliers has count elements.
 */
gemmill_status gemmill_gemm_set_multipliers(gemmill_gemm *gemm, int32_t per, const float *multipliers, int64_t count);

/**
 * zp = zero_point, in the range of C's type, of u8 and i8 outputs.
 *
 * Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE; GEMMILL_STATUS_UNSUPPORTED for other outputs;
 * GEMMILL_STATUS_FROZEN after the first run; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_gemm_set_c_zero_point(gemmill_gemm *gemm, int32_t zero_point);

/**
 * bias[j] is added to the sums, modulo 2^32, of u8 and i8 outputs; null and 0 for no bias.
 *
 * count: N. Replaces an f32 bias. Ownership: values are copied. Threads: any.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE for a negative count, GEMMILL_STATUS_MISMATCH for another one;
 * GEMMILL_STATUS_UNSUPPORTED for other outputs; GEMMILL_STATUS_FROZEN after the first run; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile; bias has count elements.
 */
gemmill_status gemmill_gemm_set_bias_i32(gemmill_gemm *gemm, const int32_t *bias, int64_t count);

/**
 * bias[j] is added to f32 outputs; for u8 and i8 outputs, bias[j] / (A_scale * B_scale[j]), rounded to f32, is added
 * to f32(raw). Null and 0 for no bias.
 *
 * count: N. Replaces an i32 bias. u8 and i8 outputs need scales of A and B then. Values are finite: checked by
 * gemmill_gemm_prepare. Ownership: values are copied. Threads: any.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE for a negative count, GEMMILL_STATUS_MISMATCH for another one;
 * GEMMILL_STATUS_UNSUPPORTED for i32 outputs; GEMMILL_STATUS_FROZEN after the first run; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile; bias has count elements.
 */
gemmill_status gemmill_gemm_set_bias_f32(gemmill_gemm *gemm, const float *bias, int64_t count);

/**
 * lo = max(lo, zp) for u8 and i8 outputs, C = max(C, 0) for f32 ones, unless on is 0.
 *
 * Threads: any. Errors: GEMMILL_STATUS_UNSUPPORTED for i32 outputs; GEMMILL_STATUS_FROZEN after the first run;
 * pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_gemm_set_relu(gemmill_gemm *gemm, int32_t on);

/**
 * lo = low, hi = high, in the range of C's type, of u8 and i8 outputs.
 *
 * Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE; GEMMILL_STATUS_UNSUPPORTED for other outputs;
 * GEMMILL_STATUS_FROZEN after the first run; pointers. (Whether low exceeds high, ReLU included, is for
 * gemmill_gemm_prepare to say.)
 *
 * Requires: gemm is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_gemm_set_clamp_i32(gemmill_gemm *gemm, int32_t low, int32_t high);

/**
 * C = min(max(C, low), high), of f32 outputs; a NaN stays one.
 *
 * Limits may be infinite, but not NaN, and low is at most high, ReLU included: checked by gemmill_gemm_prepare.
 * Threads: any. Errors: GEMMILL_STATUS_UNSUPPORTED for other outputs; GEMMILL_STATUS_FROZEN after the first run;
 * pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_gemm_set_clamp_f32(gemmill_gemm *gemm, float low, float high);

/**
 * C = C + raw, modulo 2^32, of i32 outputs, unless on is 0.
 *
 * Threads: any. Errors: GEMMILL_STATUS_UNSUPPORTED for other outputs; GEMMILL_STATUS_FROZEN after the first run;
 * pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_gemm_set_accumulate(gemmill_gemm *gemm, int32_t on);

/**
 * How many threads a product may use. Results are the same.
 *
 * how: a gemmill_threads. threads: 0 for GEMMILL_THREADS_AUTO, which holds until another is set; otherwise 1 or more.
 * With 1, the calling thread does all, and many threads may each run products of their own. Threads: any. Errors:
 * GEMMILL_STATUS_OUT_OF_RANGE; GEMMILL_STATUS_FROZEN after the first run; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_gemm_set_threads(gemmill_gemm *gemm, int32_t how, int64_t threads);

/**
 * Insists on the tier that the weights were packed for: another one is refused by gemmill_gemm_prepare.
 *
 * tier: a gemmill_tier. Threads: any.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE if no tier has this number; GEMMILL_STATUS_FROZEN after the first run; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_gemm_set_tier(gemmill_gemm *gemm, int32_t tier);

/**
 * Products that use several threads use those of this pool; null for the library's own.
 *
 * Ownership: the operation keeps the pool's threads until it is destroyed. Threads: any. Errors: GEMMILL_STATUS_FROZEN
 * after the first run; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile; pool is one or null.
 */
gemmill_status gemmill_gemm_set_pool(gemmill_gemm *gemm, const gemmill_pool *pool);

/**
 * Checks the settings and freezes them. The first run does so too; this tells of mistakes before.
 *
 * After a failure, settings can still be changed. Threads: any, several at once as well.
 * Errors: GEMMILL_STATUS_UNSUPPORTED for settings that are missing or do not go together, GEMMILL_STATUS_OUT_OF_RANGE,
 * GEMMILL_STATUS_BAD_NUMBER for scales and multipliers that are not finite and above 0 and for biases that are not finite,
 * GEMMILL_STATUS_MISMATCH, GEMMILL_STATUS_TIER for a tier that the weights were not packed for; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_gemm_prepare(const gemmill_gemm *gemm);

/**
 * C = epilogue(A * B), the formulas at gemmill_gemm_create: A[i][k] is a[i * a_row_stride + k * a_col_stride], C[i][j] is
 * c[i * c_row_stride + j].
 *
 * Shapes: A is m x (K * groups), C is m x N; strides count elements and those of A may be 0 or make elements overlap. a and
 * c have the types that the operation was created with, may be null where they have no elements, and lie apart from each
 * other. What lies between the rows of C is not touched, and C is only read if it is accumulated to.
 * options: null, or what differs from run to run. Ownership: a and c are the caller's, and unused once the call returns.
 * Threads: any, many at once with the same operation; each writes to its own C. After the first run of a size on a thread,
 * a run with one thread allocates no memory.
 * Errors: those of gemmill_gemm_prepare; GEMMILL_STATUS_OUT_OF_RANGE for negative m and strides, zero points of rows, and
 * activations beyond what packing was promised; GEMMILL_STATUS_OVERFLOW; GEMMILL_STATUS_OVERLAP if rows of C overlap each
 * other or C another operand; GEMMILL_STATUS_MISMATCH if options are not for m rows; GEMMILL_STATUS_BAD_NUMBER if a row to
 * quantize by itself holds an infinity; GEMMILL_STATUS_UNSUPPORTED for options that the operation has no use for;
 * GEMMILL_STATUS_MACHINE_CODE; pointers. C is untouched then.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile, options one or null; a and c have the elements that m, K, N and strides
 * reach; nobody writes to A's, or uses C's, meanwhile.
 */
gemmill_status gemmill_gemm_run(const gemmill_gemm *gemm,
                                int64_t m,
                                const void *a,
                                int64_t a_row_stride,
                                int64_t a_col_stride,
                                void *c,
                                int64_t c_row_stride,
                                const gemmill_run_options *options);

/**
 * buffer = how a product with m rows is carried out, row-major: tier, sequences, cache blocks, parts, kernels; a text for
 * people, which may change from version to version.
 *
 * Freezes the settings. *length = the length of the text, without the NUL that ends it; it is set even if the buffer is too
 * small. buffer may be null if capacity is 0. Ownership: the buffer is the caller's. Threads: any.
 * Errors: those of gemmill_gemm_prepare, GEMMILL_STATUS_TOO_SMALL, GEMMILL_STATUS_OUT_OF_RANGE for a negative m or capacity,
 * GEMMILL_STATUS_OVERFLOW; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile; buffer has capacity bytes; length points to an int64_t.
 */
gemmill_status gemmill_gemm_describe(const gemmill_gemm *gemm,
                                     int64_t m,
                                     char *buffer,
                                     int64_t capacity,
                                     int64_t *length);

/**
 * C = A * B in i32, modulo 2^32, with weights that are packed for this call alone: A[i][k] is
 * a[i * a_row_stride + k * a_col_stride], B[k][j] is b[k * b_row_stride + j * b_col_stride], C[i][j] is c[i * c_row_stride + j].
 *
 * Shapes: A is m x k, B is k x n, C is m x n. a_type and b_type are GEMMILL_TYPE_U8 or GEMMILL_TYPE_I8. Strides count
 * elements. Weights that are used more than a few times are better packed once. Ownership: all memory is the caller's.
 * Threads: any. Errors: as gemmill_weights_create and gemmill_gemm_run.
 *
 * Requires: a, b and c have the elements that sizes and strides reach; nobody writes to A's and B's, or uses C's, meanwhile.
 */
gemmill_status gemmill_multiply(int32_t a_type,
                                int32_t b_type,
                                int64_t m,
                                int64_t n,
                                int64_t k,
                                const void *a,
                                int64_t a_row_stride,
                                int64_t a_col_stride,
                                const void *b,
                                int64_t b_row_stride,
                                int64_t b_col_stride,
                                int32_t *c,
                                int64_t c_row_stride);

/**
 * *options = new options, none of them set.
 *
 * Ownership: the caller's, to be given back to gemmill_run_options_destroy; null after a failure. Threads: any; options that
 * change from run to run are best created once for each thread. Errors: pointers.
 *
 * Requires: options points to a pointer.
 */
gemmill_status gemmill_run_options_create(gemmill_run_options **options);

/**
 * A_zp[i] = zero_points[i], instead of the operation's zero point of A; null and 0 for the operation's again.
 *
 * For u8 and i8 activations. count: M of the runs to come, which check it and the range. Ownership: the array is not copied;
 * it must be there in each run with these options. Threads: any.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE for a negative count; pointers.
 *
 * Requires: options is a handle that is not destroyed meanwhile; zero_points has count elements, in each run with these options.
 */
gemmill_status gemmill_run_options_set_row_zero_points(gemmill_run_options *options,
                                                       const int32_t *zero_points,
                                                       int64_t count);

/**
 * A_scale[i] = scales[i], instead of the operation's scale of A; null and 0 for the operation's again.
 *
 * For u8 and i8 activations and f32 outputs. count: M of the runs to come, which check it, and that scales are finite, above
 * 0 and have a finite reciprocal. Ownership: the array is not copied; it must be there in each run with these options.
 * Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE for a negative count; pointers.
 *
 * Requires: options is a handle that is not destroyed meanwhile; scales has count elements, in each run with these options.
 */
gemmill_status gemmill_run_options_set_row_scales(gemmill_run_options *options,
                                                  const float *scales,
                                                  int64_t count);

/**
 * C[i][j] = clamp(relu(product + residual[i * row_stride + j])): a matrix of C's shape that is added to an f32 output before
 * ReLU and clamp; null for none.
 *
 * row_stride counts elements; 0 adds the same row to all. Ownership: the matrix is not copied; it must be there in each run
 * with these options, apart from C. Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE for a negative stride; pointers.
 *
 * Requires: options is a handle that is not destroyed meanwhile; residual has the elements that C's shape and row_stride reach, in each
 * run with these options.
 */
gemmill_status gemmill_run_options_set_residual(gemmill_run_options *options,
                                                const float *residual,
                                                int64_t row_stride);

/**
 * Gives options back; null is nothing.
 *
 * Threads: no other may use the handle meanwhile or later. Errors: GEMMILL_STATUS_MISALIGNED.
 *
 * Requires: options is a handle or null, and is not used again.
 */
gemmill_status gemmill_run_options_destroy(gemmill_run_options *options);

/**
 * *scale, *zero_point = parameters that represent the real numbers min to max, extended to contain 0:
 * scale = (max - min) / 255, zero_point = the integer nearest to where 0 falls.
 *
 * q_type: GEMMILL_TYPE_U8 or GEMMILL_TYPE_I8. preserve_sparsity, unless 0: a range with both signs is widened until 0 lies in
 * the middle of the integers. power_of_two, unless 0: the scale is raised to a power of two. A range of zero width gets the
 * scale 0.1; scales below 6.1e-5 are raised to it. Threads: any.
 * Errors: GEMMILL_STATUS_BAD_NUMBER if a bound is not finite or min > max, GEMMILL_STATUS_OUT_OF_RANGE and
 * GEMMILL_STATUS_UNSUPPORTED for other types; pointers.
 *
 * Requires: scale points to a float, zero_point to an int32_t.
 */
gemmill_status gemmill_quantization_choose(int32_t q_type,
                                           float min,
                                           float max,
                                           int32_t preserve_sparsity,
                                           int32_t power_of_two,
                                           float *scale,
                                           int32_t *zero_point);

/**
 * *min, *max = the smallest and the largest of count numbers, NaN left out.
 *
 * Ownership: x is the caller's. Threads: any.
 * Errors: GEMMILL_STATUS_BAD_NUMBER if there is nothing but NaN, or nothing; GEMMILL_STATUS_OUT_OF_RANGE for a negative
 * count; GEMMILL_STATUS_OVERFLOW; pointers.
 *
 * Requires: x has count elements; min and max point to a float each.
 */
gemmill_status gemmill_quantization_range(const float *x, int64_t count, float *min, float *max);

/**
 * q[i] = zero_point + rne(clamp(x[i] * (1 / scale), lo - zero_point, hi - zero_point)); NaN gives zero_point.
 *
 * q_type: GEMMILL_TYPE_U8 or GEMMILL_TYPE_I8; lo to hi is its range. The scale is finite, above 0 and has a finite
 * reciprocal; zero_point is a value of the type. x and q may be null if count is 0, and lie apart from each other.
 * Ownership: both are the caller's. Threads: any.
 * Errors: GEMMILL_STATUS_BAD_NUMBER, GEMMILL_STATUS_OUT_OF_RANGE, GEMMILL_STATUS_UNSUPPORTED for other types,
 * GEMMILL_STATUS_OVERFLOW, GEMMILL_STATUS_OVERLAP; pointers.
 *
 * Requires: x and q have count elements each; nobody writes to x's, or uses q's, meanwhile.
 */
gemmill_status gemmill_quantize(int32_t q_type,
                                const float *x,
                                int64_t count,
                                float scale,
                                int32_t zero_point,
                                void *q);

/**
 * x[i] = scale * (q[i] - zero_point).
 *
 * q_type: GEMMILL_TYPE_U8 or GEMMILL_TYPE_I8. Everything else as gemmill_quantize.
 *
 * Requires: q and x have count elements each; nobody writes to q's, or uses x's, meanwhile.
 */
gemmill_status gemmill_dequantize(int32_t q_type,
                                  const void *q,
                                  int64_t count,
                                  float scale,
                                  int32_t zero_point,
                                  float *x);

/**
 * q[k * n + j] = rne(clamp(w * (1 / scales[j]), -127, 127)), w = weights[k * row_stride + j * col_stride],
 * scales[j] = max over k of |w| / 127: weights as i8, each column by a scale of its own.
 *
 * Shapes: weights is k x n, q k x n and row-major, scales has n elements. A column of zeros gets the scale 1. Strides count
 * elements. q and scales lie apart from each other and from the weights. Ownership: all memory is the caller's. Threads: any.
 * Errors: GEMMILL_STATUS_BAD_NUMBER if a weight is not finite, GEMMILL_STATUS_OUT_OF_RANGE for negative sizes and strides,
 * GEMMILL_STATUS_OVERFLOW, GEMMILL_STATUS_OVERLAP; pointers.
 *
 * Requires: weights, q and scales have the elements that sizes and strides reach; nobody writes to the weights', or uses those of q and
 * scales, meanwhile.
 */
gemmill_status gemmill_quantize_weights_per_column(const float *weights,
                                                   int64_t k,
                                                   int64_t n,
                                                   int64_t row_stride,
                                                   int64_t col_stride,
                                                   int8_t *q,
                                                   float *scales);

/**
 * q[k * n + j] = rne(clamp(w * (1 / *scale), -127, 127)), w = weights[k * row_stride + j * col_stride],
 * *scale = max of |w| / 127: weights as i8, by one scale for all.
 *
 * Everything else as gemmill_quantize_weights_per_column.
 *
 * Requires: weights and q have the elements that sizes and strides reach; nobody writes to the weights', or uses those of q, meanwhile;
 * scale points to a float.
 */
gemmill_status gemmill_quantize_weights_per_tensor(const float *weights,
                                                   int64_t k,
                                                   int64_t n,
                                                   int64_t row_stride,
                                                   int64_t col_stride,
                                                   int8_t *q,
                                                   float *scale);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* GEMMILL_H */
