/*
 * Floating-point products, products with weights of few bits, and conversions against loops over single elements in C:
 * the same bits, for all types, settings and tiers, with gaussian-like, extreme and special numbers. GELU and SiLU are
 * compared within their documented bound. Hardware dot products are compared with their formulas, on the portable tier
 * at least, and with their bound. What lies between the rows of C is left as it was.
 *
 *     exact_floats [CASES] [SEED]
 */
#include "floats.h"

enum { MAX_M = 20, MAX_N = 80, MAX_K = 400 };

/* Whether two floats are the same: of NaN it is not specified which. */
static int same(float x, float y) { return (isnan(x) && isnan(y)) || bits_of(x) == bits_of(y); }

static float draw(Random *random, int kind)
{
    const float x = (float)between(random, -100000, 100000) * 1e-5f;
    const float special[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 3e38f, -3e38f, 1e-40f, 65504.0f, 65520.0f, 6e-8f,
                             1.0f};
    if (kind == 1) return x * ldexpf(1.0f, (int)between(random, -20, 10));
    /* Products are about as small as numbers can be. */
    if (kind == 3) return x * ldexpf(1.0f, (int)between(random, -72, -56));
    if (kind == 2 && !between(random, 0, 40)) return special[between(random, 0, 11)];
    return x;
}

static int32_t any_float(Random *random)
{
    const int32_t types[] = {F32, F16, BF16};
    return types[between(random, 0, 2)];
}

static int32_t any_tier(Random *random)
{
    const char *missing = NULL;
    int32_t tier;
    do {
        tier = (int32_t)between(random, 0, GEMMILL_TIER_AMX);
        OK(gemmill_tier_missing_feature(tier, &missing));
    } while (missing);
    return tier;
}

/* How far GELU and SiLU may be off: see gemmill::Function. */
static int is_near(int32_t function, float y, float x, int32_t c_type)
{
    const float c_step = c_type == F32 ? 0.0f : c_type == F16 ? 0x1p-11f : 0x1p-8f;
    if (isnan(x)) return isnan(y);
    if (isinf(x)) return x < 0 || y == x; /* 0 times -infinity is not specified */
    const double t = function == GEMMILL_FUNCTION_SILU
        ? x : 2 * sqrt(2 / 3.14159265358979323846) * ((double)x + 0.044715 * (double)x * (double)x * (double)x);
    const double exact = (double)x / (1 + exp(-t));
    if (isinf(rounded(c_type, (float)exact))) return fabsf(y) >= largest(c_type);
    return fabs((double)y - exact)
        <= ldexp(fabs((double)x), -22) + 1e-36 + c_step * fabs(exact) + (c_step > 0 ? 1e-7 : 0);
}

enum { IDENTITY, RELU, GELU, SILU, CLAMP };

/* f, where it is exact. */
static float apply(int function, float x)
{
    if (function == RELU) return x < 0.0f ? 0.0f : x;
    if (function == CLAMP) return x < -0.5f ? -0.5f : x > 0.75f ? 0.75f : x;
    return x;
}

static void set_function(gemmill_float_gemm *gemm, int function)
{
    if (function == CLAMP) OK(gemmill_float_gemm_set_clamp(gemm, -0.5f, 0.75f));
    else OK(gemmill_float_gemm_set_function(gemm, function));
}

typedef struct {
    int64_t m, n, k;
    int32_t a_type, c_type, tier, dot;
    int function, bias, residual, quantized;
    float beta;
    float *a, *b; /* the numbers that A and B hold, row-major */
    /* of weights of few bits */
    int64_t group_size;
    const int32_t *steps; /* q - zero point, K x N */
    const float *scales;
} Case;

/* Zero of the same sign for a subnormal number. */
static float flushed(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x; }

/* fma of numbers that are not subnormal. What is below the smallest normal number, with unlimited exponents, is 0. */
static float flushed_fma(float a, float b, float sum)
{
    const float y = fmaf(a, b, sum), large = fabsf(a) > fabsf(b) ? a : b, small = fabsf(a) > fabsf(b) ? b : a;
    if (fabsf(y) != 0x1p-126f) return flushed(y);
    /* Of that number, it is not known yet whether it was rounded up to: at 2^64 times the size, all 24 bits show. */
    return fabsf(fmaf(large, ldexpf(small, 64), ldexpf(sum, 64))) < 0x1p-62f ? copysignf(0.0f, y) : y;
}

