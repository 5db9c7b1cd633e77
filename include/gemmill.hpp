/*
 * gemmill for C++11 and later: the functions of gemmill.h, which has the formulas, as classes that own their handles and throw
 * gemmill::Error where those give a status. Nothing but this header and the C library is needed.
 *
 *     gemmill::Weights weights(b, k, n);
 *     gemmill::Gemm<uint8_t, uint8_t> gemm(weights);
 *     gemm.multiplier(0.01f).a_zero_point(100).c_zero_point(128);
 *     gemm.run(m, a, c);
 *
 * Floating-point products are the same with other classes; f16 and bf16 are types of 16 bits, gemmill::Float16 and
 * gemmill::BFloat16, or any for which TypeOf is specialized.
 *
 *     gemmill::FloatWeights weights(b, k, n, gemmill::FloatPacking().type(GEMMILL_TYPE_BF16));
 *     gemmill::FloatGemm<float, float> gemm(weights);
 *     gemm.bias(bias, n).function(GEMMILL_FUNCTION_GELU).run(m, a, c);
 *
 * Objects can be moved, not copied. const functions may be called by many threads at once; others, as always, by one that has
 * the object for itself. Pointers are as for the C functions: not owned, and not checked for what they point to.
 */
#ifndef GEMMILL_HPP
#define GEMMILL_HPP

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "gemmill.h"

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

/** How weights are packed. */
class Packing {
public:
    Packing() { gemmill_packing *p = nullptr; check(gemmill_packing_create(&p)); handle_.reset(p); }

    Packing &groups(int64_t groups) { check(gemmill_packing_set_groups(get(), groups)); return *this; }
    Packing &zero_point(int32_t zero_point) { check(gemmill_packing_set_zero_point(get(), zero_point)); return *this; }
    Packing &zero_points(gemmill_per per, const int32_t *zero_points, int64_t count) {
        check(gemmill_packing_set_zero_points(get(), per, zero_points, count));
        return *this;
    }
    Packing &activation_max(int32_t max) { check(gemmill_packing_set_activation_max(get(), max)); return *this; }
    Packing &tier(gemmill_tier tier) { check(gemmill_packing_set_tier(get(), tier)); return *this; }
    Packing &effort(gemmill_effort effort) { check(gemmill_packing_set_effort(get(), effort)); return *this; }
    /** Scales that go with the weights, into bytes too. */
    Packing &scales(gemmill_per per, const float *scales, int64_t count) {
        check(gemmill_packing_set_scales(get(), per, scales, count));
        return *this;
    }
    Packing &kc(int64_t kc) { check(gemmill_packing_set_kc(get(), kc)); return *this; }

    gemmill_packing *get() const noexcept { return handle_.get(); }

private:
    detail::Handle<gemmill_packing> handle_;
};

/** Packed weights. They never change. */
class Weights {
public:
    /** Of a row-major k x n matrix of int8_t or uint8_t. */
    template <class B> Weights(const B *b, int64_t k, int64_t n) { create(b, k, n, n, 1, nullptr); }
    template <class B> Weights(const B *b, int64_t k, int64_t n, const Packing &packing) {
        create(b, k, n, n, 1, packing.get());
    }
    /** With strides in elements: those of a row-major n x k matrix are 1 and k. */
    template <class B> Weights(const B *b, int64_t k, int64_t n, int64_t row_stride, int64_t col_stride) {
        create(b, k, n, row_stride, col_stride, nullptr);
    }
    template <class B>
    Weights(const B *b, int64_t k, int64_t n, int64_t row_stride, int64_t col_stride, const Packing &packing) {
        create(b, k, n, row_stride, col_stride, packing.get());
    }

    /** What to_bytes gave, on any CPU. */
    static Weights from_bytes(const std::vector<uint8_t> &bytes) { return from_bytes(bytes, nullptr); }
    /** Of the settings, the tier alone may be set. */
    static Weights from_bytes(const std::vector<uint8_t> &bytes, const Packing &packing) {
        return from_bytes(bytes, packing.get());
    }

    std::vector<uint8_t> to_bytes() const {
        return detail::bytes(size_in_bytes() + 4096, [this](uint8_t *buffer, int64_t capacity, int64_t *length) {
            return gemmill_weights_to_bytes(get(), buffer, capacity, length);
        });
    }

