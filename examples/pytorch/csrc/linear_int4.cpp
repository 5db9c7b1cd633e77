// Linear layers with weights of 4 bits, a scale for every few input features, and how the weights are quantized and
// packed.

#include "float.hpp"

#include <torch/library.h>

namespace gemmill_torch {
namespace {

/** Weights that were loaded from bytes. Any thread may use them. */
class LoadedGroupwiseWeights {
public:
    explicit LoadedGroupwiseWeights(const std::vector<uint8_t> &bytes)
        : packed_(gemmill::GroupwiseWeights::from_bytes(bytes), GEMMILL_THREADS_MAX, threads_allowed()),
          in_features_(packed_.k()), out_features_(packed_.n()) {}

    int64_t in_features() const { return in_features_; }
    int64_t out_features() const { return out_features_; }

    std::shared_ptr<const FloatOperation> operation(const FloatSettings &settings, const float *bias) {
        const auto create =
            settings.quantize_x ? gemmill_float_gemm_create_groupwise_a8 : gemmill_float_gemm_create_groupwise;
        return operations_.get(settings, bias, out_features_, [&](gemmill_float_gemm **gemm) {
            return create(packed_.get(), settings.type, settings.type, gemm);
        });
    }

private:
    gemmill::GroupwisePacked packed_;
    int64_t in_features_;
    int64_t out_features_;
    FloatOperations operations_;
};

at::Tensor linear_int4(const at::Tensor &x, const at::Tensor &packed, const std::optional<at::Tensor> &bias,
                       int64_t out_features, bool quantize_x) {
    static constexpr const char *op = "linear_int4";
    check_cpu(op, "x", x);
    return refused_as_torch_error(op, [&] {
        const auto weights = Cache<LoadedGroupwiseWeights>::instance().get(op, packed);
        return float_linear(op, x, *weights, bias, out_features, quantize_x, GEMMILL_HARDWARE_DOT_NONE);
    });
}

/** A layer's weights, N x K with any strides, in 4 bits, as gemmill's bytes. */
at::Tensor pack_int4_weight(const at::Tensor &weight, int64_t group_size, bool symmetric, bool search) {
    static constexpr const char *op = "pack_int4_weight";
    check_cpu(op, "weight", weight);
    check_dim(op, "weight", weight, 2);
    float_code(op, "weight", weight.scalar_type());
    TORCH_CHECK(group_size == 32 || group_size == 64 || group_size == 128, op,
                ": expected group_size to be 32, 64 or 128, but it is ",
                group_size);
    return refused_as_torch_error(op, [&] {
        const at::Tensor w = weight.to(at::kFloat);
        const int64_t n = w.size(0), k = w.size(1);
        const gemmill::GroupwiseFormat format{4, static_cast<int32_t>(group_size),
                                              symmetric ? GEMMILL_ZERO_POINTS_MIDDLE : GEMMILL_ZERO_POINTS_EACH};
        const float *const data = w.const_data_ptr<float>();
        using gemmill::GroupwiseWeights;
        const auto weights = search
            ? GroupwiseWeights::search(data, k, n, w.stride(1), w.stride(0), format)
            : GroupwiseWeights::round_to_nearest(data, k, n, w.stride(1), w.stride(0), format);
        return written_bytes([&](uint8_t *buffer, int64_t capacity, int64_t *length) {
            return gemmill_groupwise_weights_to_bytes(weights.get(), buffer, capacity, length);
        });
    });
}

/** The real weights that the bytes stand for, N x K. */
at::Tensor unpack_int4_weight(const at::Tensor &packed) {
    static constexpr const char *op = "unpack_int4_weight";
    return refused_as_torch_error(op, [&] {
        const auto weights = gemmill::GroupwiseWeights::from_bytes(bytes_of(op, packed));
        at::Tensor b = at::detail::empty_cpu({weights.k(), weights.n()}, at::kFloat);
        weights.dequantize(b.mutable_data_ptr<float>(), weights.n());
        return b.t();
    });
}

} // namespace

TORCH_LIBRARY_FRAGMENT(gemmill, m) {
    m.def("linear_int4(Tensor x, Tensor packed, Tensor? bias, int out_features, bool quantize_x=False) -> Tensor",
          {at::Tag::pt2_compliant_tag});
    m.def("pack_int4_weight(Tensor weight, int group_size=128, bool symmetric=True, bool search=True) -> Tensor",
          {at::Tag::pt2_compliant_tag});
    m.def("unpack_int4_weight(Tensor packed) -> Tensor", {at::Tag::pt2_compliant_tag});
}

TORCH_LIBRARY_IMPL(gemmill, CPU, m) {
    m.impl("linear_int4", &linear_int4);
    m.impl("pack_int4_weight", &pack_int4_weight);
    m.impl("unpack_int4_weight", &unpack_int4_weight);
}

} // namespace gemmill_torch
