/* What all classes of gemmill.hpp share: errors, codes of types, tiers, threads, options of runs. */
#ifndef GEMMILL_COMMON_HPP
#define GEMMILL_COMMON_HPP

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "../gemmill.h"

namespace gemmill {

/** A call that was refused: its status, and what was expected and what was given. */
class Error : public std::runtime_error {
public:
    explicit Error(gemmill_status status) : std::runtime_error(gemmill_last_error()), status_(status) {}
    gemmill_status status() const noexcept { return status_; }

private:
    gemmill_status status_;
};

/** Throws unless the status is that of success. */
inline void check(gemmill_status status) {
    if (status != GEMMILL_STATUS_OK) throw Error(status);
}

/** What a status means; static. */
inline const char *status_text(gemmill_status status) noexcept { return gemmill_status_text(status); }

/** The version of the library that is running: major * 1000000 + minor * 1000 + patch, and as text. */
inline int32_t version() noexcept { return gemmill_version(); }
inline const char *version_text() noexcept { return gemmill_version_text(); }

/** The bits of an IEEE 754 binary16. */
struct Float16 { uint16_t bits; };

/** The bits of a bfloat16. */
struct BFloat16 { uint16_t bits; };

/** The code of a type of elements. Other types with the bits of one of these may be given theirs. */
template <class T> struct TypeOf;
template <> struct TypeOf<uint8_t> { static constexpr int32_t code() { return GEMMILL_TYPE_U8; } };
template <> struct TypeOf<int8_t> { static constexpr int32_t code() { return GEMMILL_TYPE_I8; } };
template <> struct TypeOf<int32_t> { static constexpr int32_t code() { return GEMMILL_TYPE_I32; } };
template <> struct TypeOf<float> { static constexpr int32_t code() { return GEMMILL_TYPE_F32; } };
template <> struct TypeOf<Float16> { static constexpr int32_t code() { return GEMMILL_TYPE_F16; } };
template <> struct TypeOf<BFloat16> { static constexpr int32_t code() { return GEMMILL_TYPE_BF16; } };

namespace detail {

struct Destroy {
    void operator()(gemmill_packing *handle) const noexcept { gemmill_packing_destroy(handle); }
    void operator()(gemmill_weights *handle) const noexcept { gemmill_weights_destroy(handle); }
    void operator()(gemmill_pool *handle) const noexcept { gemmill_pool_destroy(handle); }
    void operator()(gemmill_gemm *handle) const noexcept { gemmill_gemm_destroy(handle); }
    void operator()(gemmill_run_options *handle) const noexcept { gemmill_run_options_destroy(handle); }
    void operator()(gemmill_float_packing *handle) const noexcept { gemmill_float_packing_destroy(handle); }
    void operator()(gemmill_float_weights *handle) const noexcept { gemmill_float_weights_destroy(handle); }
    void operator()(gemmill_groupwise_weights *handle) const noexcept { gemmill_groupwise_weights_destroy(handle); }
    void operator()(gemmill_groupwise_packed *handle) const noexcept { gemmill_groupwise_packed_destroy(handle); }
    void operator()(gemmill_float_gemm *handle) const noexcept { gemmill_float_gemm_destroy(handle); }
};

template <class T> using Handle = std::unique_ptr<T, Destroy>;

/** The text that `write(buffer, capacity, length)` gives. */
template <class Write> std::string text(Write write) {
    std::vector<char> buffer(256);
    for (;;) {
        int64_t length = 0;
        const gemmill_status status = write(buffer.data(), static_cast<int64_t>(buffer.size()), &length);
        if (status != GEMMILL_STATUS_TOO_SMALL) {
            check(status);
            return std::string(buffer.data(), static_cast<std::size_t>(length));
        }
        buffer.resize(static_cast<std::size_t>(length) + 1);
    }
}

/** What `write(buffer, capacity, length)` gives, which may need `guess` bytes. */
template <class Write> std::vector<uint8_t> bytes(int64_t guess, Write write) {
    int64_t size = 0, length = guess;
    std::vector<uint8_t> bytes;
    gemmill_status status = GEMMILL_STATUS_TOO_SMALL;
    while (status == GEMMILL_STATUS_TOO_SMALL && size < length) {
        size = length;
        bytes.resize(static_cast<std::size_t>(size));
        status = write(bytes.data(), size, &length);
    }
    check(status);
    bytes.resize(static_cast<std::size_t>(length));
    return bytes;
}

/** What `get` says of a handle. */
template <class T, class H> T property(const H *handle, gemmill_status (*get)(const H *, T *)) {
    T value = 0;
    check(get(handle, &value));
    return value;
}

} // namespace detail

/** The best tier of this machine, or the one that GEMMILL_TIER names. */
inline gemmill_tier best_tier() {
    int32_t tier = 0;
    check(gemmill_tier_best(&tier));
    return static_cast<gemmill_tier>(tier);
}

/** As gemmill_set_kernel_limit. */
inline void set_kernel_limit(int64_t kernels) { check(gemmill_set_kernel_limit(kernels)); }

/** The name of a tier; static, null for a number that is none. */
inline const char *tier_name(gemmill_tier tier) noexcept { return gemmill_tier_name(tier); }

/** The tier of this name. */
inline gemmill_tier tier_from_name(const std::string &name) {
    int32_t tier = 0;
    check(gemmill_tier_from_name(name.c_str(), &tier));
    return static_cast<gemmill_tier>(tier);
}

/** The first CPU feature that this machine lacks for a tier; static, null if it runs the tier. */
inline const char *missing_feature(gemmill_tier tier) {
    const char *feature = nullptr;
    check(gemmill_tier_missing_feature(tier, &feature));
    return feature;
}

/** Threads for products. */
class Pool {
public:
    explicit Pool(int64_t threads) {
        gemmill_pool *p = nullptr;
        check(gemmill_pool_create(threads, &p));
        handle_.reset(p);
    }