/* x and the products of an element, by hardware dot products. */
static float dot_sum(const Case *c, int64_t i, int64_t j, float x)
{
    const int64_t group = c->dot == GEMMILL_HARDWARE_DOT_AMX_BF16 ? 32 : 2;
    double exact = (double)x, magnitude = fabs((double)x), bound;
    for (int64_t first = 0; first < c->k; first += group) {
        float a[32] = {0.0f}, b[32] = {0.0f}, parts[2] = {0.0f, 0.0f};
        for (int64_t p = 0; p < group && first + p < c->k; p++) {
            a[p] = flushed(rounded(BF16, c->a[i * c->k + first + p])), b[p] = flushed(c->b[(first + p) * c->n + j]);
            exact += (double)a[p] * (double)b[p], magnitude += fabs((double)a[p] * (double)b[p]);
        }
        if (group == 2) {
            x = flushed_fma(a[0], b[0], flushed_fma(a[1], b[1], flushed(x)));
            continue;
        }
        for (int p = 0; p < 32; p++) parts[p % 2] = flushed_fma(a[p], b[p], parts[p % 2]);
        x = flushed(flushed(x) + flushed(parts[0] + parts[1]));
    }
    OK(gemmill_hardware_dot_error_bound(c->dot, c->k, isnan(magnitude) ? INFINITY : magnitude, &bound));
    /* The rest is for the sum of doubles. */
    if (isfinite(x)) TRUE(isinf(bound) || fabs((double)x - exact) <= bound + 1e-13 * magnitude);
    return x;
}

/* The sum of an element before bias and residual. */
static float sum(const Case *c, int64_t i, int64_t j, float before)
{
    float x = c->beta == 0.0f ? 0.0f : c->beta * before;
    if (c->dot) return dot_sum(c, i, j, x);
    for (int64_t k = 0; k < c->k; k++) x = fmaf(c->a[i * c->k + k], c->b[k * c->n + j], x);
    return x;
}

/* The same with a row that is quantized to i8: without its scale, which is set. */
static float quantized_sum(const Case *c, int64_t i, int64_t j, float *scale)
{
    float most = 0.0f, x = 0.0f;
    for (int64_t k = 0; k < c->k; k++) most = fmaxf(most, fabsf(c->a[i * c->k + k]));
    *scale = most / 127.0f;
    if (isinf(1.0f / *scale)) *scale = 0.1f;
    const float inverse = 1.0f / *scale;
    for (int64_t first = 0; first < c->k; first += c->group_size) {
        int64_t s = 0;
        for (int64_t k = first; k < first + c->group_size && k < c->k; k++) {
            const float t = rintf(c->a[i * c->k + k] * inverse);
            s += (int64_t)(t > 127.0f ? 127.0f : t < -127.0f ? -127.0f : t) * c->steps[k * c->n + j];
        }
        x = fmaf((float)s, c->scales[first / c->group_size * c->n + j], x);
    }
    return x;
}

