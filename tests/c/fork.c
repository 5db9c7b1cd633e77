/*
 * Children of fork(): no call waits for threads that only the parent has. Operations with a pool and without, packing,
 * groupwise quantization, a thread's own pool; the bits are the parent's.
 */
#include "check.h"
#include <sys/wait.h>
#include <unistd.h>

enum { M = 64, N = 512, K = 512, GROUP = 64 };
static uint8_t a[M * K];
static int8_t b[K * N];
static float w[K * N], x[M * K];
static gemmill_pool *pool;
static gemmill_gemm *with_pool, *without;

/* Of everything that shares out work. */
typedef struct {
    int32_t with_pool[M * N], without[M * N];
    float few_bits[M * N];
} Results;
static Results expected, given;

static void run(Results *results)
{
    OK(gemmill_gemm_run(with_pool, M, a, K, 1, results->with_pool, N, NULL));
    OK(gemmill_gemm_run(without, M, a, K, 1, results->without, N, NULL));
    gemmill_weights *again = NULL;
    OK(gemmill_weights_create(GEMMILL_TYPE_I8, b, K, N, N, 1, NULL, &again));
    OK(gemmill_weights_destroy(again));

    const int32_t zeros = GEMMILL_ZERO_POINTS_EACH;
    gemmill_groupwise_weights *nearest = NULL, *best = NULL;
    OK(gemmill_groupwise_weights_round_to_nearest(w, K, N, N, 1, 4, GROUP, zeros, &nearest));
    OK(gemmill_groupwise_weights_search(w, K, N, N, 1, 4, GROUP, zeros, NULL, 0, &best));
    gemmill_groupwise_packed *packed = NULL;
    OK(gemmill_groupwise_packed_create(best, GEMMILL_THREADS_AUTO, 0, &packed));
    gemmill_float_gemm *few_bits = NULL;
    OK(gemmill_float_gemm_create_groupwise(packed, GEMMILL_TYPE_F32, GEMMILL_TYPE_F32, &few_bits));
    OK(gemmill_float_gemm_run(few_bits, M, x, K, 1, results->few_bits, N, NULL));
    OK(gemmill_float_gemm_destroy(few_bits));
    OK(gemmill_groupwise_packed_destroy(packed));
    OK(gemmill_groupwise_weights_destroy(nearest));
    OK(gemmill_groupwise_weights_destroy(best));
}

/* Waits for a child, which an alarm ends if it hangs. */
static void child(const char *what, void (*body)(void))
{
    fflush(stdout);
    const pid_t id = fork();
    if (id == 0) {
        alarm(60);
        failures = 0;
        body();
        run(&given);
        TRUE(memcmp(&given, &expected, sizeof given) == 0);
        fflush(stdout);
        _exit(failures != 0);
    }
    int status = 0;
    TRUE(id > 0 && waitpid(id, &status, 0) == id);
    if (status != 0) printf("%s: status %d\n", what, status);
    TRUE(status == 0);
}

static void nothing(void) {}

/* The parent's pool is there, without threads; it is given back like any other. */
static void gives_the_pool_back(void)
{
    int64_t threads = 0;
    OK(gemmill_pool_threads(pool, &threads));
    TRUE(threads == 3);
    run(&given);
    OK(gemmill_thread_set_pool(pool));
    run(&given);
    OK(gemmill_pool_destroy(pool));
}

/* A pool of the child's own. */
static void starts_a_pool(void)
{
    gemmill_pool *own = NULL;
    OK(gemmill_pool_create(2, &own));
    OK(gemmill_thread_set_pool(own));
    OK(gemmill_pool_destroy(own));
}

static void has_a_child(void)
{
    run(&given);
    child("a grandchild", nothing);
}

int main(void)
{
    for (int i = 0; i < M * K; i++) a[i] = (uint8_t)(i * 5), x[i] = (float)(i % 37) / 8.0f - 2.0f;
    for (int i = 0; i < K * N; i++) b[i] = (int8_t)(i * 7 % 127), w[i] = (float)(i % 97) / 16.0f - 3.0f;
    gemmill_weights *weights = NULL;
    OK(gemmill_weights_create(GEMMILL_TYPE_I8, b, K, N, N, 1, NULL, &weights));
    OK(gemmill_pool_create(3, &pool));
    OK(gemmill_gemm_create(weights, GEMMILL_TYPE_U8, GEMMILL_TYPE_I32, &with_pool));
    OK(gemmill_gemm_set_threads(with_pool, GEMMILL_THREADS_EXACTLY, 3));
    OK(gemmill_gemm_set_pool(with_pool, pool));
    OK(gemmill_gemm_create(weights, GEMMILL_TYPE_U8, GEMMILL_TYPE_I32, &without));
    OK(gemmill_gemm_set_threads(without, GEMMILL_THREADS_EXACTLY, 2));
    run(&expected);
    child("a child", nothing);
    child("a child with the parent's pool", gives_the_pool_back);
    child("a child with a pool", starts_a_pool);
    child("a child with a child", has_a_child);
    OK(gemmill_thread_set_pool(pool));
    run(&given);
    TRUE(memcmp(&given, &expected, sizeof given) == 0);
    child("a child of a thread with a pool", nothing);
    OK(gemmill_thread_set_pool(NULL));
    OK(gemmill_gemm_destroy(with_pool));
    OK(gemmill_gemm_destroy(without));
    OK(gemmill_weights_destroy(weights));
    OK(gemmill_pool_destroy(pool));
    printf("fork: %d checks, %d failed\n", checks, failures);
    return failures != 0;
}
