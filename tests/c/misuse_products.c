/* Misuse of operations, runs and quantization: see misuse.h. */
#include "misuse.h"

static gemmill_gemm *operation(const gemmill_weights *weights, int32_t a_type, int32_t c_type)
{
    gemmill_gemm *gemm = NULL;
    OK(gemmill_gemm_create(weights, a_type, c_type, &gemm));
    return gemm;
}

/* Every setter with `gemm`, and otherwise good arguments. */
static void refuse_all_settings(gemmill_status refused, gemmill_gemm *gemm)
{
    REFUSED(gemmill_gemm_set_a_zero_point(gemm, 0));
    REFUSED(gemmill_gemm_set_a_quantization(gemm, 1.0f, 0));
    REFUSED(gemmill_gemm_set_a_quantization_per_row(gemm));
    REFUSED(gemmill_gemm_set_a_scale(gemm, 1.0f));
    REFUSED(gemmill_gemm_set_b_scale(gemm, 1.0f));
    REFUSED(gemmill_gemm_set_b_scales(gemm, GEMMILL_PER_COLUMN, x, N));
    REFUSED(gemmill_gemm_set_multiplier(gemm, 1.0f));
    REFUSED(gemmill_gemm_set_multipliers(gemm, GEMMILL_PER_COLUMN, x, N));
    REFUSED(gemmill_gemm_set_c_zero_point(gemm, 0));
    REFUSED(gemmill_gemm_set_bias_i32(gemm, integers, N));
    REFUSED(gemmill_gemm_set_bias_f32(gemm, x, N));
    REFUSED(gemmill_gemm_set_relu(gemm, 1));
    REFUSED(gemmill_gemm_set_clamp_i32(gemm, 0, 1));
    REFUSED(gemmill_gemm_set_clamp_f32(gemm, 0.0f, 1.0f));
    REFUSED(gemmill_gemm_set_accumulate(gemm, 1));
    REFUSED(gemmill_gemm_set_refuse_wrapping(gemm, 1));
    REFUSED(gemmill_gemm_set_threads(gemm, GEMMILL_THREADS_AUTO, 0));
    REFUSED(gemmill_gemm_set_tier(gemm, GEMMILL_TIER_PORTABLE));
    REFUSED(gemmill_gemm_set_pool(gemm, NULL));
}

/* Sums that leave int32_t: refused or wrapped as integers, exact as floats. */
static void large_sums(void)
{
    enum { LONG = 66400 };
    static int8_t b[LONG];
    static uint8_t a[LONG];
    memset(b, 127, LONG);
    memset(a, 255, LONG);
    gemmill_weights *weights = NULL;
    OK(gemmill_weights_create(GEMMILL_TYPE_I8, b, LONG, 1, 1, 1, NULL, &weights));
    int64_t largest = 0;
    OK(gemmill_weights_largest_sum(weights, &largest));
    TRUE(largest == (int64_t)255 * 127 * LONG && largest > INT32_MAX);

    gemmill_gemm *gemm = operation(weights, GEMMILL_TYPE_U8, GEMMILL_TYPE_I32);
    OK(gemmill_gemm_set_refuse_wrapping(gemm, 1));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_prepare(gemm));
    OK(gemmill_gemm_set_refuse_wrapping(gemm, 0));
    int32_t wrapped = 0;
    OK(gemmill_gemm_run(gemm, 1, a, LONG, 1, &wrapped, 1, NULL));
    TRUE((uint32_t)wrapped == (uint32_t)largest);
    char text[4096];
    int64_t length = 0;
    OK(gemmill_gemm_describe(gemm, 1, text, sizeof text, &length));
    TRUE(strstr(text, "wrap modulo 2^32") != NULL);
    OK(gemmill_gemm_destroy(gemm));

    gemm = operation(weights, GEMMILL_TYPE_U8, GEMMILL_TYPE_F32);
    OK(gemmill_gemm_set_a_scale(gemm, 1.0f));
    OK(gemmill_gemm_set_b_scale(gemm, 1.0f));
    OK(gemmill_gemm_set_refuse_wrapping(gemm, 1));
    float sum = 0.0f;
    OK(gemmill_gemm_run(gemm, 1, a, LONG, 1, &sum, 1, NULL));
    TRUE(sum == (float)largest);
    OK(gemmill_gemm_destroy(gemm));
    OK(gemmill_weights_destroy(weights));
}