    /** The same weights, packed for another tier. */
    Weights repack(gemmill_tier tier) const {
        gemmill_weights *repacked = nullptr;
        check(gemmill_weights_repack(get(), tier, &repacked));
        return Weights(repacked);
    }

    /** The scales that came with the weights, and by what they are given; none if none came. */
    std::vector<float> scales(gemmill_per &per) const {
        int32_t code = 0;
        int64_t count = 0;
        std::vector<float> values(static_cast<std::size_t>(n() > groups() ? n() : groups()));
        check(gemmill_weights_scales(get(), &code, values.data(), static_cast<int64_t>(values.size()), &count));
        per = static_cast<gemmill_per>(code);
        values.resize(static_cast<std::size_t>(count));
        return values;
    }

    /** Another handle of the same weights. */
    Weights share() const {
        gemmill_weights *copy = nullptr;
        check(gemmill_weights_share(get(), &copy));
        return Weights(copy);
    }

    int64_t k() const { return property<int64_t>(gemmill_weights_k); }
    int64_t n() const { return property<int64_t>(gemmill_weights_n); }
    int64_t groups() const { return property<int64_t>(gemmill_weights_groups); }
    int64_t size_in_bytes() const { return property<int64_t>(gemmill_weights_size); }
    int32_t activation_max() const { return property<int32_t>(gemmill_weights_activation_max); }
    gemmill_type type() const { return static_cast<gemmill_type>(property<int32_t>(gemmill_weights_type)); }
    gemmill_tier tier() const { return static_cast<gemmill_tier>(property<int32_t>(gemmill_weights_tier)); }
    std::string sequences() const {
        return detail::text([this](char *buffer, int64_t capacity, int64_t *length) {
            return gemmill_weights_sequences(get(), buffer, capacity, length);
        });
    }

    /** Writes the k x n weights as they were. */
    template <class B> void unpack(B *b, int64_t row_stride) const {
        check(gemmill_weights_unpack(get(), TypeOf<B>::code(), b, row_stride));
    }

    friend bool operator==(const Weights &left, const Weights &right) {
        int32_t equal = 0;
        check(gemmill_weights_equal(left.get(), right.get(), &equal));
        return equal != 0;
    }
    friend bool operator!=(const Weights &left, const Weights &right) { return !(left == right); }

    gemmill_weights *get() const noexcept { return handle_.get(); }

private:
    explicit Weights(gemmill_weights *handle) : handle_(handle) {}

    static Weights from_bytes(const std::vector<uint8_t> &bytes, const gemmill_packing *packing) {
        gemmill_weights *weights = nullptr;
        check(gemmill_weights_from_bytes(bytes.data(), static_cast<int64_t>(bytes.size()), packing, &weights));
        return Weights(weights);
    }

    template <class B>
    void create(const B *b, int64_t k, int64_t n, int64_t row_stride, int64_t col_stride, const gemmill_packing *packing) {
        gemmill_weights *w = nullptr;
        check(gemmill_weights_create(TypeOf<B>::code(), b, k, n, row_stride, col_stride, packing, &w));
        handle_.reset(w);
    }

    template <class T> T property(gemmill_status (*get_value)(const gemmill_weights *, T *)) const {
        return detail::property<T>(get(), get_value);
    }

    detail::Handle<gemmill_weights> handle_;
};

/** Threads for products. */
class Pool {
public:
    explicit Pool(int64_t threads) { gemmill_pool *p = nullptr; check(gemmill_pool_create(threads, &p)); handle_.reset(p); }

