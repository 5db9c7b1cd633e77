/*
 * Threads of the caller's own: what is refused, and that products have the same bits whatever they do with tasks, or
 * tell that some were not run.
 */
#include "misuse.h"
#include <pthread.h>

enum { COLUMNS = 700, DEPTH = 96, ROWS = 3, THREADS = 4 };

/* How tasks are called. */
typedef enum { BACKWARDS, BY_THREADS, REPEATED, OUT_OF_RANGE, NOT_AT_ALL, ALL_BUT_ONE, ORDERS } Order;

typedef struct {
    Order order;
    /* Of the last run. */
    int64_t tasks;
    int64_t runs;
} Caller;

typedef struct {
    gemmill_task task;
    void *argument;
    int64_t index;
} One;

static void *call_one(void *one)
{
    const One *const o = one;
    o->task(o->argument, o->index);
    return NULL;
}

static void parallel_for(void *context, int64_t tasks, gemmill_task task, void *argument)
{
    Caller *const caller = context;
    caller->tasks = tasks;
    caller->runs++;
    pthread_t threads[THREADS];
    One ones[THREADS];
    switch (caller->order) {
    case BACKWARDS:
        for (int64_t i = tasks; i-- > 0;) task(argument, i);
        break;
    case BY_THREADS:
    case REPEATED:
        for (int64_t i = 0; i < tasks; i++) {
            ones[i] = (One){task, argument, i};
            if (pthread_create(&threads[i], NULL, call_one, &ones[i])) abort();
            if (caller->order == REPEATED) task(argument, i);
        }
        for (int64_t i = 0; i < tasks; i++) pthread_join(threads[i], NULL);
        break;
    case OUT_OF_RANGE:
        for (int64_t i = -2; i < 2 * tasks; i++) task(argument, i);
        task(argument, INT64_MIN);
        task(argument, INT64_MAX);
        task(NULL, 0);
        break;
    case ALL_BUT_ONE:
        for (int64_t i = 1; i < tasks; i++) task(argument, i);
        break;
    default:
        break;
    }
}

static float weights_f32[DEPTH * COLUMNS], activations[ROWS * DEPTH], expected[ROWS * COLUMNS], c[ROWS * COLUMNS];
static int8_t weights_i8[DEPTH * COLUMNS];

typedef gemmill_status (*Run)(void *gemm, const gemmill_run_options *options);

static gemmill_status run_int(void *gemm, const gemmill_run_options *options)
{
    return gemmill_gemm_run(gemm, ROWS, activations, DEPTH, 1, c, COLUMNS, options);
}

static gemmill_status run_float(void *gemm, const gemmill_run_options *options)
{
    return gemmill_float_gemm_run(gemm, ROWS, activations, DEPTH, 1, c, COLUMNS, options);
}

/* A product that may use four threads, in all orders. */
static void orders(Run run, void *gemm)
{
    gemmill_run_options *options = NULL;
    OK(gemmill_run_options_create(&options));
    TRUE(run(gemm, NULL) == GEMMILL_STATUS_OK);
    memcpy(expected, c, sizeof c);
    for (int order = 0; order < ORDERS; order++) {
        Caller caller = {(Order)order, 0, 0};
        OK(gemmill_run_options_set_parallel_for(options, parallel_for, &caller, THREADS));
        for (int i = 0; i < ROWS * COLUMNS; i++) c[i] = -77.0f;
        const gemmill_status status = run(gemm, options);
        TRUE(caller.runs == 1 && caller.tasks == THREADS);
        if (order == NOT_AT_ALL || order == ALL_BUT_ONE) {
            TRUE(status == GEMMILL_STATUS_THREADS);
            TRUE(strstr(gemmill_last_error(), "expected 4 tasks to be run, done were ") != NULL);
        } else {
            TRUE(status == GEMMILL_STATUS_OK);
            TRUE(memcmp(c, expected, sizeof c) == 0);
        }
        /* More than the operation may use; as many as there are. */
        OK(gemmill_run_options_set_parallel_for(options, parallel_for, &caller, 65535));
        run(gemm, options);
        TRUE(caller.runs == 2 && caller.tasks == THREADS);
        caller.order = BACKWARDS;
        OK(gemmill_run_options_set_parallel_for(options, parallel_for, &caller, 2));
        TRUE(run(gemm, options) == GEMMILL_STATUS_OK);
        TRUE(caller.runs == 3 && caller.tasks == 2);
        TRUE(memcmp(c, expected, sizeof c) == 0);
        /* One thread needs nobody, and without threads the pool is back. */
        OK(gemmill_run_options_set_parallel_for(options, parallel_for, &caller, 1));
        TRUE(run(gemm, options) == GEMMILL_STATUS_OK);
        OK(gemmill_run_options_set_parallel_for(options, NULL, NULL, 0));
        TRUE(run(gemm, options) == GEMMILL_STATUS_OK);
        TRUE(caller.runs == 3);
        TRUE(memcmp(c, expected, sizeof c) == 0);
    }
    OK(gemmill_run_options_destroy(options));
}

