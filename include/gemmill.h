/*
 * gemmill: matrix products of low precision on x86 CPUs, with machine code generated at run time: int8, exactly, and
 * f32, f16 and bf16, with weights of those types or of 4 and 2 bits.
 *
 *     C[i][j] = epilogue( sum over k of (A[i][k] - A_zp[i]) * (B[k][j] - B_zp[j]) )
 *
 * A holds activations (u8, i8, or floats that are quantized on the fly), B weights (i8 or u8, packed once), C i32 sums,
 * requantized bytes or floats. Sums never saturate on the way, and every CPU, shape and number of threads gives the
 * same bits. So do floating-point products, unless asked for other sums: see gemmill_float_gemm_create.
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
 * - Functions give a gemmill_status, 0 for success. Outputs are untouched after a failure, but new handles are null
 *   then.
 * - Pointers that are null or misaligned, and sizes and strides that are negative or too large, are refused. Whether
 *   memory is as large as they say cannot be seen: what a function requires of it is undefined behaviour if it does not
 *   hold. "Pointers" among a function's errors stands for GEMMILL_STATUS_NULL_POINTER and GEMMILL_STATUS_MISALIGNED;
 *   any function may give GEMMILL_STATUS_INTERNAL.
 * - Sizes and strides are int64_t and count elements, not bytes. A row-major matrix of n columns has row stride n and
 *   column stride 1. Codes of enums are int32_t, and numbers that an enum does not have are refused.
 * - Handles are created, set, used by any number of threads, and destroyed once, when no call uses them any more.
 * - Nothing throws, unwinds or exits. Where memory runs out, calls give GEMMILL_STATUS_OUT_OF_MEMORY; the process ends
 *   only if there is none for a few kilobytes.
 * - Arithmetic is to nearest and keeps subnormals, whatever mode the calling thread is in (FTZ, DAZ, rounding), which
 *   is its own again when a call returns.
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
#define GEMMILL_VERSION_MINOR 2

/**
 * Third part of the version of this header.
 */
#define GEMMILL_VERSION_PATCH 0

/**
 * What a call gives back. After any other than GEMMILL_STATUS_OK, gemmill_last_error says what was expected and what
 * was given, and outputs are untouched, but for those of GEMMILL_STATUS_THREADS, of GEMMILL_STATUS_INTERNAL and of
 * runs with GEMMILL_STATUS_OUT_OF_MEMORY (handles that would have been created are null).
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
     * An integer is outside its range: a negative size or stride, a zero point that is no value of its type, a code
     * that no enum has, an activation beyond the bound that packing was promised.
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
     * The CPU or its operating system lacks a tier, GEMMILL_TIER names none, or weights were packed for another one;
     * or the CPU or the tier lacks hardware dot products.
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
     * The system refused threads, or the caller's own did not run all tasks of a product: C is written in part then.
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
     * float: activations that are quantized on the fly, dequantized outputs, operands of floating-point products.
     */
    GEMMILL_TYPE_F32 = 3,
    /**
     * IEEE 754 binary16, as uint16_t or a type with its bits: as float.
     */
    GEMMILL_TYPE_F16 = 4,
    /**
     * bfloat16, the upper half of a float, as uint16_t or a type with its bits: as float.
     */
    GEMMILL_TYPE_BF16 = 5,
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
     * One pass over neighbouring steps, in their natural pairing: one to two nanoseconds per weight, for weights that
     * are used once or twice. Tiers with 32-bit dot products have nothing to search for, with either.
     */
    GEMMILL_EFFORT_QUICK = 0,
    /**
     * A search over all steps of a block: some four nanoseconds per weight, once.
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
 * What becomes of the sums of a floating-point product.
 */
typedef enum {
    /**
     * x
     */
    GEMMILL_FUNCTION_IDENTITY = 0,
    /**
     * max(x, 0)
     */
    GEMMILL_FUNCTION_RELU = 1,
    /**
     * x * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))) / 2, to about the last bits of float
     */
    GEMMILL_FUNCTION_GELU = 2,
    /**
     * x / (1 + exp(-x)), also called swish, to about the last bits of float
     */
    GEMMILL_FUNCTION_SILU = 3,
} gemmill_function;

/**
 * Dot products of bf16 that CPUs have instructions for, and that floating-point products use only if asked to: they
 * round otherwise. gemmill_float_gemm_set_hardware_dot has the formulas.
 */
typedef enum {
    /**
     * None of them: one chain of fused multiply-adds.
     */
    GEMMILL_HARDWARE_DOT_NONE = 0,
    /**
     * The last one below that the tier and the CPU have.
     */
    GEMMILL_HARDWARE_DOT_BEST = 1,
    /**
     * AVX512-BF16, VDPBF16PS: of vectors. For the tiers from GEMMILL_TIER_AVX512 on.
     */
    GEMMILL_HARDWARE_DOT_AVX512_BF16 = 2,
    /**
     * AMX-BF16, TDPBF16PS: of tiles. For GEMMILL_TIER_AMX.
     */
    GEMMILL_HARDWARE_DOT_AMX_BF16 = 3,
} gemmill_hardware_dot;

/**
 * Which integers stand for 0 in weights of few bits.
 */
typedef enum {
    /**
     * The middle everywhere, 8 of 4 bits and 2 of 2: symmetric weights.
     */
    GEMMILL_ZERO_POINTS_MIDDLE = 0,
    /**
     * One for each group of each column: asymmetric weights.
     */
    GEMMILL_ZERO_POINTS_EACH = 1,
} gemmill_zero_points;

/**
 * A product C = f(A * B + ...) of floating-point A and C with packed weights: created, set, run any number of times,
 * destroyed.
 */
typedef struct gemmill_float_gemm gemmill_float_gemm;

/**
 * How floating-point weights are packed: their type, a factor, whether they saturate.
 */
typedef struct gemmill_float_packing gemmill_float_packing;

/**
 * Weights of f32, f16 or bf16 in the layout that kernels read. They never change once they are made, and serve every
 * tier.
 */
typedef struct gemmill_float_weights gemmill_float_weights;

/**
 * A product C = epilogue(A * B) with packed weights: created, set, run any number of times, destroyed.
 */
typedef struct gemmill_gemm gemmill_gemm;

/**
 * Weights of 4 or 2 bits in the layout that kernels read. They never change once they are made, and serve every tier.
 */
typedef struct gemmill_groupwise_packed gemmill_groupwise_packed;

/**
 * Weights of 4 or 2 bits with their scales, as they are quantized; gemmill_groupwise_packed is what products take.
 * They never change once they are made.
 */
typedef struct gemmill_groupwise_weights gemmill_groupwise_weights;

/**
 * How weights are packed: groups, zero points, a bound of the activations, the tier, threads.
 */
typedef struct gemmill_packing gemmill_packing;

/**
 * Threads that products may be carried out on, instead of those of the library's own pool.
 */
typedef struct gemmill_pool gemmill_pool;

/**
 * What may differ from run to run: zero points and scales of rows, a residual, threads.
 */
typedef struct gemmill_run_options gemmill_run_options;

/**
 * Weights in the layout that kernels read, with their zero points. They never change once they are made.
 */
typedef struct gemmill_weights gemmill_weights;

/**
 * One of the tasks of a run: called with the argument that came with it, and its index.
 */
typedef void (*gemmill_task)(void *argument, int64_t index);

/**
 * Calls task(argument, i) once for each i from 0 to tasks - 1, in any order and from any threads, and returns when all
 * have returned. context is what was given to gemmill_run_options_set_parallel_for.
 * Threads: that which runs the product calls it. Errors: it can tell of none, and must not throw.
 */
typedef void (*gemmill_parallel_for)(void *context, int64_t tasks, gemmill_task task, void *argument);

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
 * *tier = the best tier that this machine runs, or the one that the environment variable GEMMILL_TIER names: what
 * packing uses if no tier is set.
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
 * Kernels of machine code that the library keeps at most, for each of the three kinds of products (8 bits, floats, few
 * bits by 8-bit activations): 4096 unless told otherwise.
 *
 * Beyond that, those that have not been asked for the longest give way, and are generated again when they are needed.
 * Operations keep theirs. A kernel takes 4 to 12 KiB. Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE for kernels
 * below 1.
 */
gemmill_status gemmill_set_kernel_limit(int64_t kernels);

/**
 * *packing = new settings: one group, zero points of 0, activations of up to 255, the best tier, full effort, the
 * library's pool for many weights.
 *
 * Ownership: the caller's, to be given back to gemmill_packing_destroy; null after a failure. Threads: any.
 * Errors: pointers.
 *
 * Requires: packing points to a pointer.
 */
gemmill_status gemmill_packing_create(gemmill_packing **packing);