    int64_t threads() const {
        int64_t threads = 0;
        check(gemmill_pool_threads(get(), &threads));
        return threads;
    }

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
    /** Of float, Float16 or BFloat16, for floating-point products with such a C. */
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

/** A product C = epilogue(A * B): A of uint8_t, int8_t or float, C of int32_t, uint8_t, int8_t or float. */
template <class A, class C> class Gemm {
public:
    explicit Gemm(const Weights &weights) : n_(weights.n()), depth_(weights.k() * weights.groups()) {
        gemmill_gemm *gemm = nullptr;
        check(gemmill_gemm_create(weights.get(), TypeOf<A>::code(), TypeOf<C>::code(), &gemm));
        handle_.reset(gemm);
    }

    Gemm &a_zero_point(int32_t zero_point) { return set(gemmill_gemm_set_a_zero_point(get(), zero_point)); }
    Gemm &a_quantization(float scale, int32_t zero_point) {
        return set(gemmill_gemm_set_a_quantization(get(), scale, zero_point));
    }
    Gemm &a_quantization_per_row() { return set(gemmill_gemm_set_a_quantization_per_row(get())); }
    Gemm &a_scale(float scale) { return set(gemmill_gemm_set_a_scale(get(), scale)); }
    Gemm &b_scale(float scale) { return set(gemmill_gemm_set_b_scale(get(), scale)); }
    Gemm &b_scales(gemmill_per per, const float *scales, int64_t count) {
        return set(gemmill_gemm_set_b_scales(get(), per, scales, count));
    }
    Gemm &multiplier(float multiplier) { return set(gemmill_gemm_set_multiplier(get(), multiplier)); }
    Gemm &multipliers(gemmill_per per, const float *multipliers, int64_t count) {
        return set(gemmill_gemm_set_multipliers(get(), per, multipliers, count));
    }
    Gemm &c_zero_point(int32_t zero_point) { return set(gemmill_gemm_set_c_zero_point(get(), zero_point)); }
    Gemm &bias(const int32_t *bias, int64_t count) { return set(gemmill_gemm_set_bias_i32(get(), bias, count)); }
    Gemm &bias(const float *bias, int64_t count) { return set(gemmill_gemm_set_bias_f32(get(), bias, count)); }
    Gemm &relu(bool on = true) { return set(gemmill_gemm_set_relu(get(), on)); }
    Gemm &clamp(C low, C high) { return set(clamped(low, high)); }
    Gemm &accumulate(bool on = true) { return set(gemmill_gemm_set_accumulate(get(), on)); }
    Gemm &threads(gemmill_threads how, int64_t threads) { return set(gemmill_gemm_set_threads(get(), how, threads)); }
    /** Insists on the tier that the weights were packed for. */
    Gemm &tier(gemmill_tier tier) { return set(gemmill_gemm_set_tier(get(), tier)); }
    Gemm &pool(const Pool &pool) { return set(gemmill_gemm_set_pool(get(), pool.get())); }

    /** Checks the settings and freezes them; the first run does so too. */
    void prepare() const { check(gemmill_gemm_prepare(get())); }

    /** A and C of m rows, row-major without gaps. */
    void run(int64_t m, const A *a, C *c) const { run(m, a, depth_, 1, c, n_); }
    void run(int64_t m, const A *a, C *c, const RunOptions &options) const { run(m, a, depth_, 1, c, n_, options); }
    /** With strides in elements. */
    void run(int64_t m, const A *a, int64_t a_row_stride, int64_t a_col_stride, C *c, int64_t c_row_stride) const {
        check(gemmill_gemm_run(get(), m, a, a_row_stride, a_col_stride, c, c_row_stride, nullptr));
    }
    void run(int64_t m, const A *a, int64_t a_row_stride, int64_t a_col_stride, C *c, int64_t c_row_stride,
             const RunOptions &options) const {
        check(gemmill_gemm_run(get(), m, a, a_row_stride, a_col_stride, c, c_row_stride, options.get()));
    }

    /** How a product with m rows is carried out, for people. */
    std::string describe(int64_t m) const {
        return detail::text([this, m](char *buffer, int64_t capacity, int64_t *length) {
            return gemmill_gemm_describe(get(), m, buffer, capacity, length);
        });
    }

    gemmill_gemm *get() const noexcept { return handle_.get(); }

private:
    Gemm &set(gemmill_status status) { check(status); return *this; }
    gemmill_status clamped(int32_t low, int32_t high) { return gemmill_gemm_set_clamp_i32(get(), low, high); }
    gemmill_status clamped(float low, float high) { return gemmill_gemm_set_clamp_f32(get(), low, high); }

    int64_t n_;
    int64_t depth_;
    detail::Handle<gemmill_gemm> handle_;
};

/** How floating-point weights are packed. */
class FloatPacking {
public:
    FloatPacking() { gemmill_float_packing *p = nullptr; check(gemmill_float_packing_create(&p)); handle_.reset(p); }

