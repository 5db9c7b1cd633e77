/*
 * Threads that each make weights of new shapes, operations and products of them, all at once, with threads of their
 * own, shared pools and the library's pool: no deadlock, no wrong result.
 *
 *     stress [SECONDS] [THREADS]
 */
#include "check.h"
#include <math.h>
#include <pthread.h>
#include <time.h>

enum { MAX_M = 20, MAX_N = 80, MAX_K = 200 };

static double seconds_to_run = 10.0;
static gemmill_pool *pools[2];
/* Weights, an operation and its product that all threads share. */
static gemmill_gemm *shared;
static uint8_t shared_a[MAX_M * MAX_K];
static int32_t shared_c[MAX_M * MAX_N];

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

typedef struct {
    uint64_t seed;
    long products, wrong;
} Work;

/* The first status that is none of success ends the thread with a message. */
#define NEED(call) \
    if ((call) != GEMMILL_STATUS_OK) { \
        printf("stress: %s: %s\n", #call, gemmill_last_error()); \
        work->wrong++; \
        return NULL; \
    }

/* The same for a product of float A with bf16 weights, or with those of 4 bits, which become float. */
static void *run_floats(Work *work, Random *random)
{
    const int64_t m = between(random, 1, MAX_M), n = between(random, 1, MAX_N), k = between(random, 1, MAX_K);
    float b[MAX_K * MAX_N], a[MAX_M * MAX_K], c[MAX_M * MAX_N];
    for (int64_t i = 0; i < k * n; i++) b[i] = (float)between(random, -999, 999) * 0.01f;
    for (int64_t i = 0; i < m * k; i++) a[i] = (float)between(random, -999, 999) * 0.01f;
    gemmill_float_gemm *gemm = NULL;
    if (between(random, 0, 1)) {
        gemmill_float_packing *packing = NULL;
        gemmill_float_weights *weights = NULL;
        NEED(gemmill_float_packing_create(&packing));
        NEED(gemmill_float_packing_set_type(packing, GEMMILL_TYPE_BF16));
        if (between(random, 0, 1)) NEED(gemmill_float_packing_set_threads(packing, GEMMILL_THREADS_MAX, 1));
        NEED(gemmill_float_weights_create(GEMMILL_TYPE_F32, b, k, n, n, 1, packing, &weights));
        NEED(gemmill_float_weights_unpack(weights, b, n));
        NEED(gemmill_float_gemm_create(weights, GEMMILL_TYPE_F32, GEMMILL_TYPE_F32, &gemm));
        NEED(gemmill_float_weights_destroy(weights));
        NEED(gemmill_float_packing_destroy(packing));
    } else {
        gemmill_groupwise_weights *weights = NULL;
        gemmill_groupwise_packed *packed = NULL;
        NEED(gemmill_groupwise_weights_round_to_nearest(b, k, n, n, 1, 4, 32, GEMMILL_ZERO_POINTS_MIDDLE, &weights));
        NEED(gemmill_groupwise_packed_create(weights, GEMMILL_THREADS_AUTO, 0, &packed));
        NEED(gemmill_groupwise_weights_dequantize(weights, b, n));
        NEED(gemmill_float_gemm_create_groupwise(packed, GEMMILL_TYPE_F32, GEMMILL_TYPE_F32, &gemm));
        NEED(gemmill_groupwise_weights_destroy(weights));
        NEED(gemmill_groupwise_packed_destroy(packed));
    }
    if (between(random, 0, 1)) {
        NEED(gemmill_float_gemm_set_pool(gemm, pools[between(random, 0, 1)]));
        NEED(gemmill_float_gemm_set_threads(gemm, GEMMILL_THREADS_EXACTLY, 3));
    }
    NEED(gemmill_float_gemm_run(gemm, m, a, k, 1, c, n, NULL));
    const int64_t i = between(random, 0, m - 1);
    for (int64_t j = 0; j < n; j++) {
        float sum = 0.0f;
        for (int64_t at = 0; at < k; at++) sum = fmaf(a[i * k + at], b[at * n + j], sum);
        work->wrong += sum != c[i * n + j];
    }
    work->products++;
    NEED(gemmill_float_gemm_destroy(gemm));
    return work;
}

static void *run(void *argument)
{
    Work *work = argument;
    Random random = {work->seed};
    const double end = now() + seconds_to_run;
    while (now() < end) {
        const int64_t m = between(&random, 1, MAX_M), n = between(&random, 1, MAX_N), k = between(&random, 1, MAX_K);
        int8_t b[MAX_K * MAX_N];
        uint8_t a[MAX_M * MAX_K];
        int32_t c[MAX_M * MAX_N];
        const int extreme = (int)between(&random, 0, 1);
        for (int64_t i = 0; i < k * n; i++)
            b[i] = (int8_t)(extreme ? -128 + 255 * (next(&random) >> 40 & 1) : next(&random) >> 40);
        for (int64_t i = 0; i < m * k; i++) a[i] = (uint8_t)(extreme ? 255 : next(&random) >> 40);
        gemmill_weights *weights = NULL;
        gemmill_gemm *gemm = NULL;
        NEED(gemmill_weights_create(GEMMILL_TYPE_I8, b, k, n, n, 1, NULL, &weights));
        NEED(gemmill_gemm_create(weights, GEMMILL_TYPE_U8, GEMMILL_TYPE_I32, &gemm));
        NEED(gemmill_weights_destroy(weights));
        switch (between(&random, 0, 3)) {
        case 0: NEED(gemmill_gemm_set_threads(gemm, GEMMILL_THREADS_MAX, 1)); break;
        case 1: NEED(gemmill_gemm_set_threads(gemm, GEMMILL_THREADS_EXACTLY, 2)); break;
        case 2:
            NEED(gemmill_gemm_set_pool(gemm, pools[between(&random, 0, 1)]));
            NEED(gemmill_gemm_set_threads(gemm, GEMMILL_THREADS_EXACTLY, 3));
            break;
        default: break;
        }
        for (int time = 0; time < 3; time++) {
            memset(c, 77, sizeof c);
            NEED(gemmill_gemm_run(gemm, m, a, k, 1, c, n, NULL));
            const int64_t i = between(&random, 0, m - 1);
            for (int64_t j = 0; j < n; j++) {
                int32_t sum = 0;
                for (int64_t at = 0; at < k; at++) sum += a[i * k + at] * b[at * n + j];
                work->wrong += sum != c[i * n + j];
            }
            work->products++;
        }
        NEED(gemmill_gemm_destroy(gemm));
        if (!run_floats(work, &random)) return NULL;
        NEED(gemmill_gemm_run(shared, MAX_M, shared_a, MAX_K, 1, c, MAX_N, NULL));
        work->wrong += memcmp(c, shared_c, sizeof c) != 0;
        work->products++;
        /* A refused call, for messages that are the threads' own. */
        const int64_t rows = -(int64_t)(work->seed % 1000) - 1;
        if (gemmill_gemm_run(shared, rows, a, k, 1, c, n, NULL) != GEMMILL_STATUS_OUT_OF_RANGE) work->wrong++;
        char number[32];
        snprintf(number, sizeof number, "given -%d", (int)(work->seed % 1000) + 1);
        work->wrong += strstr(gemmill_last_error(), number) == NULL;
    }
    return NULL;
}

int main(int count, char **arguments)
{
    enum { MOST = 256 };
    static pthread_t threads[MOST];
    static Work works[MOST];
    Random random = {1};
    if (count > 1) seconds_to_run = atof(arguments[1]);
    int all = count > 2 ? atoi(arguments[2]) : 64;
    if (all < 1 || all > MOST) all = 64;

    static int8_t b[MAX_K * MAX_N];
    for (int i = 0; i < MAX_K * MAX_N; i++) b[i] = (int8_t)(next(&random) >> 40);
    for (int i = 0; i < MAX_M * MAX_K; i++) shared_a[i] = (uint8_t)(next(&random) >> 40);
    gemmill_weights *weights = NULL;
    OK(gemmill_pool_create(2, &pools[0]));
    OK(gemmill_pool_create(3, &pools[1]));
    OK(gemmill_weights_create(GEMMILL_TYPE_I8, b, MAX_K, MAX_N, MAX_N, 1, NULL, &weights));
    OK(gemmill_gemm_create(weights, GEMMILL_TYPE_U8, GEMMILL_TYPE_I32, &shared));
    for (int i = 0; i < MAX_M * MAX_N; i++)
        for (int k = 0; k < MAX_K; k++) shared_c[i] += shared_a[i / MAX_N * MAX_K + k] * b[k * MAX_N + i % MAX_N];

    for (int i = 0; i < all; i++) {
        works[i].seed = (uint64_t)i * 7919 + 1;
        if (pthread_create(&threads[i], NULL, run, &works[i])) {
            fprintf(stderr, "stress: no thread %d\n", i);
            return 2;
        }
    }
    long products = 0, wrong = 0;
    for (int i = 0; i < all; i++) {
        pthread_join(threads[i], NULL);
        products += works[i].products;
        wrong += works[i].wrong;
        TRUE(works[i].products > 0);
    }
    OK(gemmill_gemm_destroy(shared));
    OK(gemmill_weights_destroy(weights));
    OK(gemmill_pool_destroy(pools[0]));
    OK(gemmill_pool_destroy(pools[1]));
    printf("stress: %d threads, %ld products, %ld wrong\n", all, products, wrong);
    return verdict("stress") || wrong != 0;
}
