/* Misuse of weights of few bits and their products: see misuse.h. */
#include "misuse.h"

enum { F32 = GEMMILL_TYPE_F32, F16 = GEMMILL_TYPE_F16, MIDDLE = GEMMILL_ZERO_POINTS_MIDDLE,
      EACH = GEMMILL_ZERO_POINTS_EACH };

static float w[K * N];

static gemmill_groupwise_weights *rounded(void)
{
    gemmill_groupwise_weights *weights = NULL;
    OK(gemmill_groupwise_weights_round_to_nearest(w, K, N, N, 1, 4, 32, EACH, &weights));
    return weights;
}

static void quantizing(void)
{
    gemmill_groupwise_weights *made = NULL;
    float bad_weights[K * N];
    for (int search = 0; search < 2; search++) {
        /* One of the two quantizers, by a name that messages do not begin with. */
#define QUANTIZE(b, k, n, rows, cols, bits, size, points, out) (search \
        ? gemmill_groupwise_weights_search(b, k, n, rows, cols, bits, size, points, NULL, 0, out) \
        : gemmill_groupwise_weights_round_to_nearest(b, k, n, rows, cols, bits, size, points, out))
#define IS(status, call) TRUE((call) == GEMMILL_STATUS_##status)
        IS(NULL_POINTER, QUANTIZE(NULL, K, N, N, 1, 4, 32, MIDDLE, &made));
        IS(NULL_POINTER, QUANTIZE(w, K, N, N, 1, 4, 32, MIDDLE, NULL));
        IS(MISALIGNED, QUANTIZE(odd(w), K, N, N, 1, 4, 32, MIDDLE, &made));
        IS(MISALIGNED, QUANTIZE(w, K, N, N, 1, 4, 32, MIDDLE, odd(x)));
        IS(OUT_OF_RANGE, QUANTIZE(w, -1, N, N, 1, 4, 32, MIDDLE, &made));
        IS(OUT_OF_RANGE, QUANTIZE(w, K, INT64_MIN, N, 1, 4, 32, MIDDLE, &made));
        IS(OUT_OF_RANGE, QUANTIZE(w, K, N, -N, 1, 4, 32, MIDDLE, &made));
        IS(OUT_OF_RANGE, QUANTIZE(w, K, N, N, -1, 4, 32, MIDDLE, &made));
        IS(OVERFLOW, QUANTIZE(w, INT64_MAX, INT64_MAX, 1, 1, 4, 32, MIDDLE, &made));
        IS(OVERFLOW, QUANTIZE(w, INT64_MAX, INT64_MAX, 0, 0, 4, 32, MIDDLE, &made));
        IS(OVERFLOW, QUANTIZE(w, K, N, INT64_MAX, 1, 4, 32, MIDDLE, &made));
        IS(OUT_OF_MEMORY, QUANTIZE(w, INT64_C(1) << 30, INT64_C(1) << 30, 0, 0, 4, 32, MIDDLE, &made));
        const int32_t bad_numbers[] = {0, 1, 3, 5, 8, 31, 33, 256, -4, INT32_MIN, INT32_MAX};
        for (size_t i = 0; i < sizeof bad_numbers / sizeof *bad_numbers; i++) {
            IS(OUT_OF_RANGE, QUANTIZE(w, K, N, N, 1, bad_numbers[i], 32, MIDDLE, &made));
            IS(OUT_OF_RANGE, QUANTIZE(w, K, N, N, 1, 4, bad_numbers[i], MIDDLE, &made));
        }
        EACH_BAD_CODE(code) IS(OUT_OF_RANGE, QUANTIZE(w, K, N, N, 1, 4, 32, code, &made));
        const float unusable[] = {NAN, INFINITY, -INFINITY, 2.5e38f};
        for (int i = 0; i < 4; i++) {
            memcpy(bad_weights, w, sizeof w);
            bad_weights[K * N - 1] = unusable[i];
            IS(BAD_NUMBER, QUANTIZE(bad_weights, K, N, N, 1, 2, 128, EACH, &made));
        }
        TRUE(made == NULL);
        IS(OK, QUANTIZE(NULL, 0, N, N, 1, 2, 64, EACH, &made));
        OK(gemmill_groupwise_weights_destroy(made));
        made = NULL;
#undef IS
#undef QUANTIZE
    }
    const float negative[K] = {1.0f, 0.0f, -1.0f}, no_number[K] = {NAN};
    EXPECT(NULL_POINTER, gemmill_groupwise_weights_search(w, K, N, N, 1, 4, 32, MIDDLE, NULL, K, &made));
    EXPECT(MISALIGNED, gemmill_groupwise_weights_search(w, K, N, N, 1, 4, 32, MIDDLE, odd(x), K, &made));
    EXPECT(MISMATCH, gemmill_groupwise_weights_search(w, K, N, N, 1, 4, 32, MIDDLE, x, K - 1, &made));
    EXPECT(OUT_OF_RANGE, gemmill_groupwise_weights_search(w, K, N, N, 1, 4, 32, MIDDLE, x, -1, &made));
    EXPECT(OVERFLOW, gemmill_groupwise_weights_search(w, K, N, N, 1, 4, 32, MIDDLE, x, INT64_MAX, &made));
    EXPECT(BAD_NUMBER, gemmill_groupwise_weights_search(w, K, N, N, 1, 4, 32, MIDDLE, negative, K, &made));
    EXPECT(BAD_NUMBER, gemmill_groupwise_weights_search(w, K, N, N, 1, 4, 32, MIDDLE, no_number, K, &made));
    EXPECT(NULL_POINTER, gemmill_groupwise_weights_round_to_nearest(NULL, K, N, N, 1, 4, 32, MIDDLE, &made));
    TRUE(made == NULL);
}

