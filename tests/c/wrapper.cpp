/* Every member of gemmill.hpp, each once, against the C functions' results. */
#include <gemmill.hpp>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

static int failures;
#define TRUE(what) ((what) ? void() : (failures++, void(std::printf("line %d: %s does not hold\n", __LINE__, #what))))

template <class Call> static bool refused(gemmill_status status, Call call) {
    try {
        call();
    } catch (const gemmill::Error &error) {
        return error.status() == status && *error.what() != '\0';
    }
    return false;
}

static void floats();
static void groupwise();

static void count_and_call(void *count, int64_t tasks, gemmill_task task, void *argument) {
    *static_cast<int64_t *>(count) += tasks;
    while (tasks-- > 0) task(argument, tasks);
}

int main() {
    const int64_t m = 2, n = 4, k = 3;
    const std::vector<int8_t> b = {1, -2, 3, -4, 5, -6, 7, -8, 9, -10, 11, -12};
    const std::vector<uint8_t> unsigned_b(b.begin(), b.end()), a = {1, 2, 3, 4, 5, 6};
    const std::vector<int8_t> signed_a(a.begin(), a.end());
    const std::vector<float> float_a(a.begin(), a.end()), scales = {1.0f, 2.0f, 0.5f, 4.0f};
    const std::vector<int32_t> sums = {38, -44, 50, -56, 83, -98, 113, -128};

    /* Weights. */
    const gemmill::Weights weights(b.data(), k, n);
    TRUE(weights.k() == k && weights.n() == n && weights.groups() == 1 && weights.size_in_bytes() > 0);
    TRUE(weights.type() == GEMMILL_TYPE_I8 && weights.tier() == gemmill::best_tier()
         && weights.activation_max() == 255);
    TRUE(!weights.sequences().empty());
    std::vector<int8_t> back(b.size());
    weights.unpack(back.data(), n);
    TRUE(back == b);
    const gemmill::Weights shared = weights.share();
    TRUE(shared == weights);
    const gemmill::Weights transposed(b.data(), n, k, 1, n);
    TRUE(transposed.k() == n && transposed != weights);
    TRUE(gemmill::Weights(unsigned_b.data(), k, n) != weights);

    gemmill::Packing packing;
    const int32_t zero_points[] = {1, 2};
    packing.groups(2).zero_point(3).zero_points(GEMMILL_PER_GROUP, zero_points,
                                                2).activation_max(100).effort(GEMMILL_EFFORT_QUICK);
    packing.tier(GEMMILL_TIER_PORTABLE).kc(64).scales(GEMMILL_PER_COLUMN, scales.data(), n);
    gemmill::Weights grouped(b.data(), k, n, packing);
    TRUE(grouped.groups() == 2 && grouped.activation_max() == 100 && grouped.tier() == GEMMILL_TIER_PORTABLE);
    TRUE(gemmill::Weights(b.data(), k, n, n, 1, packing) == grouped);
    gemmill_per per = GEMMILL_PER_TENSOR;
    TRUE(grouped.scales(per) == scales && per == GEMMILL_PER_COLUMN && weights.scales(per).empty());
    gemmill::Packing portable;
    portable.tier(GEMMILL_TIER_PORTABLE).threads(GEMMILL_THREADS_MAX, 1);
    const std::vector<uint8_t> bytes = weights.to_bytes();
    TRUE(gemmill::Weights::from_bytes(bytes) == weights);
    TRUE(gemmill::Weights::from_bytes(bytes, portable) == weights.repack(GEMMILL_TIER_PORTABLE));
    TRUE(refused(GEMMILL_STATUS_BAD_DATA, [] { gemmill::Weights::from_bytes(std::vector<uint8_t>()); }));

    /* Operations: each output, each type of activations, each setting. */
    std::vector<int32_t> c(m * n, 100);
    gemmill::Gemm<uint8_t, int32_t> add(weights);
    const gemmill::Pool pool(2);
    TRUE(pool.threads() == 2);
    add.accumulate().threads(GEMMILL_THREADS_EXACTLY, 2).pool(pool).tier(weights.tier()).prepare();
    add.run(m, a.data(), c.data());
    for (std::size_t i = 0; i < c.size(); i++) TRUE(c[i] == sums[i] + 100);
    TRUE(!add.describe(m).empty());
    TRUE(refused(GEMMILL_STATUS_FROZEN, [&] { add.accumulate(false); }));
    gemmill::Gemm<uint8_t, int32_t> moved(std::move(add));
    moved.run(m, a.data(), k, 1, c.data(), n);
    for (std::size_t i = 0; i < c.size(); i++) TRUE(c[i] == 2 * sums[i] + 100);

    std::vector<int8_t> requantized(m * n);
    const int32_t bias[] = {1, 2, 3, 4};
    const std::vector<float> float_bias = {1.0f, 2.0f, 3.0f, 4.0f};
    gemmill::Gemm<int8_t, int8_t> requantize(weights);
    requantize.a_zero_point(1).multipliers(GEMMILL_PER_COLUMN, scales.data(), n).c_zero_point(-3).bias(bias, n);
    requantize.multiplier(1.0f).clamp(-100, 50).relu().run(m, signed_a.data(), requantized.data());
    const int64_t column_sums[] = {15, -18, 21, -24};
    for (int64_t i = 0; i < m * n; i++) {
        const int64_t x = sums[i] - column_sums[i % n] + bias[i % n] - 3;
        TRUE(requantized[i] == (x < -3 ? -3 : x > 50 ? 50 : x));
    }

    std::vector<float> out(m * n);
    std::vector<float> residual(n, 1000.0f), row_scales = {2.0f, 4.0f};
    const std::vector<int32_t> row_zero_points = {0, 0};
    gemmill::Gemm<uint8_t, float> dequantize(weights);
    gemmill::RunOptions options;
    options.row_zero_points(row_zero_points.data(), m).row_scales(row_scales.data(), m).residual(residual.data(), 0);
    dequantize.a_scale(3.0f).b_scale(1.0f).b_scales(GEMMILL_PER_COLUMN, scales.data(), n).bias(float_bias.data(), n);
    dequantize.clamp(-1e6f, 1e6f).relu(false).run(m, a.data(), out.data(), options);
    for (int64_t i = 0; i < m * n; i++) {
        const float scale = row_scales[i / n] * scales[i % n];
        TRUE(out[i] == static_cast<float>(sums[i]) * scale + float_bias[i % n] + 1000.0f);
    }
    dequantize.run(m, a.data(), k, 1, out.data(), n, options);

    /* Threads of the caller's own. */
    const std::vector<int8_t> ones(512, 1);
    std::vector<int32_t> wide(512);
    int64_t tasks = 0;
    gemmill::Gemm<uint8_t, int32_t> parted(gemmill::Weights(ones.data(), 1, 512));
    gemmill::RunOptions own;
    own.parallel_for(count_and_call, &tasks, 2);
    parted.threads(GEMMILL_THREADS_EXACTLY, 2).run(1, a.data(), wide.data(), own);
    TRUE(tasks == 2 && wide == std::vector<int32_t>(512, a[0]));
    TRUE(refused(GEMMILL_STATUS_NULL_POINTER, [&] { own.parallel_for(nullptr, nullptr, 2); }));

    gemmill::Gemm<float, float> fixed(weights), by_row(weights);
    fixed.a_quantization(1.0f, 7).b_scale(1.0f).run(m, float_a.data(), out.data());
    for (int64_t i = 0; i < m * n; i++) TRUE(out[i] == static_cast<float>(sums[i]));
    by_row.a_quantization_per_row().b_scale(1.0f).run(m, float_a.data(), out.data());
    for (int64_t i = 0; i < m * n; i++) TRUE(std::abs(out[i] - static_cast<float>(sums[i])) < 1.0f);

    /* 16 bits in and out, as float. */
    std::vector<gemmill::BFloat16> half_a(m * k), half_out(m * n);
    std::vector<gemmill::Float16> half_residual(n);
    gemmill::convert(float_a.data(), half_a.data(), m * k);
    gemmill::Gemm<gemmill::BFloat16, gemmill::BFloat16> halves(weights);
    halves.a_quantization(1.0f, 7).b_scale(1.0f).clamp(-90.0f, 100.0f).relu();
    halves.run(m, half_a.data(), half_out.data());
    gemmill::Gemm<float, gemmill::BFloat16> rounded(weights);
    std::vector<gemmill::BFloat16> rounded_out(m * n);
    rounded.a_quantization(1.0f, 7).b_scale(1.0f).clamp(-90.0f, 100.0f).relu().run(m, float_a.data(),
        rounded_out.data());
    for (int64_t i = 0; i < m * n; i++) {
        const float limited = sums[i] < 0 ? 0.0f : sums[i] > 100 ? 100.0f : static_cast<float>(sums[i]);
        float got = 0.0f;
        gemmill::convert(&half_out[i], &got, 1);
        TRUE(std::abs(got - limited) <= limited / 256.0f && half_out[i].bits == rounded_out[i].bits);
    }
    gemmill::RunOptions half_options;
    half_options.float_residual(half_residual.data(), 0);
    TRUE(refused(GEMMILL_STATUS_UNSUPPORTED, [&] { halves.run(m, half_a.data(), half_out.data(), half_options); }));

    const auto quantization = gemmill::Quantization<uint8_t>::choose(-1.0f, 4.1f);
    TRUE(quantization.scale == 0.02f && quantization.zero_point == 50);
    uint8_t q = 0;
    float x = 2.0f;
    quantization.quantize(&x, 1, &q);
    quantization.dequantize(&q, 1, &x);
    TRUE(q == 150 && x == 2.0f);
    quantization.quantize_by_division(&x, 1, &q);
    TRUE(q == 150);
    TRUE(gemmill::Quantization<uint8_t>::choose_fbgemm(0.0f, 1e-6f).scale == 6.1e-5f);
    TRUE(weights.largest_sum() > 0);

    const std::vector<float> real_b = {1.0f, -254.0f, 127.0f, 2.0f};
    const gemmill::Range range = gemmill::quantization_range(real_b.data(), 4);
    TRUE(range.min == -254.0f && range.max == 127.0f);
    TRUE(refused(GEMMILL_STATUS_BAD_NUMBER, [&] { gemmill::quantization_range(real_b.data(), 0); }));
    const std::vector<int8_t> by_column = {1, -127, 127, 1}, by_tensor = {0, -127, 64, 1};
    std::vector<int8_t> byte_b(4);
    std::vector<float> byte_scales(2);
    gemmill::quantize_weights_per_column(real_b.data(), 2, 2, byte_b.data(), byte_scales.data());
    TRUE(byte_b == by_column && byte_scales == (std::vector<float>{1.0f, 2.0f}));
    gemmill::quantize_weights_per_column(real_b.data(), 2, 2, 1, 2, byte_b.data(), byte_scales.data());
    TRUE(byte_scales == (std::vector<float>{2.0f, 1.0f}));
    TRUE(gemmill::quantize_weights_per_tensor(real_b.data(), 2, 2, byte_b.data()) == 2.0f && byte_b == by_tensor);
    TRUE(gemmill::quantize_weights_per_tensor(real_b.data(), 2, 2, 1, 2, byte_b.data()) == 2.0f && byte_b[1] == 64);

    std::vector<int32_t> product(m * n);
    gemmill::multiply(m, n, k, a.data(), b.data(), product.data());
    TRUE(product == sums);
    gemmill::multiply(n, m, k, b.data(), 1, n, a.data(), 1, k, product.data(), m);
    for (int64_t i = 0; i < m * n; i++) TRUE(product[i] == sums[i % m * n + i / m]);

    TRUE(gemmill::version() == gemmill_version() && std::strcmp(gemmill::version_text(), gemmill_version_text()) == 0);
    TRUE(*gemmill::status_text(GEMMILL_STATUS_OK) != '\0');
    TRUE(gemmill::tier_from_name("portable") == GEMMILL_TIER_PORTABLE);
    TRUE(std::strcmp(gemmill::tier_name(GEMMILL_TIER_AVX2), "avx2") == 0);
    TRUE(gemmill::missing_feature(GEMMILL_TIER_PORTABLE) == nullptr);
    TRUE(refused(GEMMILL_STATUS_TIER, [] { gemmill::tier_from_name("best"); }));
    TRUE(std::strcmp(gemmill::hardware_dot_name(GEMMILL_HARDWARE_DOT_AMX_BF16), "amx-bf16") == 0);
    floats();
    groupwise();
    std::printf("wrapper: %d failed\n", failures);
    return failures != 0;
}

