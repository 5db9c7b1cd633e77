/* Misuse of versions, tiers, packing, weights, bytes and pools: see misuse.h. */
#include "misuse.h"

static void versions_and_tiers(void)
{
    int32_t tier = 77;
    const char *text = NULL;
    TRUE(gemmill_version() == GEMMILL_VERSION_MAJOR * 1000000 + GEMMILL_VERSION_MINOR * 1000 + GEMMILL_VERSION_PATCH);
    TRUE(strlen(gemmill_version_text()) >= 5);
    TRUE(strcmp(gemmill_status_text(GEMMILL_STATUS_OK), "ok") == 0);
    TRUE(strcmp(gemmill_status_text(-5), "unknown status") == 0);
    TRUE(strcmp(gemmill_last_error(), "") == 0);

    EXPECT(NULL_POINTER, gemmill_tier_best(NULL));
    EXPECT(MISALIGNED, gemmill_tier_best(odd(integers)));
    OK(gemmill_tier_best(&tier));
    TRUE(tier >= 0 && gemmill_tier_name(tier) != NULL);
    EACH_BAD_CODE(code) {
        TRUE(gemmill_tier_name(code) == NULL);
        EXPECT(OUT_OF_RANGE, gemmill_tier_missing_feature(code, &text));
    }
    TRUE(strcmp(gemmill_tier_name(GEMMILL_TIER_AVX512_VNNI), "avx512-vnni") == 0);

    EXPECT(NULL_POINTER, gemmill_tier_from_name(NULL, &tier));
    EXPECT(NULL_POINTER, gemmill_tier_from_name("avx2", NULL));
    EXPECT(MISALIGNED, gemmill_tier_from_name("avx2", odd(integers)));
    EXPECT(TIER, gemmill_tier_from_name("avx3", &tier));
    EXPECT(TIER, gemmill_tier_from_name("\xff\xfe", &tier));
    OK(gemmill_tier_from_name("amx", &tier));
    TRUE(tier == GEMMILL_TIER_AMX);

    EXPECT(NULL_POINTER, gemmill_tier_missing_feature(GEMMILL_TIER_AVX2, NULL));
    EXPECT(MISALIGNED, gemmill_tier_missing_feature(GEMMILL_TIER_AVX2, odd(x)));
    OK(gemmill_tier_missing_feature(GEMMILL_TIER_PORTABLE, &text));
    TRUE(text == NULL);
}