static void parts(void)
{
    gemmill_groupwise_weights *made = NULL;
    uint8_t values[K * N] = {0}, points[N] = {0};
    uint16_t scales[N] = {0x3f80, 0x3f80, 0x3f80, 0x3f80};
    EXPECT(NULL_POINTER, gemmill_groupwise_weights_from_parts(K, N, 4, 32, EACH, NULL, scales, points, &made));
    EXPECT(NULL_POINTER, gemmill_groupwise_weights_from_parts(K, N, 4, 32, EACH, values, NULL, points, &made));
    EXPECT(NULL_POINTER, gemmill_groupwise_weights_from_parts(K, N, 4, 32, EACH, values, scales, NULL, &made));
    EXPECT(NULL_POINTER, gemmill_groupwise_weights_from_parts(K, N, 4, 32, EACH, values, scales, points, NULL));
    EXPECT(MISALIGNED, gemmill_groupwise_weights_from_parts(K, N, 4, 32, EACH, values, odd(scales), points, &made));
    EXPECT(MISALIGNED, gemmill_groupwise_weights_from_parts(K, N, 4, 32, EACH, values, scales, points, odd(x)));
    EXPECT(MISMATCH, gemmill_groupwise_weights_from_parts(K, N, 4, 32, MIDDLE, values, scales, points, &made));
    EXPECT(OUT_OF_RANGE, gemmill_groupwise_weights_from_parts(-K, N, 4, 32, EACH, values, scales, points, &made));
    EXPECT(OUT_OF_RANGE, gemmill_groupwise_weights_from_parts(K, -N, 4, 32, EACH, values, scales, points, &made));
    EXPECT(OUT_OF_RANGE, gemmill_groupwise_weights_from_parts(K, N, 3, 32, EACH, values, scales, points, &made));
    EXPECT(OUT_OF_RANGE, gemmill_groupwise_weights_from_parts(K, N, 4, 48, EACH, values, scales, points, &made));
    EACH_BAD_CODE(code)
        EXPECT(OUT_OF_RANGE, gemmill_groupwise_weights_from_parts(K, N, 4, 32, code, values, scales, points, &made));
    EXPECT(OVERFLOW, gemmill_groupwise_weights_from_parts(INT64_MAX, INT64_MAX, 4, 32, EACH, values, scales, points,
                                                          &made));
    EXPECT(OVERFLOW, gemmill_groupwise_weights_from_parts(1, INT64_MAX, 4, 32, EACH, values, scales, points, &made));
    values[5] = 16;
    EXPECT(OUT_OF_RANGE, gemmill_groupwise_weights_from_parts(K, N, 4, 32, EACH, values, scales, points, &made));
    values[5] = 15;
    EXPECT(OUT_OF_RANGE, gemmill_groupwise_weights_from_parts(K, N, 2, 32, EACH, values, scales, points, &made));
    points[1] = 16;
    EXPECT(OUT_OF_RANGE, gemmill_groupwise_weights_from_parts(K, N, 4, 32, EACH, values, scales, points, &made));
    points[1] = 15;
    const uint16_t bad_scales[] = {0, 0x8000, 0xbf80, 0x7f80, 0x7fc0, 0x7f7f};
    for (size_t i = 0; i < sizeof bad_scales / sizeof *bad_scales; i++) {
        scales[N - 1] = bad_scales[i];
        EXPECT(BAD_NUMBER, gemmill_groupwise_weights_from_parts(K, N, 4, 32, EACH, values, scales, points, &made));
    }
    scales[N - 1] = 0x3f80;
    TRUE(made == NULL);
    OK(gemmill_groupwise_weights_from_parts(K, N, 4, 32, EACH, values, scales, points, &made));
    OK(gemmill_groupwise_weights_destroy(made));
    OK(gemmill_groupwise_weights_from_parts(0, 0, 2, 64, MIDDLE, NULL, NULL, NULL, &made));
    OK(gemmill_groupwise_weights_destroy(made));
}