/* Floating-point weights and products, conversions. */
static void floats() {
    using gemmill::BFloat16;
    using gemmill::Float16;
    const int64_t m = 2, n = 3, k = 2;
    const std::vector<float> a = {1.0f, 2.0f, -3.0f, 0.5f}, b = {1.0f, 0.0f, 2.0f, 0.5f, -1.0f, 4.0f},
        bias = {0.0f, 1.0f, 0.0f};
    const gemmill::FloatWeights plain(b.data(), k, n);
    TRUE(plain.k() == k && plain.n() == n && plain.type() == GEMMILL_TYPE_F32 && plain.size_in_bytes() >= 4 * k * n);
    gemmill::FloatPacking packing;
    packing.type(GEMMILL_TYPE_BF16).alpha(2.0f).saturating().threads(GEMMILL_THREADS_MAX, 1);
    const gemmill::FloatWeights doubled(b.data(), k, n, packing), transposed(b.data(), n, k, 1, n, packing);
    TRUE(doubled.type() == GEMMILL_TYPE_BF16 && doubled != plain && transposed.k() == n);
    TRUE(gemmill::FloatWeights(b.data(), n, k, 1, n).type() == GEMMILL_TYPE_F32);
    TRUE(plain.share() == plain && gemmill::FloatWeights::from_bytes(doubled.to_bytes()) == doubled);
    TRUE(refused(GEMMILL_STATUS_BAD_DATA, [] { gemmill::FloatWeights::from_bytes(std::vector<uint8_t>()); }));
    std::vector<float> back(b.size());
    doubled.unpack(back.data(), n);
    for (std::size_t i = 0; i < b.size(); i++) TRUE(back[i] == 2.0f * b[i]);

    const float sums[] = {2.0f, -2.0f, 10.0f, -2.75f, -0.5f, -4.0f};
    std::vector<float> c(m * n, 100.0f), residual(n, 10.0f);
    const gemmill::Pool pool(2);
    gemmill::FloatGemm<float, float> gemm(plain);
    gemm.beta(0.5f).bias(bias.data(),
                         n).function(GEMMILL_FUNCTION_SILU).clamp(-1e6f, 1e6f).threads(GEMMILL_THREADS_EXACTLY, 2);
    gemm.pool(pool).tier(GEMMILL_TIER_PORTABLE).prepare();
    TRUE(gemm.tier() == GEMMILL_TIER_PORTABLE);
    TRUE(refused(GEMMILL_STATUS_FROZEN, [&] { gemm.beta(0.0f); }));
    gemmill::RunOptions options;
    options.float_residual(residual.data(), 0);
    gemm.run(m, a.data(), c.data(), options);
    for (int64_t i = 0; i < m * n; i++) TRUE(c[i] == 50.0f + sums[i] + bias[i % n] + 10.0f);
    c.assign(c.size(), 0.0f);
    gemm.run(m, a.data(), k, 1, c.data(), n, options);
    gemm.run(m, a.data(), c.data());
    for (int64_t i = 0; i < m * n; i++) TRUE(c[i] == 1.5f * sums[i] + 1.5f * bias[i % n] + 5.0f);

    /* Sums of small integers are exact by any instruction. */
    TRUE(gemm.hardware_dot() == GEMMILL_HARDWARE_DOT_NONE);
    TRUE(refused(GEMMILL_STATUS_UNSUPPORTED, [&] {
        gemmill::FloatGemm<float, float>(plain).hardware_dot(GEMMILL_HARDWARE_DOT_BEST);
    }));
    for (const auto dot : {GEMMILL_HARDWARE_DOT_AVX512_BF16, GEMMILL_HARDWARE_DOT_AMX_BF16}) {
        gemmill::FloatGemm<float, float> by_dot(doubled);
        by_dot.hardware_dot(dot).tier(GEMMILL_TIER_PORTABLE).run(m, a.data(), c.data());
        TRUE(by_dot.hardware_dot() == dot);
        for (int64_t i = 0; i < m * n; i++) TRUE(c[i] == 2.0f * sums[i]);
        gemmill::require_hardware_dot(dot, GEMMILL_TIER_PORTABLE);
        TRUE(gemmill::hardware_dot_error_bound(dot, k, 1.0) < 1e-5);
    }
    TRUE(refused(GEMMILL_STATUS_TIER, [] { gemmill::best_hardware_dot(GEMMILL_TIER_AVX2); }));

    std::vector<Float16> half_a(a.size()), half_b(b.size());
    std::vector<BFloat16> out(m * n);
    gemmill::convert(a.data(), half_a.data(), m * k);
    gemmill::convert_saturating(b.data(), half_b.data(), k * n);
    const gemmill::FloatWeights halves(half_b.data(), k, n);
    gemmill::FloatGemm<Float16, BFloat16> low(halves);
    low.function(GEMMILL_FUNCTION_RELU).run(m, half_a.data(), k, 1, out.data(), n);
    gemmill::convert(out.data(), c.data(), m * n);
    for (int64_t i = 0; i < m * n; i++) TRUE(c[i] == (sums[i] > 0.0f ? sums[i] : 0.0f));
}

