/* Integer products: packing and weights of int8_t or uint8_t, the operation, quantization. */
#ifndef GEMMILL_INT8_HPP
#define GEMMILL_INT8_HPP

#include <cstdint>
#include <string>
#include <vector>

#include "common.hpp"

namespace gemmill {

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
    Packing &threads(gemmill_threads how, int64_t threads) {
        check(gemmill_packing_set_threads(get(), how, threads));
        return *this;
    }

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
    /** Of the settings, the tier and the threads alone may be set. */
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
    int64_t largest_sum() const { return property<int64_t>(gemmill_weights_largest_sum); }
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
    void create(const B *b, int64_t k, int64_t n, int64_t row_stride, int64_t col_stride,
                const gemmill_packing *packing) {
        gemmill_weights *w = nullptr;
        check(gemmill_weights_create(TypeOf<B>::code(), b, k, n, row_stride, col_stride, packing, &w));
        handle_.reset(w);
    }

    template <class T> T property(gemmill_status (*get_value)(const gemmill_weights *, T *)) const {
        return detail::property<T>(get(), get_value);
    }

    detail::Handle<gemmill_weights> handle_;
};

namespace detail {

/** The type of limits of C. */
template <class C> struct Limit { typedef float Type; };
template <> struct Limit<uint8_t> { typedef uint8_t Type; };
template <> struct Limit<int8_t> { typedef int8_t Type; };
template <> struct Limit<int32_t> { typedef int32_t Type; };

} // namespace detail

/** A product C = epilogue(A * B): A of uint8_t, int8_t, float, Float16 or BFloat16, C of any of these or int32_t. */
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
    Gemm &refuse_wrapping(bool on = true) { return set(gemmill_gemm_set_refuse_wrapping(get(), on)); }
    /** By limits of C's type; of float for types of 16 bits. */
    Gemm &clamp(typename detail::Limit<C>::Type low, typename detail::Limit<C>::Type high) {
        return set(clamped(low, high));
    }
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
    /** The same with FBGEMM's floor of 6.1e-5. */
    static Quantization choose_fbgemm(float min, float max, bool preserve_sparsity = false, bool power_of_two = false) {
        Quantization q = {1.0f, 0};
        check(gemmill_quantization_choose_fbgemm(TypeOf<T>::code(), min, max, preserve_sparsity, power_of_two,
                                                 &q.scale, &q.zero_point));
        return q;
    }
    /** By x / scale instead of x * (1 / scale). */
    void quantize_by_division(const float *x, int64_t count, T *q) const {
        check(gemmill_quantize_by_division(TypeOf<T>::code(), x, count, scale, zero_point, q));
    }
    void quantize(const float *x, int64_t count, T *q) const {
        check(gemmill_quantize(TypeOf<T>::code(), x, count, scale, zero_point, q));
    }
    void dequantize(const T *q, int64_t count, float *x) const {
        check(gemmill_dequantize(TypeOf<T>::code(), q, count, scale, zero_point, x));
    }
};

/** The smallest and the largest of some numbers. */
struct Range {
    float min, max;
};

/** The range of an array, for Quantization::choose. */
inline Range quantization_range(const float *x, int64_t count) {
    Range range = {0.0f, 0.0f};
    check(gemmill_quantization_range(x, count, &range.min, &range.max));
    return range;
}

/** Weights as int8_t, row-major, each column by a scale of its own: q has k * n elements, scales n. */
inline void quantize_weights_per_column(const float *weights, int64_t k, int64_t n, int64_t row_stride,
                                        int64_t col_stride, int8_t *q, float *scales) {
    check(gemmill_quantize_weights_per_column(weights, k, n, row_stride, col_stride, q, scales));
}
/** Of row-major weights. */
inline void quantize_weights_per_column(const float *weights, int64_t k, int64_t n, int8_t *q, float *scales) {
    quantize_weights_per_column(weights, k, n, n, 1, q, scales);
}

/** Weights as int8_t, row-major, by one scale, which is returned: q has k * n elements. */
inline float quantize_weights_per_tensor(const float *weights, int64_t k, int64_t n, int64_t row_stride,
                                         int64_t col_stride, int8_t *q) {
    float scale = 0.0f;
    check(gemmill_quantize_weights_per_tensor(weights, k, n, row_stride, col_stride, q, &scale));
    return scale;
}
/** Of row-major weights. */
inline float quantize_weights_per_tensor(const float *weights, int64_t k, int64_t n, int8_t *q) {
    return quantize_weights_per_tensor(weights, k, n, n, 1, q);
}

/** C = A * B in int32_t, with weights that are packed for this call alone; A and B of uint8_t or int8_t. */
template <class A, class B>
void multiply(int64_t m, int64_t n, int64_t k, const A *a, int64_t a_row_stride, int64_t a_col_stride, const B *b,
              int64_t b_row_stride, int64_t b_col_stride, int32_t *c, int64_t c_row_stride) {
    check(gemmill_multiply(TypeOf<A>::code(), TypeOf<B>::code(), m, n, k, a, a_row_stride, a_col_stride, b,
                           b_row_stride, b_col_stride, c, c_row_stride));
}
/** Of row-major matrices. */
template <class A, class B> void multiply(int64_t m, int64_t n, int64_t k, const A *a, const B *b, int32_t *c) {
    multiply(m, n, k, a, k, 1, b, n, 1, c, n);
}

} // namespace gemmill

#endif // GEMMILL_INT8_HPP
