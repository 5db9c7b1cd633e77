/*
 * Products of all types, settings and tiers against loops over single elements: the same bits, with random and with
 * extreme numbers. What lies between the rows of C is left as it was.
 *
 *     exact [CASES] [SEED]
 */
#include "floats.h"

enum { MAX_M = 24, MAX_N = 72, MAX_K = 700 };

/* One case: what it is, its operands, and what C has to be. */
typedef struct {
    int64_t m, n, k, groups;
    int32_t a_type, b_type, c_type, tier;
    int64_t a_row_stride, a_col_stride, b_row_stride, b_col_stride, c_row_stride;
    int32_t *a, *b; /* integers that A and B stand for, row-major */
    int32_t *a_zero_points, *b_zero_points;
    float *a_scales;
} Case;

static int32_t draw(Random *random, int is_signed, int extreme)
{
    int64_t value = extreme == 2 ? 255 : extreme == 1 ? (next(random) >> 40 & 1 ? 255 : 0) : between(random, 0, 255);
    return (int32_t)(is_signed ? (extreme == 2 ? (next(random) >> 40 & 1 ? 127 : -128) : value - 128) : value);
}

static int32_t wrap(int64_t sum)
{
    uint32_t low = (uint32_t)(uint64_t)sum;
    int32_t value;
    memcpy(&value, &low, sizeof value);
    return value;
}

/* The sum that the formulas begin with. */
static int32_t raw_sum(const Case *c, int64_t i, int64_t j)
{
    int64_t group = j / (c->n / c->groups), sum = 0;
    for (int64_t k = 0; k < c->k; k++) {
        int64_t a = c->a[i * c->k * c->groups + group * c->k + k];
        sum += (a - c->a_zero_points[i]) * (c->b[k * c->n + j] - c->b_zero_points[j]);
    }
    return wrap(sum);
}

static float limited(float x, float low, float high)
{
    return x < low ? low : x > high ? high : x;
}

