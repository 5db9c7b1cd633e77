// Weights of floating-point products, loaded from bytes, and the layers that they make.
#pragma once

#include "cache.hpp"

namespace gemmill_torch {

/** How a layer is set up. */
struct FloatSettings {
    /** The gemmill_type of x and y. */
    int32_t type;
    int threads;
    /** Whether x is quantized row by row; for weights of few bits. */
    bool quantize_x;
    /** GEMMILL_HARDWARE_DOT_NONE, or an instruction by name; for weights of bf16. */
    gemmill_hardware_dot dot;

    bool operator==(const FloatSettings &s) const {
        return type == s.type && threads == s.threads && quantize_x == s.quantize_x && dot == s.dot;
    }
};

using FloatOperation = Operation<gemmill_float_gemm>;

/** The operations that were set up for some weights. */
class FloatOperations {
public:
    /** The operation with these settings and n columns; `create` gives one without bias and threads. */
    template <class Create>
    std::shared_ptr<const FloatOperation> get(const FloatSettings &settings, const float *bias, int64_t n,
                                              Create create) {
        return kept_.get(settings, bias, n, [&] {
            gemmill_float_gemm *gemm = nullptr;
            gemmill::check(create(&gemm));
            auto operation = std::make_shared<const FloatOperation>(gemm);
            gemmill::check(gemmill_float_gemm_set_threads(gemm, GEMMILL_THREADS_MAX, settings.threads));
            if (bias) gemmill::check(gemmill_float_gemm_set_bias(gemm, bias, n));
            gemmill::check(gemmill_float_gemm_set_hardware_dot(gemm, settings.dot));
            gemmill::check(gemmill_float_gemm_prepare(gemm));
            return operation;
        });
    }

private:
    Operations<FloatSettings, FloatOperation> kept_;
};

/** What `write(buffer, capacity, length)` gives, as a tensor of its own. */
template <class Write> at::Tensor written_bytes(Write write) {
    int64_t length = 0;
    const gemmill_status status = write(nullptr, 0, &length);
    if (status != GEMMILL_STATUS_TOO_SMALL) gemmill::check(status);
    at::Tensor bytes = at::detail::empty_cpu({length}, at::kByte);
    gemmill::check(write(bytes.mutable_data_ptr<uint8_t>(), length, &length));
    return bytes;
}

/** The bytes of a tensor that holds packed weights. */
inline std::vector<uint8_t> bytes_of(const char *op, const at::Tensor &packed) {
    check_cpu(op, "packed", packed);
    check_type(op, "packed", packed, at::kByte);
    check_dim(op, "packed", packed, 1);
    const at::Tensor bytes = packed.contiguous();
    const uint8_t *const first = bytes.const_data_ptr<uint8_t>();
    return std::vector<uint8_t>(first, first + bytes.numel());
}

/** y = x W^T + bias with loaded weights, of the type of x. */
template <class Weights>
at::Tensor float_linear(const char *op, const at::Tensor &x, Weights &weights, const std::optional<at::Tensor> &bias,
                        int64_t out_features, bool quantize_x, gemmill_hardware_dot dot) {
    const int64_t n = weights.out_features();
    const Bias bias_f32(op, bias, n);
    const auto operation = [&](int32_t type, int threads) {
        return weights.operation({type, threads, quantize_x, dot}, bias_f32.data());
    };
    return linear_of(op, x, weights.in_features(), n, out_features, operation, gemmill_float_gemm_run);
}

} // namespace gemmill_torch
