/* Floating-point products, with weights of half.hpp or of few_bits.hpp. */
#ifndef GEMMILL_FLOAT_GEMM_HPP
#define GEMMILL_FLOAT_GEMM_HPP

#include <cstdint>

#include "common.hpp"
#include "few_bits.hpp"
#include "half.hpp"

namespace gemmill {

/** How a product takes activations where its weights have few bits. */
enum class Activations {
    /** As they are: weights become float. */
    Float,
    /** Quantized to int8 row by row. */
    Int8,
};

/** The best hardware dot products that kernels of a tier can have on this machine; throws where there are none. */
inline gemmill_hardware_dot best_hardware_dot(gemmill_tier tier) {
    int32_t dot = 0;
    check(gemmill_hardware_dot_best(tier, &dot));
    return static_cast<gemmill_hardware_dot>(dot);
}

/** "none", "best", "avx512-bf16" or "amx-bf16"; static. */
inline const char *hardware_dot_name(gemmill_hardware_dot dot) noexcept { return gemmill_hardware_dot_name(dot); }

/** Throws unless kernels of a tier can have these hardware dot products on this machine. */
inline void require_hardware_dot(gemmill_hardware_dot dot, gemmill_tier tier) {
    check(gemmill_hardware_dot_require(dot, tier));
}

/** How far a sum of k products is off at most, by hardware dot products that are named; magnitude: of all summands. */
inline double hardware_dot_error_bound(gemmill_hardware_dot dot, int64_t k, double magnitude) {
    double bound = 0.0;
    check(gemmill_hardware_dot_error_bound(dot, k, magnitude, &bound));
    return bound;
}

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
    /** Sums that round otherwise, for weights that are packed as bf16. */
    FloatGemm &hardware_dot(gemmill_hardware_dot dot) { return set(gemmill_float_gemm_set_hardware_dot(get(), dot)); }
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

    /** GEMMILL_HARDWARE_DOT_NONE, or the instruction that the operation uses. Freezes the settings. */
    gemmill_hardware_dot hardware_dot() const {
        return static_cast<gemmill_hardware_dot>(detail::property<int32_t>(get(), gemmill_float_gemm_hardware_dot));
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

} // namespace gemmill

#endif // GEMMILL_FLOAT_GEMM_HPP