static void settings(void)
{
    gemmill_weights *weights = packed();
    gemmill_gemm *gemm = NULL;
    EXPECT(NULL_POINTER, gemmill_gemm_create(NULL, GEMMILL_TYPE_U8, GEMMILL_TYPE_I32, &gemm));
    EXPECT(MISALIGNED, gemmill_gemm_create(odd(weights), GEMMILL_TYPE_U8, GEMMILL_TYPE_I32, &gemm));
    EXPECT(NULL_POINTER, gemmill_gemm_create(weights, GEMMILL_TYPE_U8, GEMMILL_TYPE_I32, NULL));
    EXPECT(MISALIGNED, gemmill_gemm_create(weights, GEMMILL_TYPE_U8, GEMMILL_TYPE_I32, odd(x)));
    EXPECT(UNSUPPORTED, gemmill_gemm_create(weights, GEMMILL_TYPE_I32, GEMMILL_TYPE_I32, &gemm));
    EACH_BAD_CODE(code) {
        EXPECT(OUT_OF_RANGE, gemmill_gemm_create(weights, code, GEMMILL_TYPE_I32, &gemm));
        EXPECT(OUT_OF_RANGE, gemmill_gemm_create(weights, GEMMILL_TYPE_U8, code, &gemm));
    }
    TRUE(gemm == NULL);
    refuse_all_settings(GEMMILL_STATUS_NULL_POINTER, NULL);

    /* Sums have no use for most settings. */
    gemm = operation(weights, GEMMILL_TYPE_U8, GEMMILL_TYPE_I32);
    refuse_all_settings(GEMMILL_STATUS_MISALIGNED, odd(gemm));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_set_a_zero_point(gemm, -1));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_set_a_zero_point(gemm, 256));
    EXPECT(UNSUPPORTED, gemmill_gemm_set_a_quantization(gemm, 1.0f, 0));
    EXPECT(UNSUPPORTED, gemmill_gemm_set_a_quantization_per_row(gemm));
    EXPECT(UNSUPPORTED, gemmill_gemm_set_a_scale(gemm, 1.0f));
    EXPECT(UNSUPPORTED, gemmill_gemm_set_b_scale(gemm, 1.0f));
    EXPECT(UNSUPPORTED, gemmill_gemm_set_b_scales(gemm, GEMMILL_PER_COLUMN, x, N));
    EXPECT(UNSUPPORTED, gemmill_gemm_set_multiplier(gemm, 1.0f));
    EXPECT(UNSUPPORTED, gemmill_gemm_set_multipliers(gemm, GEMMILL_PER_COLUMN, x, N));
    EXPECT(UNSUPPORTED, gemmill_gemm_set_c_zero_point(gemm, 0));
    EXPECT(UNSUPPORTED, gemmill_gemm_set_bias_i32(gemm, integers, N));
    EXPECT(UNSUPPORTED, gemmill_gemm_set_bias_f32(gemm, x, N));
    EXPECT(UNSUPPORTED, gemmill_gemm_set_relu(gemm, 1));
    EXPECT(UNSUPPORTED, gemmill_gemm_set_clamp_i32(gemm, 0, 1));
    EXPECT(UNSUPPORTED, gemmill_gemm_set_clamp_f32(gemm, 0.0f, 1.0f));
    REFUSES_THREADS(gemmill_gemm_set_threads, gemm);
    OK(gemmill_gemm_set_threads(gemm, GEMMILL_THREADS_MAX, INT64_MAX));
    EXPECT(MISALIGNED, gemmill_gemm_set_pool(gemm, odd(x)));
    OK(gemmill_gemm_set_accumulate(gemm, 1));
    EXPECT(NULL_POINTER, gemmill_gemm_prepare(NULL));
    EXPECT(MISALIGNED, gemmill_gemm_prepare(odd(gemm)));
    OK(gemmill_gemm_prepare(gemm));
    OK(gemmill_gemm_prepare(gemm));
    refuse_all_settings(GEMMILL_STATUS_FROZEN, gemm);
    EXPECT(MISALIGNED, gemmill_gemm_destroy(odd(gemm)));
    OK(gemmill_gemm_destroy(NULL));
    OK(gemmill_gemm_destroy(gemm));

    /* Bytes. */
    gemm = operation(weights, GEMMILL_TYPE_I8, GEMMILL_TYPE_U8);
    EXPECT(UNSUPPORTED, gemmill_gemm_prepare(gemm));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_set_a_zero_point(gemm, -129));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_set_a_zero_point(gemm, 128));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_set_c_zero_point(gemm, -1));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_set_c_zero_point(gemm, 256));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_set_a_zero_point(gemm, INT32_MIN));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_set_c_zero_point(gemm, INT32_MAX));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_set_clamp_i32(gemm, INT32_MIN, INT32_MAX));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_set_clamp_i32(gemm, -1, 255));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_set_clamp_i32(gemm, 0, 256));
    EXPECT(UNSUPPORTED, gemmill_gemm_set_clamp_f32(gemm, 0.0f, 1.0f));
    EXPECT(UNSUPPORTED, gemmill_gemm_set_accumulate(gemm, 1));
    EXPECT(NULL_POINTER, gemmill_gemm_set_multipliers(gemm, GEMMILL_PER_COLUMN, NULL, N));
    EXPECT(MISALIGNED, gemmill_gemm_set_multipliers(gemm, GEMMILL_PER_COLUMN, odd(x), N));
    EXPECT(MISMATCH, gemmill_gemm_set_multipliers(gemm, GEMMILL_PER_COLUMN, x, N - 1));
    EXPECT(MISMATCH, gemmill_gemm_set_multipliers(gemm, GEMMILL_PER_GROUP, x, N));
    EXPECT(MISMATCH, gemmill_gemm_set_multipliers(gemm, GEMMILL_PER_TENSOR, NULL, 0));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_set_multipliers(gemm, GEMMILL_PER_COLUMN, x, -1));
    EXPECT(OVERFLOW, gemmill_gemm_set_multipliers(gemm, GEMMILL_PER_COLUMN, x, INT64_MAX));
    EXPECT(NULL_POINTER, gemmill_gemm_set_b_scales(gemm, GEMMILL_PER_COLUMN, NULL, N));
    EXPECT(MISALIGNED, gemmill_gemm_set_b_scales(gemm, GEMMILL_PER_COLUMN, odd(x), N));
    EXPECT(MISMATCH, gemmill_gemm_set_b_scales(gemm, GEMMILL_PER_COLUMN, x, N + 1));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_set_b_scales(gemm, GEMMILL_PER_COLUMN, x, INT64_MIN));
    EXPECT(OVERFLOW, gemmill_gemm_set_b_scales(gemm, GEMMILL_PER_COLUMN, x, INT64_MAX));
    EACH_BAD_CODE(code) {
        EXPECT(OUT_OF_RANGE, gemmill_gemm_set_multipliers(gemm, code, x, N));
        EXPECT(OUT_OF_RANGE, gemmill_gemm_set_b_scales(gemm, code, x, N));
    }
    EXPECT(NULL_POINTER, gemmill_gemm_set_bias_i32(gemm, NULL, N));
    EXPECT(MISALIGNED, gemmill_gemm_set_bias_i32(gemm, odd(integers), N));
    EXPECT(MISMATCH, gemmill_gemm_set_bias_i32(gemm, integers, N - 1));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_set_bias_i32(gemm, integers, -N));
    EXPECT(OVERFLOW, gemmill_gemm_set_bias_i32(gemm, integers, INT64_MAX));
    EXPECT(NULL_POINTER, gemmill_gemm_set_bias_f32(gemm, NULL, N));
    EXPECT(MISALIGNED, gemmill_gemm_set_bias_f32(gemm, odd(x), N));
    EXPECT(MISMATCH, gemmill_gemm_set_bias_f32(gemm, x, N + 1));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_set_bias_f32(gemm, x, INT64_MIN));
    EXPECT(OVERFLOW, gemmill_gemm_set_bias_f32(gemm, x, INT64_MAX));
    const float bad_multipliers[] = {0.0f, -1.0f, NAN, INFINITY};
    for (int i = 0; i < 4; i++) {
        OK(gemmill_gemm_set_multiplier(gemm, bad_multipliers[i]));
        EXPECT(BAD_NUMBER, gemmill_gemm_prepare(gemm));
    }
    OK(gemmill_gemm_set_multiplier(gemm, 1.0f));
    OK(gemmill_gemm_set_clamp_i32(gemm, 9, 8));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_prepare(gemm));
    OK(gemmill_gemm_set_clamp_i32(gemm, 8, 9));
    OK(gemmill_gemm_set_bias_f32(gemm, x, N));
    EXPECT(UNSUPPORTED, gemmill_gemm_prepare(gemm));
    OK(gemmill_gemm_set_a_scale(gemm, 1.0f));
    OK(gemmill_gemm_set_b_scale(gemm, NAN));
    EXPECT(BAD_NUMBER, gemmill_gemm_prepare(gemm));
    OK(gemmill_gemm_set_bias_i32(gemm, NULL, 0));
    OK(gemmill_gemm_prepare(gemm));
    OK(gemmill_gemm_destroy(gemm));

    /* float in, float out. */
    gemm = operation(weights, GEMMILL_TYPE_F32, GEMMILL_TYPE_F32);
    EXPECT(UNSUPPORTED, gemmill_gemm_prepare(gemm));
    EXPECT(UNSUPPORTED, gemmill_gemm_set_a_zero_point(gemm, 0));
    EXPECT(UNSUPPORTED, gemmill_gemm_set_a_scale(gemm, 1.0f));
    EXPECT(UNSUPPORTED, gemmill_gemm_set_multiplier(gemm, 1.0f));
    EXPECT(UNSUPPORTED, gemmill_gemm_set_bias_i32(gemm, integers, N));
    EXPECT(UNSUPPORTED, gemmill_gemm_set_clamp_i32(gemm, 0, 1));
    EXPECT(BAD_NUMBER, gemmill_gemm_set_a_quantization(gemm, 0.0f, 0));
    EXPECT(BAD_NUMBER, gemmill_gemm_set_a_quantization(gemm, 1e-40f, 0));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_set_a_quantization(gemm, 1.0f, 256));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_set_a_quantization(gemm, 1.0f, INT32_MIN));
    OK(gemmill_gemm_set_b_scale(gemm, 1.0f));
    EXPECT(UNSUPPORTED, gemmill_gemm_prepare(gemm));
    OK(gemmill_gemm_set_a_quantization_per_row(gemm));
    OK(gemmill_gemm_set_clamp_f32(gemm, NAN, 1.0f));
    EXPECT(BAD_NUMBER, gemmill_gemm_prepare(gemm));
    OK(gemmill_gemm_set_clamp_f32(gemm, -2.0f, -1.0f));
    OK(gemmill_gemm_set_relu(gemm, 1));
    EXPECT(BAD_NUMBER, gemmill_gemm_prepare(gemm));
    OK(gemmill_gemm_set_relu(gemm, 0));
    OK(gemmill_gemm_prepare(gemm));
    OK(gemmill_gemm_destroy(gemm));
    /* 16 bits in and out are as float. */
    const int32_t halves[] = {GEMMILL_TYPE_F16, GEMMILL_TYPE_BF16};
    for (int i = 0; i < 2; i++) {
        gemm = operation(weights, halves[i], halves[1 - i]);
        EXPECT(UNSUPPORTED, gemmill_gemm_set_a_zero_point(gemm, 0));
        EXPECT(UNSUPPORTED, gemmill_gemm_set_a_scale(gemm, 1.0f));
        EXPECT(UNSUPPORTED, gemmill_gemm_set_multiplier(gemm, 1.0f));
        EXPECT(UNSUPPORTED, gemmill_gemm_set_c_zero_point(gemm, 0));
        EXPECT(UNSUPPORTED, gemmill_gemm_set_bias_i32(gemm, integers, N));
        EXPECT(UNSUPPORTED, gemmill_gemm_set_clamp_i32(gemm, 0, 1));
        EXPECT(UNSUPPORTED, gemmill_gemm_set_accumulate(gemm, 1));
        EXPECT(UNSUPPORTED, gemmill_gemm_prepare(gemm));
        OK(gemmill_gemm_set_b_scale(gemm, 1.0f));
        EXPECT(UNSUPPORTED, gemmill_gemm_prepare(gemm));
        OK(gemmill_gemm_set_a_quantization_per_row(gemm));
        OK(gemmill_gemm_set_clamp_f32(gemm, NAN, 1.0f));
        EXPECT(BAD_NUMBER, gemmill_gemm_prepare(gemm));
        OK(gemmill_gemm_set_clamp_f32(gemm, -1.0f, 1.0f));
        OK(gemmill_gemm_set_bias_f32(gemm, x, N));
        OK(gemmill_gemm_prepare(gemm));
        OK(gemmill_gemm_destroy(gemm));
        gemm = operation(weights, GEMMILL_TYPE_U8, halves[i]);
        EXPECT(UNSUPPORTED, gemmill_gemm_set_a_quantization_per_row(gemm));
        OK(gemmill_gemm_set_a_scale(gemm, 1.0f));
        OK(gemmill_gemm_destroy(gemm));
        gemm = operation(weights, halves[i], GEMMILL_TYPE_I32);
        EXPECT(UNSUPPORTED, gemmill_gemm_set_a_quantization_per_row(gemm));
        EXPECT(UNSUPPORTED, gemmill_gemm_set_clamp_f32(gemm, 0.0f, 1.0f));
        OK(gemmill_gemm_destroy(gemm));
    }
    gemm = operation(weights, GEMMILL_TYPE_F32, GEMMILL_TYPE_I8);
    EXPECT(UNSUPPORTED, gemmill_gemm_set_a_quantization_per_row(gemm));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_set_c_zero_point(gemm, 128));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_set_clamp_i32(gemm, -128, 128));
    OK(gemmill_gemm_destroy(gemm));

    /* A bound of activations is for u8 ones. */
    gemmill_packing *packing = NULL;
    gemmill_weights *bounded = NULL;
    OK(gemmill_packing_create(&packing));
    OK(gemmill_packing_set_activation_max(packing, 100));
    OK(gemmill_weights_create(GEMMILL_TYPE_I8, b, K, N, N, 1, packing, &bounded));
    gemm = operation(bounded, GEMMILL_TYPE_I8, GEMMILL_TYPE_I32);
    EXPECT(UNSUPPORTED, gemmill_gemm_prepare(gemm));
    OK(gemmill_gemm_destroy(gemm));
    gemm = operation(bounded, GEMMILL_TYPE_U8, GEMMILL_TYPE_I32);
    uint8_t large[K] = {0, 0, 0, 101, 0, 0};
    int32_t sums[N] = {77, 77, 77, 77};
    EXPECT(OUT_OF_RANGE, gemmill_gemm_run(gemm, 1, large, K, 1, sums, N, NULL));
    TRUE(sums[0] == 77 && sums[N - 1] == 77);
    OK(gemmill_gemm_destroy(gemm));
    OK(gemmill_weights_destroy(bounded));
    OK(gemmill_packing_destroy(packing));
    OK(gemmill_weights_destroy(weights));
}