/**
 * Cuts the N columns of weights into groups of N / groups each: A has groups * K columns, and group g of C is the
 * product of columns g * K to g * K + K - 1 of A with group g of B.
 *
 * Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE for groups below 1; pointers. (Whether N can be divided is seen
 * when weights are packed.)
 *
 * Requires: packing is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_packing_set_groups(gemmill_packing *packing, int64_t groups);

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
 * per: a gemmill_per. count: 1, the number of groups, or N. As many as that, and the range, are checked when weights
 * are packed. Ownership: values are copied. Threads: any.
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
 * Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE if no tier has this number; pointers. (Whether this machine has it
 * is seen when weights are packed.)
 *
 * Requires: packing is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_packing_set_tier(gemmill_packing *packing, int32_t tier);

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
 * B_scale[j] = scales[0], scales[group of j] or scales[j] that go with the weights, into bytes too, for
 * gemmill_weights_scales to give back. Products take theirs from gemmill_gemm_set_b_scales.
 *
 * per: a gemmill_per. count: 1, the number of groups, or N. As many as that, and that they are finite, above 0 and
 * have a finite reciprocal, is checked when weights are packed. Ownership: values are copied. Threads: any.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE for per and count, GEMMILL_STATUS_MISMATCH for a count per tensor other than 1;
 * pointers.
 *
 * Requires: packing is a handle that is not destroyed meanwhile; scales has count elements.
 */
gemmill_status gemmill_packing_set_scales(gemmill_packing *packing, int32_t per, const float *scales, int64_t count);

/**
 * Whether the threads of the library's pool share the work of packing. The weights are the same.
 *
 * how: a gemmill_threads. threads: 0 for GEMMILL_THREADS_AUTO, which holds until another is set; otherwise 1 or more.
 * With 1, the calling thread packs alone, and no pool is started; with more, all of the pool's threads may. Holds for
 * gemmill_weights_from_bytes too. Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE; pointers.
 *
 * Requires: packing is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_packing_set_threads(gemmill_packing *packing, int32_t how, int64_t threads);

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
 * b_type: GEMMILL_TYPE_I8 or GEMMILL_TYPE_U8. Strides count elements: row-major weights have (n, 1), those of a layer
 * that are stored by output, N x K, have (1, k). packing: settings, or null for the usual ones. b may be null if K or
 * N is 0.
 * Ownership: b is copied; the handle is the caller's, to be given back to gemmill_weights_destroy; null after a
 * failure.
 * Threads: any; the handle may serve many at once. Unless gemmill_packing_set_threads says otherwise, the library's
 * pool takes part from 2^18 weights on.
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
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE if no tier has this number, GEMMILL_STATUS_TIER if this machine lacks it;
 * pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; repacked points to a pointer.
 */
gemmill_status gemmill_weights_repack(const gemmill_weights *weights, int32_t tier, gemmill_weights **repacked);

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
 * *value = a bound of the sums of products with these weights, 255 * max over columns of max(p, q), with p and q the
 * sums of the positive and of the negative b - b_zp; or a larger bound from K alone where none can leave int32_t.
 *
 * Where it exceeds 2^31 - 1, integer outputs wrap modulo 2^32 unless gemmill_gemm_set_refuse_wrapping refuses that;
 * floating-point outputs are exact. Threads: any. Errors: pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; value points to an int64_t.
 */
gemmill_status gemmill_weights_largest_sum(const gemmill_weights *weights, int64_t *value);

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
 * *value = 1 if both pack the same weights with the same zero points, scales and settings, in the same layout, 0 if
 * not.
 *
 * Threads: any. Errors: pointers.
 *
 * Requires: weights and other are handles that are not destroyed meanwhile; value points to an int32_t.
 */
gemmill_status gemmill_weights_equal(const gemmill_weights *weights, const gemmill_weights *other, int32_t *value);

/**
 * *per, buffer = the scales that came with the weights, as gemmill_packing_set_scales was given them.
 *
 * *count = their number: 0 if none came, and *per is GEMMILL_PER_TENSOR then. It is set even if the buffer is too
 * small. buffer may be null if capacity, in floats, is 0. Ownership: the buffer is the caller's. Threads: any.
 * Errors: GEMMILL_STATUS_TOO_SMALL, GEMMILL_STATUS_OUT_OF_RANGE for a negative capacity, GEMMILL_STATUS_OVERFLOW;
 * pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; buffer has capacity floats; per points to an int32_t,
 * count to an int64_t.
 */
gemmill_status gemmill_weights_scales(const gemmill_weights *weights,
                                      int32_t *per,
                                      float *buffer,
                                      int64_t capacity,
                                      int64_t *count);

/**
 * buffer = the weights with their zero points, scales and settings as bytes, for gemmill_weights_from_bytes on any
 * CPU.
 *
 * *length = how many: one for each weight, and few more. It is set even if the buffer is too small; asking with a
 * capacity of 0 and a null buffer takes as long as writing. The format has a version and a checksum. Ownership: the
 * buffer is the caller's.
 * Threads: any.
 * Errors: GEMMILL_STATUS_TOO_SMALL, GEMMILL_STATUS_OUT_OF_RANGE for a negative capacity, GEMMILL_STATUS_OVERFLOW;
 * pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; buffer has capacity bytes; length points to an
 * int64_t.
 */
gemmill_status gemmill_weights_to_bytes(const gemmill_weights *weights,
                                        uint8_t *buffer,
                                        int64_t capacity,
                                        int64_t *length);

/**
 * *weights = the weights that gemmill_weights_to_bytes wrote, on this CPU or another, packed for this one.
 *
 * packing: settings of which the tier and the threads are used, and nothing else may be set, or null for the best
 * tier. Whatever the bytes hold, the result is an error or weights whose products are exact. Ownership: bytes are not
 * kept; the handle is the caller's; null after a failure. Threads: any; as gemmill_weights_create.
 * Errors: GEMMILL_STATUS_BAD_DATA for bytes that are not what was written, and all of gemmill_weights_create for
 * content that could not have been packed; GEMMILL_STATUS_OUT_OF_RANGE for a negative count, GEMMILL_STATUS_OVERFLOW,
 * GEMMILL_STATUS_UNSUPPORTED for other settings, GEMMILL_STATUS_TIER; pointers.
 *
 * Requires: bytes has count bytes; packing is a handle or null; weights points to a pointer.
 */
gemmill_status gemmill_weights_from_bytes(const uint8_t *bytes,
                                          int64_t count,
                                          const gemmill_packing *packing,
                                          gemmill_weights **weights);

/**
 * buffer = the share of each multiplication sequence that the weights were proven fit for, as a text such as "sum2
 * 100%".
 *
 * *length = the length of the text, without the NUL that ends it; it is set even if the buffer is too small. buffer
 * may be null if capacity is 0. Ownership: the buffer is the caller's. Threads: any.
 * Errors: GEMMILL_STATUS_TOO_SMALL, GEMMILL_STATUS_OUT_OF_RANGE for a negative capacity; pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; buffer has capacity bytes; length points to an
 * int64_t.
 */
gemmill_status gemmill_weights_sequences(const gemmill_weights *weights,
                                         char *buffer,
                                         int64_t capacity,
                                         int64_t *length);

/**
 * b[k * row_stride + j] = B[k][j]: the weights as they were before packing.
 *
 * b_type: the type that was packed. Strides count elements. b may be null if K or N is 0. Ownership: b is the
 * caller's.
 * Threads: any.
 * Errors: GEMMILL_STATUS_UNSUPPORTED for another type, GEMMILL_STATUS_OVERLAP if row_stride is below N,
 * GEMMILL_STATUS_OUT_OF_RANGE, GEMMILL_STATUS_OVERFLOW; pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; b has the elements that K, N and row_stride reach, and
 * nobody else uses them meanwhile.
 */
gemmill_status gemmill_weights_unpack(const gemmill_weights *weights, int32_t b_type, void *b, int64_t row_stride);

/**
 * *pool = as many new threads, which sleep until a product needs them.
 *
 * Without a pool, products use the library's own, which is started by the first large product with as many threads as
 * the machine has cores, or as the environment variable RAYON_NUM_THREADS says, or with as many as the system lets be
 * started, which a line on standard error tells then. An operation that may use one thread only needs no pool and
 * starts none. In a child of fork() a pool of the parent's has no threads: the library's own, which is started anew
 * there, takes its place. (No thread may be in a call of the library while another one forks.)
 * Ownership: the caller's, to be given back to gemmill_pool_destroy; null after a failure. Operations that use the
 * pool keep its threads. Threads: any; one pool may serve many at once.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE unless threads is 1 to 65535, GEMMILL_STATUS_THREADS if the system refuses them;
 * pointers.
 *
 * Requires: pool points to a pointer.
 */
gemmill_status gemmill_pool_create(int64_t threads, gemmill_pool **pool);

/**
 * *threads = the number of threads of the pool.
 *
 * Threads: any. Errors: pointers.
 *
 * Requires: pool is a handle that is not destroyed meanwhile; threads points to an int64_t.
 */