    /** GEMMILL_TYPE_F32, GEMMILL_TYPE_F16 or GEMMILL_TYPE_BF16. */
    FloatPacking &type(gemmill_type type) { check(gemmill_float_packing_set_type(get(), type)); return *this; }
    FloatPacking &alpha(float alpha) { check(gemmill_float_packing_set_alpha(get(), alpha)); return *this; }
    FloatPacking &saturating(bool on = true) { check(gemmill_float_packing_set_saturating(get(), on)); return *this; }
    FloatPacking &threads(gemmill_threads how, int64_t threads) {
        check(gemmill_float_packing_set_threads(get(), how, threads));
        return *this;
    }

    gemmill_float_packing *get() const noexcept { return handle_.get(); }

private:
    detail::Handle<gemmill_float_packing> handle_;
};

/** Packed weights of float, f16 or bf16. They never change. */
class FloatWeights {
public:
    /** Of a row-major k x n matrix of float, Float16 or BFloat16. */
    template <class B> FloatWeights(const B *b, int64_t k, int64_t n) { create(b, k, n, n, 1, nullptr); }
    template <class B> FloatWeights(const B *b, int64_t k, int64_t n, const FloatPacking &packing) {
        create(b, k, n, n, 1, packing.get());
    }
    /** With strides in elements: those of a row-major n x k matrix are 1 and k. */
    template <class B> FloatWeights(const B *b, int64_t k, int64_t n, int64_t row_stride, int64_t col_stride) {
        create(b, k, n, row_stride, col_stride, nullptr);
    }
    template <class B>
    FloatWeights(const B *b, int64_t k, int64_t n, int64_t row_stride, int64_t col_stride, const FloatPacking &packing) {
        create(b, k, n, row_stride, col_stride, packing.get());
    }

    /** What to_bytes gave, on any CPU. */
    static FloatWeights from_bytes(const std::vector<uint8_t> &bytes) {
        gemmill_float_weights *weights = nullptr;
        check(gemmill_float_weights_from_bytes(bytes.data(), static_cast<int64_t>(bytes.size()), &weights));
        return FloatWeights(weights);
    }
    std::vector<uint8_t> to_bytes() const {
        return detail::bytes(size_in_bytes() + 64, [this](uint8_t *buffer, int64_t capacity, int64_t *length) {
            return gemmill_float_weights_to_bytes(get(), buffer, capacity, length);
        });
    }

    /** Another handle of the same weights. */
    FloatWeights share() const {
        gemmill_float_weights *copy = nullptr;
        check(gemmill_float_weights_share(get(), &copy));
        return FloatWeights(copy);
    }

    int64_t k() const { return detail::property<int64_t>(get(), gemmill_float_weights_k); }
    int64_t n() const { return detail::property<int64_t>(get(), gemmill_float_weights_n); }
    int64_t size_in_bytes() const { return detail::property<int64_t>(get(), gemmill_float_weights_size); }
    gemmill_type type() const {
        return static_cast<gemmill_type>(detail::property<int32_t>(get(), gemmill_float_weights_type));
    }

    /** Writes the k x n weights as they are multiplied. */
    void unpack(float *b, int64_t row_stride) const { check(gemmill_float_weights_unpack(get(), b, row_stride)); }

    friend bool operator==(const FloatWeights &left, const FloatWeights &right) {
        int32_t equal = 0;
        check(gemmill_float_weights_equal(left.get(), right.get(), &equal));
        return equal != 0;
    }
    friend bool operator!=(const FloatWeights &left, const FloatWeights &right) { return !(left == right); }

    gemmill_float_weights *get() const noexcept { return handle_.get(); }

private:
    explicit FloatWeights(gemmill_float_weights *handle) : handle_(handle) {}

    template <class B>
    void create(const B *b, int64_t k, int64_t n, int64_t row_stride, int64_t col_stride,
                const gemmill_float_packing *packing) {
        gemmill_float_weights *w = nullptr;
        check(gemmill_float_weights_create(TypeOf<B>::code(), b, k, n, row_stride, col_stride, packing, &w));
        handle_.reset(w);
    }

