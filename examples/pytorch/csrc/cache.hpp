// Packed weights live in tensors of bytes, gemmill's own file formats, so that they can be saved, copied and exported
// like any other tensor. The form that kernels read is made once for each tensor, and found again by the tensor's
// storage. So are the operations with it, by their settings.
#pragma once

#include "common.hpp"

#include <c10/util/intrusive_ptr.h>

#include <cstring>
#include <list>
#include <map>
#include <mutex>

namespace gemmill_torch {

/** Weights of one kind, made of the bytes that tensors hold. */
template <class Loaded> class Cache {
public:
    /** Never destroyed: operators may still run when static objects are. */
    static Cache &instance() {
        static Cache *const cache = new Cache;
        return *cache;
    }

    /** The weights whose bytes a tensor holds: loaded once for each tensor, and again when its bytes were replaced. */
    std::shared_ptr<Loaded> get(const char *op, const at::Tensor &packed) {
        check_cpu(op, "packed", packed);
        check_type(op, "packed", packed, at::kByte);
        check_dim(op, "packed", packed, 1);
        TORCH_CHECK(packed.is_contiguous(), op, ": expected packed to be contiguous");
        const uint8_t *const bytes = packed.const_data_ptr<uint8_t>();
        const int64_t length = packed.numel();
        uint64_t checksum = 0;
        if (length >= static_cast<int64_t>(sizeof checksum))
            std::memcpy(&checksum, bytes + length - sizeof checksum, sizeof checksum);
        const Place place{packed.storage().unsafeGetStorageImpl(), bytes};
        {
            std::lock_guard<std::mutex> lock(mutex_);
            if (++lookups_ % LOOKUPS_PER_SWEEP == 0) sweep();
            const auto found = entries_.find(place);
            if (found != entries_.end() && found->second.length == length && found->second.checksum == checksum)
                return found->second.weights;
        }
        // Two threads may both load: the one that comes last is kept.
        const auto weights = std::make_shared<Loaded>(std::vector<uint8_t>(bytes, bytes + length));
        std::lock_guard<std::mutex> lock(mutex_);
        sweep();
        entries_.erase(place);
        entries_.emplace(place, Entry{packed.storage().getWeakStorageImpl(), length, checksum, weights});
        return weights;
    }

private:
    /** Where bytes lie. Nobody else gets the storage's address while the entry's weak pointer is there. */
    using Place = std::pair<const c10::StorageImpl *, const uint8_t *>;

    struct Entry {
        c10::weak_intrusive_ptr<c10::StorageImpl> storage;
        int64_t length;
        /** The last eight bytes: the format's checksum of all others, which tells of bytes replaced in place. */
        uint64_t checksum;
        std::shared_ptr<Loaded> weights;
    };

    static constexpr unsigned LOOKUPS_PER_SWEEP = 1024;

    /** Frees weights whose tensors are gone. */
    void sweep() {
        for (auto entry = entries_.begin(); entry != entries_.end();) {
            if (entry->second.storage.expired()) entry = entries_.erase(entry);
            else ++entry;
        }
    }

    std::mutex mutex_;
    std::map<Place, Entry> entries_;
    unsigned lookups_ = 0;
};

/** The operations of a layer that were used last, by their settings. A setting is equal to another one by ==. */
template <class Settings, class Operation> class Operations {
public:
    /** The operation with these settings and this bias of n elements, or null; `create()` makes one that is not kept. */
    template <class Create>
    std::shared_ptr<const Operation> get(const Settings &settings, const float *bias, int64_t n, Create create) {
        std::lock_guard<std::mutex> lock(mutex_);
        for (auto kept = list_.begin(); kept != list_.end(); ++kept) {
            if (!(kept->settings == settings && kept->has(bias))) continue;
            list_.splice(list_.begin(), list_, kept);
            return list_.front().operation;
        }
        Kept made{settings, bias != nullptr, {}, create()};
        if (bias) made.bias.assign(bias, bias + n);
        list_.push_front(std::move(made));
        if (list_.size() > MOST) list_.pop_back();
        return list_.front().operation;
    }

private:
    struct Kept {
        Settings settings;
        bool has_bias;
        std::vector<float> bias;
        std::shared_ptr<const Operation> operation;

        /** Biases are compared by content: they are tensors that may change in place. */
        bool has(const float *given) const {
            return has_bias == (given != nullptr)
                && (bias.empty() || std::memcmp(bias.data(), given, bias.size() * sizeof(float)) == 0);
        }
    };
    /** A layer has one for each type of x and each number of threads. */
    static constexpr std::size_t MOST = 8;

    std::mutex mutex_;
    /** The one used last comes first. */
    std::list<Kept> list_;
};

} // namespace gemmill_torch