static int one_case(Random *random, int number)
{
    Case c;
    memset(&c, 0, sizeof c);
    c.groups = between(random, 1, 8) == 1 ? between(random, 2, 3) : 1;
    c.m = between(random, 0, 40) ? between(random, 1, MAX_M) : 0;
    c.n = between(random, 1, MAX_N / c.groups) * c.groups;
    c.k = between(random, 0, 5) ? between(random, 1, 130) : between(random, 0, MAX_K);
    const int32_t activations[] = {GEMMILL_TYPE_U8, GEMMILL_TYPE_U8, GEMMILL_TYPE_I8, F32, F16, BF16};
    c.a_type = activations[between(random, 0, 5)];
    c.b_type = between(random, 0, 2) ? GEMMILL_TYPE_I8 : GEMMILL_TYPE_U8;
    c.c_type = (int32_t)between(random, 0, 5);
    const char *missing = NULL;
    do {
        c.tier = (int32_t)between(random, 0, GEMMILL_TIER_AMX);
        OK(gemmill_tier_missing_feature(c.tier, &missing));
    } while (missing);
    const int extreme = (int)between(random, 0, 2), is_float = is_float_type(c.a_type);
    const int gives_float = is_float_type(c.c_type);
    const int a_signed = c.a_type == GEMMILL_TYPE_I8, b_signed = c.b_type == GEMMILL_TYPE_I8;
    const int64_t depth = c.k * c.groups, low_a = a_signed ? -128 : 0, low_b = b_signed ? -128 : 0;

    /* Operands with gaps, either order of the elements. */
    c.a_row_stride = depth + between(random, 0, 3), c.a_col_stride = 1;
    if (!between(random, 0, 3)) c.a_row_stride = 1, c.a_col_stride = c.m + between(random, 0, 2);
    c.b_row_stride = c.n + between(random, 0, 3), c.b_col_stride = 1;
    if (!between(random, 0, 3)) c.b_row_stride = 1, c.b_col_stride = c.k + between(random, 0, 2);
    c.c_row_stride = c.n + between(random, 0, 5);
    const size_t a_size = (size_t)((c.m + 3) * (depth + 4)), b_size = (size_t)((c.k + 3) * (c.n + 4));
    const size_t c_size = (size_t)(c.m * c.c_row_stride);
    uint8_t *a_bytes = allocate(a_size, 1), *b_bytes = allocate(b_size, 1);
    float *a_floats = allocate(a_size, sizeof(float));
    c.a = allocate((size_t)(c.m * depth), sizeof(int32_t));
    c.b = allocate((size_t)(c.k * c.n), sizeof(int32_t));
    c.a_zero_points = allocate((size_t)c.m, sizeof(int32_t));
    c.a_scales = allocate((size_t)c.m, sizeof(float));
    c.b_zero_points = allocate((size_t)c.n, sizeof(int32_t));

    /* B, its zero points and scales: per tensor, group or column. */
    for (int64_t k = 0; k < c.k; k++) {
        for (int64_t j = 0; j < c.n; j++) {
            c.b[k * c.n + j] = draw(random, b_signed, extreme);
            b_bytes[k * c.b_row_stride + j * c.b_col_stride] = (uint8_t)c.b[k * c.n + j];
        }
    }
    const int32_t per = (int32_t)between(random, 0, 2);
    const int64_t values = per == GEMMILL_PER_TENSOR ? 1 : per == GEMMILL_PER_GROUP ? c.groups : c.n;
    int32_t zero_points[MAX_N];
    float b_scales[MAX_N], multipliers[MAX_N], bias_f32[MAX_N];
    int32_t bias_i32[MAX_N];
    const int zero = !between(random, 0, 1);
    for (int64_t i = 0; i < values; i++) {
        zero_points[i] = zero ? 0 : (int32_t)between(random, low_b, low_b + 255);
        b_scales[i] = (float)between(random, 1, 1000) * 1e-4f;
        multipliers[i] = (float)between(random, 1, 1000) * (extreme ? 1e-7f : 1e-5f);
    }
#define VALUE(array, j) (array)[per == GEMMILL_PER_TENSOR ? 0 : per == GEMMILL_PER_GROUP ? (j) / (c.n / c.groups) : (j)]
    for (int64_t j = 0; j < c.n; j++) {
        c.b_zero_points[j] = VALUE(zero_points, j);
        bias_i32[j] = (int32_t)(next(random) >> 44) - (1 << 19);
        bias_f32[j] = (float)between(random, -10000, 10000) * 1e-2f;
    }
    gemmill_packing *packing = NULL;
    gemmill_weights *weights = NULL;
    OK(gemmill_packing_create(&packing));
    OK(gemmill_packing_set_groups(packing, c.groups));
    OK(gemmill_packing_set_zero_points(packing, per, zero_points, values));
    OK(gemmill_packing_set_tier(packing, c.tier));
    if (!between(random, 0, 3)) OK(gemmill_packing_set_kc(packing, between(random, 1, 200)));
    if (!between(random, 0, 1)) OK(gemmill_packing_set_effort(packing, GEMMILL_EFFORT_QUICK));
    const int32_t packers = (int32_t)between(random, 0, 2);
    OK(gemmill_packing_set_threads(packing, packers, packers ? between(random, 1, 3) : 0));
    OK(gemmill_weights_create(c.b_type, b_bytes, c.k, c.n, c.b_row_stride, c.b_col_stride, packing, &weights));
    OK(gemmill_packing_destroy(packing));
    memset(b_bytes, 77, b_size); /* weights are a copy */
    if (!between(random, 0, 3)) { /* and so are those that bytes hold */
        int64_t length = 0;
        EXPECT(TOO_SMALL, gemmill_weights_to_bytes(weights, NULL, 0, &length));
        uint8_t *bytes = allocate((size_t)length, 1);
        OK(gemmill_weights_to_bytes(weights, bytes, length, &length));
        OK(gemmill_weights_destroy(weights));
        OK(gemmill_weights_from_bytes(bytes, length, NULL, &weights));
        free(bytes);
    }

    gemmill_gemm *gemm = NULL;
    gemmill_run_options *options = NULL;
    OK(gemmill_gemm_create(weights, c.a_type, c.c_type, &gemm));
    OK(gemmill_run_options_create(&options));
    OK(gemmill_weights_destroy(weights));

    /* A and its zero points and scales, by row or for all. */
    const int by_row = !is_float && !between(random, 0, 2), scales_by_row = by_row && gives_float;
    const int dynamic = is_float && gives_float && between(random, 0, 1);
    const int32_t a_zero_point = (int32_t)between(random, low_a, low_a + 255);
    const float a_scale = 0.03125f * (float)between(random, 1, 9);
    for (int64_t i = 0; i < c.m; i++) {
        float least = 0.0f, most = 0.0f, row[3 * MAX_K];
        c.a_zero_points[i] = by_row ? (int32_t)between(random, low_a, low_a + 255) : a_zero_point;
        c.a_scales[i] = scales_by_row ? (float)between(random, 1, 99) * 0.01f : a_scale;
        for (int64_t k = 0; k < depth; k++) {
            if (is_float) {
                row[k] = rounded(c.a_type, (float)between(random, -4000, 4000) * 0.01f);
                if (!between(random, 0, 50)) row[k] = NAN;
                put(c.a_type, a_floats, (size_t)(i * c.a_row_stride + k * c.a_col_stride), row[k]);
            } else {
                c.a[i * depth + k] = draw(random, a_signed, extreme);
                a_bytes[i * c.a_row_stride + k * c.a_col_stride] = (uint8_t)c.a[i * depth + k];
            }
        }
        if (!is_float) continue;
        if (dynamic) {
            if (gemmill_quantization_range(row, depth, &least, &most) != GEMMILL_STATUS_OK) least = most = 0.0f;
            OK(gemmill_quantization_choose(GEMMILL_TYPE_U8, least, most, 0, 0, &c.a_scales[i], &c.a_zero_points[i]));
        }
        for (int64_t k = 0; k < depth; k++) {
            const float zp = (float)c.a_zero_points[i], inverse = 1.0f / c.a_scales[i];
            const float t = isnan(row[k]) ? 0.0f : limited(row[k] * inverse, -zp, 255.0f - zp);
            c.a[i * depth + k] = c.a_zero_points[i] + (int32_t)rintf(t);
        }
    }
    if (dynamic) OK(gemmill_gemm_set_a_quantization_per_row(gemm));
    else if (is_float) OK(gemmill_gemm_set_a_quantization(gemm, a_scale, a_zero_point));
    else OK(gemmill_gemm_set_a_zero_point(gemm, a_zero_point));
    if (by_row) OK(gemmill_run_options_set_row_zero_points(options, c.a_zero_points, c.m));
    if (scales_by_row) OK(gemmill_run_options_set_row_scales(options, c.a_scales, c.m));

    /* The epilogue. */
    const int bias = (int)between(random, 0, 2), relu = (int)between(random, 0, 1), clamp = (int)between(random, 0, 1);
    const int add = (int)between(random, 0, 1);
    const int low_c = c.c_type == GEMMILL_TYPE_I8 ? -128 : 0;
    int32_t c_zero_point = 0, low = low_c, high = low_c + 255;
    float low_f32 = -INFINITY, high_f32 = INFINITY;
    if (c.c_type == GEMMILL_TYPE_I32) {
        OK(gemmill_gemm_set_accumulate(gemm, add));
    } else {
        OK(gemmill_gemm_set_relu(gemm, relu));
        OK(gemmill_gemm_set_b_scales(gemm, per, b_scales, values));
        if (!is_float) OK(gemmill_gemm_set_a_scale(gemm, a_scale));
        if (bias == 2) OK(gemmill_gemm_set_bias_f32(gemm, bias_f32, c.n));
    }
    if (c.c_type == GEMMILL_TYPE_U8 || c.c_type == GEMMILL_TYPE_I8) {
        c_zero_point = (int32_t)between(random, low_c + 20, low_c + 200);
        OK(gemmill_gemm_set_multipliers(gemm, per, multipliers, values));
        OK(gemmill_gemm_set_c_zero_point(gemm, c_zero_point));
        if (bias == 1) OK(gemmill_gemm_set_bias_i32(gemm, bias_i32, c.n));
        if (clamp) {
            low = low_c + 10, high = low_c + 230;
            OK(gemmill_gemm_set_clamp_i32(gemm, low, high));
        }
        if (relu && low < c_zero_point) low = c_zero_point;
    }
    float residual[MAX_M * MAX_N]; /* of the type of C */
    const int has_residual = gives_float && between(random, 0, 1);
    if (gives_float) {
        if (clamp) {
            low_f32 = -50.0f, high_f32 = 700.0f;
            OK(gemmill_gemm_set_clamp_f32(gemm, low_f32, high_f32));
        }
        if (relu && low_f32 < 0.0f) low_f32 = 0.0f;
        for (int64_t i = 0; i < c.m * c.n; i++)
            put(c.c_type, residual, (size_t)i, rounded(c.c_type, (float)between(random, -1000, 1000)));
        if (has_residual && c.c_type == F32 && between(random, 0, 1))
            OK(gemmill_run_options_set_residual(options, residual, c.n));
        else if (has_residual)
            OK(gemmill_run_options_set_float_residual(options, c.c_type, residual, c.n));
    }
    const int32_t how = (int32_t)between(random, 0, 2);
    OK(gemmill_gemm_set_threads(gemm, how, how ? between(random, 1, 3) : 0));

    /* C starts as some bytes: sums are added to them, all others are to be written over, gaps to be left. */
    const size_t element = gives_float ? bytes_of(c.c_type) : c.c_type == GEMMILL_TYPE_I32 ? 4 : 1;
    uint8_t *got = allocate(c_size, element), *expected = allocate(c_size, element);
    for (size_t i = 0; i < c_size * element; i++) got[i] = (uint8_t)next(random);
    memcpy(expected, got, c_size * element);
    for (int64_t i = 0; i < c.m; i++) {
        for (int64_t j = 0; j < c.n; j++) {
            const size_t at = (size_t)(i * c.c_row_stride + j);
            const int32_t raw = raw_sum(&c, i, j);
            if (c.c_type == GEMMILL_TYPE_I32) {
                int32_t before;
                memcpy(&before, expected + 4 * at, 4);
                before = add ? wrap((int64_t)before + raw) : raw;
                memcpy(expected + 4 * at, &before, 4);
            } else if (gives_float) {
                const float scale = c.a_scales[i] * VALUE(b_scales, j);
                float y = bias == 2 ? fmaf((float)raw, scale, bias_f32[j]) : (float)raw * scale;
                if (has_residual) y += get(c.c_type, residual, (size_t)(i * c.n + j));
                put(c.c_type, expected, at, rounded(c.c_type, limited(y, low_f32, high_f32)));
            } else {
                float y = (float)(bias == 1 ? wrap((int64_t)raw + bias_i32[j]) : raw);
                if (bias == 2) y = (float)raw + bias_f32[j] / (a_scale * VALUE(b_scales, j));
                y = limited(y * VALUE(multipliers, j), (float)(low - c_zero_point), (float)(high - c_zero_point));
                expected[at] = (uint8_t)(c_zero_point + (int32_t)rintf(y));
            }
        }
    }
    const void *a = is_float ? (const void *)a_floats : a_bytes;
    int wrong = 0;
    for (int time = 0; time < 2; time++) { /* the second run has what the first has kept */
        uint8_t *out = allocate(c_size, element);
        memcpy(out, got, c_size * element);
        OK(gemmill_gemm_run(gemm, c.m, a, c.a_row_stride, c.a_col_stride, out, c.c_row_stride, options));
        for (size_t i = 0; i < c_size && !wrong; i++) {
            /* Zeros may differ in their sign: 0 is neither above nor below -0. */
            float x = 0.0f, y = 1.0f;
            if (gives_float) x = get(c.c_type, out, i), y = get(c.c_type, expected, i);
            wrong = memcmp(out + i * element, expected + i * element, element) != 0 && !(x == 0.0f && y == 0.0f);
            if (wrong)
                printf("case %d: %lld x %lld x %lld, %lld groups, A %d, B %d, C %d, tier %s: "
                       "element %lld of row %lld\n",
                       number, (long long)c.m, (long long)c.n, (long long)c.k, (long long)c.groups, c.a_type,
                       c.b_type, c.c_type,
                       gemmill_tier_name(c.tier), (long long)i % c.c_row_stride, (long long)i / c.c_row_stride);
        }
        free(out);
    }
    TRUE(!wrong);

    /* Sums without zero points and groups, in one call. */
    if (c.c_type == GEMMILL_TYPE_I32 && !is_float && zero && c.groups == 1 && !wrong) {
        for (int64_t i = 0; i < c.m; i++) c.a_zero_points[i] = 0;
        for (int64_t k = 0; k < c.k; k++)
            for (int64_t j = 0; j < c.n; j++)
                b_bytes[k * c.b_row_stride + j * c.b_col_stride] = (uint8_t)c.b[k * c.n + j];
        int32_t *sums = (int32_t *)(void *)got;
        OK(gemmill_multiply(c.a_type, c.b_type, c.m, c.n, c.k, a_bytes, c.a_row_stride, c.a_col_stride, b_bytes,
                            c.b_row_stride, c.b_col_stride, sums, c.c_row_stride));
        for (int64_t i = 0; i < c.m; i++)
            for (int64_t j = 0; j < c.n; j++) wrong |= sums[i * c.c_row_stride + j] != raw_sum(&c, i, j);
        TRUE(!wrong);
    }

    OK(gemmill_run_options_destroy(options));
    OK(gemmill_gemm_destroy(gemm));
    free(got), free(expected), free(a_bytes), free(b_bytes), free(a_floats);
    free(c.a), free(c.b), free(c.a_zero_points), free(c.a_scales), free(c.b_zero_points);
    return wrong;
}