static void properties(void)
{
    gemmill_groupwise_weights *good = rounded(), *made = NULL;
    int64_t large = 77, length = 77;
    int32_t small = 77, size = 77, zero_points = 77;
    double most = 77.0, mean = 77.0;
    uint8_t bytes[512];
    uint16_t scales[N];
    float back[K * N];
    memset(bytes, 77, sizeof bytes);
    for (int i = 0; i < 2; i++) {
        gemmill_status refused = i ? GEMMILL_STATUS_MISALIGNED : GEMMILL_STATUS_NULL_POINTER;
        const gemmill_groupwise_weights *const bad = i ? odd(good) : NULL;
        int64_t *const bad_large = i ? odd(x) : NULL;
        int32_t *const bad_small = i ? odd(integers) : NULL;
        double *const bad_double = i ? odd(x) : NULL;
        REFUSED_PROPERTY(gemmill_groupwise_weights_k, good, i, large);
        REFUSED_PROPERTY(gemmill_groupwise_weights_n, good, i, large);
        REFUSED(gemmill_groupwise_weights_format(bad, &small, &size, &zero_points));
        REFUSED(gemmill_groupwise_weights_format(good, bad_small, &size, &zero_points));
        REFUSED(gemmill_groupwise_weights_format(good, &small, bad_small, &zero_points));
        REFUSED(gemmill_groupwise_weights_format(good, &small, &size, bad_small));
        REFUSED(gemmill_groupwise_weights_equal(bad, good, &small));
        REFUSED(gemmill_groupwise_weights_equal(good, bad, &small));
        REFUSED(gemmill_groupwise_weights_equal(good, good, bad_small));
        REFUSED(gemmill_groupwise_weights_values(bad, bytes, sizeof bytes, &length));
        REFUSED(gemmill_groupwise_weights_values(good, bytes, sizeof bytes, bad_large));
        REFUSED(gemmill_groupwise_weights_scales(bad, scales, N, &length));
        REFUSED(gemmill_groupwise_weights_scales(good, i ? odd(scales) : NULL, N, &length));
        REFUSED(gemmill_groupwise_weights_scales(good, scales, N, bad_large));
        REFUSED(gemmill_groupwise_weights_zero_points(bad, bytes, sizeof bytes, &length));
        REFUSED(gemmill_groupwise_weights_zero_points(good, bytes, sizeof bytes, bad_large));
        REFUSED(gemmill_groupwise_weights_to_bytes(bad, bytes, sizeof bytes, &length));
        REFUSED(gemmill_groupwise_weights_to_bytes(good, bytes, sizeof bytes, bad_large));
        REFUSED(gemmill_groupwise_weights_from_bytes(bytes, sizeof bytes, i ? odd(x) : NULL));
        REFUSED(gemmill_groupwise_weights_dequantize(bad, back, N));
        REFUSED(gemmill_groupwise_weights_dequantize(good, i ? odd(back) : NULL, N));
        REFUSED(gemmill_groupwise_weights_error(bad, w, N, 1, &most, &mean));
        REFUSED(gemmill_groupwise_weights_error(good, i ? odd(w) : NULL, N, 1, &most, &mean));
        REFUSED(gemmill_groupwise_weights_error(good, w, N, 1, bad_double, &mean));
        REFUSED(gemmill_groupwise_weights_error(good, w, N, 1, &most, bad_double));
    }
    TRUE(large == 77 && length == 77 && small == 77 && size == 77 && zero_points == 77 && most == 77.0 && mean == 77.0);
    OK(gemmill_groupwise_weights_k(good, &large));
    TRUE(large == K);
    OK(gemmill_groupwise_weights_n(good, &large));
    TRUE(large == N);
    OK(gemmill_groupwise_weights_format(good, &small, &size, &zero_points));
    TRUE(small == 4 && size == 32 && zero_points == EACH);

    typedef gemmill_status Bytes(const gemmill_groupwise_weights *, uint8_t *, int64_t, int64_t *);
    Bytes *const writers[] = {gemmill_groupwise_weights_values, gemmill_groupwise_weights_zero_points,
                              gemmill_groupwise_weights_to_bytes};
    for (int i = 0; i < 3; i++) {
        TRUE(writers[i](good, NULL, 1, &length) == GEMMILL_STATUS_NULL_POINTER);
        TRUE(writers[i](good, bytes, -1, &length) == GEMMILL_STATUS_OUT_OF_RANGE);
        TRUE(writers[i](good, bytes, INT64_MAX, &length) == GEMMILL_STATUS_OVERFLOW);
        TRUE(writers[i](good, NULL, 0, &length) == GEMMILL_STATUS_TOO_SMALL);
        TRUE(writers[i](good, bytes, length - 1, &length) == GEMMILL_STATUS_TOO_SMALL);
        TRUE(bytes[0] == 77);
    }
    EXPECT(OUT_OF_RANGE, gemmill_groupwise_weights_scales(good, scales, -1, &length));
    EXPECT(OVERFLOW, gemmill_groupwise_weights_scales(good, scales, INT64_MAX, &length));
    EXPECT(TOO_SMALL, gemmill_groupwise_weights_scales(good, scales, N - 1, &length));
    TRUE(length == N);
    OK(gemmill_groupwise_weights_to_bytes(good, bytes, sizeof bytes, &length));
    REFUSES_BYTES(gemmill_groupwise_weights_from_bytes, bytes, length, &made);
    TRUE(made == NULL);
    OK(gemmill_groupwise_weights_from_bytes(bytes, length, &made));
    OK(gemmill_groupwise_weights_equal(good, made, &small));
    TRUE(small == 1);
    OK(gemmill_groupwise_weights_destroy(made));

    EXPECT(OUT_OF_RANGE, gemmill_groupwise_weights_dequantize(good, back, -N));
    EXPECT(OVERLAP, gemmill_groupwise_weights_dequantize(good, back, N - 1));
    EXPECT(OVERFLOW, gemmill_groupwise_weights_dequantize(good, back, INT64_MAX));
    EXPECT(OUT_OF_RANGE, gemmill_groupwise_weights_error(good, w, -N, 1, &most, &mean));
    EXPECT(OUT_OF_RANGE, gemmill_groupwise_weights_error(good, w, N, INT64_MIN, &most, &mean));
    EXPECT(OVERFLOW, gemmill_groupwise_weights_error(good, w, INT64_MAX, 1, &most, &mean));
    EXPECT(MISALIGNED, gemmill_groupwise_weights_destroy(odd(good)));
    OK(gemmill_groupwise_weights_destroy(NULL));
    OK(gemmill_groupwise_weights_destroy(good));
}