/* Runs the product and compares; A, B and types are set. Gives whether it is wrong. */
static int check_product(Random *random, Case *c, gemmill_float_gemm *gemm, int number)
{
    const int64_t c_stride = c->n + between(random, 0, 5), by_column = !between(random, 0, 3);
    const int64_t a_row = by_column ? 1 : c->k + between(random, 0, 3);
    const int64_t a_col = by_column ? c->m + between(random, 0, 2) : 1;
    const size_t a_size = (size_t)((c->m + 3) * (c->k + 4)), c_size = (size_t)(c->m * c_stride);
    const size_t c_bytes = bytes_of(c->c_type), a_bytes = bytes_of(c->a_type);
    void *a = allocate(a_size, a_bytes), *before = allocate(c_size, c_bytes), *out = allocate(c_size, c_bytes);
    void *residual = allocate((size_t)(c->m * c->n), c_bytes);
    memset(a, 0, a_size * a_bytes);
    for (int64_t i = 0; i < c->m; i++)
        for (int64_t k = 0; k < c->k; k++) put(c->a_type, a, (size_t)(i * a_row + k * a_col), c->a[i * c->k + k]);
    for (size_t i = 0; i < c_size; i++) put(c->c_type, before, i, rounded(c->c_type, draw(random, 0)));
    for (int64_t i = 0; i < c->m * c->n; i++) put(c->c_type, residual, (size_t)i, rounded(c->c_type, draw(random, 0)));
    float bias[MAX_N];
    for (int64_t j = 0; j < c->n; j++) bias[j] = draw(random, 0);

    gemmill_run_options *options = NULL;
    OK(gemmill_run_options_create(&options));
    if (c->bias) OK(gemmill_float_gemm_set_bias(gemm, bias, c->n));
    if (c->beta != 0.0f) OK(gemmill_float_gemm_set_beta(gemm, c->beta));
    if (c->residual) OK(gemmill_run_options_set_float_residual(options, c->c_type, residual, c->n));
    set_function(gemm, c->function);
    OK(gemmill_float_gemm_set_tier(gemm, c->tier));
    if (c->dot) OK(gemmill_float_gemm_set_hardware_dot(gemm, c->dot));
    const int32_t how = (int32_t)between(random, 0, 2);
    OK(gemmill_float_gemm_set_threads(gemm, how, how ? between(random, 1, 3) : 0));
    int wrong = 0;
    for (int time = 0; time < 2; time++) { /* the second run has what the first has kept */
        memcpy(out, before, c_size * c_bytes);
        OK(gemmill_float_gemm_run(gemm, c->m, a, a_row, a_col, out, c_stride, options));
        for (int64_t i = 0; i < c->m && !wrong; i++) {
            for (int64_t j = 0; j < c_stride && !wrong; j++) {
                const size_t at = (size_t)(i * c_stride + j);
                const float got = get(c->c_type, out, at), old = get(c->c_type, before, at);
                if (j >= c->n) {
                    wrong = memcmp((char *)out + at * c_bytes, (char *)before + at * c_bytes, c_bytes) != 0;
                    continue;
                }
                float x;
                if (c->quantized) {
                    float scale;
                    x = quantized_sum(c, i, j, &scale);
                    x = c->bias ? fmaf(x, scale, bias[j]) : x * scale;
                } else {
                    x = sum(c, i, j, old);
                    if (c->bias) x += bias[j];
                    if (c->residual) x += get(c->c_type, residual, (size_t)(i * c->n + j));
                }
                const float y = rounded(c->c_type, apply(c->function, x));
                const int smooth = c->function == GELU || c->function == SILU;
                /* ReLU and clamp of -0 may give a zero of either sign. */
                wrong = smooth ? !is_near(c->function, got, x, c->c_type)
                    : !(same(got, y) || (got == 0.0f && y == 0.0f));
                if (wrong)
                    printf("case %d: %lld x %lld x %lld, A %d, C %d, tier %s, dot %s, function %d, quantized %d: "
                           "row %lld, column %lld: expected %.9g, given %.9g\n", number, (long long)c->m,
                           (long long)c->n, (long long)c->k, c->a_type, c->c_type, gemmill_tier_name(c->tier),
                           gemmill_hardware_dot_name(c->dot), c->function, c->quantized, (long long)i,
                           (long long)j, (double)y, (double)got);
            }
        }
    }
    int32_t dot = 77;
    OK(gemmill_float_gemm_hardware_dot(gemm, &dot));
    TRUE(!wrong && dot == c->dot);
    OK(gemmill_run_options_destroy(options));
    free(a), free(before), free(out), free(residual);
    return wrong;
}

static Case any_case(Random *random, int kind)
{
    Case c;
    memset(&c, 0, sizeof c);
    c.m = between(random, 0, 40) ? between(random, 1, MAX_M) : 0;
    c.n = between(random, 1, MAX_N);
    c.k = between(random, 0, 5) ? between(random, 1, 130) : between(random, 0, MAX_K);
    c.a_type = any_float(random), c.c_type = any_float(random), c.tier = any_tier(random);
    c.function = (int)between(random, 0, 4), c.bias = (int)between(random, 0, 1);
    c.a = allocate((size_t)(c.m * c.k), sizeof(float));
    c.b = allocate((size_t)(c.k * c.n), sizeof(float));
    for (int64_t i = 0; i < c.m * c.k; i++) c.a[i] = rounded(c.a_type, draw(random, kind));
    return c;
}

