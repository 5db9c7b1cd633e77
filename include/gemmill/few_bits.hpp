/* Weights of 4 or 2 bits with scales of groups. Products with them are in float_gemm.hpp. */
#ifndef GEMMILL_FEW_BITS_HPP
#define GEMMILL_FEW_BITS_HPP

#include <cstdint>
#include <vector>

#include "common.hpp"

namespace gemmill {

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
    static GroupwiseWeights round_to_nearest(const float *b, int64_t k, int64_t n, int64_t row_stride,
                                             int64_t col_stride, GroupwiseFormat f) {
        gemmill_groupwise_weights *weights = nullptr;
        check(gemmill_groupwise_weights_round_to_nearest(b, k, n, row_stride, col_stride, f.bits, f.group_size,
                                                         f.zero_points, &weights));
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
        check(gemmill_groupwise_weights_search(b, k, n, row_stride, col_stride, f.bits, f.group_size, f.zero_points,
                                               importance, importance ? k : 0, &weights));
        return GroupwiseWeights(weights);
    }
    /** Values, bfloat16 scales and, with GEMMILL_ZERO_POINTS_EACH, zero points that were made elsewhere. */
    static GroupwiseWeights from_parts(int64_t k, int64_t n, GroupwiseFormat f, const uint8_t *values,
                                       const uint16_t *scales, const uint8_t *zero_points = nullptr) {
        gemmill_groupwise_weights *weights = nullptr;
        check(gemmill_groupwise_weights_from_parts(k, n, f.bits, f.group_size, f.zero_points, values, scales,
                                                   zero_points, &weights));
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
        check(gemmill_groupwise_weights_error(get(), b, row_stride, col_stride, &distance.largest,
                                              &distance.mean_squared));
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
    explicit GroupwisePacked(const GroupwiseWeights &weights, gemmill_threads how = GEMMILL_THREADS_AUTO,
                             int64_t threads = 0) {
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

} // namespace gemmill

#endif // GEMMILL_FEW_BITS_HPP
