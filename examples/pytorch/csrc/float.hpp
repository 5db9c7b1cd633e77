// Weights of floating-point products, loaded from bytes, and the layers that they make.
#pragma once

#include "cache.hpp"

#include <ATen/EmptyTensor.h>

#include <cstring>
#include <list>
#include <optional>

namespace gemmill_torch {

/** The code of a type of floating-point elements: float32, float16 or bfloat16. */
inline int32_t float_code(const char *op, const char *name, at::ScalarType type) {
    switch (type) {
    case at::kFloat: return GEMMILL_TYPE_F32;
    case at::kHalf: return GEMMILL_TYPE_F16;
    case at::kBFloat16: return GEMMILL_TYPE_BF16;
    default: TORCH_CHECK(false, op, ": expected ", name, " to have dtype float, bfloat16 or half, but it has ", type);
    }
}

/** How a layer is set up: all that its operation keeps. */
struct FloatSettings {
    /** The gemmill_type of x and y. */
    int32_t type;
    /** Whether x is quantized row by row; for weights of few bits. */
    bool quantize_x;
    /** N elements, or null. */
    const float *bias;
    int threads;
};

/** A floating-point product whose types are known at run time. Any thread may use it. */
class FloatOperation {
public:
    explicit FloatOperation(gemmill_float_gemm *gemm) : handle_(gemm) {}

    gemmill_float_gemm *get() const { return handle_.get(); }

    void run(int64_t m, const void *x, int64_t row_stride, int64_t col_stride, void *y, int64_t y_row_stride,
             const gemmill_run_options *options = nullptr) const {
        gemmill::check(gemmill_float_gemm_run(get(), m, x, row_stride, col_stride, y, y_row_stride, options));
    }

private:
    gemmill::detail::Handle<gemmill_float_gemm> handle_;
};

/** The operations that were set up for some weights. */
class FloatOperations {
public:
    /** The operation with these settings and n columns, kept for the next time; `create` gives one without bias and threads. */
    template <class Create>
    std::shared_ptr<const FloatOperation> get(const FloatSettings &settings, int64_t n, Create create) {
        std::lock_guard<std::mutex> lock(mutex_);
        for (auto kept = list_.begin(); kept != list_.end(); ++kept) {
            if (!kept->is(settings)) continue;
            list_.splice(list_.begin(), list_, kept);
            return list_.front().operation;
        }
        gemmill_float_gemm *gemm = nullptr;
        gemmill::check(create(&gemm));
        const auto operation = std::make_shared<const FloatOperation>(gemm);
        gemmill::check(gemmill_float_gemm_set_threads(gemm, GEMMILL_THREADS_MAX, settings.threads));
        std::vector<float> bias;
        if (settings.bias) {
            bias.assign(settings.bias, settings.bias + n);
            gemmill::check(gemmill_float_gemm_set_bias(gemm, bias.data(), n));
        }
        gemmill::check(gemmill_float_gemm_prepare(gemm));
        list_.push_front({settings.type, settings.quantize_x, settings.threads, settings.bias != nullptr, std::move(bias), operation});
        if (list_.size() > MOST) list_.pop_back();
        return operation;
    }

private:
    struct Kept {
        int32_t type;
        bool quantize_x;
        int threads;
        bool has_bias;
        std::vector<float> bias;
        std::shared_ptr<const FloatOperation> operation;

        /** Biases are compared by content: they are tensors that may change in place. */
        bool is(const FloatSettings &s) const {
            return type == s.type && quantize_x == s.quantize_x && threads == s.threads && has_bias == (s.bias != nullptr)
                && (bias.empty() || std::memcmp(bias.data(), s.bias, bias.size() * sizeof(float)) == 0);
        }
    };
    /** A layer has one for each type of x and each number of threads. */
    static constexpr std::size_t MOST = 8;

    std::mutex mutex_;
    /** The one used last comes first. */
    std::list<Kept> list_;
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
                        int64_t out_features, bool quantize_x) {
    const int64_t k = weights.in_features(), n = weights.out_features();
    TORCH_CHECK(x.dim() >= 1, op, ": expected x to have at least one dimension");
    TORCH_CHECK(out_features == n, op, ": the weights have ", n, " output features, but out_features is ", out_features);
    TORCH_CHECK(x.size(-1) == k, op, ": expected x to have ", k, " features, but it has ", x.size(-1));
    FloatSettings settings{float_code(op, "x", x.scalar_type()), quantize_x, nullptr, 1};
    at::Tensor bias_f32;
    if (bias) {
        check_cpu(op, "bias", *bias);
        float_code(op, "bias", bias->scalar_type());
        TORCH_CHECK(bias->dim() == 1 && bias->size(0) == n, op, ": expected bias to have shape [", n, "], but it has ", bias->sizes());
        const bool usable = bias->scalar_type() == at::kFloat && bias->is_contiguous();
        if (!usable) bias_f32 = bias->to(at::kFloat).contiguous();
        static const float none = 0;
        settings.bias = n > 0 ? (usable ? *bias : bias_f32).template const_data_ptr<float>() : &none;
    }
    // Leading dimensions become rows: a view, unless their strides have no common one.
    int64_t rows = 1;
    for (int64_t d = 0; d + 1 < x.dim(); d++) rows *= x.size(d);
    const Share share(rows, k, n);
    settings.threads = share.threads;
    const auto operation = weights.operation(settings);
    const at::Tensor a = x.dim() == 2 ? x : x.reshape({rows, k});
    at::DimVector shape(x.sizes());
    shape.back() = n;
    at::Tensor y = at::detail::empty_cpu(shape, x.scalar_type());
    const int64_t size = x.element_size();
    const char *const from = static_cast<const char *>(a.const_data_ptr());
    char *const to = static_cast<char *>(y.mutable_data_ptr());
    share.run([&](int64_t first, int64_t count, const gemmill_run_options *options) {
        operation->run(count, from + first * a.stride(0) * size, a.stride(0), a.stride(1), to + first * n * size, n, options);
    });
    return y;
}

} // namespace gemmill_torch
