/* Misuse of floating-point weights, products and conversions: see misuse.h. */
#include "misuse.h"

enum { F32 = GEMMILL_TYPE_F32, F16 = GEMMILL_TYPE_F16, BF16 = GEMMILL_TYPE_BF16 };

static float w[K * N], activations[2 * M * K];
static uint16_t halves[64];

#define EACH_INTEGER_TYPE(type) for (int32_t type = GEMMILL_TYPE_U8; type <= GEMMILL_TYPE_I32; type++)

static const float no_numbers[] = {NAN, INFINITY, -INFINITY};

static gemmill_float_weights *packed_float(void)
{
    gemmill_float_weights *weights = NULL;
    OK(gemmill_float_weights_create(F32, w, K, N, N, 1, NULL, &weights));
    return weights;
}

static void packing(void)
{
    gemmill_float_packing *packing = NULL;
    gemmill_float_weights *weights = NULL;
    EXPECT(NULL_POINTER, gemmill_float_packing_create(NULL));
    EXPECT(MISALIGNED, gemmill_float_packing_create(odd(x)));
    OK(gemmill_float_packing_create(&packing));
    for (int i = 0; i < 2; i++) {
        gemmill_status refused = i ? GEMMILL_STATUS_MISALIGNED : GEMMILL_STATUS_NULL_POINTER;
        gemmill_float_packing *const bad = i ? odd(packing) : NULL;
        REFUSED(gemmill_float_packing_set_type(bad, F16));
        REFUSED(gemmill_float_packing_set_alpha(bad, 1.0f));
        REFUSED(gemmill_float_packing_set_saturating(bad, 1));
        REFUSED(gemmill_float_packing_set_threads(bad, GEMMILL_THREADS_AUTO, 0));
    }
    EACH_INTEGER_TYPE(type) EXPECT(UNSUPPORTED, gemmill_float_packing_set_type(packing, type));
    EACH_BAD_CODE(code) EXPECT(OUT_OF_RANGE, gemmill_float_packing_set_type(packing, code));
    REFUSES_THREADS(gemmill_float_packing_set_threads, packing);
    for (int i = 0; i < 3; i++) {
        OK(gemmill_float_packing_set_alpha(packing, no_numbers[i]));
        EXPECT(BAD_NUMBER, gemmill_float_weights_create(F32, w, K, N, N, 1, packing, &weights));
    }
    TRUE(weights == NULL);
    OK(gemmill_float_packing_set_alpha(packing, -2.0f));
    OK(gemmill_float_packing_set_threads(packing, GEMMILL_THREADS_MAX, 1));
    OK(gemmill_float_packing_set_type(packing, F16));
    OK(gemmill_float_packing_set_saturating(packing, 1));
    OK(gemmill_float_weights_create(F32, w, K, N, N, 1, packing, &weights));
    OK(gemmill_float_weights_destroy(weights));
    EXPECT(MISALIGNED, gemmill_float_packing_destroy(odd(packing)));
    OK(gemmill_float_packing_destroy(NULL));
    OK(gemmill_float_packing_destroy(packing));
}

