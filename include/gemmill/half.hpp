/* Weights of float, f16 or bf16, and conversions between these types. Products with them are in float_gemm.hpp. */
#ifndef GEMMILL_HALF_HPP
#define GEMMILL_HALF_HPP

#include <cstdint>
#include <vector>

#include "common.hpp"

namespace gemmill {

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
    FloatWeights(const B *b, int64_t k, int64_t n, int64_t row_stride, int64_t col_stride,
                 const FloatPacking &packing) {
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

/** y[i] = x[i] as another type: from float to Float16 or BFloat16, or back. */
template <class X, class Y> void convert(const X *x, Y *y, int64_t count) {
    check(gemmill_convert(TypeOf<X>::code(), x, TypeOf<Y>::code(), y, count));
}

/** The same from float, with the largest finite number instead of infinity. */
template <class Y> void convert_saturating(const float *x, Y *y, int64_t count) {
    check(gemmill_convert_saturating(GEMMILL_TYPE_F32, x, TypeOf<Y>::code(), y, count));
}

} // namespace gemmill

#endif // GEMMILL_HALF_HPP
