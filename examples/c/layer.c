/*
 * A linear layer in 8 bits: weights and activations of float are quantized, multiplied, and compared with the product in double.
 *
 *     cc layer.c $(pkg-config --cflags --libs gemmill) -lm && ./a.out
 */
#include <gemmill.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { M = 32, K = 512, N = 96 };

/* Ends the program with the library's message unless a call succeeded. */
static void check(gemmill_status status)
{
    if (status != GEMMILL_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", gemmill_status_text(status), gemmill_last_error());
        exit(EXIT_FAILURE);
    }
}

/* About normal: the sum of twelve uniform numbers. */
static float random_number(unsigned *state)
{
    float sum = -6.0f;
    for (int i = 0; i < 12; i++) {
        *state = *state * 1664525u + 1013904223u;
        sum += (float)(*state >> 8) / 16777216.0f;
    }
    return sum;
}

int main(void)
{
    static float a[M * K], weights[K * N], bias[N], c[M * N], scales[N];
    static int8_t quantized[K * N];
    unsigned state = 7;
    for (int i = 0; i < M * K; i++) a[i] = random_number(&state);
    for (int i = 0; i < K * N; i++) weights[i] = random_number(&state) / 16.0f;
    for (int j = 0; j < N; j++) bias[j] = random_number(&state);

    /* Once: weights to 8 bits, a scale for each column, and into the layout that kernels read. */
    gemmill_weights *packed = NULL;
    gemmill_gemm *layer = NULL;
    check(gemmill_quantize_weights_per_column(weights, K, N, N, 1, quantized, scales));
    check(gemmill_weights_create(GEMMILL_TYPE_I8, quantized, K, N, N, 1, NULL, &packed));
    check(gemmill_gemm_create(packed, GEMMILL_TYPE_F32, GEMMILL_TYPE_F32, &layer));
    check(gemmill_gemm_set_a_quantization_per_row(layer));
    check(gemmill_gemm_set_b_scales(layer, GEMMILL_PER_COLUMN, scales, N));
    check(gemmill_gemm_set_bias_f32(layer, bias, N));
    check(gemmill_gemm_set_relu(layer, 1));

    /* As often as there are activations, from any thread. */
    check(gemmill_gemm_run(layer, M, a, K, 1, c, N, NULL));

    double error = 0.0, size = 0.0;
    for (int i = 0; i < M; i++) {
        for (int j = 0; j < N; j++) {
            double exact = bias[j];
            for (int k = 0; k < K; k++) exact += (double)a[i * K + k] * weights[k * N + j];
            exact = exact > 0.0 ? exact : 0.0;
            error += (exact - c[i * N + j]) * (exact - c[i * N + j]);
            size += exact * exact;
        }
    }
    gemmill_gemm_destroy(layer);
    gemmill_weights_destroy(packed);

    int32_t tier = 0;
    check(gemmill_tier_best(&tier));
    double relative = sqrt(error / size);
    printf("%d x %d x %d on %s, gemmill %s: relative error %.4f\n", M, N, K, gemmill_tier_name(tier),
           gemmill_version_text(), relative);
    return relative < 0.02 ? EXIT_SUCCESS : EXIT_FAILURE;
}