static void runs(void)
{
    gemmill_weights *weights = packed();
    gemmill_gemm *gemm = operation(weights, GEMMILL_TYPE_U8, GEMMILL_TYPE_F32);
    gemmill_run_options *options = NULL;
    float c[M * N];
    for (int i = 0; i < M * N; i++) c[i] = 77.0f;
    EXPECT(UNSUPPORTED, gemmill_gemm_run(gemm, M, a, K, 1, c, N, NULL));
    OK(gemmill_gemm_set_b_scale(gemm, 1.0f));
    EXPECT(UNSUPPORTED, gemmill_gemm_run(gemm, M, a, K, 1, c, N, NULL));
    OK(gemmill_gemm_set_a_scale(gemm, 1.0f));
    REFUSES_RUNS(gemmill_gemm_run, gemm, a, c);
    EXPECT(OVERLAP, gemmill_gemm_run(gemm, M, (uint8_t *)c + sizeof c - 1, 0, 0, c, N, NULL));

    /* What differs from run to run. */
    EXPECT(NULL_POINTER, gemmill_run_options_create(NULL));
    EXPECT(MISALIGNED, gemmill_run_options_create(odd(x)));
    OK(gemmill_run_options_create(&options));
    gemmill_run_options *const bad[] = {NULL, odd(options)};
    for (int i = 0; i < 2; i++) {
        gemmill_status refused = i ? GEMMILL_STATUS_MISALIGNED : GEMMILL_STATUS_NULL_POINTER;
        REFUSED(gemmill_run_options_set_row_zero_points(bad[i], integers, M));
        REFUSED(gemmill_run_options_set_row_scales(bad[i], x, M));
        REFUSED(gemmill_run_options_set_residual(bad[i], x, N));
    }
    EXPECT(NULL_POINTER, gemmill_run_options_set_row_zero_points(options, NULL, M));
    EXPECT(MISALIGNED, gemmill_run_options_set_row_zero_points(options, odd(integers), M));
    EXPECT(OUT_OF_RANGE, gemmill_run_options_set_row_zero_points(options, integers, -1));
    EXPECT(NULL_POINTER, gemmill_run_options_set_row_scales(options, NULL, M));
    EXPECT(MISALIGNED, gemmill_run_options_set_row_scales(options, odd(x), M));
    EXPECT(OUT_OF_RANGE, gemmill_run_options_set_row_scales(options, x, INT64_MIN));
    EXPECT(MISALIGNED, gemmill_run_options_set_residual(options, odd(x), N));
    EXPECT(OUT_OF_RANGE, gemmill_run_options_set_residual(options, x, -N));

    OK(gemmill_run_options_set_row_zero_points(options, integers, M - 1));
    EXPECT(MISMATCH, gemmill_gemm_run(gemm, M, a, K, 1, c, N, options));
    OK(gemmill_run_options_set_row_zero_points(options, integers, INT64_MAX));
    EXPECT(OVERFLOW, gemmill_gemm_run(gemm, M, a, K, 1, c, N, options));
    int32_t zero_points[M] = {0, 256, 0};
    OK(gemmill_run_options_set_row_zero_points(options, zero_points, M));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_run(gemm, M, a, K, 1, c, N, options));
    OK(gemmill_run_options_set_row_zero_points(options, (int32_t *)(void *)c, M));
    EXPECT(OVERLAP, gemmill_gemm_run(gemm, M, a, K, 1, c, N, options));
    OK(gemmill_run_options_set_row_zero_points(options, NULL, 0));
    OK(gemmill_run_options_set_row_scales(options, x, INT64_MAX));
    EXPECT(OVERFLOW, gemmill_gemm_run(gemm, M, a, K, 1, c, N, options));
    float scales[M] = {1.0f, NAN, 1.0f};
    OK(gemmill_run_options_set_row_scales(options, scales, M));
    EXPECT(BAD_NUMBER, gemmill_gemm_run(gemm, M, a, K, 1, c, N, options));
    OK(gemmill_run_options_set_row_scales(options, scales, M + 1));
    EXPECT(MISMATCH, gemmill_gemm_run(gemm, M, a, K, 1, c, N, options));
    OK(gemmill_run_options_set_row_scales(options, c, M));
    EXPECT(OVERLAP, gemmill_gemm_run(gemm, M, a, K, 1, c, N, options));
    OK(gemmill_run_options_set_row_scales(options, NULL, 0));
    OK(gemmill_run_options_set_residual(options, c, N));
    EXPECT(OVERLAP, gemmill_gemm_run(gemm, M, a, K, 1, c, N, options));
    OK(gemmill_run_options_set_residual(options, x, INT64_MAX));
    EXPECT(OVERFLOW, gemmill_gemm_run(gemm, M, a, K, 1, c, N, options));
    OK(gemmill_run_options_set_residual(options, NULL, 0));
    for (int i = 0; i < M * N; i++) TRUE(c[i] == 77.0f);
    OK(gemmill_gemm_run(gemm, 0, NULL, K, 1, NULL, N, options));
    OK(gemmill_gemm_run(gemm, M, a, K, 1, c, N, options));
    gemmill_gemm *sums = operation(weights, GEMMILL_TYPE_U8, GEMMILL_TYPE_I32);
    OK(gemmill_run_options_set_residual(options, x, 0));
    int32_t c_sums[M * N];
    EXPECT(UNSUPPORTED, gemmill_gemm_run(sums, M, a, K, 1, c_sums, N, options));
    OK(gemmill_gemm_destroy(sums));

    /* A residual has the type of C. */
    const int32_t floats[] = {GEMMILL_TYPE_F32, GEMMILL_TYPE_F16, GEMMILL_TYPE_BF16};
    float c_floats[M * N];
    for (int i = 0; i < M * N; i++) c_floats[i] = 77.0f;
    for (int i = 0; i < 3; i++) {
        gemmill_gemm *half = operation(weights, GEMMILL_TYPE_U8, floats[i]);
        OK(gemmill_gemm_set_b_scale(half, 1.0f));
        OK(gemmill_gemm_set_a_scale(half, 1.0f));
        for (int j = 0; j < 3; j++) {
            OK(gemmill_run_options_set_float_residual(options, floats[j], x, N));
            if (i != j) EXPECT(UNSUPPORTED, gemmill_gemm_run(half, M, a, K, 1, c_floats, N, options));
            OK(gemmill_run_options_set_float_residual(options, floats[j], (char *)c_floats + 4, N));
            EXPECT(OVERLAP, gemmill_gemm_run(half, M, a, K, 1, c_floats, N, options));
        }
        EXPECT(MISALIGNED, gemmill_gemm_run(half, M, a, K, 1, odd(c_floats), N, NULL));
        for (int at = 0; at < M * N; at++) TRUE(c_floats[at] == 77.0f);
        OK(gemmill_run_options_set_float_residual(options, floats[i], x, N));
        OK(gemmill_gemm_run(half, M, a, K, 1, c_floats, N, options));
        for (int at = 0; at < M * N; at++) c_floats[at] = 77.0f;
        OK(gemmill_gemm_destroy(half));
    }
    EXPECT(MISALIGNED, gemmill_run_options_destroy(odd(options)));
    OK(gemmill_run_options_destroy(NULL));
    OK(gemmill_run_options_destroy(options));

    /* Rows that are quantized by themselves hold no infinity. */
    gemmill_gemm *dynamic = operation(weights, GEMMILL_TYPE_F32, GEMMILL_TYPE_F32);
    OK(gemmill_gemm_set_b_scale(dynamic, 1.0f));
    OK(gemmill_gemm_set_a_quantization_per_row(dynamic));
    float row[K] = {1.0f, INFINITY, 0.0f, 0.0f, 0.0f, 0.0f};
    EXPECT(BAD_NUMBER, gemmill_gemm_run(dynamic, 1, row, K, 1, c, N, NULL));
    EXPECT(MISALIGNED, gemmill_gemm_run(dynamic, 1, odd(x), K, 1, c, N, NULL));
    OK(gemmill_gemm_destroy(dynamic));

    char text[4];
    int64_t length = 0;
    EXPECT(NULL_POINTER, gemmill_gemm_describe(NULL, M, text, sizeof text, &length));
    EXPECT(MISALIGNED, gemmill_gemm_describe(odd(gemm), M, text, sizeof text, &length));
    EXPECT(NULL_POINTER, gemmill_gemm_describe(gemm, M, NULL, 1, &length));
    EXPECT(NULL_POINTER, gemmill_gemm_describe(gemm, M, text, sizeof text, NULL));
    EXPECT(MISALIGNED, gemmill_gemm_describe(gemm, M, text, sizeof text, odd(x)));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_describe(gemm, -1, text, sizeof text, &length));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_describe(gemm, M, text, -1, &length));
    EXPECT(OVERFLOW, gemmill_gemm_describe(gemm, M, text, INT64_MAX, &length));
    EXPECT(TOO_SMALL, gemmill_gemm_describe(gemm, INT64_MAX, text, sizeof text, &length));
    EXPECT(TOO_SMALL, gemmill_gemm_describe(gemm, M, text, sizeof text, &length));
    TRUE(length > 20);
    OK(gemmill_gemm_destroy(gemm));
    OK(gemmill_weights_destroy(weights));
}

