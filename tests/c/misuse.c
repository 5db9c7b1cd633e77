/*
 * Every function with pointers that are null or misaligned, sizes that are negative or overflow, codes that nothing has, and
 * settings that make no sense: a status each time, with a message of the call, and outputs as they were.
 */
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
static void *odd(const void *pointer)
{
    return (char *)(uintptr_t)pointer + 1;
}

static gemmill_weights *packed(void)
{
    gemmill_weights *weights = NULL;
    OK(gemmill_weights_create(GEMMILL_TYPE_I8, b, K, N, N, 1, NULL, &weights));
    return weights;
}

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
#define REFUSED(call) expect_status(refused, call, #call, __LINE__)
        REFUSED(gemmill_packing_set_groups(bad[i], 1));
        REFUSED(gemmill_packing_set_zero_point(bad[i], 1));
        REFUSED(gemmill_packing_set_zero_points(bad[i], GEMMILL_PER_TENSOR, integers, 1));
        REFUSED(gemmill_packing_set_activation_max(bad[i], 1));
        REFUSED(gemmill_packing_set_tier(bad[i], GEMMILL_TIER_PORTABLE));
        REFUSED(gemmill_packing_set_effort(bad[i], GEMMILL_EFFORT_QUICK));
        REFUSED(gemmill_packing_set_kc(bad[i], 1));
#undef REFUSED
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
    EXPECT(OUT_OF_MEMORY, gemmill_weights_create(GEMMILL_TYPE_U8, b, INT64_C(1) << 30, INT64_C(1) << 30, 0, 0, NULL, &made));
    EXPECT(UNSUPPORTED, gemmill_weights_create(GEMMILL_TYPE_I32, integers, K, N, N, 1, NULL, &made));
    EXPECT(UNSUPPORTED, gemmill_weights_create(GEMMILL_TYPE_F32, x, K, N, N, 1, NULL, &made));
    EACH_BAD_CODE(code) EXPECT(OUT_OF_RANGE, gemmill_weights_create(code, b, K, N, N, 1, NULL, &made));
    TRUE(made == NULL);
    OK(gemmill_weights_create(GEMMILL_TYPE_I8, NULL, 0, N, N, 1, NULL, &made));
    OK(gemmill_weights_destroy(made));
    EXPECT(OVERFLOW, gemmill_weights_create(GEMMILL_TYPE_I8, NULL, INT64_MAX, 0, 1, 1, NULL, &made));
    EXPECT(OUT_OF_MEMORY, gemmill_weights_create(GEMMILL_TYPE_I8, NULL, INT64_C(1) << 44, 0, 1, 1, NULL, &made));
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
#define REFUSED(call) expect_status(refused, call, #call, __LINE__)
        REFUSED(gemmill_weights_share(bad[i], &shared));
        REFUSED(gemmill_weights_k(bad[i], &large));
        REFUSED(gemmill_weights_n(bad[i], &large));
        REFUSED(gemmill_weights_groups(bad[i], &large));
        REFUSED(gemmill_weights_size(bad[i], &large));
        REFUSED(gemmill_weights_type(bad[i], &small));
        REFUSED(gemmill_weights_tier(bad[i], &small));
        REFUSED(gemmill_weights_activation_max(bad[i], &small));
        REFUSED(gemmill_weights_equal(bad[i], good, &small));
        REFUSED(gemmill_weights_equal(good, bad[i], &small));
        REFUSED(gemmill_weights_sequences(bad[i], text, sizeof text, &length));
        REFUSED(gemmill_weights_unpack(bad[i], GEMMILL_TYPE_I8, back, N));
        int64_t *const bad_large = i ? (int64_t *)odd(integers) : NULL;
        int32_t *const bad_small = i ? (int32_t *)odd(integers) : NULL;
        REFUSED(gemmill_weights_share(good, i ? (gemmill_weights **)odd(x) : NULL));
        REFUSED(gemmill_weights_k(good, bad_large));
        REFUSED(gemmill_weights_n(good, bad_large));
        REFUSED(gemmill_weights_groups(good, bad_large));
        REFUSED(gemmill_weights_size(good, bad_large));
        REFUSED(gemmill_weights_type(good, bad_small));
        REFUSED(gemmill_weights_tier(good, bad_small));
        REFUSED(gemmill_weights_activation_max(good, bad_small));
        REFUSED(gemmill_weights_equal(good, good, bad_small));
        REFUSED(gemmill_weights_sequences(good, text, sizeof text, bad_large));
