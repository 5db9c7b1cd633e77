// What bench.py asks the library: which kernels run here, and how long a call takes without torch around it.

#include "common.hpp"

#include <torch/library.h>

#include <chrono>

namespace gemmill_torch {
namespace {

std::string tier() {
    return refused_as_torch_error("tier", [] { return std::string(gemmill_tier_name(gemmill::best_tier())); });
}

/** Seconds that the library takes for so many of linear_int8's products, one after the other. */
double time_linear_int8(const at::Tensor &x, const at::Tensor &packed, const at::Tensor &bias, int64_t runs) {
    static constexpr const char *op = "time_linear_int8";
    return refused_as_torch_error(op, [&] {
        check_type(op, "x", x, at::kFloat);
        check_dim(op, "x", x, 2);
        check_type(op, "bias", bias, at::kFloat);
        const auto weights = loaded(op, packed);
        const at::Tensor bias_f32 = bias.contiguous();
        TORCH_CHECK(x.size(1) == weights->in_features() && bias.numel() == weights->out_features(), op,
                    ": expected the layer's sizes");
        const auto gemm = weights->linear({GEMMILL_TYPE_F32, threads_allowed(), true, 1.0f, 0},
                                          bias_f32.const_data_ptr<float>());
        const int64_t n = weights->out_features();
        std::vector<float> y(static_cast<std::size_t>(x.size(0) * n));
        const float *const data = x.const_data_ptr<float>();
        const auto start = std::chrono::steady_clock::now();
        for (int64_t i = 0; i < runs; i++)
            gemmill::check(gemmill_gemm_run(gemm->get(), x.size(0), data, x.stride(0), x.stride(1), y.data(), n,
                                            nullptr));
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    });
}

} // namespace

TORCH_LIBRARY_FRAGMENT(gemmill, m) {
    m.def("tier() -> str", &tier);
    m.def("time_linear_int8(Tensor x, Tensor packed, Tensor bias, int runs) -> float");
}

TORCH_LIBRARY_IMPL(gemmill, CPU, m) { m.impl("time_linear_int8", &time_linear_int8); }

} // namespace gemmill_torch