static void weights(void)
{
    gemmill_float_weights *made = NULL;
#define CREATE(status, ...) expect_status(GEMMILL_STATUS_##status, gemmill_float_weights_create(__VA_ARGS__, &made), \
                                          "gemmill_float_weights_create(" #__VA_ARGS__ ")", __LINE__)
    EXPECT(NULL_POINTER, gemmill_float_weights_create(F32, w, K, N, N, 1, NULL, NULL));
    EXPECT(MISALIGNED, gemmill_float_weights_create(F32, w, K, N, N, 1, NULL, odd(x)));
    CREATE(NULL_POINTER, F32, NULL, K, N, N, 1, NULL);
    CREATE(MISALIGNED, F32, w, K, N, N, 1, odd(x));
    CREATE(MISALIGNED, F32, odd(w), K, N, N, 1, NULL);
    CREATE(MISALIGNED, F16, odd(halves), K, N, N, 1, NULL);
    CREATE(MISALIGNED, BF16, odd(halves), K, N, N, 1, NULL);
    CREATE(OUT_OF_RANGE, F32, w, -1, N, N, 1, NULL);
    CREATE(OUT_OF_RANGE, F32, w, K, INT64_MIN, N, 1, NULL);
    CREATE(OUT_OF_RANGE, F32, w, K, N, -N, 1, NULL);
    CREATE(OUT_OF_RANGE, F32, w, K, N, N, -1, NULL);
    CREATE(OVERFLOW, F32, w, INT64_MAX, INT64_MAX, 1, 1, NULL);
    CREATE(OVERFLOW, F32, w, INT64_MAX, INT64_MAX, 0, 0, NULL);
    CREATE(OVERFLOW, F32, w, K, N, INT64_MAX, 1, NULL);
    CREATE(OVERFLOW, F16, halves, K, N, N, INT64_MAX, NULL);
    CREATE(OVERFLOW, F32, w, INT64_C(1) << 40, INT64_C(1) << 40, 0, 0, NULL);
    CREATE(OUT_OF_MEMORY, BF16, halves, INT64_C(1) << 30, INT64_C(1) << 30, 0, 0, NULL);
    EACH_INTEGER_TYPE(type) CREATE(UNSUPPORTED, type, w, K, N, N, 1, NULL);
    EACH_BAD_CODE(code) CREATE(OUT_OF_RANGE, code, w, K, N, N, 1, NULL);
    TRUE(made == NULL);
    OK(gemmill_float_weights_create(F32, NULL, 0, N, N, 1, NULL, &made));
    OK(gemmill_float_weights_destroy(made));
    OK(gemmill_float_weights_create(F32, NULL, INT64_MAX, 0, 1, 1, NULL, &made));
    OK(gemmill_float_weights_destroy(made));
#undef CREATE

    gemmill_float_weights *good = packed_float(), *shared = NULL;
    int64_t large = 77;
    int32_t small = 77;
    float back[K * N];
    uint8_t bytes[512];
    memset(back, 77, sizeof back);
    memset(bytes, 77, sizeof bytes);
    for (int i = 0; i < 2; i++) {
        gemmill_status refused = i ? GEMMILL_STATUS_MISALIGNED : GEMMILL_STATUS_NULL_POINTER;
        const gemmill_float_weights *const bad = i ? odd(good) : NULL;
        REFUSED(gemmill_float_weights_share(bad, &shared));
        REFUSED_PROPERTY(gemmill_float_weights_k, good, i, large);
        REFUSED_PROPERTY(gemmill_float_weights_n, good, i, large);
        REFUSED_PROPERTY(gemmill_float_weights_type, good, i, small);
        REFUSED_PROPERTY(gemmill_float_weights_size, good, i, large);
        REFUSED(gemmill_float_weights_equal(bad, good, &small));
        REFUSED(gemmill_float_weights_equal(good, bad, &small));
        REFUSED(gemmill_float_weights_unpack(bad, back, N));
        REFUSED(gemmill_float_weights_to_bytes(bad, bytes, sizeof bytes, &large));
        int64_t *const bad_large = i ? odd(x) : NULL;
        int32_t *const bad_small = i ? odd(integers) : NULL;
        REFUSED(gemmill_float_weights_share(good, i ? odd(x) : NULL));
        REFUSED(gemmill_float_weights_equal(good, good, bad_small));
        REFUSED(gemmill_float_weights_unpack(good, i ? odd(back) : NULL, N));
        REFUSED(gemmill_float_weights_to_bytes(good, bytes, sizeof bytes, bad_large));
        REFUSED(gemmill_float_weights_from_bytes(bytes, sizeof bytes, i ? odd(x) : NULL));
    }
    TRUE(large == 77 && small == 77 && shared == NULL);
    OK(gemmill_float_weights_k(good, &large));
    TRUE(large == K);
    OK(gemmill_float_weights_n(good, &large));
    TRUE(large == N);
    OK(gemmill_float_weights_type(good, &small));
    TRUE(small == F32);
    OK(gemmill_float_weights_size(good, &large));
    TRUE(large >= 4 * K * N);
    OK(gemmill_float_weights_share(good, &shared));
    OK(gemmill_float_weights_equal(good, shared, &small));
    TRUE(small == 1);
    OK(gemmill_float_weights_destroy(shared));

    EXPECT(OUT_OF_RANGE, gemmill_float_weights_unpack(good, back, -N));
    EXPECT(OVERLAP, gemmill_float_weights_unpack(good, back, N - 1));
    EXPECT(OVERFLOW, gemmill_float_weights_unpack(good, back, INT64_MAX));
    float untouched;
    memset(&untouched, 77, sizeof untouched);
    for (int i = 0; i < K * N; i++) TRUE(back[i] == untouched);
    OK(gemmill_float_weights_unpack(good, back, N));
    TRUE(memcmp(back, w, sizeof back) == 0);

    int64_t length = 77;
    EXPECT(NULL_POINTER, gemmill_float_weights_to_bytes(good, NULL, 1, &length));
    EXPECT(OUT_OF_RANGE, gemmill_float_weights_to_bytes(good, bytes, -1, &length));
    EXPECT(OVERFLOW, gemmill_float_weights_to_bytes(good, bytes, INT64_MAX, &length));
    EXPECT(TOO_SMALL, gemmill_float_weights_to_bytes(good, NULL, 0, &length));
    EXPECT(TOO_SMALL, gemmill_float_weights_to_bytes(good, bytes, length - 1, &length));
    TRUE(bytes[0] == 77 && length == 45 + 4 * K * N);
    OK(gemmill_float_weights_to_bytes(good, bytes, length, &length));
    REFUSES_BYTES(gemmill_float_weights_from_bytes, bytes, length, &made);
    TRUE(made == NULL);
    OK(gemmill_float_weights_from_bytes(bytes, length, &made));
    OK(gemmill_float_weights_equal(good, made, &small));
    TRUE(small == 1);
    OK(gemmill_float_weights_destroy(made));
    EXPECT(MISALIGNED, gemmill_float_weights_destroy(odd(good)));
    OK(gemmill_float_weights_destroy(NULL));
    OK(gemmill_float_weights_destroy(good));
}

