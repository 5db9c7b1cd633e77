// Linear layers with bf16 and f16 weights, and how the weights are packed.

#include "float.hpp"

#include <torch/library.h>

#include <chrono>
#include <string>
#include <string_view>

namespace gemmill_torch {
namespace {

/** Weights that were loaded from bytes. Any thread may use them. */
class LoadedFloatWeights {
public:
    explicit LoadedFloatWeights(const std::vector<uint8_t> &bytes)
        : weights_(gemmill::FloatWeights::from_bytes(bytes)), in_features_(weights_.k()), out_features_(weights_.n()),
          type_(weights_.type()) {}

    int64_t in_features() const { return in_features_; }
    int64_t out_features() const { return out_features_; }
    gemmill_type type() const { return type_; }

    std::shared_ptr<const FloatOperation> operation(const FloatSettings &settings, const float *bias) {
        return operations_.get(settings, bias, out_features_, [&](gemmill_float_gemm **gemm) {
            return gemmill_float_gemm_create(weights_.get(), settings.type, settings.type, gemm);
        });
    }

private:
    gemmill::FloatWeights weights_;
    int64_t in_features_;
    int64_t out_features_;
    gemmill_type type_;
    FloatOperations operations_;
};

at::ScalarType scalar_type(gemmill_type type) {
    return type == GEMMILL_TYPE_F16 ? at::kHalf : type == GEMMILL_TYPE_BF16 ? at::kBFloat16 : at::kFloat;
}

using DotName = std::optional<std::string_view>;

std::string_view dot_name(int32_t dot) {
    switch (dot) {
    case GEMMILL_HARDWARE_DOT_NONE: return "off";
    case GEMMILL_HARDWARE_DOT_BEST: return "auto";
    default: return gemmill_hardware_dot_name(dot);
    }
}

/** What "auto" stands for: the same for all products of a process. */
gemmill_hardware_dot best_dot() {
    static const gemmill_hardware_dot best = [] {
        int32_t dot = GEMMILL_HARDWARE_DOT_NONE;
        const gemmill_status status = gemmill_hardware_dot_best(gemmill::best_tier(), &dot);
        if (status == GEMMILL_STATUS_TIER) return GEMMILL_HARDWARE_DOT_NONE;
        gemmill::check(status);
        return static_cast<gemmill_hardware_dot>(dot);
    }();
    return best;
}

/** GEMMILL_HARDWARE_DOT_NONE, or the instruction that is meant, whether this CPU has it or not. */
gemmill_hardware_dot dot_of(const char *op, const DotName &name) {
    if (!name) return GEMMILL_HARDWARE_DOT_NONE;
    std::string names;
    for (int32_t dot = 0; gemmill_hardware_dot_name(dot); dot++) {
        if (*name == dot_name(dot))
            return dot == GEMMILL_HARDWARE_DOT_BEST ? best_dot() : static_cast<gemmill_hardware_dot>(dot);
        names.append(dot ? ", " : "").append(dot_name(dot));
    }
    TORCH_CHECK_VALUE(false, op, ": expected hardware_dot to be one of ", names, ", but it is ", *name);
}

/** The name of what another one stands for; an error where the CPU lacks it. */
std::string resolve_hardware_dot(DotName name) {
    static constexpr const char *op = "resolve_hardware_dot";
    return refused_as_torch_error(op, [&] {
        // As a layer is told: the portable tier, which carries out any by itself, has none unless it is named.
        const gemmill::BFloat16 weight{0};
        gemmill::FloatPacking packing;
        packing.threads(GEMMILL_THREADS_MAX, 1);
        const gemmill::FloatWeights weights(&weight, 1, 1, packing);
        gemmill::FloatGemm<float, float> gemm(weights);
        gemm.threads(GEMMILL_THREADS_MAX, 1).hardware_dot(dot_of(op, name));
        return std::string(dot_name(gemm.hardware_dot()));
    });
}

at::Tensor linear(const char *op, gemmill_type type, const at::Tensor &x, const at::Tensor &packed,
                  const std::optional<at::Tensor> &bias, int64_t out_features, const DotName &hardware_dot) {
    check_cpu(op, "x", x);
    return refused_as_torch_error(op, [&] {
        const gemmill_hardware_dot dot = dot_of(op, hardware_dot);
        const auto weights = Cache<LoadedFloatWeights>::instance().get(op, packed);
        TORCH_CHECK(weights->type() == type, op, ": expected weights that were packed as ", scalar_type(type),
                    ", but they are ", scalar_type(weights->type()));
        return float_linear(op, x, *weights, bias, out_features, false, dot);
    });
}

at::Tensor linear_bf16(const at::Tensor &x, const at::Tensor &packed, const std::optional<at::Tensor> &bias,
                       int64_t out_features, DotName hardware_dot) {
    return linear("linear_bf16", GEMMILL_TYPE_BF16, x, packed, bias, out_features, hardware_dot);
}

at::Tensor linear_f16(const at::Tensor &x, const at::Tensor &packed, const std::optional<at::Tensor> &bias,
                      int64_t out_features) {
    return linear("linear_f16", GEMMILL_TYPE_F16, x, packed, bias, out_features, std::nullopt);
}

/** A layer's weights, N x K with any strides, rounded to float16 or bfloat16, as gemmill's bytes. */
at::Tensor pack_float_weight(const at::Tensor &weight, at::ScalarType dtype) {
    static constexpr const char *op = "pack_float_weight";
    check_cpu(op, "weight", weight);
    check_dim(op, "weight", weight, 2);
    const int32_t code = float_code(op, "weight", weight.scalar_type());
    TORCH_CHECK(dtype == at::kHalf || dtype == at::kBFloat16, op,
                ": expected dtype to be bfloat16 or half, but it is ", dtype);
    return refused_as_torch_error(op, [&] {
        gemmill::FloatPacking packing;
        packing.type(dtype == at::kHalf ? GEMMILL_TYPE_F16 : GEMMILL_TYPE_BF16);
        packing.threads(GEMMILL_THREADS_MAX, threads_allowed());
        const int64_t n = weight.size(0), k = weight.size(1);
        gemmill_float_weights *made = nullptr;
        gemmill::check(gemmill_float_weights_create(code, weight.const_data_ptr(), k, n, weight.stride(1),
                                                    weight.stride(0), packing.get(), &made));
        const gemmill::detail::Handle<gemmill_float_weights> owned(made);
        return written_bytes([made](uint8_t *buffer, int64_t capacity, int64_t *length) {
            return gemmill_float_weights_to_bytes(made, buffer, capacity, length);
        });
    });
}

/** The weights that pack_float_weight rounded, N x K, in float32, which has them exactly. */
at::Tensor unpack_float_weight(const at::Tensor &packed) {
    static constexpr const char *op = "unpack_float_weight";
    return refused_as_torch_error(op, [&] {
        const auto weights = gemmill::FloatWeights::from_bytes(bytes_of(op, packed));
        at::Tensor b = at::detail::empty_cpu({weights.k(), weights.n()}, at::kFloat);
        weights.unpack(b.mutable_data_ptr<float>(), weights.n());
        return b.t();
    });
}

/** Seconds that the library takes for so many of linear_bf16's products, one after the other: for bench.py. */
double time_linear_bf16(const at::Tensor &x, const at::Tensor &packed, const at::Tensor &bias, int64_t runs) {
    static constexpr const char *op = "time_linear_bf16";
    return refused_as_torch_error(op, [&] {
        check_type(op, "x", x, at::kFloat);
        check_dim(op, "x", x, 2);
        check_type(op, "bias", bias, at::kFloat);
        const auto weights = Cache<LoadedFloatWeights>::instance().get(op, packed);
        const at::Tensor bias_f32 = bias.contiguous();
        const int64_t n = weights->out_features();
        TORCH_CHECK(x.size(1) == weights->in_features() && bias.numel() == n, op, ": expected the layer's sizes");
        const FloatSettings settings{GEMMILL_TYPE_F32, threads_allowed(), false, GEMMILL_HARDWARE_DOT_NONE};
        const auto operation = weights->operation(settings, bias_f32.const_data_ptr<float>());
        std::vector<float> y(static_cast<std::size_t>(x.size(0) * n));
        const float *const data = x.const_data_ptr<float>();
        const auto start = std::chrono::steady_clock::now();
        for (int64_t i = 0; i < runs; i++)
            gemmill::check(gemmill_float_gemm_run(operation->get(), x.size(0), data, x.stride(0), x.stride(1),
                                                  y.data(), n, nullptr));
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    });
}

} // namespace

TORCH_LIBRARY_FRAGMENT(gemmill, m) {
    m.def("time_linear_bf16(Tensor x, Tensor packed, Tensor bias, int runs) -> float");
    m.def("resolve_hardware_dot(str? hardware_dot) -> str", &resolve_hardware_dot);
    m.def("linear_bf16(Tensor x, Tensor packed, Tensor? bias, int out_features, str? hardware_dot=None) -> Tensor",
          {at::Tag::pt2_compliant_tag});
    m.def("linear_f16(Tensor x, Tensor packed, Tensor? bias, int out_features) -> Tensor",
          {at::Tag::pt2_compliant_tag});
    m.def("pack_float_weight(Tensor weight, ScalarType dtype) -> Tensor", {at::Tag::pt2_compliant_tag});
    m.def("unpack_float_weight(Tensor packed) -> Tensor", {at::Tag::pt2_compliant_tag});
}

TORCH_LIBRARY_IMPL(gemmill, CPU, m) {
    m.impl("time_linear_bf16", &time_linear_bf16);
    m.impl("linear_bf16", &linear_bf16);
    m.impl("linear_f16", &linear_f16);
    m.impl("pack_float_weight", &pack_float_weight);
    m.impl("unpack_float_weight", &unpack_float_weight);
}

} // namespace gemmill_torch