gemmill_status gemmill_pool_threads(const gemmill_pool *pool, int64_t *threads);

/**
 * From now on, calls of this thread that take no pool (packing, quantizing, reading and converting weights, operations
 * without one) share out their work among the threads of this pool; with null, among the library's own again.
 *
 * Results are the same. Ownership: the thread keeps the pool's threads, not the handle, until another call or its own
 * end. Threads: any, each for itself; a child of fork() begins with none. Errors: pointers.
 *
 * Requires: pool is null or a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_thread_set_pool(const gemmill_pool *pool);

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
 * raw[i][j] = sum over k of (A[i][k] - A_zp[i]) * (B[k][j] - B_zp[j]), exact; for i32, u8 and i8 outputs modulo 2^32
 * (see gemmill_weights_largest_sum). a_type is GEMMILL_TYPE_U8 or GEMMILL_TYPE_I8, or GEMMILL_TYPE_F32, _F16 or _BF16
 * for activations that are quantized to u8 on the fly, as f32. c_type decides what C is:
 *
 *   GEMMILL_TYPE_I32            C = raw, or C + raw
 *   GEMMILL_TYPE_U8, _I8        C = zp + rne(clamp(x * multiplier[j], lo - zp, hi - zp)),
 *                               x = f32(raw + bias[j]) with an i32 bias,
 *                               f32(raw) + bias[j] / (A_scale * B_scale[j]) with an f32 one;
 *                               rne rounds to nearest, ties to even
 *   GEMMILL_TYPE_F32            C = fma(f32(raw), A_scale[i] * B_scale[j], bias[j]),
 *                               without a bias f32(raw) * that product;
 *                               plus the residual of a run, then ReLU and clamp
 *   GEMMILL_TYPE_F16, _BF16     that, rounded to nearest, ties to even
 *
 * Zero points are 0 until they are set. Needed are a multiplier for u8 and i8 outputs, scales of B for floating-point
 * outputs, a scale of A for these if activations are u8 or i8, a quantization for floating-point activations.
 * Ownership: the handle is the caller's, to be given back to gemmill_gemm_destroy; null after a failure. It keeps what
 * it needs of the weights, whose own handle may be destroyed. Threads: any.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE for codes that no type has, GEMMILL_STATUS_UNSUPPORTED for i32 activations;
 * pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; gemm points to a pointer.
 */
gemmill_status gemmill_gemm_create(const gemmill_weights *weights, int32_t a_type, int32_t c_type, gemmill_gemm **gemm);

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
 * Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE; GEMMILL_STATUS_UNSUPPORTED for floating-point activations;
 * GEMMILL_STATUS_FROZEN after the first run; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_gemm_set_a_zero_point(gemmill_gemm *gemm, int32_t zero_point);

/**
 * A becomes zero_point + rne(clamp(a * (1 / scale), -zero_point, 255 - zero_point)), for floating-point activations,
 * as f32; NaN becomes zero_point.
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
 * element as gemmill_quantization_choose gives them; for floating-point activations and outputs.
 *
 * NaN is left out of the range; a row that holds an infinity is refused by the run. Threads: any. Errors:
 * GEMMILL_STATUS_UNSUPPORTED for other activations or outputs; GEMMILL_STATUS_FROZEN after the first run; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_gemm_set_a_quantization_per_row(gemmill_gemm *gemm);

/**
 * A_scale[i] = scale, for u8 and i8 activations: of floating-point outputs, and of u8 and i8 ones with an f32 bias.
 *
 * The scale is finite, above 0 and has a finite reciprocal: checked by gemmill_gemm_prepare. Threads: any. Errors:
 * GEMMILL_STATUS_UNSUPPORTED for floating-point activations or i32 outputs; GEMMILL_STATUS_FROZEN after the first run;
 * pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_gemm_set_a_scale(gemmill_gemm *gemm, float scale);

/**
 * B_scale[j] = scale for all columns: of floating-point outputs, and of u8 and i8 ones with an f32 bias.
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
 * bias[j] is added to floating-point outputs; for u8 and i8 outputs, bias[j] / (A_scale * B_scale[j]), rounded to f32,
 * is added to f32(raw). Null and 0 for no bias.
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
 * lo = max(lo, zp) for u8 and i8 outputs, C = max(C, 0) for floating-point ones, unless on is 0.
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
 * C = min(max(C, low), high), of floating-point outputs, before they are rounded; a NaN stays one.
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
 * Unless refuse is 0, gemmill_gemm_prepare and the first run refuse integer outputs whose sums, i32 bias included, may
 * leave int32_t: see gemmill_weights_largest_sum. Otherwise these wrap modulo 2^32.
 *
 * Threads: any. Errors: GEMMILL_STATUS_FROZEN after the first run; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_gemm_set_refuse_wrapping(gemmill_gemm *gemm, int32_t refuse);

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
 * GEMMILL_STATUS_BAD_NUMBER for scales and multipliers that are not finite and above 0 and for biases that are not
 * finite,
 * GEMMILL_STATUS_MISMATCH, GEMMILL_STATUS_TIER for a tier that the weights were not packed for; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_gemm_prepare(const gemmill_gemm *gemm);

/**
 * C = epilogue(A * B), the formulas at gemmill_gemm_create: A[i][k] is a[i * a_row_stride + k * a_col_stride], C[i][j]
 * is c[i * c_row_stride + j].
 *
 * Shapes: A is m x (K * groups), C is m x N; strides count elements and those of A may be 0 or make elements overlap.
 * a and c have the types that the operation was created with, may be null where they have no elements, and lie apart
 * from each other. What lies between the rows of C is not touched, and C is only read if it is accumulated to.
 * options: null, or what differs from run to run. Ownership: a and c are the caller's, and unused once the call
 * returns.
 * Threads: any, many at once with the same operation; each writes to its own C. After the first run of a size on a
 * thread, a run with one thread allocates no memory.
 * Errors: those of gemmill_gemm_prepare; GEMMILL_STATUS_OUT_OF_RANGE for negative m and strides, zero points of rows,
 * and activations beyond what packing was promised; GEMMILL_STATUS_OVERFLOW; GEMMILL_STATUS_OVERLAP if rows of C
 * overlap each other or C another operand; GEMMILL_STATUS_MISMATCH if options are not for m rows;
 * GEMMILL_STATUS_BAD_NUMBER if a row to quantize by itself holds an infinity; GEMMILL_STATUS_UNSUPPORTED for options
 * that the operation has no use for;
 * GEMMILL_STATUS_MACHINE_CODE; GEMMILL_STATUS_THREADS for threads of the caller's own that did not run all tasks and
 * GEMMILL_STATUS_OUT_OF_MEMORY, C being written in part; pointers. C is untouched after all others but
 * GEMMILL_STATUS_INTERNAL.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile, options one or null; a and c have the elements that m, K,
 * N and strides reach; nobody writes to A's, or uses C's, meanwhile.
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
 * buffer = how a product with m rows is carried out, row-major: tier, sequences, cache blocks, parts, kernels; a text
 * for people, which may change from version to version.
 *
 * Freezes the settings. *length = the length of the text, without the NUL that ends it; it is set even if the buffer
 * is too small. buffer may be null if capacity is 0. Ownership: the buffer is the caller's. Threads: any.
 * Errors: those of gemmill_gemm_prepare, GEMMILL_STATUS_TOO_SMALL, GEMMILL_STATUS_OUT_OF_RANGE for a negative m or
 * capacity,
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
 * a[i * a_row_stride + k * a_col_stride], B[k][j] is b[k * b_row_stride + j * b_col_stride], C[i][j] is c[i *
 * c_row_stride + j].
 *
 * Shapes: A is m x k, B is k x n, C is m x n. a_type and b_type are GEMMILL_TYPE_U8 or GEMMILL_TYPE_I8. Strides count
 * elements. Weights that are used more than a few times are better packed once. Ownership: all memory is the caller's.
 * Threads: any. Errors: as gemmill_weights_create and gemmill_gemm_run.
 *
 * Requires: a, b and c have the elements that sizes and strides reach; nobody writes to A's and B's, or uses C's,
 * meanwhile.
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
 * Ownership: the caller's, to be given back to gemmill_run_options_destroy; null after a failure. Threads: any;
 * options that change from run to run are best created once for each thread. Errors: pointers.
 *
 * Requires: options points to a pointer.
 */
gemmill_status gemmill_run_options_create(gemmill_run_options **options);

/**
 * A_zp[i] = zero_points[i], instead of the operation's zero point of A; null and 0 for the operation's again.
 *
 * For u8 and i8 activations. count: M of the runs to come, which check it and the range. Ownership: the array is not
 * copied; it must be there in each run with these options. Threads: any.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE for a negative count; pointers.
 *
 * Requires: options is a handle that is not destroyed meanwhile; zero_points has count elements, in each run with these
 * options.
 */