static void packing(void)
{
    gemmill_packing *packing = NULL, *none = NULL;
    EXPECT(NULL_POINTER, gemmill_packing_create(NULL));
    EXPECT(MISALIGNED, gemmill_packing_create(odd(x)));
    OK(gemmill_packing_create(&packing));

    gemmill_packing *const bad[] = {none, odd(packing)};
    for (int i = 0; i < 2; i++) {
        gemmill_status refused = i ? GEMMILL_STATUS_MISALIGNED : GEMMILL_STATUS_NULL_POINTER;
        REFUSED(gemmill_packing_set_groups(bad[i], 1));
        REFUSED(gemmill_packing_set_zero_point(bad[i], 1));
        REFUSED(gemmill_packing_set_zero_points(bad[i], GEMMILL_PER_TENSOR, integers, 1));
        REFUSED(gemmill_packing_set_activation_max(bad[i], 1));
        REFUSED(gemmill_packing_set_tier(bad[i], GEMMILL_TIER_PORTABLE));
        REFUSED(gemmill_packing_set_effort(bad[i], GEMMILL_EFFORT_QUICK));
        REFUSED(gemmill_packing_set_kc(bad[i], 1));
        REFUSED(gemmill_packing_set_threads(bad[i], GEMMILL_THREADS_MAX, 1));
    }
    const int64_t bad_counts[] = {0, -1, INT64_MIN};
    for (int i = 0; i < 3; i++) {
        EXPECT(OUT_OF_RANGE, gemmill_packing_set_groups(packing, bad_counts[i]));
        EXPECT(OUT_OF_RANGE, gemmill_packing_set_kc(packing, bad_counts[i]));
    }
    EACH_BAD_CODE(code) {
        EXPECT(OUT_OF_RANGE, gemmill_packing_set_zero_points(packing, code, integers, 1));
        EXPECT(OUT_OF_RANGE, gemmill_packing_set_tier(packing, code));
        EXPECT(OUT_OF_RANGE, gemmill_packing_set_effort(packing, code));
    }
    REFUSES_THREADS(gemmill_packing_set_threads, packing);
    EXPECT(NULL_POINTER, gemmill_packing_set_zero_points(packing, GEMMILL_PER_COLUMN, NULL, 1));
    EXPECT(MISALIGNED, gemmill_packing_set_zero_points(packing, GEMMILL_PER_COLUMN, odd(integers), 1));
    EXPECT(OUT_OF_RANGE, gemmill_packing_set_zero_points(packing, GEMMILL_PER_COLUMN, integers, -1));
    EXPECT(OVERFLOW, gemmill_packing_set_zero_points(packing, GEMMILL_PER_COLUMN, integers, INT64_MAX));
    EXPECT(MISMATCH, gemmill_packing_set_zero_points(packing, GEMMILL_PER_TENSOR, integers, 2));
    EXPECT(NULL_POINTER, gemmill_packing_set_scales(NULL, GEMMILL_PER_COLUMN, x, N));
    EXPECT(MISALIGNED, gemmill_packing_set_scales(odd(packing), GEMMILL_PER_COLUMN, x, N));
    EXPECT(NULL_POINTER, gemmill_packing_set_scales(packing, GEMMILL_PER_COLUMN, NULL, N));
    EXPECT(MISALIGNED, gemmill_packing_set_scales(packing, GEMMILL_PER_COLUMN, odd(x), N));
    EXPECT(OUT_OF_RANGE, gemmill_packing_set_scales(packing, GEMMILL_PER_COLUMN, x, -N));
    EXPECT(OVERFLOW, gemmill_packing_set_scales(packing, GEMMILL_PER_COLUMN, x, INT64_MAX));
    EXPECT(MISMATCH, gemmill_packing_set_scales(packing, GEMMILL_PER_TENSOR, x, 0));
    EACH_BAD_CODE(code) EXPECT(OUT_OF_RANGE, gemmill_packing_set_scales(packing, code, x, 1));
    EXPECT(OUT_OF_RANGE, gemmill_packing_set_activation_max(packing, -1));
    EXPECT(OUT_OF_RANGE, gemmill_packing_set_activation_max(packing, 256));
    EXPECT(OUT_OF_RANGE, gemmill_packing_set_activation_max(packing, INT32_MIN));
    EXPECT(OUT_OF_RANGE, gemmill_packing_set_activation_max(packing, INT32_MAX));

    gemmill_weights *weights = (gemmill_weights *)x;
    OK(gemmill_packing_set_groups(packing, 3));
    EXPECT(GROUPS, gemmill_weights_create(GEMMILL_TYPE_I8, b, K, N, N, 1, packing, &weights));
    TRUE(weights == NULL);
    OK(gemmill_packing_set_groups(packing, INT64_MAX));
    EXPECT(GROUPS, gemmill_weights_create(GEMMILL_TYPE_I8, b, K, N, N, 1, packing, &weights));
    OK(gemmill_packing_set_groups(packing, 2));
    OK(gemmill_packing_set_zero_points(packing, GEMMILL_PER_COLUMN, integers, 3));
    EXPECT(MISMATCH, gemmill_weights_create(GEMMILL_TYPE_I8, b, K, N, N, 1, packing, &weights));
    OK(gemmill_packing_set_zero_point(packing, 128));
    EXPECT(OUT_OF_RANGE, gemmill_weights_create(GEMMILL_TYPE_I8, b, K, N, N, 1, packing, &weights));
    OK(gemmill_packing_set_zero_point(packing, INT32_MIN));
    EXPECT(OUT_OF_RANGE, gemmill_weights_create(GEMMILL_TYPE_I8, b, K, N, N, 1, packing, &weights));
    OK(gemmill_packing_set_zero_point(packing, -1));
    EXPECT(OUT_OF_RANGE, gemmill_weights_create(GEMMILL_TYPE_U8, b, K, N, N, 1, packing, &weights));
    const float bad_scale = NAN;
    OK(gemmill_packing_set_scales(packing, GEMMILL_PER_TENSOR, &bad_scale, 1));
    EXPECT(BAD_NUMBER, gemmill_weights_create(GEMMILL_TYPE_I8, b, K, N, N, 1, packing, &weights));
    OK(gemmill_packing_set_scales(packing, GEMMILL_PER_COLUMN, x, N + 1));
    EXPECT(MISMATCH, gemmill_weights_create(GEMMILL_TYPE_I8, b, K, N, N, 1, packing, &weights));
    OK(gemmill_packing_set_scales(packing, GEMMILL_PER_COLUMN, x, N));
    OK(gemmill_packing_set_kc(packing, INT64_MAX));
    OK(gemmill_packing_set_effort(packing, GEMMILL_EFFORT_QUICK));
    OK(gemmill_weights_create(GEMMILL_TYPE_I8, b, K, N, N, 1, packing, &weights));
    OK(gemmill_weights_destroy(weights));
    for (int32_t tier = 0; tier <= GEMMILL_TIER_AMX; tier++) {
        const char *missing = NULL;
        OK(gemmill_tier_missing_feature(tier, &missing));
        OK(gemmill_packing_set_tier(packing, tier));
        gemmill_status status = gemmill_weights_create(GEMMILL_TYPE_I8, b, K, N, N, 1, packing, &weights);
        TRUE(status == (missing ? GEMMILL_STATUS_TIER : GEMMILL_STATUS_OK));
        TRUE(!missing || strstr(gemmill_last_error(), missing));
        OK(gemmill_weights_destroy(weights));
    }
    EXPECT(MISALIGNED, gemmill_packing_destroy(odd(packing)));
    OK(gemmill_packing_destroy(NULL));
    OK(gemmill_packing_destroy(packing));
}