static void multiply(void)
{
    int32_t c[M * N];
    enum { U8 = GEMMILL_TYPE_U8, I8 = GEMMILL_TYPE_I8, F32 = GEMMILL_TYPE_F32 };
    memset(c, 77, sizeof c);
    const int32_t before = c[0];
    EXPECT(NULL_POINTER, gemmill_multiply(U8, I8, M, N, K, NULL, K, 1, b, N, 1, c, N));
    EXPECT(NULL_POINTER, gemmill_multiply(U8, I8, M, N, K, a, K, 1, NULL, N, 1, c, N));
    EXPECT(NULL_POINTER, gemmill_multiply(U8, I8, M, N, K, a, K, 1, b, N, 1, NULL, N));
    EXPECT(MISALIGNED, gemmill_multiply(U8, I8, M, N, K, a, K, 1, b, N, 1, odd(c), N));
    EXPECT(OUT_OF_RANGE, gemmill_multiply(U8, I8, -M, N, K, a, K, 1, b, N, 1, c, N));
    EXPECT(OUT_OF_RANGE, gemmill_multiply(U8, I8, M, -N, K, a, K, 1, b, N, 1, c, N));
    EXPECT(OUT_OF_RANGE, gemmill_multiply(U8, I8, M, N, -K, a, K, 1, b, N, 1, c, N));
    EXPECT(OUT_OF_RANGE, gemmill_multiply(U8, I8, M, N, K, a, -K, 1, b, N, 1, c, N));
    EXPECT(OUT_OF_RANGE, gemmill_multiply(U8, I8, M, N, K, a, K, -1, b, N, 1, c, N));
    EXPECT(OUT_OF_RANGE, gemmill_multiply(U8, I8, M, N, K, a, K, 1, b, -N, 1, c, N));
    EXPECT(OUT_OF_RANGE, gemmill_multiply(U8, I8, M, N, K, a, K, 1, b, N, -1, c, N));
    EXPECT(OUT_OF_RANGE, gemmill_multiply(U8, I8, M, N, K, a, K, 1, b, N, 1, c, -N));
    EXPECT(OVERFLOW, gemmill_multiply(U8, I8, M, INT64_MAX, INT64_MAX, a, K, 1, b, 0, 0, c, N));
    EXPECT(OVERFLOW, gemmill_multiply(U8, I8, INT64_MAX, N, K, a, K, 1, b, N, 1, c, N));
    EXPECT(OVERFLOW, gemmill_multiply(U8, I8, M, N, K, a, INT64_MAX, 1, b, N, 1, c, N));
    EXPECT(OVERFLOW, gemmill_multiply(U8, I8, M, N, K, a, K, INT64_MAX, b, N, 1, c, N));
    EXPECT(OVERFLOW, gemmill_multiply(U8, I8, M, N, K, a, K, 1, b, N, INT64_MAX, c, N));
    EXPECT(OVERFLOW, gemmill_multiply(U8, I8, M, N, K, a, K, 1, b, INT64_MAX, 1, c, N));
    EXPECT(OVERFLOW, gemmill_multiply(U8, I8, M, N, K, a, K, 1, b, N, 1, c, INT64_MAX));
    EXPECT(OUT_OF_MEMORY, gemmill_multiply(U8, I8, 1, INT64_C(1) << 30, INT64_C(1) << 30, a, 0, 0, b, 0, 0, c, N));
    EXPECT(OVERLAP, gemmill_multiply(U8, I8, M, N, K, a, K, 1, b, N, 1, c, N - 1));
    EXPECT(OVERLAP, gemmill_multiply(U8, I8, 1, N, K, c, K, 1, b, N, 1, c, N));
    EXPECT(UNSUPPORTED, gemmill_multiply(F32, I8, M, N, K, x, K, 1, b, N, 1, c, N));
    EXPECT(UNSUPPORTED, gemmill_multiply(U8, F32, M, N, K, a, K, 1, x, N, 1, c, N));
    EACH_BAD_CODE(code) {
        EXPECT(OUT_OF_RANGE, gemmill_multiply(code, I8, M, N, K, a, K, 1, b, N, 1, c, N));
        EXPECT(OUT_OF_RANGE, gemmill_multiply(U8, code, M, N, K, a, K, 1, b, N, 1, c, N));
    }
    for (int i = 0; i < M * N; i++) TRUE(c[i] == before);
    OK(gemmill_multiply(U8, I8, M, N, K, a, K, 1, b, N, 1, c, N));
}