#undef REFUSED
    }
    TRUE(large == 77 && small == 77 && length == 77 && shared == NULL);
    OK(gemmill_weights_k(good, &large));
    TRUE(large == K);
    OK(gemmill_weights_n(good, &large));
    TRUE(large == N);
    OK(gemmill_weights_groups(good, &large));
    TRUE(large == 1);
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
#define REFUSED(call) expect_status(refused, call, #call, __LINE__)
        REFUSED(gemmill_weights_to_bytes(bad[i], written, sizeof written, &length));
        REFUSED(gemmill_weights_to_bytes(good, written, sizeof written, i ? (int64_t *)odd(x) : NULL));
        REFUSED(gemmill_weights_scales(bad[i], &code, scales, N, &count));
        REFUSED(gemmill_weights_scales(good, i ? (int32_t *)odd(integers) : NULL, scales, N, &count));
        REFUSED(gemmill_weights_scales(good, &code, i ? (float *)odd(x) : NULL, N, &count));
        REFUSED(gemmill_weights_scales(good, &code, scales, N, i ? (int64_t *)odd(x) : NULL));
        REFUSED(gemmill_weights_repack(bad[i], GEMMILL_TIER_PORTABLE, &loaded));
        REFUSED(gemmill_weights_repack(good, GEMMILL_TIER_PORTABLE, i ? (gemmill_weights **)odd(x) : NULL));
#undef REFUSED
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
    for (int64_t part = 0; part < length; part++) EXPECT(BAD_DATA, gemmill_weights_from_bytes(written, part, NULL, &loaded));
    for (int64_t i = 0; i < length; i++) {
        memcpy(again, written, sizeof again);
        again[i] ^= 1;
        EXPECT(BAD_DATA, gemmill_weights_from_bytes(again, length, NULL, &loaded));
    }
    TRUE(loaded == NULL);
    OK(gemmill_packing_create(&packing));
    OK(gemmill_packing_set_tier(packing, GEMMILL_TIER_PORTABLE));
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
    TRUE(threads == 2);
    EXPECT(MISALIGNED, gemmill_pool_destroy(odd(pool)));
    OK(gemmill_pool_destroy(NULL));
    OK(gemmill_pool_destroy(pool));
}

static gemmill_gemm *operation(const gemmill_weights *weights, int32_t a_type, int32_t c_type)
{
    gemmill_gemm *gemm = NULL;
    OK(gemmill_gemm_create(weights, a_type, c_type, &gemm));
    return gemm;
}