static void weights(void)
{
    gemmill_weights *made = NULL;
    EXPECT(NULL_POINTER, gemmill_weights_create(GEMMILL_TYPE_I8, b, K, N, N, 1, NULL, NULL));
    EXPECT(MISALIGNED, gemmill_weights_create(GEMMILL_TYPE_I8, b, K, N, N, 1, NULL, odd(x)));
    EXPECT(NULL_POINTER, gemmill_weights_create(GEMMILL_TYPE_I8, NULL, K, N, N, 1, NULL, &made));
    EXPECT(MISALIGNED, gemmill_weights_create(GEMMILL_TYPE_I8, b, K, N, N, 1, odd(x), &made));
    EXPECT(OUT_OF_RANGE, gemmill_weights_create(GEMMILL_TYPE_I8, b, -1, N, N, 1, NULL, &made));
    EXPECT(OUT_OF_RANGE, gemmill_weights_create(GEMMILL_TYPE_I8, b, K, INT64_MIN, N, 1, NULL, &made));
    EXPECT(OUT_OF_RANGE, gemmill_weights_create(GEMMILL_TYPE_I8, b, K, N, -N, 1, NULL, &made));
    EXPECT(OUT_OF_RANGE, gemmill_weights_create(GEMMILL_TYPE_I8, b, K, N, N, -1, NULL, &made));
    EXPECT(OVERFLOW, gemmill_weights_create(GEMMILL_TYPE_I8, b, INT64_MAX, INT64_MAX, 1, 1, NULL, &made));
    EXPECT(OVERFLOW, gemmill_weights_create(GEMMILL_TYPE_I8, b, K, N, INT64_MAX, 1, NULL, &made));
    EXPECT(OVERFLOW, gemmill_weights_create(GEMMILL_TYPE_I8, b, K, N, N, INT64_MAX, NULL, &made));
    EXPECT(OVERFLOW, gemmill_weights_create(GEMMILL_TYPE_I8, b, INT64_C(1) << 40, INT64_C(1) << 40, 0, 0, NULL, &made));
    EXPECT(OUT_OF_MEMORY,
           gemmill_weights_create(GEMMILL_TYPE_U8, b, INT64_C(1) << 30, INT64_C(1) << 30, 0, 0, NULL, &made));
    EXPECT(UNSUPPORTED, gemmill_weights_create(GEMMILL_TYPE_I32, integers, K, N, N, 1, NULL, &made));
    EXPECT(UNSUPPORTED, gemmill_weights_create(GEMMILL_TYPE_F32, x, K, N, N, 1, NULL, &made));
    EACH_BAD_CODE(code) EXPECT(OUT_OF_RANGE, gemmill_weights_create(code, b, K, N, N, 1, NULL, &made));
    TRUE(made == NULL);
    OK(gemmill_weights_create(GEMMILL_TYPE_I8, NULL, 0, N, N, 1, NULL, &made));
    OK(gemmill_weights_destroy(made));
    EXPECT(OVERFLOW, gemmill_weights_create(GEMMILL_TYPE_I8, NULL, INT64_MAX, 0, 1, 1, NULL, &made));
    /* Without columns, K may be any number that has a size. */
    OK(gemmill_weights_create(GEMMILL_TYPE_I8, NULL, INT64_C(1) << 44, 0, 1, 1, NULL, &made));
    OK(gemmill_weights_destroy(made));
    OK(gemmill_weights_create(GEMMILL_TYPE_I8, NULL, 1000, 0, 1, 1, NULL, &made));
    OK(gemmill_weights_destroy(made));

    gemmill_weights *good = packed(), *shared = NULL;
    const gemmill_weights *const bad[] = {NULL, odd(good)};
    int64_t large = 77, length = 77;
    int32_t small = 77;
    char text[64];
    int8_t back[K * N];
    for (int i = 0; i < 2; i++) {
        gemmill_status refused = i ? GEMMILL_STATUS_MISALIGNED : GEMMILL_STATUS_NULL_POINTER;
        REFUSED(gemmill_weights_share(bad[i], &shared));
        REFUSED_PROPERTY(gemmill_weights_k, good, i, large);
        REFUSED_PROPERTY(gemmill_weights_n, good, i, large);
        REFUSED_PROPERTY(gemmill_weights_groups, good, i, large);
        REFUSED_PROPERTY(gemmill_weights_largest_sum, good, i, large);
        REFUSED_PROPERTY(gemmill_weights_size, good, i, large);
        REFUSED_PROPERTY(gemmill_weights_type, good, i, small);
        REFUSED_PROPERTY(gemmill_weights_tier, good, i, small);
        REFUSED_PROPERTY(gemmill_weights_activation_max, good, i, small);
        REFUSED(gemmill_weights_equal(bad[i], good, &small));
        REFUSED(gemmill_weights_equal(good, bad[i], &small));
        REFUSED(gemmill_weights_sequences(bad[i], text, sizeof text, &length));
        REFUSED(gemmill_weights_unpack(bad[i], GEMMILL_TYPE_I8, back, N));
        int64_t *const bad_large = i ? (int64_t *)odd(integers) : NULL;
        int32_t *const bad_small = i ? (int32_t *)odd(integers) : NULL;
        REFUSED(gemmill_weights_share(good, i ? (gemmill_weights **)odd(x) : NULL));
        REFUSED(gemmill_weights_equal(good, good, bad_small));
        REFUSED(gemmill_weights_sequences(good, text, sizeof text, bad_large));
    }
    TRUE(large == 77 && small == 77 && length == 77 && shared == NULL);
    OK(gemmill_weights_k(good, &large));
    TRUE(large == K);
    OK(gemmill_weights_n(good, &large));
    TRUE(large == N);
    OK(gemmill_weights_groups(good, &large));
    TRUE(large == 1);
    OK(gemmill_weights_largest_sum(good, &large));
    TRUE(large == 255 * 128 * K);
    OK(gemmill_weights_size(good, &large));
    TRUE(large >= K * N);
    OK(gemmill_weights_type(good, &small));
    TRUE(small == GEMMILL_TYPE_I8);
    OK(gemmill_weights_activation_max(good, &small));
    TRUE(small == 255);
    int32_t best = 0;
    OK(gemmill_tier_best(&best));
    OK(gemmill_weights_tier(good, &small));
    TRUE(small == best);
    OK(gemmill_weights_share(good, &shared));
    OK(gemmill_weights_equal(good, shared, &small));
    TRUE(small == 1);
    OK(gemmill_weights_destroy(shared));

    EXPECT(NULL_POINTER, gemmill_weights_sequences(good, NULL, 64, &length));
    EXPECT(OUT_OF_RANGE, gemmill_weights_sequences(good, text, -1, &length));
    EXPECT(OVERFLOW, gemmill_weights_sequences(good, text, INT64_MAX, &length));
    EXPECT(TOO_SMALL, gemmill_weights_sequences(good, NULL, 0, &length));
    strcpy(text, "before");
    EXPECT(TOO_SMALL, gemmill_weights_sequences(good, text, length, &length));
    TRUE(strcmp(text, "before") == 0);
    OK(gemmill_weights_sequences(good, text, length + 1, &length));
    TRUE((int64_t)strlen(text) == length && length > 0);

    memset(back, 77, sizeof back);
    EXPECT(NULL_POINTER, gemmill_weights_unpack(good, GEMMILL_TYPE_I8, NULL, N));
    EXPECT(OUT_OF_RANGE, gemmill_weights_unpack(good, GEMMILL_TYPE_I8, back, -N));
    EXPECT(OVERLAP, gemmill_weights_unpack(good, GEMMILL_TYPE_I8, back, N - 1));
    EXPECT(OVERFLOW, gemmill_weights_unpack(good, GEMMILL_TYPE_I8, back, INT64_MAX));
    EXPECT(UNSUPPORTED, gemmill_weights_unpack(good, GEMMILL_TYPE_U8, back, N));
    EXPECT(UNSUPPORTED, gemmill_weights_unpack(good, GEMMILL_TYPE_F32, back, N));
    EACH_BAD_CODE(code) EXPECT(OUT_OF_RANGE, gemmill_weights_unpack(good, code, back, N));
    for (int i = 0; i < K * N; i++) TRUE(back[i] == 77);
    OK(gemmill_weights_unpack(good, GEMMILL_TYPE_I8, back, N));
    TRUE(memcmp(back, b, sizeof back) == 0);

    EXPECT(MISALIGNED, gemmill_weights_destroy(odd(good)));
    OK(gemmill_weights_destroy(NULL));
    OK(gemmill_weights_destroy(good));
}

