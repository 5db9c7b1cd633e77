/* After the first run of a size, a run with one thread allocates no memory. */
#include "check.h"

static volatile long allocations;

/* glibc's own, which these stand before for the whole process. */
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    allocations++;
    return __libc_realloc(memory, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
    allocations++;
    return (*memory = __libc_memalign(alignment, size)) ? 0 : 12;
}

enum { M = 100, K = 333, N = 70 };
static float a[M * K], c[M * N], residual[N], scales[N];
static int8_t b[K * N];

/* The same for a floating-point product, with A read where it lies and with A packed. */
static void floats(void)
{
    gemmill_float_packing *packing = NULL;
    gemmill_float_weights *weights = NULL;
    gemmill_float_gemm *gemm = NULL;
    static float w[K * N];
    OK(gemmill_float_packing_create(&packing));
    OK(gemmill_float_packing_set_type(packing, GEMMILL_TYPE_BF16));
    OK(gemmill_float_weights_create(GEMMILL_TYPE_F32, w, K, N, N, 1, packing, &weights));
    OK(gemmill_float_gemm_create(weights, GEMMILL_TYPE_F32, GEMMILL_TYPE_F32, &gemm));
    OK(gemmill_float_gemm_set_bias(gemm, residual, N));
    OK(gemmill_float_gemm_set_threads(gemm, GEMMILL_THREADS_MAX, 1));
    OK(gemmill_float_gemm_run(gemm, M, a, K, 1, c, N, NULL));
    OK(gemmill_float_gemm_run(gemm, M, a, 1, M, c, N, NULL));
    const long before = allocations;
    for (int time = 0; time < 10; time++) {
        if (gemmill_float_gemm_run(gemm, M, a, K, 1, c, N, NULL) != GEMMILL_STATUS_OK) abort();
        if (gemmill_float_gemm_run(gemm, M, a, 1, M, c, N, NULL) != GEMMILL_STATUS_OK) abort();
    }
    const long after = allocations;
    if (after != before) printf("%ld allocations in 20 floating-point runs\n", after - before);
    TRUE(after == before);
    OK(gemmill_float_gemm_destroy(gemm));
    OK(gemmill_float_weights_destroy(weights));
    OK(gemmill_float_packing_destroy(packing));
}

int main(void)
{
    gemmill_weights *weights = NULL;
    gemmill_gemm *gemm = NULL;
    gemmill_run_options *options = NULL;
    for (int i = 0; i < K * N; i++) b[i] = (int8_t)(i * 31);
    for (int i = 0; i < M * K; i++) a[i] = (float)(i % 99);
    for (int i = 0; i < N; i++) scales[i] = 1.0f;
    OK(gemmill_weights_create(GEMMILL_TYPE_I8, b, K, N, N, 1, NULL, &weights));
    OK(gemmill_gemm_create(weights, GEMMILL_TYPE_F32, GEMMILL_TYPE_F32, &gemm));
    OK(gemmill_gemm_set_a_quantization_per_row(gemm));
    OK(gemmill_gemm_set_b_scales(gemm, GEMMILL_PER_COLUMN, scales, N));
    OK(gemmill_gemm_set_threads(gemm, GEMMILL_THREADS_MAX, 1));
    OK(gemmill_run_options_create(&options));
    OK(gemmill_run_options_set_residual(options, residual, 0));
    TRUE(allocations > 0);
    OK(gemmill_gemm_run(gemm, M, a, K, 1, c, N, options));
    OK(gemmill_gemm_run(gemm, 5, a, K, 1, c, N, NULL));
    const long before = allocations;
    for (int time = 0; time < 10; time++) {
        if (gemmill_gemm_run(gemm, M, a, K, 1, c, N, options) != GEMMILL_STATUS_OK) abort();
        if (gemmill_gemm_run(gemm, 5, a, K, 1, c, N, NULL) != GEMMILL_STATUS_OK) abort();
    }
    const long after = allocations;
    if (after != before) printf("%ld allocations in 20 runs\n", after - before);
    TRUE(after == before);
    OK(gemmill_run_options_destroy(options));
    OK(gemmill_gemm_destroy(gemm));
    OK(gemmill_weights_destroy(weights));
    floats();
    return verdict("allocation");
}