/* Every setter with `gemm`, and otherwise good arguments. */
static void refuse_all_settings(gemmill_status refused, gemmill_float_gemm *gemm)
{
    REFUSED(gemmill_float_gemm_set_beta(gemm, 1.0f));
    REFUSED(gemmill_float_gemm_set_bias(gemm, x, N));
    REFUSED(gemmill_float_gemm_set_function(gemm, GEMMILL_FUNCTION_RELU));
    REFUSED(gemmill_float_gemm_set_clamp(gemm, 0.0f, 1.0f));
    REFUSED(gemmill_float_gemm_set_hardware_dot(gemm, GEMMILL_HARDWARE_DOT_NONE));
    REFUSED(gemmill_float_gemm_set_threads(gemm, GEMMILL_THREADS_AUTO, 0));
    REFUSED(gemmill_float_gemm_set_tier(gemm, GEMMILL_TIER_PORTABLE));
    REFUSED(gemmill_float_gemm_set_pool(gemm, NULL));
}

static void settings(void)
{
    gemmill_float_weights *weights = packed_float();
    gemmill_float_gemm *gemm = NULL;
    int32_t tier = 77;
    EXPECT(NULL_POINTER, gemmill_float_gemm_create(NULL, F32, F32, &gemm));
    EXPECT(MISALIGNED, gemmill_float_gemm_create(odd(weights), F32, F32, &gemm));
    EXPECT(NULL_POINTER, gemmill_float_gemm_create(weights, F32, F32, NULL));
    EXPECT(MISALIGNED, gemmill_float_gemm_create(weights, F32, F32, odd(x)));
    EACH_INTEGER_TYPE(type) {
        EXPECT(UNSUPPORTED, gemmill_float_gemm_create(weights, type, F32, &gemm));
        EXPECT(UNSUPPORTED, gemmill_float_gemm_create(weights, F32, type, &gemm));
    }
    EACH_BAD_CODE(code) {
        EXPECT(OUT_OF_RANGE, gemmill_float_gemm_create(weights, code, F32, &gemm));
        EXPECT(OUT_OF_RANGE, gemmill_float_gemm_create(weights, F32, code, &gemm));
    }
    TRUE(gemm == NULL);
    refuse_all_settings(GEMMILL_STATUS_NULL_POINTER, NULL);
    OK(gemmill_float_gemm_create(weights, BF16, F16, &gemm));
    refuse_all_settings(GEMMILL_STATUS_MISALIGNED, odd(gemm));
    EXPECT(NULL_POINTER, gemmill_float_gemm_set_bias(gemm, NULL, N));
    EXPECT(MISALIGNED, gemmill_float_gemm_set_bias(gemm, odd(x), N));
    EXPECT(MISMATCH, gemmill_float_gemm_set_bias(gemm, x, N - 1));
    EXPECT(OUT_OF_RANGE, gemmill_float_gemm_set_bias(gemm, x, -N));
    EXPECT(OVERFLOW, gemmill_float_gemm_set_bias(gemm, x, INT64_MAX));
    EACH_BAD_CODE(code) {
        EXPECT(OUT_OF_RANGE, gemmill_float_gemm_set_function(gemm, code));
        EXPECT(OUT_OF_RANGE, gemmill_float_gemm_set_tier(gemm, code));
    }
    EXPECT(OUT_OF_RANGE, gemmill_float_gemm_set_function(gemm, 4));
    REFUSES_THREADS(gemmill_float_gemm_set_threads, gemm);
    OK(gemmill_float_gemm_set_threads(gemm, GEMMILL_THREADS_MAX, INT64_MAX));
    EXPECT(MISALIGNED, gemmill_float_gemm_set_pool(gemm, odd(x)));
    for (int i = 0; i < 3; i++) {
        OK(gemmill_float_gemm_set_beta(gemm, no_numbers[i]));
        EXPECT(BAD_NUMBER, gemmill_float_gemm_prepare(gemm));
    }
    OK(gemmill_float_gemm_set_beta(gemm, 0.5f));
    OK(gemmill_float_gemm_set_clamp(gemm, NAN, 1.0f));
    EXPECT(BAD_NUMBER, gemmill_float_gemm_prepare(gemm));
    OK(gemmill_float_gemm_set_clamp(gemm, 1.0f, 0.0f));
    EXPECT(BAD_NUMBER, gemmill_float_gemm_tier(gemm, &tier));
    OK(gemmill_float_gemm_set_function(gemm, GEMMILL_FUNCTION_SILU));
    for (int32_t lacking = 0; lacking <= GEMMILL_TIER_AMX; lacking++) {
        const char *missing = NULL;
        OK(gemmill_tier_missing_feature(lacking, &missing));
        if (!missing) continue;
        OK(gemmill_float_gemm_set_tier(gemm, lacking));
        EXPECT(TIER, gemmill_float_gemm_prepare(gemm));
    }
    OK(gemmill_float_gemm_set_tier(gemm, GEMMILL_TIER_PORTABLE));
    EXPECT(NULL_POINTER, gemmill_float_gemm_prepare(NULL));
    EXPECT(MISALIGNED, gemmill_float_gemm_prepare(odd(gemm)));
    EXPECT(NULL_POINTER, gemmill_float_gemm_tier(NULL, &tier));
    EXPECT(MISALIGNED, gemmill_float_gemm_tier(odd(gemm), &tier));
    EXPECT(NULL_POINTER, gemmill_float_gemm_tier(gemm, NULL));
    EXPECT(MISALIGNED, gemmill_float_gemm_tier(gemm, odd(integers)));
    TRUE(tier == 77);
    OK(gemmill_float_gemm_tier(gemm, &tier));
    TRUE(tier == GEMMILL_TIER_PORTABLE);
    OK(gemmill_float_gemm_prepare(gemm));
    refuse_all_settings(GEMMILL_STATUS_FROZEN, gemm);
    EXPECT(MISALIGNED, gemmill_float_gemm_destroy(odd(gemm)));
    OK(gemmill_float_gemm_destroy(NULL));
    OK(gemmill_float_gemm_destroy(gemm));
    OK(gemmill_float_weights_destroy(weights));
}