static void bytes(void)
{
    static uint8_t written[4096], again[4096];
    gemmill_weights *good = packed(), *loaded = NULL, *with_scales = NULL;
    gemmill_packing *packing = NULL;
    int64_t length = 77, count = 77;
    int32_t code = 77, equal = 0;
    float scales[N] = {77.0f, 77.0f, 77.0f, 77.0f};
    const gemmill_weights *const bad[] = {NULL, odd(good)};
    for (int i = 0; i < 2; i++) {
        gemmill_status refused = i ? GEMMILL_STATUS_MISALIGNED : GEMMILL_STATUS_NULL_POINTER;
        REFUSED(gemmill_weights_to_bytes(bad[i], written, sizeof written, &length));
        REFUSED(gemmill_weights_to_bytes(good, written, sizeof written, i ? (int64_t *)odd(x) : NULL));
        REFUSED(gemmill_weights_scales(bad[i], &code, scales, N, &count));
        REFUSED(gemmill_weights_scales(good, i ? (int32_t *)odd(integers) : NULL, scales, N, &count));
        REFUSED(gemmill_weights_scales(good, &code, i ? (float *)odd(x) : NULL, N, &count));
        REFUSED(gemmill_weights_scales(good, &code, scales, N, i ? (int64_t *)odd(x) : NULL));
        REFUSED(gemmill_weights_repack(bad[i], GEMMILL_TIER_PORTABLE, &loaded));
        REFUSED(gemmill_weights_repack(good, GEMMILL_TIER_PORTABLE, i ? (gemmill_weights **)odd(x) : NULL));
    }
    TRUE(length == 77 && count == 77 && code == 77 && loaded == NULL);
    EXPECT(NULL_POINTER, gemmill_weights_to_bytes(good, NULL, 1, &length));
    EXPECT(OUT_OF_RANGE, gemmill_weights_to_bytes(good, written, -1, &length));
    EXPECT(OVERFLOW, gemmill_weights_to_bytes(good, written, INT64_MAX, &length));
    EXPECT(TOO_SMALL, gemmill_weights_to_bytes(good, NULL, 0, &length));
    EXPECT(TOO_SMALL, gemmill_weights_to_bytes(good, written, length - 1, &length));
    TRUE(written[0] == 0);
    OK(gemmill_weights_to_bytes(good, written, length, &length));

    EXPECT(NULL_POINTER, gemmill_weights_from_bytes(NULL, length, NULL, &loaded));
    EXPECT(NULL_POINTER, gemmill_weights_from_bytes(written, length, NULL, NULL));
    EXPECT(MISALIGNED, gemmill_weights_from_bytes(written, length, odd(x), &loaded));
    EXPECT(MISALIGNED, gemmill_weights_from_bytes(written, length, NULL, odd(x)));
    EXPECT(OUT_OF_RANGE, gemmill_weights_from_bytes(written, -1, NULL, &loaded));
    EXPECT(OVERFLOW, gemmill_weights_from_bytes(written, INT64_MAX, NULL, &loaded));
    for (int64_t part = 0; part < length; part++)
        EXPECT(BAD_DATA, gemmill_weights_from_bytes(written, part, NULL, &loaded));
    for (int64_t i = 0; i < length; i++) {
        memcpy(again, written, sizeof again);
        again[i] ^= 1;
        EXPECT(BAD_DATA, gemmill_weights_from_bytes(again, length, NULL, &loaded));
    }
    TRUE(loaded == NULL);
    OK(gemmill_packing_create(&packing));
    OK(gemmill_packing_set_tier(packing, GEMMILL_TIER_PORTABLE));
    OK(gemmill_packing_set_threads(packing, GEMMILL_THREADS_EXACTLY, 2));
    OK(gemmill_weights_from_bytes(written, length, packing, &loaded));
    OK(gemmill_weights_tier(loaded, &code));
    TRUE(code == GEMMILL_TIER_PORTABLE);
    OK(gemmill_weights_destroy(loaded));
    OK(gemmill_packing_set_scales(packing, GEMMILL_PER_COLUMN, x, N));
    EXPECT(UNSUPPORTED, gemmill_weights_from_bytes(written, length, packing, &loaded));
    OK(gemmill_weights_from_bytes(written, length, NULL, &loaded));
    OK(gemmill_weights_equal(good, loaded, &equal));
    TRUE(equal == 1);

    EXPECT(OUT_OF_RANGE, gemmill_weights_scales(good, &code, scales, -1, &count));
    EXPECT(OVERFLOW, gemmill_weights_scales(good, &code, scales, INT64_MAX, &count));
    OK(gemmill_weights_scales(good, &code, NULL, 0, &count));
    TRUE(count == 0 && code == GEMMILL_PER_TENSOR);
    OK(gemmill_weights_create(GEMMILL_TYPE_I8, b, K, N, N, 1, packing, &with_scales));
    EXPECT(TOO_SMALL, gemmill_weights_scales(with_scales, &code, scales, N - 1, &count));
    TRUE(count == N && scales[0] == 77.0f);
    OK(gemmill_weights_scales(with_scales, &code, scales, N, &count));
    TRUE(code == GEMMILL_PER_COLUMN && memcmp(scales, x, sizeof scales) == 0);
    OK(gemmill_weights_equal(good, with_scales, &equal));
    TRUE(equal == 0);
    OK(gemmill_weights_destroy(loaded));
    EACH_BAD_CODE(bad_tier) EXPECT(OUT_OF_RANGE, gemmill_weights_repack(good, bad_tier, &loaded));
    for (int32_t tier = 0; tier <= GEMMILL_TIER_AMX; tier++) {
        const char *missing = NULL;
        OK(gemmill_tier_missing_feature(tier, &missing));
        gemmill_status status = gemmill_weights_repack(with_scales, tier, &loaded);
        TRUE(status == (missing ? GEMMILL_STATUS_TIER : GEMMILL_STATUS_OK));
        OK(gemmill_weights_destroy(loaded));
    }
    gemmill_gemm *gemm = NULL;
    OK(gemmill_gemm_create(with_scales, GEMMILL_TYPE_U8, GEMMILL_TYPE_I32, &gemm));
    OK(gemmill_gemm_set_tier(gemm, GEMMILL_TIER_AVX2));
    EXPECT(TIER, gemmill_gemm_prepare(gemm));
    EACH_BAD_CODE(bad_tier) EXPECT(OUT_OF_RANGE, gemmill_gemm_set_tier(gemm, bad_tier));
    OK(gemmill_gemm_set_tier(gemm, GEMMILL_TIER_PORTABLE));
    OK(gemmill_gemm_prepare(gemm));
    OK(gemmill_gemm_destroy(gemm));
    OK(gemmill_packing_destroy(packing));
    OK(gemmill_weights_destroy(with_scales));
    OK(gemmill_weights_destroy(good));
}