    detail::Handle<gemmill_float_weights> handle_;
};

/** The format of weights of few bits: 4 or 2 of them; groups of 32, 64 or 128. */
struct GroupwiseFormat {
    int32_t bits;
    int32_t group_size;
    gemmill_zero_points zero_points;
};

namespace detail {

template <class H>
GroupwiseFormat format(const H *handle, gemmill_status (*get)(const H *, int32_t *, int32_t *, int32_t *)) {
    int32_t bits = 0, group_size = 0, zero_points = 0;
    check(get(handle, &bits, &group_size, &zero_points));
    return {bits, group_size, static_cast<gemmill_zero_points>(zero_points)};
}

} // namespace detail

/** Weights of 4 or 2 bits with their scales, as they are quantized. They never change. */
class GroupwiseWeights {
public:
    /** Of a row-major k x n matrix. */
    static GroupwiseWeights round_to_nearest(const float *b, int64_t k, int64_t n, GroupwiseFormat format) {
        return round_to_nearest(b, k, n, n, 1, format);
    }
    static GroupwiseWeights round_to_nearest(const float *b, int64_t k, int64_t n, int64_t row_stride, int64_t col_stride,
                                             GroupwiseFormat f) {
        gemmill_groupwise_weights *weights = nullptr;
        check(gemmill_groupwise_weights_round_to_nearest(b, k, n, row_stride, col_stride, f.bits, f.group_size, f.zero_points,
                                                         &weights));
        return GroupwiseWeights(weights);
    }
    /** importance: k numbers, or null. */
    static GroupwiseWeights search(const float *b, int64_t k, int64_t n, GroupwiseFormat format,
                                   const float *importance = nullptr) {
        return search(b, k, n, n, 1, format, importance);
    }
    static GroupwiseWeights search(const float *b, int64_t k, int64_t n, int64_t row_stride, int64_t col_stride,
                                   GroupwiseFormat f, const float *importance = nullptr) {
        gemmill_groupwise_weights *weights = nullptr;
        check(gemmill_groupwise_weights_search(b, k, n, row_stride, col_stride, f.bits, f.group_size, f.zero_points, importance,
                                               importance ? k : 0, &weights));
        return GroupwiseWeights(weights);
    }
    /** Values, bfloat16 scales and, with GEMMILL_ZERO_POINTS_EACH, zero points that were made elsewhere. */
    static GroupwiseWeights from_parts(int64_t k, int64_t n, GroupwiseFormat f, const uint8_t *values, const uint16_t *scales,
                                       const uint8_t *zero_points = nullptr) {
        gemmill_groupwise_weights *weights = nullptr;
        check(gemmill_groupwise_weights_from_parts(k, n, f.bits, f.group_size, f.zero_points, values, scales, zero_points,
                                                   &weights));
        return GroupwiseWeights(weights);
    }
    /** What to_bytes gave, on any CPU. */
    static GroupwiseWeights from_bytes(const std::vector<uint8_t> &bytes) {
        gemmill_groupwise_weights *weights = nullptr;
        check(gemmill_groupwise_weights_from_bytes(bytes.data(), static_cast<int64_t>(bytes.size()), &weights));
        return GroupwiseWeights(weights);
    }
    std::vector<uint8_t> to_bytes() const {
        return detail::bytes(4096, [this](uint8_t *buffer, int64_t capacity, int64_t *length) {
            return gemmill_groupwise_weights_to_bytes(get(), buffer, capacity, length);
        });
    }

    int64_t k() const { return detail::property<int64_t>(get(), gemmill_groupwise_weights_k); }
    int64_t n() const { return detail::property<int64_t>(get(), gemmill_groupwise_weights_n); }
    GroupwiseFormat format() const { return detail::format(get(), gemmill_groupwise_weights_format); }
    std::vector<uint8_t> values() const { return array<uint8_t>(gemmill_groupwise_weights_values); }
    /** As bits of bfloat16. */
    std::vector<uint16_t> scales() const { return array<uint16_t>(gemmill_groupwise_weights_scales); }
    std::vector<uint8_t> zero_points() const { return array<uint8_t>(gemmill_groupwise_weights_zero_points); }