static void hardware_dots(void)
{
    enum { VECTORS = GEMMILL_HARDWARE_DOT_AVX512_BF16, TILES = GEMMILL_HARDWARE_DOT_AMX_BF16,
          BEST = GEMMILL_HARDWARE_DOT_BEST };
    enum { NONE = GEMMILL_HARDWARE_DOT_NONE, PORTABLE = GEMMILL_TIER_PORTABLE, AVX2 = GEMMILL_TIER_AVX2 };
    int32_t dot = 77;
    double bound = 77.0;
    EACH_BAD_CODE(code) {
        TRUE(gemmill_hardware_dot_name(code) == NULL);
        EXPECT(OUT_OF_RANGE, gemmill_hardware_dot_require(code, PORTABLE));
        EXPECT(OUT_OF_RANGE, gemmill_hardware_dot_require(VECTORS, code));
        EXPECT(OUT_OF_RANGE, gemmill_hardware_dot_best(code, &dot));
        EXPECT(OUT_OF_RANGE, gemmill_hardware_dot_error_bound(code, K, 1.0, &bound));
    }
    TRUE(gemmill_hardware_dot_name(TILES + 1) == NULL);
    TRUE(strcmp(gemmill_hardware_dot_name(NONE), "none") == 0
         && strcmp(gemmill_hardware_dot_name(TILES), "amx-bf16") == 0);
    EXPECT(NULL_POINTER, gemmill_hardware_dot_best(AVX2, NULL));
    EXPECT(MISALIGNED, gemmill_hardware_dot_best(AVX2, odd(integers)));
    EXPECT(NULL_POINTER, gemmill_hardware_dot_error_bound(VECTORS, K, 1.0, NULL));
    EXPECT(MISALIGNED, gemmill_hardware_dot_error_bound(VECTORS, K, 1.0, odd(x)));
    EXPECT(UNSUPPORTED, gemmill_hardware_dot_error_bound(NONE, K, 1.0, &bound));
    EXPECT(UNSUPPORTED, gemmill_hardware_dot_error_bound(BEST, K, 1.0, &bound));
    EXPECT(OUT_OF_RANGE, gemmill_hardware_dot_error_bound(TILES, -1, 1.0, &bound));
    EXPECT(BAD_NUMBER, gemmill_hardware_dot_error_bound(TILES, K, NAN, &bound));
    EXPECT(BAD_NUMBER, gemmill_hardware_dot_error_bound(TILES, K, -1.0, &bound));
    TRUE(bound == 77.0);
    OK(gemmill_hardware_dot_error_bound(VECTORS, INT64_MAX, 1.0, &bound));
    TRUE(isinf(bound));
    OK(gemmill_hardware_dot_error_bound(TILES, 0, 0.0, &bound));
    TRUE(bound > 0.0 && bound < 2e-38);

    /* The portable tier carries them out, if they are named; AVX2 has none. */
    OK(gemmill_hardware_dot_require(NONE, PORTABLE));
    OK(gemmill_hardware_dot_require(VECTORS, PORTABLE));
    OK(gemmill_hardware_dot_require(TILES, PORTABLE));
    EXPECT(TIER, gemmill_hardware_dot_require(BEST, PORTABLE));
    EXPECT(TIER, gemmill_hardware_dot_require(VECTORS, AVX2));
    EXPECT(TIER, gemmill_hardware_dot_require(TILES, GEMMILL_TIER_AVX512_VNNI));
    EXPECT(TIER, gemmill_hardware_dot_best(PORTABLE, &dot));
    EXPECT(TIER, gemmill_hardware_dot_best(AVX2, &dot));
    TRUE(dot == 77);
    for (int32_t tier = AVX2; tier <= GEMMILL_TIER_AMX; tier++) {
        const gemmill_status best = gemmill_hardware_dot_best(tier, &dot);
        TRUE(gemmill_hardware_dot_require(BEST, tier) == best);
        if (best == GEMMILL_STATUS_OK) OK(gemmill_hardware_dot_require(dot, tier));
        /* There are none, or this CPU is faster without. */
        else TRUE(best == GEMMILL_STATUS_TIER);
    }

    gemmill_float_weights *weights = packed_float();
    gemmill_float_gemm *gemm = NULL;
    OK(gemmill_float_gemm_create(weights, BF16, F32, &gemm));
    for (dot = BEST; dot <= TILES; dot++) EXPECT(UNSUPPORTED, gemmill_float_gemm_set_hardware_dot(gemm, dot));
    OK(gemmill_float_gemm_set_hardware_dot(gemm, NONE));
    OK(gemmill_float_gemm_hardware_dot(gemm, &dot));
    TRUE(dot == NONE);
    OK(gemmill_float_gemm_destroy(gemm));
    OK(gemmill_float_weights_destroy(weights));

    OK(gemmill_float_weights_create(BF16, halves, K, N, N, 1, NULL, &weights));
    OK(gemmill_float_gemm_create(weights, F32, F32, &gemm));
    EACH_BAD_CODE(code) EXPECT(OUT_OF_RANGE, gemmill_float_gemm_set_hardware_dot(gemm, code));
    EXPECT(OUT_OF_RANGE, gemmill_float_gemm_set_hardware_dot(gemm, TILES + 1));
    OK(gemmill_float_gemm_set_tier(gemm, AVX2));
    for (dot = BEST; dot <= TILES; dot++) {
        OK(gemmill_float_gemm_set_hardware_dot(gemm, dot));
        EXPECT(TIER, gemmill_float_gemm_prepare(gemm));
    }
    OK(gemmill_float_gemm_set_tier(gemm, PORTABLE));
    OK(gemmill_float_gemm_set_hardware_dot(gemm, BEST));
    dot = 77;
    EXPECT(TIER, gemmill_float_gemm_hardware_dot(gemm, &dot));
    OK(gemmill_float_gemm_set_hardware_dot(gemm, TILES));
    EXPECT(NULL_POINTER, gemmill_float_gemm_hardware_dot(NULL, &dot));
    EXPECT(MISALIGNED, gemmill_float_gemm_hardware_dot(odd(gemm), &dot));
    EXPECT(NULL_POINTER, gemmill_float_gemm_hardware_dot(gemm, NULL));
    EXPECT(MISALIGNED, gemmill_float_gemm_hardware_dot(gemm, odd(integers)));
    TRUE(dot == 77);
    OK(gemmill_float_gemm_hardware_dot(gemm, &dot));
    TRUE(dot == TILES);
    OK(gemmill_float_gemm_destroy(gemm));
    OK(gemmill_float_weights_destroy(weights));
}