gemmill_status gemmill_run_options_set_row_zero_points(gemmill_run_options *options,
                                                       const int32_t *zero_points,
                                                       int64_t count);

/**
 * A_scale[i] = scales[i], instead of the operation's scale of A; null and 0 for the operation's again.
 *
 * For u8 and i8 activations and floating-point outputs. count: M of the runs to come, which check it, and that scales
 * are finite, above 0 and have a finite reciprocal. Ownership: the array is not copied; it must be there in each run
 * with these options.
 * Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE for a negative count; pointers.
 *
 * Requires: options is a handle that is not destroyed meanwhile; scales has count elements, in each run with these
 * options.
 */
gemmill_status gemmill_run_options_set_row_scales(gemmill_run_options *options, const float *scales, int64_t count);

/**
 * C[i][j] = clamp(relu(product + residual[i * row_stride + j])): a matrix of C's shape that is added to an f32 output
 * before ReLU and clamp; null for none. gemmill_run_options_set_float_residual is for outputs of f16 and bf16.
 *
 * row_stride counts elements; 0 adds the same row to all. Ownership: the matrix is not copied; it must be there in
 * each run with these options, apart from C. Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE for a negative stride;
 * pointers.
 *
 * Requires: options is a handle that is not destroyed meanwhile; residual has the elements that C's shape and
 * row_stride reach, in each run with these options.
 */
gemmill_status gemmill_run_options_set_residual(gemmill_run_options *options,
                                                const float *residual,
                                                int64_t row_stride);

/**
 * C[i][j] = f(sum + bias[j] + residual[i * row_stride + j]): as gemmill_run_options_set_residual, with elements of the
 * type of C, which is GEMMILL_TYPE_F32, GEMMILL_TYPE_F16 or GEMMILL_TYPE_BF16. For all products.
 *
 * Runs with another type of C refuse it, and so do products with quantized activations and weights of few bits.
 * row_stride counts elements; 0 adds the same row to all. Ownership: the matrix is not copied; it must be there in
 * each run with these options, apart from C. Threads: any.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE for a negative stride and codes that no type has, GEMMILL_STATUS_UNSUPPORTED for
 * types of integers; pointers.
 *
 * Requires: options is a handle that is not destroyed meanwhile; residual has the elements that C's shape and
 * row_stride reach, in each run with these options.
 */
