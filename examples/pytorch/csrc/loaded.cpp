// int8 weights that were loaded from bytes, with the operations that were set up for them.

#include "cache.hpp"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <list>
#include <map>
#include <mutex>

namespace gemmill_torch {

struct LoadedWeights::Operations {
    struct Operation {
        bool per_row;
        float x_scale;
        int32_t x_zero_point;
        int threads;
        bool has_bias;
        std::vector<float> bias;
        std::shared_ptr<const gemmill::Gemm<float, float>> gemm;

        /** Biases are compared by content: they are tensors that may change in place. */
        bool is(const LinearSettings &s) const {
            return threads == s.threads && has_bias == (s.bias != nullptr) && per_row == (s.x_scale == nullptr)
                && (per_row || (x_scale == *s.x_scale && x_zero_point == s.x_zero_point))
                && (!has_bias || bias.empty() || std::memcmp(bias.data(), s.bias, bias.size() * sizeof(float)) == 0);
        }
    };
    /** A layer has one, and another one for each number of threads. */
    static constexpr std::size_t MOST = 8;

    std::mutex mutex;
    /** The one used last comes first. */
    std::list<Operation> list;
    std::map<int, std::shared_ptr<const IntProduct>> products;
};

LoadedWeights::LoadedWeights(const std::vector<uint8_t> &bytes)
    : weights_(gemmill::Weights::from_bytes(bytes)), in_features_(weights_.k() * weights_.groups()),
      out_features_(weights_.n()), scales_(weights_.scales(scales_per_)), operations_(new Operations) {}

LoadedWeights::~LoadedWeights() = default;

std::shared_ptr<const gemmill::Gemm<float, float>> LoadedWeights::linear(const LinearSettings &settings) {
    std::lock_guard<std::mutex> lock(operations_->mutex);
    auto &list = operations_->list;
    const auto found = std::find_if(list.begin(), list.end(), [&](const Operations::Operation &o) { return o.is(settings); });
    if (found != list.end()) {
        list.splice(list.begin(), list, found);
        return found->gemm;
    }
    TORCH_CHECK(!scales_.empty() || out_features_ == 0, "linear_int8: expected packed weights with scales");
    const auto gemm = std::make_shared<gemmill::Gemm<float, float>>(weights_);
    if (scales_.empty()) gemm->b_scale(1.0f);
    else gemm->b_scales(scales_per_, scales_.data(), static_cast<int64_t>(scales_.size()));
    gemm->threads(GEMMILL_THREADS_MAX, settings.threads);
    if (settings.x_scale) gemm->a_quantization(*settings.x_scale, settings.x_zero_point);
    else gemm->a_quantization_per_row();
    std::vector<float> bias;
    if (settings.bias) {
        bias.assign(settings.bias, settings.bias + out_features_);
        gemm->bias(bias.data(), out_features_);
    }
    gemm->prepare();
    const float x_scale = settings.x_scale ? *settings.x_scale : 0.0f;
    list.push_front({settings.x_scale == nullptr, x_scale, settings.x_zero_point, settings.threads, settings.bias != nullptr,
                     std::move(bias), gemm});
    if (list.size() > Operations::MOST) list.pop_back();
    return gemm;
}

std::shared_ptr<const IntProduct> LoadedWeights::product(int threads) {
    std::lock_guard<std::mutex> lock(operations_->mutex);
    auto &product = operations_->products[threads];
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