    /** Writes the k x n real weights. */
    void dequantize(float *b, int64_t row_stride) const {
        check(gemmill_groupwise_weights_dequantize(get(), b, row_stride));
    }

    struct Distance { double largest, mean_squared; };
    /** How far the weights lie from a matrix of their size. */
    Distance error(const float *b, int64_t row_stride, int64_t col_stride) const {
        Distance distance = {0.0, 0.0};
        check(gemmill_groupwise_weights_error(get(), b, row_stride, col_stride, &distance.largest, &distance.mean_squared));
        return distance;
    }

    friend bool operator==(const GroupwiseWeights &left, const GroupwiseWeights &right) {
        int32_t equal = 0;
        check(gemmill_groupwise_weights_equal(left.get(), right.get(), &equal));
        return equal != 0;
    }
    friend bool operator!=(const GroupwiseWeights &left, const GroupwiseWeights &right) { return !(left == right); }

    gemmill_groupwise_weights *get() const noexcept { return handle_.get(); }

private:
    explicit GroupwiseWeights(gemmill_groupwise_weights *handle) : handle_(handle) {}

    template <class T>
    std::vector<T> array(gemmill_status (*write)(const gemmill_groupwise_weights *, T *, int64_t, int64_t *)) const {
        int64_t count = 0;
        const gemmill_status status = write(get(), nullptr, 0, &count);
        if (status != GEMMILL_STATUS_TOO_SMALL) check(status);
        std::vector<T> values(static_cast<std::size_t>(count));
        check(write(get(), values.data(), count, &count));
        return values;
    }

    detail::Handle<gemmill_groupwise_weights> handle_;
};

/** Weights of 4 or 2 bits as kernels read them. They never change. */
class GroupwisePacked {
public:
    explicit GroupwisePacked(const GroupwiseWeights &weights, gemmill_threads how = GEMMILL_THREADS_AUTO, int64_t threads = 0) {
        gemmill_groupwise_packed *packed = nullptr;
        check(gemmill_groupwise_packed_create(weights.get(), how, threads, &packed));
        handle_.reset(packed);
    }

    /** Another handle of the same weights. */
    GroupwisePacked share() const {
        gemmill_groupwise_packed *copy = nullptr;
        check(gemmill_groupwise_packed_share(get(), &copy));
        return GroupwisePacked(copy);
    }

    int64_t k() const { return detail::property<int64_t>(get(), gemmill_groupwise_packed_k); }
    int64_t n() const { return detail::property<int64_t>(get(), gemmill_groupwise_packed_n); }
    int64_t size_in_bytes() const { return detail::property<int64_t>(get(), gemmill_groupwise_packed_size); }
    GroupwiseFormat format() const { return detail::format(get(), gemmill_groupwise_packed_format); }

    friend bool operator==(const GroupwisePacked &left, const GroupwisePacked &right) {
        int32_t equal = 0;
        check(gemmill_groupwise_packed_equal(left.get(), right.get(), &equal));
        return equal != 0;
    }
    friend bool operator!=(const GroupwisePacked &left, const GroupwisePacked &right) { return !(left == right); }

    gemmill_groupwise_packed *get() const noexcept { return handle_.get(); }

private:
    explicit GroupwisePacked(gemmill_groupwise_packed *handle) : handle_(handle) {}