/* What FBGEMM and ONNX do otherwise. */
static void other_quantization(void)
{
    enum { U8 = GEMMILL_TYPE_U8 };
    float scale = 0.0f;
    int32_t zero_point = 0;
    OK(gemmill_quantization_choose_fbgemm(U8, 0.0f, 1e-6f, 0, 0, &scale, &zero_point));
    TRUE(scale == 6.1e-5f && zero_point == 0);
    OK(gemmill_quantization_choose(U8, 0.0f, 2.55e-6f, 0, 0, &scale, &zero_point));
    TRUE(scale == 1e-8f && zero_point == 0);
    /* By ONNX's DynamicQuantizeLinear, -2.5 / (5 / 255) is less than 127.5. */
    const float onnx = -2.5f;
    uint8_t q = 0;
    OK(gemmill_quantize_by_division(U8, &onnx, 1, 5.0f / 255.0f, 153, &q));
    TRUE(q == 26);
    OK(gemmill_quantize(U8, &onnx, 1, 5.0f / 255.0f, 153, &q));
    TRUE(q == 25);
}

static void quantization(void)
{
    enum { U8 = GEMMILL_TYPE_U8, I8 = GEMMILL_TYPE_I8, F32 = GEMMILL_TYPE_F32 };
    float scale = 77.0f, low = 77.0f, high = 77.0f, back[8];
    int32_t zero_point = 77;
    uint8_t q[8];
    int8_t w[8];
    memset(q, 77, sizeof q);
    memset(w, 77, sizeof w);
    EXPECT(NULL_POINTER, gemmill_quantization_choose(U8, 0.0f, 1.0f, 0, 0, NULL, &zero_point));
    EXPECT(NULL_POINTER, gemmill_quantization_choose(U8, 0.0f, 1.0f, 0, 0, &scale, NULL));
    EXPECT(MISALIGNED, gemmill_quantization_choose(U8, 0.0f, 1.0f, 0, 0, odd(x), &zero_point));
    EXPECT(MISALIGNED, gemmill_quantization_choose(U8, 0.0f, 1.0f, 0, 0, &scale, odd(integers)));
    EXPECT(BAD_NUMBER, gemmill_quantization_choose(U8, 1.0f, 0.0f, 0, 0, &scale, &zero_point));
    EXPECT(BAD_NUMBER, gemmill_quantization_choose(U8, NAN, 1.0f, 0, 0, &scale, &zero_point));
    EXPECT(BAD_NUMBER, gemmill_quantization_choose(I8, 0.0f, INFINITY, 1, 1, &scale, &zero_point));
    EXPECT(UNSUPPORTED, gemmill_quantization_choose(F32, 0.0f, 1.0f, 0, 0, &scale, &zero_point));
    EACH_BAD_CODE(code) EXPECT(OUT_OF_RANGE, gemmill_quantization_choose(code, 0.0f, 1.0f, 0, 0, &scale, &zero_point));
    EXPECT(NULL_POINTER, gemmill_quantization_choose_fbgemm(U8, 0.0f, 1.0f, 0, 0, NULL, &zero_point));
    EXPECT(MISALIGNED, gemmill_quantization_choose_fbgemm(U8, 0.0f, 1.0f, 0, 0, &scale, odd(integers)));
    EXPECT(BAD_NUMBER, gemmill_quantization_choose_fbgemm(U8, 1.0f, 0.0f, 0, 0, &scale, &zero_point));

    const float nothing[2] = {NAN, NAN};
    EXPECT(NULL_POINTER, gemmill_quantization_range(NULL, 2, &low, &high));
    EXPECT(NULL_POINTER, gemmill_quantization_range(x, 2, NULL, &high));
    EXPECT(NULL_POINTER, gemmill_quantization_range(x, 2, &low, NULL));
    EXPECT(MISALIGNED, gemmill_quantization_range(odd(x), 2, &low, &high));
    EXPECT(MISALIGNED, gemmill_quantization_range(x, 2, odd(x), &high));
    EXPECT(MISALIGNED, gemmill_quantization_range(x, 2, &low, odd(x)));
    EXPECT(OUT_OF_RANGE, gemmill_quantization_range(x, -1, &low, &high));
    EXPECT(OVERFLOW, gemmill_quantization_range(x, INT64_MAX, &low, &high));
    EXPECT(BAD_NUMBER, gemmill_quantization_range(nothing, 2, &low, &high));
    EXPECT(BAD_NUMBER, gemmill_quantization_range(NULL, 0, &low, &high));
    TRUE(scale == 77.0f && zero_point == 77 && low == 77.0f && high == 77.0f);

    EXPECT(NULL_POINTER, gemmill_quantize(U8, NULL, 8, 1.0f, 0, q));
    EXPECT(NULL_POINTER, gemmill_quantize(U8, x, 8, 1.0f, 0, NULL));
    EXPECT(MISALIGNED, gemmill_quantize(U8, odd(x), 8, 1.0f, 0, q));
    EXPECT(OUT_OF_RANGE, gemmill_quantize(U8, x, -8, 1.0f, 0, q));
    EXPECT(OUT_OF_RANGE, gemmill_quantize(U8, x, 8, 1.0f, 256, q));
    EXPECT(OUT_OF_RANGE, gemmill_quantize(U8, x, 8, 1.0f, INT32_MIN, q));
    EXPECT(OVERFLOW, gemmill_quantize(U8, x, INT64_MAX, 1.0f, 0, q));
    EXPECT(OVERLAP, gemmill_quantize(U8, x, 8, 1.0f, 0, (uint8_t *)x + 31));
    EXPECT(BAD_NUMBER, gemmill_quantize(U8, x, 8, 0.0f, 0, q));
    EXPECT(UNSUPPORTED, gemmill_quantize(F32, x, 8, 1.0f, 0, q));
    EACH_BAD_CODE(code) EXPECT(OUT_OF_RANGE, gemmill_quantize(code, x, 8, 1.0f, 0, q));
    EXPECT(NULL_POINTER, gemmill_quantize_by_division(U8, NULL, 8, 1.0f, 0, q));
    EXPECT(OVERLAP, gemmill_quantize_by_division(U8, x, 8, 1.0f, 0, (uint8_t *)x + 31));
    EXPECT(BAD_NUMBER, gemmill_quantize_by_division(U8, x, 8, 0.0f, 0, q));
    for (int i = 0; i < 8; i++) TRUE(q[i] == 77);
    OK(gemmill_quantize(I8, NULL, 0, 1.0f, 0, NULL));

    EXPECT(NULL_POINTER, gemmill_dequantize(U8, NULL, 8, 1.0f, 0, back));
    EXPECT(NULL_POINTER, gemmill_dequantize(U8, q, 8, 1.0f, 0, NULL));
    EXPECT(MISALIGNED, gemmill_dequantize(U8, q, 8, 1.0f, 0, odd(x)));
    EXPECT(OUT_OF_RANGE, gemmill_dequantize(U8, q, INT64_MIN, 1.0f, 0, back));
    EXPECT(OUT_OF_RANGE, gemmill_dequantize(I8, q, 8, 1.0f, 128, back));
    EXPECT(OUT_OF_RANGE, gemmill_dequantize(I8, q, 8, 1.0f, INT32_MAX, back));
    EXPECT(OVERFLOW, gemmill_dequantize(U8, q, INT64_MAX, 1.0f, 0, back));
    EXPECT(OVERLAP, gemmill_dequantize(U8, back, 8, 1.0f, 0, back));
    EXPECT(BAD_NUMBER, gemmill_dequantize(U8, q, 8, NAN, 0, back));
    EXPECT(UNSUPPORTED, gemmill_dequantize(GEMMILL_TYPE_I32, q, 8, 1.0f, 0, back));
    EACH_BAD_CODE(code) EXPECT(OUT_OF_RANGE, gemmill_dequantize(code, q, 8, 1.0f, 0, back));
    OK(gemmill_dequantize(U8, q, 8, 1.0f, 77, back));
    for (int i = 0; i < 8; i++) TRUE(back[i] == 0.0f);

    const float infinite[8] = {0.0f, 1.0f, INFINITY, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    float scales[4] = {77.0f, 77.0f, 77.0f, 77.0f};
    typedef gemmill_status Quantize(const float *, int64_t, int64_t, int64_t, int64_t, int8_t *, float *);
    for (int i = 0; i < 2; i++) {
        Quantize *const gemmill_quantize_weights =
            i ? gemmill_quantize_weights_per_tensor : gemmill_quantize_weights_per_column;
#define IS(status, call) TRUE((call) == GEMMILL_STATUS_##status)
        IS(NULL_POINTER, gemmill_quantize_weights(NULL, 2, 4, 4, 1, w, scales));
        IS(NULL_POINTER, gemmill_quantize_weights(x, 2, 4, 4, 1, NULL, scales));
        IS(NULL_POINTER, gemmill_quantize_weights(x, 2, 4, 4, 1, w, NULL));
        IS(MISALIGNED, gemmill_quantize_weights(odd(x), 2, 4, 4, 1, w, scales));
        IS(MISALIGNED, gemmill_quantize_weights(x, 2, 4, 4, 1, w, odd(scales)));
        IS(OUT_OF_RANGE, gemmill_quantize_weights(x, -2, 4, 4, 1, w, scales));
        IS(OUT_OF_RANGE, gemmill_quantize_weights(x, 2, -4, 4, 1, w, scales));
        IS(OUT_OF_RANGE, gemmill_quantize_weights(x, 2, 4, -4, 1, w, scales));
        IS(OUT_OF_RANGE, gemmill_quantize_weights(x, 2, 4, 4, -1, w, scales));
        IS(OVERFLOW, gemmill_quantize_weights(x, INT64_MAX, INT64_MAX, 0, 0, w, scales));
        IS(OVERFLOW, gemmill_quantize_weights(x, 2, 4, INT64_MAX, 1, w, scales));
        IS(OVERFLOW, gemmill_quantize_weights(x, 2, 4, 4, INT64_MAX, w, scales));
        IS(OVERLAP, gemmill_quantize_weights(x, 2, 4, 4, 1, (int8_t *)x, scales));
        IS(OVERLAP, gemmill_quantize_weights(x, 2, 4, 4, 1, w, x + 7));
        IS(OVERLAP, gemmill_quantize_weights(x, 2, 4, 4, 1, (int8_t *)scales, scales));
        IS(BAD_NUMBER, gemmill_quantize_weights(infinite, 2, 4, 4, 1, w, scales));
#undef IS
    }
    for (int i = 0; i < 8; i++) TRUE(w[i] == 77);
    for (int i = 0; i < 4; i++) TRUE(scales[i] == 77.0f);
}

int main(void)
{
    fill();
    settings();
    runs();
    multiply();
    quantization();
    other_quantization();
    large_sums();
    return verdict("misuse of products");
}
