// Linear layers with packed weights, and how the weights are quantized and packed.

#include "common.hpp"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

namespace gemmill_torch {
namespace {

/** y = x W^T + bias of the type of x, whose elements become u8 by the given scale and zero point, or row by row. */
at::Tensor linear_int8(const at::Tensor &x, const at::Tensor &packed, const std::optional<at::Tensor> &bias,
                       int64_t out_features, std::optional<double> x_scale, int64_t x_zero_point) {
    static constexpr const char *op = "linear_int8";
    check_cpu(op, "x", x);
    return refused_as_torch_error(op, [&] {
        const auto weights = loaded(op, packed);
        const int64_t n = weights->out_features();
        const Bias bias_f32(op, bias, n);
        TORCH_CHECK(!x_scale || (x_zero_point >= 0 && x_zero_point <= 255), op,
                    ": expected x_zero_point in 0 to 255, but it is ", x_zero_point);
        const auto operation = [&](int32_t type, int threads) {
            const float scale = static_cast<float>(x_scale.value_or(1.0));
            return weights->linear({type, threads, !x_scale, scale, static_cast<int32_t>(x_zero_point)},
                                   bias_f32.data());
        };
        return linear_of(op, x, weights->in_features(), n, out_features, operation, gemmill_gemm_run);
    });
}

/** Scales and i8 weights of a layer, N x K: a scale for each output feature, or one for all. */
std::tuple<at::Tensor, at::Tensor> quantize_weight(const at::Tensor &weight, bool per_channel) {
    static constexpr const char *op = "quantize_weight";
    check_cpu(op, "weight", weight);
    check_dim(op, "weight", weight, 2);
    TORCH_CHECK(at::isFloatingType(weight.scalar_type()), op,
                ": expected floating-point weights, but they have dtype ", weight.scalar_type());
    return refused_as_torch_error(op, [&] {
        const at::Tensor w = weight.to(at::kFloat);
        const int64_t n = w.size(0), k = w.size(1);
        // K x N, as gemmill writes it: the layer's N x K is a view.
        at::Tensor q = at::empty({k, n}, w.options().dtype(at::kChar));
        at::Tensor scales = at::empty({per_channel ? n : 1}, w.options());
        const auto quantize = per_channel ? gemmill_quantize_weights_per_column : gemmill_quantize_weights_per_tensor;
        gemmill::check(quantize(w.const_data_ptr<float>(), k, n, w.stride(1), w.stride(0), q.mutable_data_ptr<int8_t>(),
                                scales.mutable_data_ptr<float>()));
        return std::make_tuple(q.t(), scales);
    });
}

/** i8 weights of a layer, N x K with any strides, and their scales, as gemmill's bytes. */
at::Tensor pack_weight(const at::Tensor &weight, const at::Tensor &scales) {
    static constexpr const char *op = "pack_weight";
    check_cpu(op, "weight", weight);
    check_type(op, "weight", weight, at::kChar);
    check_dim(op, "weight", weight, 2);
    check_cpu(op, "scales", scales);
    check_type(op, "scales", scales, at::kFloat);
    check_dim(op, "scales", scales, 1);
    const int64_t n = weight.size(0), k = weight.size(1);
    TORCH_CHECK(scales.numel() == n || scales.numel() == 1, op, ": expected 1 or ", n, " scales, but there are ",
                scales.numel());
    return refused_as_torch_error(op, [&] {
        const at::Tensor values = scales.contiguous();
        gemmill::Packing packing = packing_here();
        packing.scales(scales.numel() == n ? GEMMILL_PER_COLUMN : GEMMILL_PER_TENSOR, values.const_data_ptr<float>(),
                       scales.numel());
        const gemmill::Weights weights(weight.const_data_ptr<int8_t>(), k, n, weight.stride(1), weight.stride(0),
                                       packing);
        return tensor_of(weights.to_bytes());
    });
}

/** i8 weights, N x K, and their scales from gemmill's bytes. */
std::tuple<at::Tensor, at::Tensor> unpack_weight(const at::Tensor &packed) {
    static constexpr const char *op = "unpack_weight";
    check_cpu(op, "packed", packed);
    check_type(op, "packed", packed, at::kByte);
    check_dim(op, "packed", packed, 1);
    return refused_as_torch_error(op, [&] {
        const at::Tensor bytes = packed.contiguous();
        const uint8_t *const first = bytes.const_data_ptr<uint8_t>();
        const auto weights = gemmill::Weights::from_bytes(std::vector<uint8_t>(first, first + bytes.numel()),
                                                          packing_here());
        TORCH_CHECK(weights.type() == GEMMILL_TYPE_I8, op, ": expected weights that were packed from int8");
        at::Tensor q = at::empty({weights.k(), weights.n()}, packed.options().dtype(at::kChar));
        weights.unpack(q.mutable_data_ptr<int8_t>(), weights.n());
        gemmill_per per = GEMMILL_PER_TENSOR;
        const std::vector<float> values = weights.scales(per);
        at::Tensor scales = at::empty({static_cast<int64_t>(values.size())}, packed.options().dtype(at::kFloat));
        std::copy(values.begin(), values.end(), scales.mutable_data_ptr<float>());
        return std::make_tuple(q.t(), scales);
    });
}

/** Scale and zero point of u8 activations between these bounds. */
std::tuple<double, int64_t> choose_quantization(double min, double max) {
    return refused_as_torch_error("choose_quantization", [&] {
        const auto chosen = gemmill::Quantization<uint8_t>::choose(static_cast<float>(min), static_cast<float>(max));
        return std::make_tuple(static_cast<double>(chosen.scale), static_cast<int64_t>(chosen.zero_point));
    });
}

} // namespace

TORCH_LIBRARY_FRAGMENT(gemmill, m) {
    m.def("linear_int8(Tensor x, Tensor packed, Tensor? bias, int out_features, float? x_scale=None, "
          "int x_zero_point=0) -> Tensor",
          {at::Tag::pt2_compliant_tag});
    m.def("quantize_weight(Tensor weight, bool per_channel=True) -> (Tensor, Tensor)", {at::Tag::pt2_compliant_tag});
    m.def("pack_weight(Tensor weight, Tensor scales) -> Tensor", {at::Tag::pt2_compliant_tag});
    m.def("unpack_weight(Tensor packed) -> (Tensor, Tensor)", {at::Tag::pt2_compliant_tag});
    m.def("choose_quantization(float min, float max) -> (float, int)", &choose_quantization);
}

TORCH_LIBRARY_IMPL(gemmill, CPU, m) {
    m.impl("linear_int8", &linear_int8);
    m.impl("quantize_weight", &quantize_weight);
    m.impl("pack_weight", &pack_weight);
    m.impl("unpack_weight", &unpack_weight);
}

} // namespace gemmill_torch