static int float_case(Random *random, int number)
{
    const int kind = (int)between(random, 0, 3), saturating = (int)between(random, 0, 1);
    Case c = any_case(random, kind);
    c.residual = (int)between(random, 0, 1);
    c.beta = between(random, 0, 1) ? 0.0f : (float)between(random, -8, 8) * 0.25f;
    if (kind == 3) c.bias = c.residual = 0, c.beta = 0.0f; /* beside which the sum would not show */
    const int32_t b_type = any_float(random), stored = between(random, 0, 2) ? any_float(random) : b_type;
    const float alpha = between(random, 0, 1) ? 1.0f : (float)between(random, -3, 900);
    const int64_t by_column = !between(random, 0, 2), row = by_column ? 1 : c.n + between(random, 0, 3);
    const int64_t col = by_column ? c.k + between(random, 0, 2) : 1;
    const size_t b_size = (size_t)((c.k + 3) * (c.n + 4));
    void *b = allocate(b_size, bytes_of(b_type));
    memset(b, 0, b_size * bytes_of(b_type));
    for (int64_t k = 0; k < c.k; k++) {
        for (int64_t j = 0; j < c.n; j++) {
            const float x = rounded(b_type, draw(random, kind));
            put(b_type, b, (size_t)(k * row + j * col), x);
            float scaled = alpha == 1.0f ? x : alpha * x;
            if (saturating && fabsf(scaled) > largest(stored)) scaled = copysignf(largest(stored), scaled);
            c.b[k * c.n + j] = rounded(stored, scaled);
        }
    }
    if (stored == BF16 && between(random, 0, 1)) {
        c.dot = (int32_t)between(random, GEMMILL_HARDWARE_DOT_AVX512_BF16, GEMMILL_HARDWARE_DOT_AMX_BF16);
        while (gemmill_hardware_dot_require(c.dot, c.tier) != GEMMILL_STATUS_OK) c.tier = any_tier(random);
    }
    gemmill_float_packing *packing = NULL;
    gemmill_float_weights *weights = NULL;
    gemmill_float_gemm *gemm = NULL;
    OK(gemmill_float_packing_create(&packing));
    if (stored != b_type) OK(gemmill_float_packing_set_type(packing, stored));
    OK(gemmill_float_packing_set_alpha(packing, alpha));
    OK(gemmill_float_packing_set_saturating(packing, saturating));
    if (between(random, 0, 1)) OK(gemmill_float_packing_set_threads(packing, GEMMILL_THREADS_MAX, 1));
    OK(gemmill_float_weights_create(b_type, b, c.k, c.n, row, col, packing, &weights));
    OK(gemmill_float_packing_destroy(packing));
    memset(b, 77, b_size * bytes_of(b_type)); /* weights are a copy */
    if (!between(random, 0, 3)) { /* and so are those that bytes hold */
        int64_t length = 0;
        EXPECT(TOO_SMALL, gemmill_float_weights_to_bytes(weights, NULL, 0, &length));
        uint8_t *bytes = allocate((size_t)length, 1);
        OK(gemmill_float_weights_to_bytes(weights, bytes, length, &length));
        OK(gemmill_float_weights_destroy(weights));
        OK(gemmill_float_weights_from_bytes(bytes, length, &weights));
        free(bytes);
    }
    int wrong = 0;
    float *back = allocate((size_t)(c.k * c.n), sizeof(float));
    OK(gemmill_float_weights_unpack(weights, back, c.n));
    for (int64_t i = 0; i < c.k * c.n; i++) wrong |= !same(back[i], c.b[i]);
    TRUE(!wrong);
    OK(gemmill_float_gemm_create(weights, c.a_type, c.c_type, &gemm));
    OK(gemmill_float_weights_destroy(weights));
    wrong |= check_product(random, &c, gemm, number);
    OK(gemmill_float_gemm_destroy(gemm));
    free(b), free(back), free(c.a), free(c.b);
    return wrong;
}