/* A and C as column blocks of one buffer: apart, though each lies between the other's rows. */
static void column_blocks(void)
{
    enum { M = 70, K = 24, N = 40, ROW = 64 };
    static float buffer[M * ROW];
    int8_t b[K * N];
    float b_floats[K * N];
    for (int i = 0; i < K * N; i++) b_floats[i] = b[i] = (int8_t)(i * 29 % 251);
    for (int i = 0; i < M; i++)
        for (int j = 0; j < ROW; j++) buffer[i * ROW + j] = (float)((i * 31 + j * 17) % 61 - 30);
    gemmill_weights *weights = NULL;
    gemmill_float_weights *float_weights = NULL;
    gemmill_gemm *gemm = NULL;
    gemmill_float_gemm *float_gemm = NULL;
    OK(gemmill_weights_create(GEMMILL_TYPE_I8, b, K, N, N, 1, NULL, &weights));
    OK(gemmill_float_weights_create(F32, b_floats, K, N, N, 1, NULL, &float_weights));
    OK(gemmill_gemm_create(weights, F32, F32, &gemm));
    OK(gemmill_gemm_set_b_scale(gemm, 1.0f));
    OK(gemmill_gemm_set_a_quantization(gemm, 1.0f, 128));
    OK(gemmill_gemm_set_threads(gemm, GEMMILL_THREADS_EXACTLY, 2));
    OK(gemmill_float_gemm_create(float_weights, F32, F32, &float_gemm));
    OK(gemmill_float_gemm_set_threads(float_gemm, GEMMILL_THREADS_EXACTLY, 2));
    for (int which = 0; which < 2; which++) {
        float *const c = buffer + (which ? 0 : K), *const a = buffer + (which ? N : 0);
        if (which)
            for (int i = 0; i < M; i++)
                for (int k = 0; k < K; k++) a[i * ROW + k] = (float)((i * 13 + k * 7) % 50 - 25);
        EXPECT(OVERLAP, gemmill_gemm_run(gemm, M, a, ROW, 1, c + (which ? 1 : -1), ROW, NULL));
        EXPECT(OVERLAP, gemmill_float_gemm_run(float_gemm, M, a, ROW, 1, c + (which ? 1 : -1), ROW, NULL));
        for (int of_floats = 0; of_floats < 2; of_floats++) {
            if (of_floats) OK(gemmill_float_gemm_run(float_gemm, M, a, ROW, 1, c, ROW, NULL));
            else OK(gemmill_gemm_run(gemm, M, a, ROW, 1, c, ROW, NULL));
            int wrong = 0;
            for (int i = 0; i < M; i++) {
                for (int j = 0; j < N; j++) {
                    float sum = 0.0f; /* of small integers, exact in any order */
                    for (int k = 0; k < K; k++) sum += a[i * ROW + k] * b_floats[k * N + j];
                    wrong |= c[i * ROW + j] != sum;
                    c[i * ROW + j] = 77.0f;
                }
            }
            TRUE(!wrong);
        }
    }
    OK(gemmill_float_gemm_destroy(float_gemm));
    OK(gemmill_gemm_destroy(gemm));
    OK(gemmill_float_weights_destroy(float_weights));
    OK(gemmill_weights_destroy(weights));
}

int main(int count, char **arguments)
{
    const int cases = count > 1 ? atoi(arguments[1]) : 2000;
    Random random = {count > 2 ? strtoull(arguments[2], NULL, 0) : 20240611};
    int wrong = 0;
    for (int i = 0; i < cases; i++) wrong += one_case(&random, i);
    column_blocks();
    printf("exact: %d products, %d wrong\n", cases, wrong);
    return verdict("exact") || wrong;
}