static void pools(void)
{
    gemmill_pool *pool = NULL;
    int64_t threads = 77;
    EXPECT(OUT_OF_RANGE, gemmill_set_kernel_limit(0));
    EXPECT(OUT_OF_RANGE, gemmill_set_kernel_limit(INT64_MIN));
    OK(gemmill_set_kernel_limit(1));
    OK(gemmill_set_kernel_limit(4096));
    EXPECT(NULL_POINTER, gemmill_pool_create(2, NULL));
    EXPECT(MISALIGNED, gemmill_pool_create(2, odd(x)));
    const int64_t bad[] = {0, -1, 65536, INT64_MAX, INT64_MIN};
    for (int i = 0; i < 5; i++) EXPECT(OUT_OF_RANGE, gemmill_pool_create(bad[i], &pool));
    TRUE(pool == NULL);
    OK(gemmill_pool_create(2, &pool));
    EXPECT(NULL_POINTER, gemmill_pool_threads(NULL, &threads));
    EXPECT(MISALIGNED, gemmill_pool_threads(odd(pool), &threads));
    EXPECT(NULL_POINTER, gemmill_pool_threads(pool, NULL));
    EXPECT(MISALIGNED, gemmill_pool_threads(pool, odd(x)));
    TRUE(threads == 77);
    OK(gemmill_pool_threads(pool, &threads));
    EXPECT(MISALIGNED, gemmill_thread_set_pool(odd(pool)));
    OK(gemmill_thread_set_pool(pool));
    OK(gemmill_thread_set_pool(NULL));
    TRUE(threads == 2);
    EXPECT(MISALIGNED, gemmill_pool_destroy(odd(pool)));
    OK(gemmill_pool_destroy(NULL));
    OK(gemmill_pool_destroy(pool));
}

int main(void)
{
    fill();
    versions_and_tiers();
    packing();
    weights();
    bytes();
    pools();
    return verdict("misuse of handles");
}