    detail::Handle<gemmill_groupwise_packed> handle_;
};

/** How a product takes activations where its weights have few bits. */
enum class Activations {
    /** As they are: weights become float. */
    Float,
    /** Quantized to int8 row by row. */
    Int8,
};

/** A product C = f(A * B + beta * C + bias + residual): A and C of float, Float16 or BFloat16, sums of float. */
template <class A, class C> class FloatGemm {
public:
    explicit FloatGemm(const FloatWeights &weights) : k_(weights.k()), n_(weights.n()) {
        gemmill_float_gemm *gemm = nullptr;
        check(gemmill_float_gemm_create(weights.get(), TypeOf<A>::code(), TypeOf<C>::code(), &gemm));
        handle_.reset(gemm);
    }
    explicit FloatGemm(const GroupwisePacked &weights, Activations activations = Activations::Float)
        : k_(weights.k()), n_(weights.n()) {
        const auto create = activations == Activations::Int8 ? gemmill_float_gemm_create_groupwise_a8
                                                             : gemmill_float_gemm_create_groupwise;
        gemmill_float_gemm *gemm = nullptr;
        check(create(weights.get(), TypeOf<A>::code(), TypeOf<C>::code(), &gemm));
        handle_.reset(gemm);
    }

    FloatGemm &beta(float beta) { return set(gemmill_float_gemm_set_beta(get(), beta)); }
    FloatGemm &bias(const float *bias, int64_t count) { return set(gemmill_float_gemm_set_bias(get(), bias, count)); }
    FloatGemm &function(gemmill_function function) { return set(gemmill_float_gemm_set_function(get(), function)); }
    FloatGemm &clamp(float low, float high) { return set(gemmill_float_gemm_set_clamp(get(), low, high)); }
    FloatGemm &threads(gemmill_threads how, int64_t threads) {
        return set(gemmill_float_gemm_set_threads(get(), how, threads));
    }
    FloatGemm &tier(gemmill_tier tier) { return set(gemmill_float_gemm_set_tier(get(), tier)); }
    FloatGemm &pool(const Pool &pool) { return set(gemmill_float_gemm_set_pool(get(), pool.get())); }

    /** Checks the settings and freezes them; the first run does so too. */
    void prepare() const { check(gemmill_float_gemm_prepare(get())); }
    /** The tier of the kernels. Freezes the settings. */
    gemmill_tier tier() const {
        return static_cast<gemmill_tier>(detail::property<int32_t>(get(), gemmill_float_gemm_tier));
    }

    /** A and C of m rows, row-major without gaps. */
    void run(int64_t m, const A *a, C *c) const { run(m, a, k_, 1, c, n_); }
    void run(int64_t m, const A *a, C *c, const RunOptions &options) const { run(m, a, k_, 1, c, n_, options); }
    /** With strides in elements. */
    void run(int64_t m, const A *a, int64_t a_row_stride, int64_t a_col_stride, C *c, int64_t c_row_stride) const {
        check(gemmill_float_gemm_run(get(), m, a, a_row_stride, a_col_stride, c, c_row_stride, nullptr));
    }
    void run(int64_t m, const A *a, int64_t a_row_stride, int64_t a_col_stride, C *c, int64_t c_row_stride,
             const RunOptions &options) const {
        check(gemmill_float_gemm_run(get(), m, a, a_row_stride, a_col_stride, c, c_row_stride, options.get()));
    }

    gemmill_float_gemm *get() const noexcept { return handle_.get(); }

private:
    FloatGemm &set(gemmill_status status) { check(status); return *this; }

    int64_t k_;
    int64_t n_;
    detail::Handle<gemmill_float_gemm> handle_;
};

/** y[i] = x[i] as another type: from float to Float16 or BFloat16, or back. */
template <class X, class Y> void convert(const X *x, Y *y, int64_t count) {
    check(gemmill_convert(TypeOf<X>::code(), x, TypeOf<Y>::code(), y, count));
}

/** The same from float, with the largest finite number instead of infinity. */
template <class Y> void convert_saturating(const float *x, Y *y, int64_t count) {
    check(gemmill_convert_saturating(GEMMILL_TYPE_F32, x, TypeOf<Y>::code(), y, count));
}

/** Scale and zero point of T, uint8_t or int8_t. */
template <class T> struct Quantization {
    float scale;
    int32_t zero_point;

    /** For the real numbers from min to max. */
    static Quantization choose(float min, float max, bool preserve_sparsity = false, bool power_of_two = false) {
        Quantization q = {1.0f, 0};
        check(gemmill_quantization_choose(TypeOf<T>::code(), min, max, preserve_sparsity, power_of_two, &q.scale,
                                          &q.zero_point));
        return q;
    }
    void quantize(const float *x, int64_t count, T *q) const {
        check(gemmill_quantize(TypeOf<T>::code(), x, count, scale, zero_point, q));
    }
    void dequantize(const T *q, int64_t count, float *x) const {
        check(gemmill_dequantize(TypeOf<T>::code(), q, count, scale, zero_point, x));
    }
};

} // namespace gemmill

#endif // GEMMILL_HPP