    int64_t threads() const {
        int64_t threads = 0;
        check(gemmill_pool_threads(get(), &threads));
        return threads;
    }

    /** Calls of this thread that take no pool use this one from now on. */
    void use_in_this_thread() const { check(gemmill_thread_set_pool(get())); }
    /** They use the library's own again. */
    static void use_none_in_this_thread() { check(gemmill_thread_set_pool(nullptr)); }

    gemmill_pool *get() const noexcept { return handle_.get(); }

private:
    detail::Handle<gemmill_pool> handle_;
};

/** What may differ from run to run. Arrays are not copied. */
class RunOptions {
public:
    RunOptions() { gemmill_run_options *p = nullptr; check(gemmill_run_options_create(&p)); handle_.reset(p); }

    RunOptions &row_zero_points(const int32_t *zero_points, int64_t count) {
        check(gemmill_run_options_set_row_zero_points(get(), zero_points, count));
        return *this;
    }
    RunOptions &row_scales(const float *scales, int64_t count) {
        check(gemmill_run_options_set_row_scales(get(), scales, count));
        return *this;
    }
    RunOptions &residual(const float *residual, int64_t row_stride) {
        check(gemmill_run_options_set_residual(get(), residual, row_stride));
        return *this;
    }
    /** Of float, Float16 or BFloat16, for products with such a C. */
    template <class C> RunOptions &float_residual(const C *residual, int64_t row_stride) {
        check(gemmill_run_options_set_float_residual(get(), TypeOf<C>::code(), residual, row_stride));
        return *this;
    }
    /** Threads of the caller's own. The function must not throw. */
    RunOptions &parallel_for(gemmill_parallel_for function, void *context, int64_t threads) {
        check(gemmill_run_options_set_parallel_for(get(), function, context, threads));
        return *this;
    }

    gemmill_run_options *get() const noexcept { return handle_.get(); }

private:
    detail::Handle<gemmill_run_options> handle_;
};

} // namespace gemmill

#endif // GEMMILL_COMMON_HPP
