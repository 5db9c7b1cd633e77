// Packed weights live in tensors of bytes, gemmill's own file format, so that they can be saved, copied and exported like any
// other tensor. The form that kernels read is made once for each tensor, and found again by the tensor's storage.

#include "common.hpp"

#include <ATen/ops/empty.h>
#include <c10/util/intrusive_ptr.h>

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

namespace {

/** Where bytes lie. The storage is known by its address, which nobody else gets while the entry's weak pointer is there. */
using Place = std::pair<const c10::StorageImpl *, const uint8_t *>;

struct Entry {
    c10::weak_intrusive_ptr<c10::StorageImpl> storage;
    int64_t length;
    /** The last eight bytes: the format's checksum of all others. Bytes that were replaced in place have another one. */
    uint64_t checksum;
    std::shared_ptr<LoadedWeights> weights;
};

struct Cache {
    std::mutex mutex;
    std::map<Place, Entry> entries;
    unsigned lookups = 0;

    /** Frees weights whose tensors are gone. */
    void sweep() {
        for (auto entry = entries.begin(); entry != entries.end();) {
            if (entry->second.storage.expired()) entry = entries.erase(entry);
            else ++entry;
        }
    }
};

Cache &cache() {
    // Never destroyed: operators may still run when static objects are.
    static Cache *const cache = new Cache;
    return *cache;
}

constexpr unsigned LOOKUPS_PER_SWEEP = 1024;

} // namespace

at::Tensor tensor_of(const std::vector<uint8_t> &bytes) {
    at::Tensor tensor = at::empty({static_cast<int64_t>(bytes.size())}, at::TensorOptions().dtype(at::kByte));
    std::copy(bytes.begin(), bytes.end(), tensor.mutable_data_ptr<uint8_t>());
    return tensor;
}

std::shared_ptr<LoadedWeights> loaded(const char *op, const at::Tensor &packed) {
    check_cpu(op, "packed", packed);
    check_type(op, "packed", packed, at::kByte);
    check_dim(op, "packed", packed, 1);
    TORCH_CHECK(packed.is_contiguous(), op, ": expected packed to be contiguous");
    const uint8_t *const bytes = packed.const_data_ptr<uint8_t>();
    const int64_t length = packed.numel();
    uint64_t checksum = 0;
    if (length >= static_cast<int64_t>(sizeof checksum)) std::memcpy(&checksum, bytes + length - sizeof checksum, sizeof checksum);
    const Place place{packed.storage().unsafeGetStorageImpl(), bytes};
    {
        std::lock_guard<std::mutex> lock(cache().mutex);
        if (++cache().lookups % LOOKUPS_PER_SWEEP == 0) cache().sweep();
        const auto found = cache().entries.find(place);
        if (found != cache().entries.end() && found->second.length == length && found->second.checksum == checksum)
            return found->second.weights;
    }
    // Two threads may both load: the one that comes last is kept.
    const auto weights = std::make_shared<LoadedWeights>(std::vector<uint8_t>(bytes, bytes + length));
    std::lock_guard<std::mutex> lock(cache().mutex);
    cache().sweep();
    cache().entries.erase(place);
    cache().entries.emplace(place, Entry{packed.storage().getWeakStorageImpl(), length, checksum, weights});
    return weights;
}

} // namespace gemmill_torch
