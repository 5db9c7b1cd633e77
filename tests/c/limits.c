/*
 * Little memory: every call that allocates, under fifty limits of the address space, each in a process of its own. A
 * call succeeds, with the right result, or gives GEMMILL_STATUS_OUT_OF_MEMORY; nothing ends the process.
 */
#include "check.h"
#include <math.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { M = 40, N = 640, K = 1000, LIMITS = 50, GROUP = 64 };
static uint8_t a[M * K];
static int8_t b[K * N], back[K * N];
static float w[K * N], x[M * K], expected_floats[M * N], floats[M * N];
static int32_t expected_sums[M * N], sums[M * N];
static uint8_t bytes8[2 * K * N], bytes_float[5 * K * N], bytes_bits[K * N];
static int64_t length8, length_float, length_bits;
static int refused;

/* A status that a call may have: whether it succeeded. */
static int done(gemmill_status status, const char *call, int line)
{
    checks++;
    if (status == GEMMILL_STATUS_OUT_OF_MEMORY) refused++;
    else if (status != GEMMILL_STATUS_OK) {
        failures++;
        printf("line %d: %s: given \"%s\" (%s)\n", line, call, gemmill_status_text(status), gemmill_last_error());
    }
    return status == GEMMILL_STATUS_OK;
}
#define DONE(call) done(call, #call, __LINE__)

static void integers(const gemmill_weights *weights)
{
    gemmill_gemm *gemm = NULL;
    if (DONE(gemmill_gemm_create(weights, GEMMILL_TYPE_U8, GEMMILL_TYPE_I32, &gemm))
        && DONE(gemmill_gemm_run(gemm, M, a, K, 1, sums, N, NULL)))
        TRUE(memcmp(sums, expected_sums, sizeof sums) == 0);
    OK(gemmill_gemm_destroy(gemm));
    gemm = NULL;
    if (DONE(gemmill_gemm_create(weights, GEMMILL_TYPE_F32, GEMMILL_TYPE_F32, &gemm))
        && DONE(gemmill_gemm_set_b_scale(gemm, 0.5f)) && DONE(gemmill_gemm_set_a_quantization_per_row(gemm))
        && DONE(gemmill_gemm_run(gemm, M, x, K, 1, floats, N, NULL)))
        TRUE(isfinite(floats[M * N - 1]));
    OK(gemmill_gemm_destroy(gemm));
}

static void product(gemmill_float_gemm *gemm, const float *expected)
{
    if (gemm && DONE(gemmill_float_gemm_run(gemm, M, x, K, 1, floats, N, NULL)) && expected)
        TRUE(memcmp(floats, expected, sizeof floats) == 0);
    OK(gemmill_float_gemm_destroy(gemm));
}

/* Everything once. */
static void everything(void)
{
    gemmill_weights *weights = NULL, *other = NULL;
    int64_t length;
    if (DONE(gemmill_weights_create(GEMMILL_TYPE_I8, b, K, N, N, 1, NULL, &weights))) {
        integers(weights);
        if (DONE(gemmill_weights_repack(weights, GEMMILL_TIER_PORTABLE, &other))) OK(gemmill_weights_destroy(other));
        if (DONE(gemmill_weights_to_bytes(weights, bytes8, sizeof bytes8, &length))) TRUE(length == length8);
        OK(gemmill_weights_unpack(weights, GEMMILL_TYPE_I8, back, N));
    }
    OK(gemmill_weights_destroy(weights));
    weights = NULL;
    if (DONE(gemmill_weights_from_bytes(bytes8, length8, NULL, &weights))) integers(weights);
    OK(gemmill_weights_destroy(weights));
    if (DONE(gemmill_multiply(GEMMILL_TYPE_U8, GEMMILL_TYPE_I8, M, N, K, a, K, 1, b, N, 1, sums, N)))
        TRUE(memcmp(sums, expected_sums, sizeof sums) == 0);

    gemmill_float_weights *real = NULL;
    gemmill_float_gemm *gemm = NULL;
    if (DONE(gemmill_float_weights_create(GEMMILL_TYPE_F32, w, K, N, N, 1, NULL, &real))) {
        if (DONE(gemmill_float_gemm_create(real, GEMMILL_TYPE_F32, GEMMILL_TYPE_F32, &gemm)))
            product(gemm, expected_floats);
        if (DONE(gemmill_float_weights_to_bytes(real, bytes_float, sizeof bytes_float, &length)))
            TRUE(length == length_float);
    }
    OK(gemmill_float_weights_destroy(real));
    real = NULL;
    if (DONE(gemmill_float_weights_from_bytes(bytes_float, length_float, &real))) OK(gemmill_float_weights_destroy(real));

    gemmill_groupwise_weights *bits = NULL;
    gemmill_groupwise_packed *packed = NULL;
    const int32_t zeros = GEMMILL_ZERO_POINTS_EACH;
    if (DONE(gemmill_groupwise_weights_round_to_nearest(w, K, N, N, 1, 4, GROUP, zeros, &bits))) {
        if (DONE(gemmill_groupwise_weights_to_bytes(bits, bytes_bits, sizeof bytes_bits, &length)))
            TRUE(length == length_bits);
        if (DONE(gemmill_groupwise_packed_create(bits, GEMMILL_THREADS_MAX, 1, &packed))) {
            gemm = NULL;
            if (DONE(gemmill_float_gemm_create_groupwise(packed, GEMMILL_TYPE_F32, GEMMILL_TYPE_F32, &gemm)))
                product(gemm, NULL);
            gemm = NULL;
            if (DONE(gemmill_float_gemm_create_groupwise_a8(packed, GEMMILL_TYPE_F32, GEMMILL_TYPE_F32, &gemm)))
                product(gemm, NULL);
        }
        OK(gemmill_groupwise_packed_destroy(packed));
    }
    OK(gemmill_groupwise_weights_destroy(bits));
    bits = NULL;
    if (DONE(gemmill_groupwise_weights_search(w, K, N, N, 1, 4, GROUP, zeros, NULL, 0, &bits)))
        OK(gemmill_groupwise_weights_destroy(bits));
    bits = NULL;
    if (DONE(gemmill_groupwise_weights_from_bytes(bytes_bits, length_bits, &bits)))
        OK(gemmill_groupwise_weights_destroy(bits));
    float scales[N];
    DONE(gemmill_quantize_weights_per_column(w, K, N, N, 1, back, scales));

    /* Shapes that no memory holds, of matrices that are a few bytes. */
    const int64_t huge = INT64_C(1) << 40;
    EXPECT(OUT_OF_MEMORY, gemmill_weights_create(GEMMILL_TYPE_I8, b, huge, 1, 0, 0, NULL, &weights));
    EXPECT(OUT_OF_MEMORY, gemmill_weights_create(GEMMILL_TYPE_U8, b, 1, huge, 0, 0, NULL, &weights));
    EXPECT(OUT_OF_MEMORY, gemmill_float_weights_create(GEMMILL_TYPE_F32, w, huge, 1, 0, 0, NULL, &real));
    EXPECT(OUT_OF_MEMORY, gemmill_groupwise_weights_search(w, huge, 1, 0, 0, 4, GROUP, zeros, NULL, 0, &bits));
}