static void products(void)
{
    gemmill_groupwise_weights *weights = rounded();
    gemmill_groupwise_packed *packed = NULL, *shared = NULL;
    gemmill_float_gemm *gemm = NULL;
    int64_t large = 77;
    int32_t small = 77, size = 77, zero_points = 77;
    EXPECT(NULL_POINTER, gemmill_groupwise_packed_create(NULL, GEMMILL_THREADS_AUTO, 0, &packed));
    EXPECT(MISALIGNED, gemmill_groupwise_packed_create(odd(weights), GEMMILL_THREADS_AUTO, 0, &packed));
    EXPECT(NULL_POINTER, gemmill_groupwise_packed_create(weights, GEMMILL_THREADS_AUTO, 0, NULL));
    EXPECT(MISALIGNED, gemmill_groupwise_packed_create(weights, GEMMILL_THREADS_AUTO, 0, odd(x)));
    EXPECT(OUT_OF_RANGE, gemmill_groupwise_packed_create(weights, GEMMILL_THREADS_MAX, 0, &packed));
    EXPECT(OUT_OF_RANGE, gemmill_groupwise_packed_create(weights, GEMMILL_THREADS_AUTO, 2, &packed));
    EACH_BAD_CODE(code) EXPECT(OUT_OF_RANGE, gemmill_groupwise_packed_create(weights, code, 1, &packed));
    TRUE(packed == NULL);
    OK(gemmill_groupwise_packed_create(weights, GEMMILL_THREADS_MAX, 1, &packed));
    for (int i = 0; i < 2; i++) {
        gemmill_status refused = i ? GEMMILL_STATUS_MISALIGNED : GEMMILL_STATUS_NULL_POINTER;
        const gemmill_groupwise_packed *const bad = i ? odd(packed) : NULL;
        int32_t *const bad_small = i ? odd(integers) : NULL;
        gemmill_float_gemm **const bad_gemm = i ? odd(x) : NULL;
        REFUSED(gemmill_groupwise_packed_share(bad, &shared));
        REFUSED(gemmill_groupwise_packed_share(packed, i ? odd(x) : NULL));
        REFUSED_PROPERTY(gemmill_groupwise_packed_k, packed, i, large);
        REFUSED_PROPERTY(gemmill_groupwise_packed_n, packed, i, large);
        REFUSED_PROPERTY(gemmill_groupwise_packed_size, packed, i, large);
        REFUSED(gemmill_groupwise_packed_format(bad, &small, &size, &zero_points));
        REFUSED(gemmill_groupwise_packed_format(packed, bad_small, &size, &zero_points));
        REFUSED(gemmill_groupwise_packed_format(packed, &small, bad_small, &zero_points));
        REFUSED(gemmill_groupwise_packed_format(packed, &small, &size, bad_small));
        REFUSED(gemmill_groupwise_packed_equal(bad, packed, &small));
        REFUSED(gemmill_groupwise_packed_equal(packed, bad, &small));
        REFUSED(gemmill_groupwise_packed_equal(packed, packed, bad_small));
        REFUSED(gemmill_float_gemm_create_groupwise(bad, F32, F32, &gemm));
        REFUSED(gemmill_float_gemm_create_groupwise(packed, F32, F32, bad_gemm));
        REFUSED(gemmill_float_gemm_create_groupwise_a8(bad, F32, F32, &gemm));
        REFUSED(gemmill_float_gemm_create_groupwise_a8(packed, F32, F32, bad_gemm));
    }
    TRUE(large == 77 && small == 77 && size == 77 && zero_points == 77 && shared == NULL);
    OK(gemmill_groupwise_packed_k(packed, &large));
    TRUE(large == K);
    OK(gemmill_groupwise_packed_n(packed, &large));
    TRUE(large == N);
    OK(gemmill_groupwise_packed_size(packed, &large));
    TRUE(large >= K * N / 2);
    OK(gemmill_groupwise_packed_format(packed, &small, &size, &zero_points));
    TRUE(small == 4 && size == 32 && zero_points == EACH);
    OK(gemmill_groupwise_packed_share(packed, &shared));
    OK(gemmill_groupwise_packed_equal(packed, shared, &small));
    TRUE(small == 1);
    OK(gemmill_groupwise_packed_destroy(shared));
    OK(gemmill_groupwise_weights_destroy(weights));

    EXPECT(UNSUPPORTED, gemmill_float_gemm_create_groupwise(packed, GEMMILL_TYPE_U8, F32, &gemm));
    EXPECT(UNSUPPORTED, gemmill_float_gemm_create_groupwise_a8(packed, F32, GEMMILL_TYPE_I32, &gemm));
    EACH_BAD_CODE(code) {
        EXPECT(OUT_OF_RANGE, gemmill_float_gemm_create_groupwise(packed, code, F32, &gemm));
        EXPECT(OUT_OF_RANGE, gemmill_float_gemm_create_groupwise_a8(packed, F32, code, &gemm));
    }
    TRUE(gemm == NULL);
    gemmill_run_options *options = NULL;
    OK(gemmill_run_options_create(&options));
    OK(gemmill_run_options_set_float_residual(options, F32, x, N));
    float c[M * N], activations[M * K] = {0.0f};
    for (int i = 0; i < M * N; i++) c[i] = 77.0f;
    OK(gemmill_float_gemm_create_groupwise_a8(packed, F32, F32, &gemm));
    EXPECT(UNSUPPORTED, gemmill_float_gemm_set_beta(gemm, 1.0f));
    EXPECT(UNSUPPORTED, gemmill_float_gemm_set_hardware_dot(gemm, GEMMILL_HARDWARE_DOT_BEST));
    EXPECT(MISMATCH, gemmill_float_gemm_set_bias(gemm, x, N + 1));
    OK(gemmill_float_gemm_set_clamp(gemm, 1.0f, 0.0f));
    EXPECT(BAD_NUMBER, gemmill_float_gemm_prepare(gemm));
    OK(gemmill_float_gemm_set_function(gemm, GEMMILL_FUNCTION_GELU));
    EXPECT(UNSUPPORTED, gemmill_float_gemm_run(gemm, M, activations, K, 1, c, N, options));
    activations[K] = INFINITY;
    EXPECT(BAD_NUMBER, gemmill_float_gemm_run(gemm, M, activations, K, 1, c, N, NULL));
    EXPECT(OVERLAP, gemmill_float_gemm_run(gemm, M, activations, K, 1, c, N - 1, NULL));
    for (int i = 0; i < M * N; i++) TRUE(c[i] == 77.0f);
    activations[K] = 1.0f;
    OK(gemmill_float_gemm_run(gemm, M, activations, K, 1, c, N, NULL));
    OK(gemmill_float_gemm_destroy(gemm));
    OK(gemmill_float_gemm_create_groupwise(packed, F16, F32, &gemm));
    EXPECT(UNSUPPORTED, gemmill_float_gemm_set_hardware_dot(gemm, GEMMILL_HARDWARE_DOT_AMX_BF16));
    EXPECT(MISMATCH, gemmill_float_gemm_set_bias(gemm, x, N + 1));
    OK(gemmill_float_gemm_set_beta(gemm, NAN));
    EXPECT(BAD_NUMBER, gemmill_float_gemm_prepare(gemm));
    OK(gemmill_float_gemm_destroy(gemm));
    OK(gemmill_run_options_destroy(options));
    EXPECT(MISALIGNED, gemmill_groupwise_packed_destroy(odd(packed)));
    OK(gemmill_groupwise_packed_destroy(NULL));
    OK(gemmill_groupwise_packed_destroy(packed));
}

int main(void)
{
    fill();
    for (int i = 0; i < K * N; i++) w[i] = (float)(i - 11) * 0.75f;
    quantizing();
    parts();
    properties();
    products();
    return verdict("misuse of groupwise weights");
}