/* Just below the smallest normal number: halfway to what 24 bits hold below it, and a little further. */
static void smallest_sums(void)
{
    float a[3] = {0x1p-63f, 0.0f, -0x1p-75f};
    for (int i = 0; i < 4; i++) {
        const int32_t dot = i & 1 ? GEMMILL_HARDWARE_DOT_AMX_BF16 : GEMMILL_HARDWARE_DOT_AVX512_BF16;
        float b[3] = {0x1p-63f, 0.0f, i < 2 ? 0x1p-76f : 0x1.8p-76f}, c = 77.0f;
        const uint32_t expected = bits_of(i < 2 ? 0x1p-126f : 0.0f);
        gemmill_float_packing *packing = NULL;
        gemmill_float_weights *weights = NULL;
        gemmill_float_gemm *gemm = NULL;
        OK(gemmill_float_packing_create(&packing));
        OK(gemmill_float_packing_set_type(packing, BF16));
        OK(gemmill_float_weights_create(F32, b, 3, 1, 1, 1, packing, &weights));
        OK(gemmill_float_gemm_create(weights, F32, F32, &gemm));
        OK(gemmill_float_gemm_set_tier(gemm, GEMMILL_TIER_PORTABLE));
        OK(gemmill_float_gemm_set_hardware_dot(gemm, dot));
        OK(gemmill_float_gemm_run(gemm, 1, a, 3, 1, &c, 1, NULL));
        const Case same_case = {.m = 1, .n = 1, .k = 3, .dot = dot, .a = a, .b = b};
        TRUE(bits_of(c) == expected && bits_of(dot_sum(&same_case, 0, 0, 0.0f)) == expected);
        OK(gemmill_float_gemm_destroy(gemm));
        OK(gemmill_float_weights_destroy(weights));
        OK(gemmill_float_packing_destroy(packing));
    }
}

static int groupwise_case(Random *random, int number)
{
    Case c = any_case(random, (int)between(random, 0, 1));
    const int32_t bits = between(random, 0, 1) ? 4 : 2, highest = bits == 4 ? 15 : 3,
        points = (int32_t)between(random, 0, 1);
    c.group_size = 32 << between(random, 0, 2);
    const int64_t groups = (c.k + c.group_size - 1) / c.group_size;
    for (int64_t i = 0; i < c.k * c.n; i++) c.b[i] = draw(random, 0);
    gemmill_groupwise_weights *weights = NULL, *again = NULL;
    if (between(random, 0, 1)) {
        OK(gemmill_groupwise_weights_round_to_nearest(c.b, c.k, c.n, c.n, 1, bits, (int32_t)c.group_size, points,
                                                      &weights));
    } else {
        float importance[MAX_K];
        for (int64_t k = 0; k < c.k; k++) importance[k] = (float)between(random, 0, 9);
        OK(gemmill_groupwise_weights_search(c.b, c.k, c.n, c.n, 1, bits, (int32_t)c.group_size, points, importance,
                                            c.k, &weights));
    }
    /* What it consists of makes the same weights again, and so do its bytes. */
    int64_t count = 0, length = 0;
    int32_t equal = 0;
    uint8_t *values = allocate((size_t)(c.k * c.n), 1), *zero_points = allocate((size_t)(groups * c.n), 1);
    uint16_t *halves = allocate((size_t)(groups * c.n), 2);
    float *scales = allocate((size_t)(groups * c.n), sizeof(float)),
        *back = allocate((size_t)(c.k * c.n), sizeof(float));
    int32_t *steps = allocate((size_t)(c.k * c.n), sizeof(int32_t));
    OK(gemmill_groupwise_weights_values(weights, values, c.k * c.n, &count));
    TRUE(count == c.k * c.n);
    OK(gemmill_groupwise_weights_scales(weights, halves, groups * c.n, &count));
    TRUE(count == groups * c.n);
    OK(gemmill_groupwise_weights_zero_points(weights, zero_points, groups * c.n, &count));
    TRUE(count == (points == GEMMILL_ZERO_POINTS_EACH ? groups * c.n : 0));
    OK(gemmill_groupwise_weights_from_parts(c.k, c.n, bits, (int32_t)c.group_size, points, values, halves,
                                            points == GEMMILL_ZERO_POINTS_EACH ? zero_points : NULL, &again));
    OK(gemmill_groupwise_weights_equal(weights, again, &equal));
    TRUE(equal == 1);
    OK(gemmill_groupwise_weights_destroy(again));
    EXPECT(TOO_SMALL, gemmill_groupwise_weights_to_bytes(weights, NULL, 0, &length));
    uint8_t *bytes = allocate((size_t)length, 1);
    OK(gemmill_groupwise_weights_to_bytes(weights, bytes, length, &length));
    OK(gemmill_groupwise_weights_from_bytes(bytes, length, &again));
    OK(gemmill_groupwise_weights_equal(weights, again, &equal));
    TRUE(equal == 1);
    OK(gemmill_groupwise_weights_destroy(again));
    free(bytes);

    /* Its real numbers are the formula's, and near those that it was made of. */
    int wrong = 0;
    double most = 0.0, squares = 0.0, most_given = -1.0, mean_given = -1.0;
    OK(gemmill_groupwise_weights_dequantize(weights, back, c.n));
    OK(gemmill_groupwise_weights_error(weights, c.b, c.n, 1, &most_given, &mean_given));
    for (int64_t i = 0; i < groups * c.n; i++) scales[i] = decode(BF16, halves[i]);
    for (int64_t k = 0; k < c.k; k++) {
        for (int64_t j = 0; j < c.n; j++) {
            const int64_t at = k * c.n + j, group = k / c.group_size * c.n + j;
            steps[at] = values[at] - (points == GEMMILL_ZERO_POINTS_EACH ? zero_points[group] : highest / 2 + 1);
            const float real = scales[group] * (float)steps[at];
            const double off = fabs((double)c.b[at] - (double)real);
            most = fmax(most, off), squares += off * off;
            wrong |= real != back[at] || values[at] > highest;
            c.b[at] = real;
        }
    }
    TRUE(most_given == most && fabs(mean_given * (double)(c.k * c.n) - squares) <= 1e-12 * squares);
    TRUE(!wrong);
    c.steps = steps, c.scales = scales;

    gemmill_groupwise_packed *packed = NULL;
    gemmill_float_gemm *gemm = NULL;
    const int32_t how = (int32_t)between(random, 0, 1);
    OK(gemmill_groupwise_packed_create(weights, how, how, &packed));
    OK(gemmill_groupwise_weights_destroy(weights));
    c.quantized = (int)between(random, 0, 1);
    if (c.quantized) {
        OK(gemmill_float_gemm_create_groupwise_a8(packed, c.a_type, c.c_type, &gemm));
    } else {
        c.residual = (int)between(random, 0, 1);
        c.beta = between(random, 0, 1) ? 0.0f : 0.5f;
        OK(gemmill_float_gemm_create_groupwise(packed, c.a_type, c.c_type, &gemm));
    }
    OK(gemmill_groupwise_packed_destroy(packed));
    wrong |= check_product(random, &c, gemm, number);
    OK(gemmill_float_gemm_destroy(gemm));
    free(values), free(zero_points), free(halves), free(scales), free(back), free(steps), free(c.a), free(c.b);
    return wrong;
}