/* Kilobytes of address space. */
static long address_space(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    TRUE(file && fscanf(file, "%ld", &pages) == 1);
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) >> 10);
}

int main(void)
{
    for (int i = 0; i < M * K; i++) a[i] = (uint8_t)(i * 5), x[i] = (float)(i % 37) / 8.0f - 2.0f;
    for (int i = 0; i < K * N; i++) b[i] = (int8_t)(i * 7 % 251), w[i] = (float)(i % 97) / 16.0f - 3.0f;
    for (int i = 0; i < M; i++)
        for (int k = 0; k < K; k++)
            for (int j = 0; j < N; j++) expected_sums[i * N + j] += a[i * K + k] * b[k * N + j];
    gemmill_weights *weights = NULL;
    gemmill_float_weights *real = NULL;
    gemmill_float_gemm *gemm = NULL;
    gemmill_groupwise_weights *bits = NULL;
    OK(gemmill_weights_create(GEMMILL_TYPE_I8, b, K, N, N, 1, NULL, &weights));
    OK(gemmill_weights_to_bytes(weights, bytes8, sizeof bytes8, &length8));
    OK(gemmill_weights_destroy(weights));
    OK(gemmill_float_weights_create(GEMMILL_TYPE_F32, w, K, N, N, 1, NULL, &real));
    OK(gemmill_float_weights_to_bytes(real, bytes_float, sizeof bytes_float, &length_float));
    OK(gemmill_float_gemm_create(real, GEMMILL_TYPE_F32, GEMMILL_TYPE_F32, &gemm));
    OK(gemmill_float_gemm_run(gemm, M, x, K, 1, expected_floats, N, NULL));
    OK(gemmill_float_gemm_destroy(gemm));
    OK(gemmill_float_weights_destroy(real));
    OK(gemmill_groupwise_weights_round_to_nearest(w, K, N, N, 1, 4, GROUP, GEMMILL_ZERO_POINTS_EACH, &bits));
    OK(gemmill_groupwise_weights_to_bytes(bits, bytes_bits, sizeof bytes_bits, &length_bits));
    OK(gemmill_groupwise_weights_destroy(bits));

    int limits_that_refused = 0, limits_that_did_not = 0;
    for (int i = 0; i < LIMITS && failures == 0; i++) {
        fflush(stdout);
        const pid_t child = fork();
        if (child == 0) {
            alarm(120);
            const rlim_t limit = (rlim_t)(address_space() + 400L * i) << 10;
            struct rlimit r = {limit, limit};
            TRUE(setrlimit(RLIMIT_AS, &r) == 0);
            everything();
            if (failures) printf("%d KiB more than there were: %d failed\n", 400 * i, failures);
            fflush(stdout);
            _exit(failures ? 1 : refused ? 0 : 2);
        }
        int status = -1;
        TRUE(child > 0 && waitpid(child, &status, 0) == child);
        if (!WIFEXITED(status)) printf("%d KiB more than there were: signal %d\n", 400 * i, WTERMSIG(status));
        TRUE(WIFEXITED(status) && WEXITSTATUS(status) != 1);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) limits_that_refused++;
        else limits_that_did_not++;
    }
    printf("limits: %d that refused something, %d that did not\n", limits_that_refused, limits_that_did_not);
    TRUE(failures || (limits_that_refused > LIMITS / 4 && limits_that_did_not > 0));
    printf("limits: %d checks, %d failed\n", checks, failures);
    return failures != 0;
}