/* Weights of few bits and their products. */
static void groupwise() {
    using gemmill::GroupwiseWeights;
    const int64_t m = 1, n = 2, k = 64;
    const gemmill::GroupwiseFormat format = {4, 32, GEMMILL_ZERO_POINTS_EACH};
    std::vector<float> w(k * n), back(k * n), a(k, 1.0f), c(n);
    for (int64_t i = 0; i < k * n; i++) w[i] = static_cast<float>(i % 15) - 7.0f;
    const gemmill::GroupwiseFormat other = {2, 128, GEMMILL_ZERO_POINTS_MIDDLE};
    const auto rounded = GroupwiseWeights::round_to_nearest(w.data(), k, n, format);
    const auto searched = GroupwiseWeights::search(w.data(), k, n, format);
    TRUE(rounded.k() == k && rounded.n() == n && rounded.format().bits == 4 && rounded.format().group_size == 32);
    TRUE(rounded.format().zero_points == GEMMILL_ZERO_POINTS_EACH && rounded.values().size() == w.size());
    TRUE(rounded == GroupwiseWeights::round_to_nearest(w.data(), k, n, n, 1, format));
    TRUE(rounded != GroupwiseWeights::round_to_nearest(w.data(), k, n, other));
    TRUE(searched == GroupwiseWeights::search(w.data(), k, n, n, 1, format, a.data()));
    TRUE(searched.error(w.data(), n, 1).mean_squared <= rounded.error(w.data(), n, 1).mean_squared);
    TRUE(rounded == GroupwiseWeights::from_bytes(rounded.to_bytes()));
    const auto parts = GroupwiseWeights::from_parts(k, n, format, rounded.values().data(), rounded.scales().data(),
                                                    rounded.zero_points().data());
    TRUE(rounded == parts);
    rounded.dequantize(back.data(), n);

    const gemmill::GroupwisePacked packed(rounded), alone(rounded, GEMMILL_THREADS_MAX, 1);
    TRUE(packed == alone && packed.share() == packed && !(packed != alone) && packed.k() == k && packed.n() == n);
    TRUE(packed.format().group_size == 32 && packed.size_in_bytes() > 0);
    gemmill::FloatGemm<float, float> expanded(packed), integer(packed, gemmill::Activations::Int8);
    for (const auto *gemm : {&expanded, &integer}) {
        gemm->run(m, a.data(), c.data());
        for (int64_t j = 0; j < n; j++) {
            float sum = 0.0f;
            for (int64_t i = 0; i < k; i++) sum += back[i * n + j];
            TRUE(std::abs(c[j] - sum) < 1e-3f);
        }
    }
}