gemmill_status gemmill_run_options_set_float_residual(gemmill_run_options *options,
                                                      int32_t residual_type,
                                                      const void *residual,
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
 * Runs with these options use threads of the caller's own, by calling parallel_for(context, tasks, task, argument),
 * instead of a pool; null and 0 for a pool again.
 *
 * For all products. parallel_for calls task(argument, i) once for each i from 0 to tasks - 1, in any order and from
 * any threads, and returns when all have returned: a loop of OpenMP, for example, or of a pool that the program has
 * anyway. threads is how many can run at the same time; tasks is at most that, 1024, and what the operation's own
 * setting of threads allows. A run that is worth one task only does not call parallel_for. No run with these options
 * starts a thread or asks a pool for one. Caches are used best if i is the same thread from run to run.
 * A second call of the same i, or of an i that is none, does nothing. If some i was not called, the run gives
 * GEMMILL_STATUS_THREADS, and C is written in part. Results are the same with any order and number of threads.
 * parallel_for must not unwind: a C++ exception that leaves it is undefined behaviour. Tasks throw nothing.
 * Ownership: context is the caller's, and only handed on; both must be there in each run with these options. Threads:
 * any; runs on several threads at once call parallel_for on each of them.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE unless threads is 1 to 65535, GEMMILL_STATUS_NULL_POINTER for a null function
 * with threads; pointers.
 *
 * Requires: options is a handle that is not destroyed meanwhile; parallel_for does as said, with this context, in each
 * run with these options.
 */
gemmill_status gemmill_run_options_set_parallel_for(gemmill_run_options *options,
                                                    gemmill_parallel_for parallel_for,
                                                    void *context,
                                                    int64_t threads);

/**
 * *scale, *zero_point = parameters that represent the real numbers min to max, extended to contain 0:
 * scale = (max - min) / 255, zero_point = the integer nearest to where 0 falls.
 *
 * q_type: GEMMILL_TYPE_U8 or GEMMILL_TYPE_I8. preserve_sparsity, unless 0: a range with both signs is widened until 0
 * lies in the middle of the integers. power_of_two, unless 0: the scale is raised to a power of two. A range of zero
 * width gets the scale 0.1; scales are 2^-126 at least. Threads: any.
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
 * As gemmill_quantization_choose, with FBGEMM's floor: scales below 6.1e-5 are raised to it (to 2^-14 where a power of
 * two is asked for), and one whose reciprocal is infinite becomes 0.1.
 *
 * Everything else as gemmill_quantization_choose.
 *
 * Requires: scale points to a float, zero_point to an int32_t.
 */
gemmill_status gemmill_quantization_choose_fbgemm(int32_t q_type,
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
 * Errors: GEMMILL_STATUS_BAD_NUMBER if there is nothing but NaN, or nothing; GEMMILL_STATUS_OUT_OF_RANGE for a
 * negative count; GEMMILL_STATUS_OVERFLOW; pointers.
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
 * As gemmill_quantize, with x[i] / scale in place of x[i] * (1 / scale): ONNX's QuantizeLinear.
 *
 * Everything else as gemmill_quantize.
 *
 * Requires: x and q have count elements each; nobody writes to x's, or uses q's, meanwhile.
 */
gemmill_status gemmill_quantize_by_division(int32_t q_type,
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
 * Shapes: weights is k x n, q k x n and row-major, scales has n elements. A column of zeros gets the scale 1. Strides
 * count elements. q and scales lie apart from each other and from the weights. Ownership: all memory is the caller's.
 * Threads: any.
 * Errors: GEMMILL_STATUS_BAD_NUMBER if a weight is not finite, GEMMILL_STATUS_OUT_OF_RANGE for negative sizes and
 * strides,
 * GEMMILL_STATUS_OVERFLOW, GEMMILL_STATUS_OVERLAP; pointers.
 *
 * Requires: weights, q and scales have the elements that sizes and strides reach; nobody writes to the weights', or
 * uses those of q and scales, meanwhile.
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
 * Requires: weights and q have the elements that sizes and strides reach; nobody writes to the weights', or uses those
 * of q, meanwhile; scale points to a float.
 */
gemmill_status gemmill_quantize_weights_per_tensor(const float *weights,
                                                   int64_t k,
                                                   int64_t n,
                                                   int64_t row_stride,
                                                   int64_t col_stride,
                                                   int8_t *q,
                                                   float *scale);

/**
 * *packing = new settings: weights keep their type, the factor is 1, they do not saturate.
 *
 * Ownership: the caller's, to be given back to gemmill_float_packing_destroy; null after a failure. Threads: any.
 * Errors: pointers.
 *
 * Requires: packing points to a pointer.
 */
gemmill_status gemmill_float_packing_create(gemmill_float_packing **packing);

/**
 * packed[k][j] = B[k][j], rounded to this type, to nearest, ties to even: GEMMILL_TYPE_F32, GEMMILL_TYPE_F16 or
 * GEMMILL_TYPE_BF16.
 *
 * Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE for codes that no type has, GEMMILL_STATUS_UNSUPPORTED for types
 * of integers; pointers.
 *
 * Requires: packing is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_float_packing_set_type(gemmill_float_packing *packing, int32_t packed_type);

/**
 * packed[k][j] = round(f32(alpha * B[k][j])): a factor that is folded into the weights.
 *
 * That it is finite is checked when weights are packed. Threads: any. Errors: pointers.
 *
 * Requires: packing is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_float_packing_set_alpha(gemmill_float_packing *packing, float alpha);

/**
 * packed[k][j] = clamp(packed[k][j], -largest, largest), unless on is 0: what is beyond the type's largest number
 * (65504 for f16) becomes that number instead of infinity.
 *
 * Threads: any. Errors: pointers.
 *
 * Requires: packing is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_float_packing_set_saturating(gemmill_float_packing *packing, int32_t on);

/**
 * Whether the threads of the library's pool share the work of packing. The weights are the same.
 *
 * how: a gemmill_threads. threads: 0 for GEMMILL_THREADS_AUTO, which holds until another is set; otherwise 1 or more.
 * With 1, the calling thread packs alone, and no pool is started; with more, all of the pool's threads may. Threads:
 * any.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE; pointers.
 *
 * Requires: packing is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_float_packing_set_threads(gemmill_float_packing *packing, int32_t how, int64_t threads);

/**
 * Gives the settings back; null is nothing. Weights that were packed with them stay.
 *
 * Threads: no other may use the handle meanwhile or later. Errors: GEMMILL_STATUS_MISALIGNED.
 *
 * Requires: packing is a handle or null, and is not used again.
 */
gemmill_status gemmill_float_packing_destroy(gemmill_float_packing *packing);

/**
 * *weights = B, packed: element B[k][j] is b[k * row_stride + j * col_stride], for K rows and N columns.
 *
 * b_type: GEMMILL_TYPE_F32, GEMMILL_TYPE_F16 or GEMMILL_TYPE_BF16. Strides count elements: row-major weights have (n,
 * 1), those of a layer that are stored by output, N x K, have (1, k). packing: settings, or null for the usual ones. b
 * may be null if K or N is 0. Ownership: b is copied; the handle is the caller's, to be given back to
 * gemmill_float_weights_destroy; null after a failure.
 * Threads: any; the handle may serve many at once. Unless gemmill_float_packing_set_threads says otherwise, the
 * library's pool takes part.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE for negative sizes and strides, GEMMILL_STATUS_OVERFLOW,
 * GEMMILL_STATUS_OUT_OF_MEMORY,
 * GEMMILL_STATUS_BAD_NUMBER for a factor that is not finite, GEMMILL_STATUS_UNSUPPORTED for types of integers;
 * pointers.
 *
 * Requires: b has the elements that sizes and strides reach; packing is a handle or null; weights points to a pointer.
 */
gemmill_status gemmill_float_weights_create(int32_t b_type,
                                            const void *b,
                                            int64_t k,
                                            int64_t n,
                                            int64_t row_stride,
                                            int64_t col_stride,
                                            const gemmill_float_packing *packing,
                                            gemmill_float_weights **weights);

/**
 * *copy = another handle of the same weights, which are not copied.
 *
 * Ownership: each handle is given back on its own; null after a failure. Threads: any. Errors: pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; copy points to a pointer.
 */
gemmill_status gemmill_float_weights_share(const gemmill_float_weights *weights, gemmill_float_weights **copy);

/**
 * Gives a handle back; null is nothing. Operations that were created with it go on.
 *
 * Threads: no other may use the handle meanwhile or later. Errors: GEMMILL_STATUS_MISALIGNED.
 *
 * Requires: weights is a handle or null, and is not used again.
 */
gemmill_status gemmill_float_weights_destroy(gemmill_float_weights *weights);

/**
 * *value = K, the rows of B.
 *
 * Threads: any. Errors: pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; value points to an int64_t.
 */
gemmill_status gemmill_float_weights_k(const gemmill_float_weights *weights, int64_t *value);

/**
 * *value = N, the columns of B.
 *
 * Threads: any. Errors: pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; value points to an int64_t.
 */
gemmill_status gemmill_float_weights_n(const gemmill_float_weights *weights, int64_t *value);

/**
 * *value = the gemmill_type that the weights are packed as.
 *
 * Threads: any. Errors: pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; value points to an int32_t.
 */
gemmill_status gemmill_float_weights_type(const gemmill_float_weights *weights, int32_t *value);

/**
 * *value = bytes that the packed form takes.
 *
 * Threads: any. Errors: pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; value points to an int64_t.
 */
gemmill_status gemmill_float_weights_size(const gemmill_float_weights *weights, int64_t *value);

/**
 * *value = 1 if both pack the same numbers, bit by bit, as the same type, 0 if not.
 *
 * Threads: any. Errors: pointers.
 *
 * Requires: weights and other are handles that are not destroyed meanwhile; value points to an int32_t.
 */
gemmill_status gemmill_float_weights_equal(const gemmill_float_weights *weights,
                                           const gemmill_float_weights *other,
                                           int32_t *value);

/**
 * b[k * row_stride + j] = f32(packed[k][j]): the weights as they are multiplied.
 *
 * row_stride counts elements. b may be null if K or N is 0. Ownership: b is the caller's. Threads: any.
 * Errors: GEMMILL_STATUS_OVERLAP if row_stride is below N, GEMMILL_STATUS_OUT_OF_RANGE, GEMMILL_STATUS_OVERFLOW;
 * pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; b has the elements that K, N and row_stride reach, and
 * nobody else uses them meanwhile.
 */
gemmill_status gemmill_float_weights_unpack(const gemmill_float_weights *weights, float *b, int64_t row_stride);

/**
 * buffer = the weights and their type as bytes, for gemmill_float_weights_from_bytes on any CPU.
 *
 * *length = how many: those of K * N weights, and few more. It is set even if the buffer is too small; asking with a
 * capacity of 0 and a null buffer takes as long as writing. The format has a version and a checksum. Ownership: the
 * buffer is the caller's.
 * Threads: any.
 * Errors: GEMMILL_STATUS_TOO_SMALL, GEMMILL_STATUS_OUT_OF_RANGE for a negative capacity, GEMMILL_STATUS_OVERFLOW;
 * pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; buffer has capacity bytes; length points to an
 * int64_t.
 */
gemmill_status gemmill_float_weights_to_bytes(const gemmill_float_weights *weights,
                                              uint8_t *buffer,
                                              int64_t capacity,
                                              int64_t *length);

/**
 * *weights = the weights that gemmill_float_weights_to_bytes wrote, on this CPU or another.
 *
 * Ownership: bytes are not kept; the handle is the caller's; null after a failure. Threads: any; the calling thread
 * does all.
 * Errors: GEMMILL_STATUS_BAD_DATA and GEMMILL_STATUS_OUT_OF_RANGE for bytes that are not what was written,
 * GEMMILL_STATUS_OUT_OF_RANGE for a negative count, GEMMILL_STATUS_OVERFLOW; pointers.
 *
 * Requires: bytes has count bytes; weights points to a pointer.
 */
gemmill_status gemmill_float_weights_from_bytes(const uint8_t *bytes, int64_t count, gemmill_float_weights **weights);

/**
 * *weights = B in few bits, each group of each column by the scale that just covers it, rounded to bf16:
 * q[k][j] = zero_point[g][j] + rne(clamp(B[k][j] / scale[g][j], -zero_point[g][j], highest - zero_point[g][j])), g = k
 * / group_size.
 *
 * B[k][j] is b[k * row_stride + j * col_stride], for K rows and N columns; strides count elements. bits: 4 or 2,
 * highest is 15 or 3. group_size: 32, 64 or 128; the last group of a column may be shorter. zero_points: a
 * gemmill_zero_points. b may be null if K or N is 0. Ownership: b is copied; the handle is the caller's, to be given
 * back to gemmill_groupwise_weights_destroy; null after a failure. Threads: any; groups are shared out among the
 * threads of the library's pool.
 * Errors: GEMMILL_STATUS_BAD_NUMBER if a weight is NaN, infinite or larger than 2^127 in magnitude,
 * GEMMILL_STATUS_OUT_OF_RANGE for negative sizes and strides and for other bits, group sizes and codes,
 * GEMMILL_STATUS_OVERFLOW, GEMMILL_STATUS_OUT_OF_MEMORY; pointers.
 *
 * Requires: b has the elements that sizes and strides reach; weights points to a pointer.
 */
gemmill_status gemmill_groupwise_weights_round_to_nearest(const float *b,
                                                          int64_t k,
                                                          int64_t n,
                                                          int64_t row_stride,
                                                          int64_t col_stride,
                                                          int32_t bits,
                                                          int32_t group_size,
                                                          int32_t zero_points,
                                                          gemmill_groupwise_weights **weights);

/**
 * *weights = B in few bits, with the scales and zero points of those that are tried that give the least
 * sum over k in g of importance[k] * (B[k][j] - B'[k][j])^2 in each group g of each column j.
 *
 * The error is never larger than that of gemmill_groupwise_weights_round_to_nearest, whose scale is among them.
 * importance: K numbers, at least 0, for example the mean squares of the activations that meet the rows; null and a
 * count of 0 for 1 everywhere.
 * Errors: also GEMMILL_STATUS_MISMATCH for another count, GEMMILL_STATUS_BAD_NUMBER for an importance that is negative
 * or not finite. Everything else as gemmill_groupwise_weights_round_to_nearest.
 *
 * Requires: b has the elements that sizes and strides reach, importance count elements; weights points to a pointer.
 */
gemmill_status gemmill_groupwise_weights_search(const float *b,
                                                int64_t k,
                                                int64_t n,
                                                int64_t row_stride,
                                                int64_t col_stride,
                                                int32_t bits,
                                                int32_t group_size,
                                                int32_t zero_points,
                                                const float *importance,
                                                int64_t count,
                                                gemmill_groupwise_weights **weights);

/**
 * *weights = weights that were quantized elsewhere: B[k][j] = scale[g][j] * (values[k][j] - zero_point[g][j]), g = k /
 * group_size.
 *
 * values: K x N, one in a byte, row after row. scales: ceil(K / group_size) x N numbers of bfloat16, all groups of the
 * first rows first. points: as many zero points in the same order with GEMMILL_ZERO_POINTS_EACH; otherwise null, and
 * the middle, 8 or 2, is meant. Arrays may be null where they have no elements. Ownership: arrays are copied; the
 * handle is the caller's, to be given back to gemmill_groupwise_weights_destroy; null after a failure. Threads: any.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE for a value or zero point above 15 or 3, for negative sizes, and for other bits,
 * group sizes and codes; GEMMILL_STATUS_BAD_NUMBER for a scale that is not above 0 or by which a weight could be
 * infinite;
 * GEMMILL_STATUS_MISMATCH for zero points without GEMMILL_ZERO_POINTS_EACH; GEMMILL_STATUS_OVERFLOW; pointers.
 *
 * Requires: values, scales and points have so many elements; weights points to a pointer.
 */
gemmill_status gemmill_groupwise_weights_from_parts(int64_t k,
                                                    int64_t n,
                                                    int32_t bits,
                                                    int32_t group_size,
                                                    int32_t zero_points,
                                                    const uint8_t *values,
                                                    const uint16_t *scales,
                                                    const uint8_t *points,
                                                    gemmill_groupwise_weights **weights);

/**
 * *weights = the weights that gemmill_groupwise_weights_to_bytes wrote, on this CPU or another.
 *
 * Ownership: bytes are not kept; the handle is the caller's; null after a failure. Threads: any.
 * Errors: GEMMILL_STATUS_BAD_DATA for bytes that are not what was written, and all of
 * gemmill_groupwise_weights_from_parts for content that could not have been; GEMMILL_STATUS_OUT_OF_RANGE for a
 * negative count, GEMMILL_STATUS_OVERFLOW; pointers.
 *
 * Requires: bytes has count bytes; weights points to a pointer.
 */
gemmill_status gemmill_groupwise_weights_from_bytes(const uint8_t *bytes,
                                                    int64_t count,
                                                    gemmill_groupwise_weights **weights);

/**
 * buffer = the weights with scales and zero points as bytes, for gemmill_groupwise_weights_from_bytes on any CPU.
 *
 * *length = how many; it is set even if the buffer is too small. The format has a version and a checksum. buffer may
 * be null if capacity is 0. Ownership: the buffer is the caller's. Threads: any.
 * Errors: GEMMILL_STATUS_TOO_SMALL, GEMMILL_STATUS_OUT_OF_RANGE for a negative capacity, GEMMILL_STATUS_OVERFLOW;
 * pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; buffer has capacity bytes; length points to an
 * int64_t.
 */
gemmill_status gemmill_groupwise_weights_to_bytes(const gemmill_groupwise_weights *weights,
                                                  uint8_t *buffer,
                                                  int64_t capacity,
                                                  int64_t *length);

/**
 * Gives a handle back; null is nothing. What was packed of it goes on.
 *
 * Threads: no other may use the handle meanwhile or later. Errors: GEMMILL_STATUS_MISALIGNED.
 *
 * Requires: weights is a handle or null, and is not used again.
 */
gemmill_status gemmill_groupwise_weights_destroy(gemmill_groupwise_weights *weights);

/**
 * *value = K, the rows of B.
 *
 * Threads: any. Errors: pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; value points to an int64_t.
 */
gemmill_status gemmill_groupwise_weights_k(const gemmill_groupwise_weights *weights, int64_t *value);

/**
 * *value = N, the columns of B.
 *
 * Threads: any. Errors: pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; value points to an int64_t.
 */
gemmill_status gemmill_groupwise_weights_n(const gemmill_groupwise_weights *weights, int64_t *value);

/**
 * *bits, *group_size, *zero_points = the format: 4 or 2; 32, 64 or 128; a gemmill_zero_points.
 *
 * Threads: any. Errors: pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; bits, group_size and zero_points point to an int32_t
 * each.
 */
gemmill_status gemmill_groupwise_weights_format(const gemmill_groupwise_weights *weights,
                                                int32_t *bits,
                                                int32_t *group_size,
                                                int32_t *zero_points);

/**
 * *value = 1 if both have the same format, values, scales and zero points, 0 if not.
 *
 * Threads: any. Errors: pointers.
 *
 * Requires: weights and other are handles that are not destroyed meanwhile; value points to an int32_t.
 */
gemmill_status gemmill_groupwise_weights_equal(const gemmill_groupwise_weights *weights,
                                               const gemmill_groupwise_weights *other,
                                               int32_t *value);

/**
 * buffer = the stored weights, K x N, one in a byte, row after row.
 *
 * *count = how many; it is set even if the buffer is too small. buffer may be null if capacity is 0. Ownership: the
 * buffer is the caller's. Threads: any.
 * Errors: GEMMILL_STATUS_TOO_SMALL, GEMMILL_STATUS_OUT_OF_RANGE for a negative capacity, GEMMILL_STATUS_OVERFLOW;
 * pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; buffer has capacity bytes; count points to an int64_t.
 */
gemmill_status gemmill_groupwise_weights_values(const gemmill_groupwise_weights *weights,
                                                uint8_t *buffer,
                                                int64_t capacity,
                                                int64_t *count);

/**
 * buffer = the scales, ceil(K / group size) x N numbers of bfloat16, all groups of the first rows first.
 *
 * Everything else as gemmill_groupwise_weights_values; capacity counts elements.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; buffer has capacity elements; count points to an
 * int64_t.
 */
gemmill_status gemmill_groupwise_weights_scales(const gemmill_groupwise_weights *weights,
                                                uint16_t *buffer,
                                                int64_t capacity,
                                                int64_t *count);

/**
 * buffer = the zero points, ceil(K / group size) x N, all groups of the first rows first; none where all are the
 * middle.
 *
 * Everything else as gemmill_groupwise_weights_values.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; buffer has capacity bytes; count points to an int64_t.
 */
gemmill_status gemmill_groupwise_weights_zero_points(const gemmill_groupwise_weights *weights,
                                                     uint8_t *buffer,
                                                     int64_t capacity,
                                                     int64_t *count);

/**
 * b[k * row_stride + j] = scale[g][j] * (q[k][j] - zero_point[g][j]), g = k / group size: the real weights, exactly.
 *
 * row_stride counts elements. b may be null if K or N is 0. Ownership: b is the caller's. Threads: any.
 * Errors: GEMMILL_STATUS_OVERLAP if row_stride is below N, GEMMILL_STATUS_OUT_OF_RANGE, GEMMILL_STATUS_OVERFLOW;
 * pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; b has the elements that K, N and row_stride reach, and
 * nobody else uses them meanwhile.
 */
gemmill_status gemmill_groupwise_weights_dequantize(const gemmill_groupwise_weights *weights,
                                                    float *b,
                                                    int64_t row_stride);

/**
 * *largest, *mean_squared = how far the weights lie from B: the largest |B[k][j] - B'[k][j]|, and the mean of their
 * squares.
 *
 * B[k][j] is b[k * row_stride + j * col_stride], for as many rows and columns as the weights have. Ownership: b is the
 * caller's.
 * Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE for negative strides, GEMMILL_STATUS_OVERFLOW; pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; b has the elements that K, N and strides reach;
 * largest and mean_squared point to a double each.
 */
gemmill_status gemmill_groupwise_weights_error(const gemmill_groupwise_weights *weights,
                                               const float *b,
                                               int64_t row_stride,
                                               int64_t col_stride,
                                               double *largest,
                                               double *mean_squared);

/**
 * *packed = the weights in the layout that kernels read: half or a quarter of a byte each, and their scales.
 *
 * how: a gemmill_threads. threads: 0 for GEMMILL_THREADS_AUTO; otherwise 1 or more. With 1, the calling thread packs
 * alone, and no pool is started; with more, all threads of the library's pool may share the work. The result is the
 * same.
 * Ownership: weights are copied, and may be destroyed; the handle is the caller's, to be given back to
 * gemmill_groupwise_packed_destroy; null after a failure. Threads: any; the handle may serve many at once.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE for how and threads, GEMMILL_STATUS_OVERFLOW, GEMMILL_STATUS_OUT_OF_MEMORY;
 * pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; packed points to a pointer.
 */
gemmill_status gemmill_groupwise_packed_create(const gemmill_groupwise_weights *weights,
                                               int32_t how,
                                               int64_t threads,
                                               gemmill_groupwise_packed **packed);

/**
 * *copy = another handle of the same weights, which are not copied.
 *
 * Ownership: each handle is given back on its own; null after a failure. Threads: any. Errors: pointers.
 *
 * Requires: packed is a handle that is not destroyed meanwhile; copy points to a pointer.
 */
gemmill_status gemmill_groupwise_packed_share(const gemmill_groupwise_packed *packed, gemmill_groupwise_packed **copy);

/**
 * Gives a handle back; null is nothing. Operations that were created with it go on.
 *
 * Threads: no other may use the handle meanwhile or later. Errors: GEMMILL_STATUS_MISALIGNED.
 *
 * Requires: packed is a handle or null, and is not used again.
 */
gemmill_status gemmill_groupwise_packed_destroy(gemmill_groupwise_packed *packed);

/**
 * *value = K, the rows of B.
 *
 * Threads: any. Errors: pointers.
 *
 * Requires: packed is a handle that is not destroyed meanwhile; value points to an int64_t.
 */
gemmill_status gemmill_groupwise_packed_k(const gemmill_groupwise_packed *packed, int64_t *value);

/**
 * *value = N, the columns of B.
 *
 * Threads: any. Errors: pointers.
 *
 * Requires: packed is a handle that is not destroyed meanwhile; value points to an int64_t.
 */
gemmill_status gemmill_groupwise_packed_n(const gemmill_groupwise_packed *packed, int64_t *value);

/**
 * *bits, *group_size, *zero_points = the format: 4 or 2; 32, 64 or 128; a gemmill_zero_points.
 *
 * Threads: any. Errors: pointers.
 *
 * Requires: packed is a handle that is not destroyed meanwhile; bits, group_size and zero_points point to an int32_t
 * each.
 */
gemmill_status gemmill_groupwise_packed_format(const gemmill_groupwise_packed *packed,
                                               int32_t *bits,
                                               int32_t *group_size,
                                               int32_t *zero_points);

/**
 * *value = bytes that the packed form takes.
 *
 * Threads: any. Errors: pointers.
 *
 * Requires: packed is a handle that is not destroyed meanwhile; value points to an int64_t.
 */
gemmill_status gemmill_groupwise_packed_size(const gemmill_groupwise_packed *packed, int64_t *value);

/**
 * *value = 1 if both pack the same weights in the same format, 0 if not.
 *
 * Threads: any. Errors: pointers.
 *
 * Requires: packed and other are handles that are not destroyed meanwhile; value points to an int32_t.
 */
gemmill_status gemmill_groupwise_packed_equal(const gemmill_groupwise_packed *packed,
                                              const gemmill_groupwise_packed *other,
                                              int32_t *value);

/**
 * *gemm = a floating-point product: A is M x K, B the weights, C is M x N, all sums in f32:
 *
 *   x = beta == 0 ? 0 : beta * C[i][j]
 *   for k in 0..K: x = fma(A[i][k], B[k][j], x)          ascending, one chain
 *   C[i][j] = round(f(x + bias[j] + residual[i][j]))     bias and residual as far as given, one rounding each
 *
 * a_type and c_type are GEMMILL_TYPE_F32, GEMMILL_TYPE_F16 or GEMMILL_TYPE_BF16, whatever the weights are. A row of C
 * has the same bits however many rows A has, on every tier and with every number of threads. beta is 0, there is no
 * bias, and f(x) = x until they are set. Only gemmill_float_gemm_set_hardware_dot makes the chain another one.
 * Ownership: the handle is the caller's, to be given back to gemmill_float_gemm_destroy; null after a failure. It
 * keeps what it needs of the weights, whose own handle may be destroyed. Threads: any.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE for codes that no type has, GEMMILL_STATUS_UNSUPPORTED for types of integers;
 * pointers.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; gemm points to a pointer.
 */
gemmill_status gemmill_float_gemm_create(const gemmill_float_weights *weights,
                                         int32_t a_type,
                                         int32_t c_type,
                                         gemmill_float_gemm **gemm);

/**
 * *gemm = a product as gemmill_float_gemm_create, with weights of few bits, which become f32 (exactly) in registers
 * while it runs: B[k][j] = scale[g][j] * (q[k][j] - zero_point[g][j]), g = k / group size.
 *
 * Everything else as gemmill_float_gemm_create.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; gemm points to a pointer.
 */
gemmill_status gemmill_float_gemm_create_groupwise(const gemmill_groupwise_packed *weights,
                                                   int32_t a_type,
                                                   int32_t c_type,
                                                   gemmill_float_gemm **gemm);

/**
 * *gemm = a product of A, quantized to i8 row by row while it runs, and weights of few bits, in integers within each
 * group:
 *
 *   scale[i] = max over k of |A[i][k]| / 127;  qa[i][k] = rne(A[i][k] * (1 / scale[i]))
 *   s[g]     = sum over k in g of qa[i][k] * (q[k][j] - zero_point[g][j])       exact
 *   x        = fma(f32(s[g]), scale[g][j], x)                                   g ascending, from 0
 *   C[i][j]  = round(f(fma(x, scale[i], bias[j])))                              without a bias: x * scale[i]
 *
 * There is no beta and no residual. Runs refuse infinite activations. Everything else as gemmill_float_gemm_create.
 *
 * Requires: weights is a handle that is not destroyed meanwhile; gemm points to a pointer.
 */
gemmill_status gemmill_float_gemm_create_groupwise_a8(const gemmill_groupwise_packed *weights,
                                                      int32_t a_type,
                                                      int32_t c_type,
                                                      gemmill_float_gemm **gemm);

/**
 * Gives an operation back; null is nothing.
 *
 * Threads: no other may use the handle meanwhile or later. Errors: GEMMILL_STATUS_MISALIGNED.
 *
 * Requires: gemm is a handle or null, and is not used again.
 */
gemmill_status gemmill_float_gemm_destroy(gemmill_float_gemm *gemm);

/**
 * x = beta == 0 ? 0 : beta * C[i][j] before the sum: with 0, C is not read.
 *
 * That it is finite is checked by gemmill_float_gemm_prepare. Threads: any.
 * Errors: GEMMILL_STATUS_UNSUPPORTED for products with quantized activations; GEMMILL_STATUS_FROZEN after the first
 * run; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_float_gemm_set_beta(gemmill_float_gemm *gemm, float beta);

/**
 * x = x + bias[j] after the sum; null and 0 for no bias.
 *
 * count: N. Ownership: values are copied. Threads: any.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE for a negative count, GEMMILL_STATUS_MISMATCH for another one;
 * GEMMILL_STATUS_OVERFLOW;
 * GEMMILL_STATUS_FROZEN after the first run; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile; bias has count elements.
 */
gemmill_status gemmill_float_gemm_set_bias(gemmill_float_gemm *gemm, const float *bias, int64_t count);

/**
 * f, what is stored of a sum: a gemmill_function. Replaces a clamp.
 *
 * Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE for another number; GEMMILL_STATUS_FROZEN after the first run;
 * pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_float_gemm_set_function(gemmill_float_gemm *gemm, int32_t function);

/**
 * f(x) = min(max(x, low), high); a NaN stays one. Replaces another function.
 *
 * Limits may be infinite, but not NaN, and low is at most high: checked by gemmill_float_gemm_prepare. Threads: any.
 * Errors: GEMMILL_STATUS_FROZEN after the first run; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_float_gemm_set_clamp(gemmill_float_gemm *gemm, float low, float high);

/**
 * Has the CPU's own dot products of bf16 multiply, a gemmill_hardware_dot. They are faster, and round otherwise:
 * nothing has them without asking.
 *
 * Weights must be packed as bf16; A is rounded to bf16 first, to nearest, ties to even. x is summed by groups of k
 * then, ascending, missing numbers of the last group being zero:
 *
 *   GEMMILL_HARDWARE_DOT_AVX512_BF16   2 k:   x = fma(a[1], b[1], x); x = fma(a[0], b[0], x)
 *   GEMMILL_HARDWARE_DOT_AMX_BF16     32 k:   even = odd = 0
 *                                             for p in 0..16: even = fma(a[2p], b[2p], even)
 *                                                             odd = fma(a[2p+1], b[2p+1], odd)
 *                                             x = x + (even + odd)
 *
 * Each of these operations rounds to nearest, ties to even, takes subnormal numbers as zero, and gives zero for a
 * subnormal result. Bits depend on the instruction that is meant, and on nothing else;
 * gemmill_hardware_dot_error_bound has a bound. Whether CPU and tier have it is for gemmill_float_gemm_prepare to say.
 * GEMMILL_TIER_PORTABLE, if gemmill_float_gemm_set_tier names it, carries out either one on every CPU, slowly;
 * GEMMILL_HARDWARE_DOT_BEST never means that.
 * Threads: any. Errors: GEMMILL_STATUS_UNSUPPORTED for any but GEMMILL_HARDWARE_DOT_NONE with weights that are not
 * bf16;
 * GEMMILL_STATUS_OUT_OF_RANGE for another number; GEMMILL_STATUS_FROZEN after the first run; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_float_gemm_set_hardware_dot(gemmill_float_gemm *gemm, int32_t dot);

/**
 * How many threads a product may use. Results are the same.
 *
 * how: a gemmill_threads. threads: 0 for GEMMILL_THREADS_AUTO, which holds until another is set; otherwise 1 or more.
 * With 1, the calling thread does all, and many threads may each run products of their own. Threads: any. Errors:
 * GEMMILL_STATUS_OUT_OF_RANGE; GEMMILL_STATUS_FROZEN after the first run; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_float_gemm_set_threads(gemmill_float_gemm *gemm, int32_t how, int64_t threads);

/**
 * The tier of kernels, a gemmill_tier, instead of the best one. Its bits are the same.
 *
 * Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE if no tier has this number; GEMMILL_STATUS_FROZEN after the first
 * run; pointers. (Whether this machine has it is for gemmill_float_gemm_prepare to say.)
 *
 * Requires: gemm is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_float_gemm_set_tier(gemmill_float_gemm *gemm, int32_t tier);

/**
 * Products that use several threads use those of this pool; null for the library's own.
 *
 * Ownership: the operation keeps the pool's threads until it is destroyed. Threads: any. Errors: GEMMILL_STATUS_FROZEN
 * after the first run; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile; pool is one or null.
 */
gemmill_status gemmill_float_gemm_set_pool(gemmill_float_gemm *gemm, const gemmill_pool *pool);

/**
 * Checks the settings and freezes them. The first run does so too; this tells of mistakes before.
 *
 * After a failure, settings can still be changed. Threads: any, several at once as well.
 * Errors: GEMMILL_STATUS_BAD_NUMBER for limits that are none and for a beta that is not finite, GEMMILL_STATUS_TIER
 * for a tier that this machine lacks and for hardware dot products that the machine or the tier lacks; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile.
 */
gemmill_status gemmill_float_gemm_prepare(const gemmill_float_gemm *gemm);

/**
 * *value = the gemmill_tier of the operation's kernels.
 *
 * Freezes the settings. Threads: any. Errors: those of gemmill_float_gemm_prepare; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile; value points to an int32_t.
 */
gemmill_status gemmill_float_gemm_tier(const gemmill_float_gemm *gemm, int32_t *value);

/**
 * *value = the gemmill_hardware_dot that the operation uses: GEMMILL_HARDWARE_DOT_NONE, or an instruction by name.
 *
 * Freezes the settings. Threads: any. Errors: those of gemmill_float_gemm_prepare; pointers.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile; value points to an int32_t.
 */
gemmill_status gemmill_float_gemm_hardware_dot(const gemmill_float_gemm *gemm, int32_t *value);

/**
 * C = f(A * B + beta * C + bias + residual), the formulas at gemmill_float_gemm_create and
 * gemmill_float_gemm_create_groupwise_a8: A[i][k] is a[i * a_row_stride + k * a_col_stride], C[i][j] is c[i *
 * c_row_stride + j].
 *
 * Shapes: A is m x K, C is m x N; strides count elements and those of A may be 0 or make elements overlap. a and c
 * have the types that the operation was created with, may be null where they have no elements, and lie apart from each
 * other. What lies between the rows of C is not touched, and C is only read if beta is not 0. f32 activations whose
 * rows have their elements side by side are read where they lie, all others are packed first.
 * options: null, or a residual or threads of this run. Ownership: a and c are the caller's, and unused once the call
 * returns.
 * Threads: any, many at once with the same operation; each writes to its own C. After the first run of a size on a
 * thread, a floating-point product with one thread allocates no memory.
 * Errors: those of gemmill_float_gemm_prepare; GEMMILL_STATUS_OUT_OF_RANGE for negative m and strides;
 * GEMMILL_STATUS_OVERFLOW;
 * GEMMILL_STATUS_OVERLAP if rows of C overlap each other or C another operand; GEMMILL_STATUS_BAD_NUMBER if a row to
 * quantize holds an infinity; GEMMILL_STATUS_UNSUPPORTED for options that the operation has no use for;
 * GEMMILL_STATUS_MACHINE_CODE;
 * GEMMILL_STATUS_THREADS for threads of the caller's own that did not run all tasks and GEMMILL_STATUS_OUT_OF_MEMORY,
 * C being written in part; pointers. C is untouched after all others but GEMMILL_STATUS_INTERNAL.
 *
 * Requires: gemm is a handle that is not destroyed meanwhile, options one or null; a and c have the elements that m, K,
 * N and strides reach; nobody writes to A's, or uses C's, meanwhile.
 */
gemmill_status gemmill_float_gemm_run(const gemmill_float_gemm *gemm,
                                      int64_t m,
                                      const void *a,
                                      int64_t a_row_stride,
                                      int64_t a_col_stride,
                                      void *c,
                                      int64_t c_row_stride,
                                      const gemmill_run_options *options);

/**
 * "none", "best", "avx512-bf16" or "amx-bf16"; null for a number that no gemmill_hardware_dot has.
 *
 * Ownership: the text is static. Threads: any. Errors: none.
 */
const char *gemmill_hardware_dot_name(int32_t dot);

/**
 * Whether kernels of a tier, a gemmill_tier, can have these hardware dot products on this machine: GEMMILL_STATUS_OK,
 * or
 * GEMMILL_STATUS_TIER and a message that names what is missing.
 *
 * GEMMILL_TIER_PORTABLE carries out GEMMILL_HARDWARE_DOT_AVX512_BF16 and GEMMILL_HARDWARE_DOT_AMX_BF16 without the
 * instructions, slowly, on every machine. GEMMILL_HARDWARE_DOT_BEST asks for one of those of the CPU,
 * GEMMILL_HARDWARE_DOT_NONE for the tier alone. Threads: any.
 * Errors: GEMMILL_STATUS_OUT_OF_RANGE for numbers that enums do not have; GEMMILL_STATUS_TIER.
 */
gemmill_status gemmill_hardware_dot_require(int32_t dot, int32_t tier);

/**
 * *dot = the best hardware dot products that kernels of a tier, a gemmill_tier, can have on this machine: what
 * GEMMILL_HARDWARE_DOT_BEST stands for.
 *
 * Threads: any. Errors: GEMMILL_STATUS_TIER if there are none, with what is missing for the plainest, or where this
 * CPU multiplies faster without them; the portable tier has none.
 * GEMMILL_STATUS_OUT_OF_RANGE if no tier has this number; pointers.
 *
 * Requires: dot points to an int32_t.
 */
gemmill_status gemmill_hardware_dot_best(int32_t tier, int32_t *dot);

/**
 * *bound = how far a sum x of k products, and of what it begins with, is from that of exact numbers at most, unless a
 * partial sum overflows; before bias and residual are added.
 *
 * magnitude: |beta C[i][j]| + sum over k of |A[i][k] B[k][j]|, with A rounded to bf16. Factors that are subnormal
 * count as zero on both sides. With u = 2^-24, r roundings on the way of any product into the sum and f results that
 * may become zero:
 *
 *   r u / (1 - r u) * magnitude + (1 + r u / (1 - r u)) * f * 2^-126
 *   GEMMILL_HARDWARE_DOT_AVX512_BF16    r = 2 ceil(k / 2)       f = 2 ceil(k / 2) + 1
 *   GEMMILL_HARDWARE_DOT_AMX_BF16       r = ceil(k / 32) + 17   f = 34 ceil(k / 32) + 1
 *
 * Threads: any. Errors: GEMMILL_STATUS_UNSUPPORTED for dot that is none of these two, GEMMILL_STATUS_OUT_OF_RANGE for
 * a number that no gemmill_hardware_dot has and for a negative k, GEMMILL_STATUS_BAD_NUMBER for a magnitude that is
 * NaN or below 0; pointers.
 *
 * Requires: bound points to a double.
 */
gemmill_status gemmill_hardware_dot_error_bound(int32_t dot, int64_t k, double magnitude, double *bound);

/**
 * y[i] = x[i] as another type, rounded to nearest, ties to even; what is beyond the largest number becomes infinity,
 * NaN stays NaN.
 *
 * x_type and y_type: GEMMILL_TYPE_F32 and one of GEMMILL_TYPE_F16 and GEMMILL_TYPE_BF16, either way round. To f32,
 * numbers stay exactly what they are. x and y may be null if count is 0, and lie apart from each other. Ownership:
 * both are the caller's.
 * Threads: any; the calling thread does all.
 * Errors: GEMMILL_STATUS_UNSUPPORTED for other types, GEMMILL_STATUS_OUT_OF_RANGE for a negative count and codes that
 * no type has,
 * GEMMILL_STATUS_OVERFLOW, GEMMILL_STATUS_OVERLAP; pointers.
 *
 * Requires: x and y have count elements each; nobody writes to x's, or uses y's, meanwhile.
 */
gemmill_status gemmill_convert(int32_t x_type, const void *x, int32_t y_type, void *y, int64_t count);

/**
 * y[i] = x[i] as another type, rounded to nearest, ties to even; what is beyond the largest finite number, infinity
 * too, becomes that number, NaN stays NaN.
 *
 * x_type: GEMMILL_TYPE_F32. y_type: GEMMILL_TYPE_F16 or GEMMILL_TYPE_BF16. Everything else as gemmill_convert.
 *
 * Requires: x and y have count elements each; nobody writes to x's, or uses y's, meanwhile.
 */
gemmill_status gemmill_convert_saturating(int32_t x_type, const void *x, int32_t y_type, void *y, int64_t count);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* GEMMILL_H */
