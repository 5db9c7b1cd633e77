// int8 weights that were loaded from bytes, with the operations that were set up for them.

#include "cache.hpp"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <map>
#include <mutex>

namespace gemmill_torch {

struct LoadedWeights::Kept {
    Operations<LinearSettings, Operation<gemmill_gemm>> layers;
    std::mutex mutex;
    std::map<int, std::shared_ptr<const IntProduct>> products;
};

LoadedWeights::LoadedWeights(const std::vector<uint8_t> &bytes)
    : weights_(gemmill::Weights::from_bytes(bytes, packing_here())), in_features_(weights_.k() * weights_.groups()),
      out_features_(weights_.n()), scales_(weights_.scales(scales_per_)), kept_(new Kept) {}

LoadedWeights::~LoadedWeights() = default;

std::shared_ptr<const Operation<gemmill_gemm>> LoadedWeights::linear(const LinearSettings &settings,
                                                                     const float *bias) {
    return kept_->layers.get(settings, bias, out_features_, [&] {
        TORCH_CHECK(!scales_.empty() || out_features_ == 0, "linear_int8: expected packed weights with scales");
        gemmill_gemm *gemm = nullptr;
        gemmill::check(gemmill_gemm_create(weights_.get(), settings.type, settings.type, &gemm));
        auto operation = std::make_shared<const Operation<gemmill_gemm>>(gemm);
        const auto scales = static_cast<int64_t>(scales_.size());
        if (scales == 0) gemmill::check(gemmill_gemm_set_b_scale(gemm, 1.0f));
        else gemmill::check(gemmill_gemm_set_b_scales(gemm, scales_per_, scales_.data(), scales));
        gemmill::check(gemmill_gemm_set_threads(gemm, GEMMILL_THREADS_MAX, settings.threads));
        if (settings.per_row) gemmill::check(gemmill_gemm_set_a_quantization_per_row(gemm));
        else gemmill::check(gemmill_gemm_set_a_quantization(gemm, settings.x_scale, settings.x_zero_point));
        if (bias) gemmill::check(gemmill_gemm_set_bias_f32(gemm, bias, out_features_));
        gemmill::check(gemmill_gemm_prepare(gemm));
        return operation;
    });
}

std::shared_ptr<const IntProduct> LoadedWeights::product(int threads) {
    std::lock_guard<std::mutex> lock(kept_->mutex);
    auto &product = kept_->products[threads];
    if (!product) {
        const auto made = std::make_shared<IntProduct>(weights_);
        made->threads(GEMMILL_THREADS_MAX, threads);
        product = made;
    }
    return product;
}

at::Tensor tensor_of(const std::vector<uint8_t> &bytes) {
    at::Tensor tensor = at::empty({static_cast<int64_t>(bytes.size())}, at::TensorOptions().dtype(at::kByte));
    std::copy(bytes.begin(), bytes.end(), tensor.mutable_data_ptr<uint8_t>());
    return tensor;
}

std::shared_ptr<LoadedWeights> loaded(const char *op, const at::Tensor &packed) {
    return Cache<LoadedWeights>::instance().get(op, packed);
}

} // namespace gemmill_torch