static void conversions(Random *random)
{
    enum { COUNT = 4096 };
    static float x[COUNT], back[COUNT];
    static uint16_t y[COUNT];
    const int32_t types[] = {F16, BF16};
    for (int t = 0; t < 2; t++) {
        const int32_t type = types[t];
        int wrong = 0;
        for (int round = 0; round < 64; round++) {
            const int64_t count = between(random, 0, COUNT);
            for (int i = 0; i < COUNT; i++) {
                /* All bits; near the ends of f16; ties. */
                x[i] = with_bits((uint32_t)(next(random) >> 20));
                if (round % 4 == 1) x[i] = ldexpf((float)between(random, -4096, 4096), (int)between(random, -37, 6));
                if (round % 4 == 2) x[i] = with_bits(bits_of(x[i]) & 0xffff8000);
            }
            OK(gemmill_convert(F32, x, type, y, count));
            OK(gemmill_convert(type, y, F32, back, count));
            for (int64_t i = 0; i < count; i++) {
                const float expected = rounded(type, x[i]);
                wrong |= isnan(x[i]) ? !isnan(decode(type, y[i])) : y[i] != encode(type, expected);
                wrong |= !same(back[i], expected);
            }
            OK(gemmill_convert_saturating(F32, x, type, y, count));
            for (int64_t i = 0; i < count; i++) {
                float expected = rounded(type, x[i]);
                if (isinf(expected)) expected = copysignf(largest(type), x[i]);
                wrong |= !same(decode(type, y[i]), expected);
            }
        }
        TRUE(!wrong);
    }
}

int main(int count, char **arguments)
{
    const int cases = count > 1 ? atoi(arguments[1]) : 2000;
    Random random = {count > 2 ? strtoull(arguments[2], NULL, 0) : 20240611};
    int wrong = 0;
    for (int i = 0; i < cases; i++) wrong += (i % 3 == 2 ? groupwise_case : float_case)(&random, i);
    smallest_sums();
    conversions(&random);
    printf("exact floats: %d products, %d wrong\n", cases, wrong);
    return verdict("exact floats") || wrong;
}