static void refusals(void)
{
    gemmill_run_options *options = NULL;
    Caller caller = {BACKWARDS, 0, 0};
    OK(gemmill_run_options_create(&options));
    EXPECT(NULL_POINTER, gemmill_run_options_set_parallel_for(NULL, parallel_for, &caller, 2));
    EXPECT(MISALIGNED, gemmill_run_options_set_parallel_for(odd(options), parallel_for, &caller, 2));
    EXPECT(NULL_POINTER, gemmill_run_options_set_parallel_for(options, NULL, &caller, 2));
    EXPECT(NULL_POINTER, gemmill_run_options_set_parallel_for(options, NULL, NULL, -1));
    const int64_t bad[] = {0, -1, 65536, INT64_MIN, INT64_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        EXPECT(OUT_OF_RANGE, gemmill_run_options_set_parallel_for(options, parallel_for, &caller, bad[i]));
    OK(gemmill_run_options_set_parallel_for(options, parallel_for, NULL, 65535));
    OK(gemmill_run_options_set_parallel_for(options, NULL, NULL, 0));
    OK(gemmill_run_options_destroy(options));
}

static void products(void)
{
    Random random = {88172645463325252u};
    for (int i = 0; i < DEPTH * COLUMNS; i++) weights_i8[i] = (int8_t)between(&random, -128, 127);
    for (int i = 0; i < DEPTH * COLUMNS; i++) weights_f32[i] = (float)between(&random, -1000, 1000) / 700.0f;
    for (int i = 0; i < ROWS * DEPTH; i++) activations[i] = (float)between(&random, -1000, 1000) / 300.0f;
    gemmill_pool *pool = NULL;
    OK(gemmill_pool_create(THREADS, &pool));

    gemmill_weights *weights = NULL;
    gemmill_gemm *gemm = NULL;
    OK(gemmill_weights_create(GEMMILL_TYPE_I8, weights_i8, DEPTH, COLUMNS, COLUMNS, 1, NULL, &weights));
    OK(gemmill_gemm_create(weights, GEMMILL_TYPE_F32, GEMMILL_TYPE_F32, &gemm));
    OK(gemmill_gemm_set_a_quantization_per_row(gemm));
    OK(gemmill_gemm_set_b_scale(gemm, 0.01f));
    OK(gemmill_gemm_set_threads(gemm, GEMMILL_THREADS_EXACTLY, THREADS));
    OK(gemmill_gemm_set_pool(gemm, pool));
    orders(run_int, gemm);
    OK(gemmill_gemm_destroy(gemm));
    OK(gemmill_weights_destroy(weights));

    gemmill_float_weights *float_weights = NULL;
    gemmill_float_gemm *floats[3] = {NULL, NULL, NULL};
    gemmill_groupwise_weights *few_bits = NULL;
    gemmill_groupwise_packed *packed_few = NULL;
    OK(gemmill_float_weights_create(GEMMILL_TYPE_F32, weights_f32, DEPTH, COLUMNS, COLUMNS, 1, NULL, &float_weights));
    OK(gemmill_groupwise_weights_round_to_nearest(weights_f32, DEPTH, COLUMNS, COLUMNS, 1, 4, 32,
                                                  GEMMILL_ZERO_POINTS_EACH, &few_bits));
    OK(gemmill_groupwise_packed_create(few_bits, GEMMILL_THREADS_MAX, 1, &packed_few));
    OK(gemmill_float_gemm_create(float_weights, GEMMILL_TYPE_F32, GEMMILL_TYPE_F32, &floats[0]));
    OK(gemmill_float_gemm_create_groupwise(packed_few, GEMMILL_TYPE_F32, GEMMILL_TYPE_F32, &floats[1]));
    OK(gemmill_float_gemm_create_groupwise_a8(packed_few, GEMMILL_TYPE_F32, GEMMILL_TYPE_F32, &floats[2]));
    for (int i = 0; i < 3; i++) {
        OK(gemmill_float_gemm_set_threads(floats[i], GEMMILL_THREADS_EXACTLY, THREADS));
        OK(gemmill_float_gemm_set_pool(floats[i], pool));
        orders(run_float, floats[i]);
        OK(gemmill_float_gemm_destroy(floats[i]));
    }
    OK(gemmill_groupwise_packed_destroy(packed_few));
    OK(gemmill_groupwise_weights_destroy(few_bits));
    OK(gemmill_float_weights_destroy(float_weights));
    OK(gemmill_pool_destroy(pool));
}

int main(void)
{
    fill();
    refusals();
    products();
    return verdict("misuse_threads");
}