static void runs(void)
{
    gemmill_float_weights *weights = packed_float();
    gemmill_float_gemm *gemm = NULL;
    gemmill_run_options *options = NULL;
    float c[M * N];
    for (int i = 0; i < M * N; i++) c[i] = 77.0f;
    OK(gemmill_float_gemm_create(weights, F32, F32, &gemm));
    REFUSES_RUNS(gemmill_float_gemm_run, gemm, activations, c);
    EXPECT(MISALIGNED, gemmill_float_gemm_run(gemm, M, odd(activations), K, 1, c, N, NULL));
    EXPECT(OVERLAP, gemmill_float_gemm_run(gemm, M, c + M * N - 1, 0, 0, c, N, NULL));

    /* What differs from run to run. */
    OK(gemmill_run_options_create(&options));
    EXPECT(NULL_POINTER, gemmill_run_options_set_float_residual(NULL, F32, x, N));
    EXPECT(MISALIGNED, gemmill_run_options_set_float_residual(odd(options), F32, x, N));
    EXPECT(MISALIGNED, gemmill_run_options_set_float_residual(options, F32, odd(x), N));
    EXPECT(MISALIGNED, gemmill_run_options_set_float_residual(options, F16, odd(x), N));
    EXPECT(OUT_OF_RANGE, gemmill_run_options_set_float_residual(options, F32, x, -N));
    EACH_BAD_CODE(code) EXPECT(OUT_OF_RANGE, gemmill_run_options_set_float_residual(options, code, x, N));
    EXPECT(UNSUPPORTED, gemmill_run_options_set_float_residual(options, GEMMILL_TYPE_I32, x, N));
    OK(gemmill_run_options_set_float_residual(options, BF16, x, N));
    EXPECT(UNSUPPORTED, gemmill_float_gemm_run(gemm, M, activations, K, 1, c, N, options));
    OK(gemmill_run_options_set_float_residual(options, F32, x, INT64_MAX));
    EXPECT(OVERFLOW, gemmill_float_gemm_run(gemm, M, activations, K, 1, c, N, options));
    OK(gemmill_run_options_set_float_residual(options, F32, c, N));
    EXPECT(OVERLAP, gemmill_float_gemm_run(gemm, M, activations, K, 1, c, N, options));
    OK(gemmill_run_options_set_float_residual(options, F32, NULL, 0));
    OK(gemmill_run_options_set_row_scales(options, x, M));
    EXPECT(UNSUPPORTED, gemmill_float_gemm_run(gemm, M, activations, K, 1, c, N, options));
    OK(gemmill_run_options_set_row_scales(options, NULL, 0));
    OK(gemmill_run_options_set_row_zero_points(options, integers, M));
    EXPECT(UNSUPPORTED, gemmill_float_gemm_run(gemm, M, activations, K, 1, c, N, options));
    OK(gemmill_run_options_set_row_zero_points(options, NULL, 0));
    for (int i = 0; i < M * N; i++) TRUE(c[i] == 77.0f);
    OK(gemmill_float_gemm_run(gemm, 0, NULL, K, 1, NULL, N, options));
    OK(gemmill_float_gemm_run(gemm, M, activations, K, 1, c, N, options));
    TRUE(c[0] != 77.0f);
    OK(gemmill_float_gemm_destroy(gemm));

    /* Products of integers take a residual of the type of C only. */
    gemmill_weights *bytes = packed();
    gemmill_gemm *dequantized = NULL;
    OK(gemmill_gemm_create(bytes, GEMMILL_TYPE_U8, F32, &dequantized));
    OK(gemmill_gemm_set_b_scale(dequantized, 1.0f));
    OK(gemmill_gemm_set_a_scale(dequantized, 1.0f));
    OK(gemmill_run_options_set_float_residual(options, F16, x, N));
    EXPECT(UNSUPPORTED, gemmill_gemm_run(dequantized, M, a, K, 1, c, N, options));
    OK(gemmill_run_options_set_float_residual(options, F32, x, N));
    OK(gemmill_gemm_run(dequantized, M, a, K, 1, c, N, options));
    OK(gemmill_gemm_destroy(dequantized));
    OK(gemmill_weights_destroy(bytes));
    OK(gemmill_run_options_destroy(options));
    OK(gemmill_float_weights_destroy(weights));
}

