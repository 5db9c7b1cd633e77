// Linear layers with bf16 and f16 weights, and how the weights are packed.

#include "float.hpp"

#include <torch/library.h>

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

    std::shared_ptr<const FloatOperation> operation(const FloatSettings &settings) {
        return operations_.get(settings, out_features_, [&](gemmill_float_gemm **gemm) {
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

at::Tensor linear(const char *op, gemmill_type type, const at::Tensor &x, const at::Tensor &packed,
                  const std::optional<at::Tensor> &bias, int64_t out_features) {
    check_cpu(op, "x", x);
    return refused_as_torch_error(op, [&] {
        const auto weights = Cache<LoadedFloatWeights>::instance().get(op, packed);
        TORCH_CHECK(weights->type() == type, op, ": expected weights that were packed as ", scalar_type(type), ", but they are ",
                    scalar_type(weights->type()));
        return float_linear(op, x, *weights, bias, out_features, false);
    });
}

at::Tensor linear_bf16(const at::Tensor &x, const at::Tensor &packed, const std::optional<at::Tensor> &bias, int64_t out_features) {
    return linear("linear_bf16", GEMMILL_TYPE_BF16, x, packed, bias, out_features);
}

at::Tensor linear_f16(const at::Tensor &x, const at::Tensor &packed, const std::optional<at::Tensor> &bias, int64_t out_features) {
    return linear("linear_f16", GEMMILL_TYPE_F16, x, packed, bias, out_features);
}

/** A layer's weights, N x K with any strides, rounded to float16 or bfloat16, as gemmill's bytes. */
at::Tensor pack_float_weight(const at::Tensor &weight, at::ScalarType dtype) {
    static constexpr const char *op = "pack_float_weight";
    check_cpu(op, "weight", weight);
    check_dim(op, "weight", weight, 2);
    const int32_t code = float_code(op, "weight", weight.scalar_type());
    TORCH_CHECK(dtype == at::kHalf || dtype == at::kBFloat16, op, ": expected dtype to be bfloat16 or half, but it is ", dtype);
    return refused_as_torch_error(op, [&] {
        gemmill::FloatPacking packing;
        packing.type(dtype == at::kHalf ? GEMMILL_TYPE_F16 : GEMMILL_TYPE_BF16).threads(GEMMILL_THREADS_MAX, threads_allowed());
        const int64_t n = weight.size(0), k = weight.size(1);
        gemmill_float_weights *made = nullptr;
        gemmill::check(gemmill_float_weights_create(code, weight.const_data_ptr(), k, n, weight.stride(1), weight.stride(0),
                                                    packing.get(), &made));
        const gemmill::detail::Handle<gemmill_float_weights> owned(made);
        int64_t length = 0;
        const gemmill_status status = gemmill_float_weights_to_bytes(made, nullptr, 0, &length);
        if (status != GEMMILL_STATUS_TOO_SMALL) gemmill::check(status);
        at::Tensor bytes = at::empty({length}, weight.options().dtype(at::kByte));
        gemmill::check(gemmill_float_weights_to_bytes(made, bytes.mutable_data_ptr<uint8_t>(), length, &length));
        return bytes;
    });
}

/** The weights that pack_float_weight rounded, N x K, in float32, which has them exactly. */
at::Tensor unpack_float_weight(const at::Tensor &packed) {
    static constexpr const char *op = "unpack_float_weight";
    check_cpu(op, "packed", packed);
    check_type(op, "packed", packed, at::kByte);
    check_dim(op, "packed", packed, 1);
    return refused_as_torch_error(op, [&] {
        const at::Tensor bytes = packed.contiguous();
        const uint8_t *const first = bytes.const_data_ptr<uint8_t>();
        const auto weights = gemmill::FloatWeights::from_bytes(std::vector<uint8_t>(first, first + bytes.numel()));
        at::Tensor b = at::empty({weights.k(), weights.n()}, packed.options().dtype(at::kFloat));
        weights.unpack(b.mutable_data_ptr<float>(), weights.n());
        return b.t();
    });
}

} // namespace

TORCH_LIBRARY_FRAGMENT(gemmill, m) {
    m.def("linear_bf16(Tensor x, Tensor packed, Tensor? bias, int out_features) -> Tensor", {at::Tag::pt2_compliant_tag});
    m.def("linear_f16(Tensor x, Tensor packed, Tensor? bias, int out_features) -> Tensor", {at::Tag::pt2_compliant_tag});
    m.def("pack_float_weight(Tensor weight, ScalarType dtype) -> Tensor", {at::Tag::pt2_compliant_tag});
    m.def("unpack_float_weight(Tensor packed) -> Tensor", {at::Tag::pt2_compliant_tag});
}

TORCH_LIBRARY_IMPL(gemmill, CPU, m) {
    m.impl("linear_bf16", &linear_bf16);
    m.impl("linear_f16", &linear_f16);
    m.impl("pack_float_weight", &pack_float_weight);
    m.impl("unpack_float_weight", &unpack_float_weight);
}

} // namespace gemmill_torch