/* Every setter with `gemm`, and otherwise good arguments. */
static void refuse_all_settings(gemmill_status refused, gemmill_gemm *gemm)
{
#define REFUSED(call) expect_status(refused, call, #call, __LINE__)
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
    REFUSED(gemmill_gemm_set_threads(gemm, GEMMILL_THREADS_AUTO, 0));
    REFUSED(gemmill_gemm_set_tier(gemm, GEMMILL_TIER_PORTABLE));
    REFUSED(gemmill_gemm_set_pool(gemm, NULL));
#undef REFUSED
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
    EACH_BAD_CODE(code) EXPECT(OUT_OF_RANGE, gemmill_gemm_set_threads(gemm, code, 1));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_set_threads(gemm, GEMMILL_THREADS_AUTO, 1));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_set_threads(gemm, GEMMILL_THREADS_MAX, 0));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_set_threads(gemm, GEMMILL_THREADS_EXACTLY, -1));
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
    EXPECT(NULL_POINTER, gemmill_gemm_run(NULL, M, a, K, 1, c, N, NULL));
    EXPECT(MISALIGNED, gemmill_gemm_run(odd(gemm), M, a, K, 1, c, N, NULL));
    EXPECT(NULL_POINTER, gemmill_gemm_run(gemm, M, NULL, K, 1, c, N, NULL));
    EXPECT(NULL_POINTER, gemmill_gemm_run(gemm, M, a, K, 1, NULL, N, NULL));
    EXPECT(MISALIGNED, gemmill_gemm_run(gemm, M, a, K, 1, odd(c), N, NULL));
    EXPECT(MISALIGNED, gemmill_gemm_run(gemm, M, a, K, 1, c, N, odd(x)));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_run(gemm, -1, a, K, 1, c, N, NULL));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_run(gemm, M, a, -K, 1, c, N, NULL));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_run(gemm, M, a, K, INT64_MIN, c, N, NULL));
    EXPECT(OUT_OF_RANGE, gemmill_gemm_run(gemm, M, a, K, 1, c, -N, NULL));
    EXPECT(OVERFLOW, gemmill_gemm_run(gemm, INT64_MAX, a, K, 1, c, N, NULL));
    EXPECT(OVERFLOW, gemmill_gemm_run(gemm, M, a, INT64_MAX, 1, c, N, NULL));
    EXPECT(OVERFLOW, gemmill_gemm_run(gemm, M, a, K, INT64_MAX, c, N, NULL));
    EXPECT(OVERFLOW, gemmill_gemm_run(gemm, M, a, K, 1, c, INT64_MAX, NULL));
    EXPECT(OVERFLOW, gemmill_gemm_run(gemm, M, a, K, 1, c, INT64_MAX / 8, NULL));
    EXPECT(OVERLAP, gemmill_gemm_run(gemm, M, a, K, 1, c, N - 1, NULL));
    EXPECT(OVERLAP, gemmill_gemm_run(gemm, M, a, K, 1, c, 0, NULL));
    EXPECT(OVERLAP, gemmill_gemm_run(gemm, M, (uint8_t *)c + sizeof c - 1, 0, 0, c, N, NULL));

    /* What differs from run to run. */
    EXPECT(NULL_POINTER, gemmill_run_options_create(NULL));
    EXPECT(MISALIGNED, gemmill_run_options_create(odd(x)));
    OK(gemmill_run_options_create(&options));
    gemmill_run_options *const bad[] = {NULL, odd(options)};
    for (int i = 0; i < 2; i++) {
        gemmill_status refused = i ? GEMMILL_STATUS_MISALIGNED : GEMMILL_STATUS_NULL_POINTER;
#define REFUSED(call) expect_status(refused, call, #call, __LINE__)
        REFUSED(gemmill_run_options_set_row_zero_points(bad[i], integers, M));
        REFUSED(gemmill_run_options_set_row_scales(bad[i], x, M));
        REFUSED(gemmill_run_options_set_residual(bad[i], x, N));
#undef REFUSED
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

    const float nothing[2] = {NAN, NAN};
    EXPECT(NULL_POINTER, gemmill_quantization_range(NULL, 2, &low, &high));
    EXPECT(NULL_POINTER, gemmill_quantization_range(x, 2, NULL, &high));
    EXPECT(NULL_POINTER, gemmill_quantization_range(x, 2, &low, NULL));
    EXPECT(MISALIGNED, gemmill_quantization_range(odd(x), 2, &low, &high));
    EXPECT(MISALIGNED, gemmill_quantization_range(x, 2, odd(x), &high));
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
    EXPECT(OVERFLOW, gemmill_quantize(U8, x, INT64_MAX, 1.0f, 0, q));
    EXPECT(OVERLAP, gemmill_quantize(U8, x, 8, 1.0f, 0, (uint8_t *)x + 31));
    EXPECT(BAD_NUMBER, gemmill_quantize(U8, x, 8, 0.0f, 0, q));
    EXPECT(UNSUPPORTED, gemmill_quantize(F32, x, 8, 1.0f, 0, q));
    EACH_BAD_CODE(code) EXPECT(OUT_OF_RANGE, gemmill_quantize(code, x, 8, 1.0f, 0, q));
    for (int i = 0; i < 8; i++) TRUE(q[i] == 77);
    OK(gemmill_quantize(I8, NULL, 0, 1.0f, 0, NULL));

    EXPECT(NULL_POINTER, gemmill_dequantize(U8, NULL, 8, 1.0f, 0, back));
    EXPECT(NULL_POINTER, gemmill_dequantize(U8, q, 8, 1.0f, 0, NULL));
    EXPECT(MISALIGNED, gemmill_dequantize(U8, q, 8, 1.0f, 0, odd(x)));
    EXPECT(OUT_OF_RANGE, gemmill_dequantize(U8, q, INT64_MIN, 1.0f, 0, back));
    EXPECT(OUT_OF_RANGE, gemmill_dequantize(I8, q, 8, 1.0f, 128, back));
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
        Quantize *const gemmill_quantize_weights = i ? gemmill_quantize_weights_per_tensor : gemmill_quantize_weights_per_column;
#define REFUSED(status, call) TRUE((call) == GEMMILL_STATUS_##status)
        REFUSED(NULL_POINTER, gemmill_quantize_weights(NULL, 2, 4, 4, 1, w, scales));
        REFUSED(NULL_POINTER, gemmill_quantize_weights(x, 2, 4, 4, 1, NULL, scales));
        REFUSED(NULL_POINTER, gemmill_quantize_weights(x, 2, 4, 4, 1, w, NULL));
        REFUSED(MISALIGNED, gemmill_quantize_weights(odd(x), 2, 4, 4, 1, w, scales));
        REFUSED(MISALIGNED, gemmill_quantize_weights(x, 2, 4, 4, 1, w, odd(scales)));
        REFUSED(OUT_OF_RANGE, gemmill_quantize_weights(x, -2, 4, 4, 1, w, scales));
        REFUSED(OUT_OF_RANGE, gemmill_quantize_weights(x, 2, -4, 4, 1, w, scales));
        REFUSED(OUT_OF_RANGE, gemmill_quantize_weights(x, 2, 4, -4, 1, w, scales));
        REFUSED(OUT_OF_RANGE, gemmill_quantize_weights(x, 2, 4, 4, -1, w, scales));
        REFUSED(OVERFLOW, gemmill_quantize_weights(x, INT64_MAX, INT64_MAX, 0, 0, w, scales));
        REFUSED(OVERFLOW, gemmill_quantize_weights(x, 2, 4, INT64_MAX, 1, w, scales));
        REFUSED(OVERLAP, gemmill_quantize_weights(x, 2, 4, 4, 1, (int8_t *)x, scales));
        REFUSED(OVERLAP, gemmill_quantize_weights(x, 2, 4, 4, 1, w, x + 7));
        REFUSED(OVERLAP, gemmill_quantize_weights(x, 2, 4, 4, 1, (int8_t *)scales, scales));
        REFUSED(BAD_NUMBER, gemmill_quantize_weights(infinite, 2, 4, 4, 1, w, scales));
#undef REFUSED
    }
    for (int i = 0; i < 8; i++) TRUE(w[i] == 77);
    for (int i = 0; i < 4; i++) TRUE(scales[i] == 77.0f);
}

int main(void)
{
    for (int i = 0; i < K * N; i++) b[i] = (int8_t)(37 * i);
    for (int i = 0; i < 2 * M * K; i++) a[i] = (uint8_t)(29 * i);
    for (int i = 0; i < 64; i++) x[i] = 1.0f;
    versions_and_tiers();
    packing();
    weights();
    bytes();
    pools();
    settings();
    runs();
    multiply();
    quantization();
    return verdict("misuse");
}