static void conversions(void)
{
    float back[8];
    uint16_t to[8];
    memset(to, 77, sizeof to);
    memset(back, 77, sizeof back);
    typedef gemmill_status Convert(int32_t, const void *, int32_t, void *, int64_t);
    for (int i = 0; i < 2; i++) {
        Convert *const convert = i ? gemmill_convert_saturating : gemmill_convert;
#define IS(status, call) TRUE((call) == GEMMILL_STATUS_##status)
        IS(NULL_POINTER, convert(F32, NULL, F16, to, 8));
        IS(NULL_POINTER, convert(F32, x, F16, NULL, 8));
        IS(MISALIGNED, convert(F32, odd(x), BF16, to, 8));
        IS(MISALIGNED, convert(F32, x, BF16, odd(halves), 8));
        IS(OUT_OF_RANGE, convert(F32, x, F16, to, -8));
        IS(OVERFLOW, convert(F32, x, F16, to, INT64_MAX));
        IS(OVERLAP, convert(F32, x, F16, (uint16_t *)(void *)x + 15, 8));
        IS(UNSUPPORTED, convert(F32, x, F32, back, 8));
        IS(UNSUPPORTED, convert(F16, halves, BF16, to, 8));
        IS(UNSUPPORTED, convert(GEMMILL_TYPE_U8, halves, BF16, to, 8));
        IS(UNSUPPORTED, convert(F32, x, GEMMILL_TYPE_I32, to, 8));
        EACH_BAD_CODE(code) {
            IS(OUT_OF_RANGE, convert(code, x, F16, to, 8));
            IS(OUT_OF_RANGE, convert(F32, x, code, to, 8));
        }
        IS(OK, convert(F32, NULL, F16, NULL, 0));
#undef IS
    }
    EXPECT(UNSUPPORTED, gemmill_convert_saturating(F16, halves, F32, back, 8));
    EXPECT(MISALIGNED, gemmill_convert(F16, odd(halves), F32, back, 8));
    EXPECT(MISALIGNED, gemmill_convert(BF16, halves, F32, odd(x), 8));
    for (int i = 0; i < 8; i++) TRUE(to[i] == 77 * 257);
}

int main(void)
{
    fill();
    for (int i = 0; i < K * N; i++) w[i] = (float)(i - 11) * 0.75f;
    for (int i = 0; i < 2 * M * K; i++) activations[i] = (float)(i % 7 - 3);
    packing();
    weights();
    settings();
    hardware_dots();
    runs();
    conversions();
    return verdict("misuse of floats");
}
