// What the operators share: errors in torch's manner, the number of threads, packed weights by their bytes.
#pragma once

#include <ATen/EmptyTensor.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <gemmill.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace gemmill_torch {

/** What `f` gives; what gemmill refuses becomes a RuntimeError of Python. */
template <class F> auto refused_as_torch_error(const char *op, F f) -> decltype(f()) {
    try {
        return f();
    } catch (const gemmill::Error &error) {
        TORCH_CHECK(false, op, ": ", error.what());
    }
}

/** How many threads torch.set_num_threads allows here: one inside of a parallel loop of torch. */
inline int threads_allowed() { return at::in_parallel_region() ? 1 : at::get_num_threads(); }

/** This thread's options of runs on so many of torch's threads, with which the library's would compete: they spin. */
const gemmill::RunOptions &on_torch_threads(int threads);

/**
 * How a product is shared out among torch's threads. Where there are enough rows, each takes some and runs a product of
 * its own, with all that goes with it. Otherwise they carry out the parts of one product, which the library cuts by
 * columns too.
 */
struct Share {
    /** Threads that each run may use. */
    int threads;
    int64_t rows;
    /** Least rows for a run. */
    int64_t grain;
    bool in_runs;

    Share(int64_t rows, int64_t k, int64_t n)
        : threads(threads_allowed()), rows(rows), grain(std::max<int64_t>(8, (1 << 20) / std::max<int64_t>(1, k * n))),
          in_runs(threads > 1 && rows >= 2 * grain) {
        if (in_runs) threads = 1;
    }

    /** Calls run(first row, number of rows, gemmill_run_options) until all are done. */
    template <class Run> void run(Run run) const {
        if (!in_runs) return run(0, rows, threads > 1 ? on_torch_threads(threads).get() : nullptr);
        at::parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) { run(begin, end - begin, nullptr); });
    }
};

inline void check_cpu(const char *op, const char *name, const at::Tensor &tensor) {
    TORCH_CHECK(tensor.device().is_cpu(), op, ": expected ", name, " on the CPU, but it is on ", tensor.device());
    TORCH_CHECK(tensor.layout() == at::kStrided, op, ": expected ", name, " to be a strided tensor, but it is ",
                tensor.layout());
}

inline void check_type(const char *op, const char *name, const at::Tensor &tensor, at::ScalarType type) {
    TORCH_CHECK(tensor.scalar_type() == type, op, ": expected ", name, " to have dtype ", type, ", but it has ",
                tensor.scalar_type());
}

inline void check_dim(const char *op, const char *name, const at::Tensor &tensor, int64_t dim) {
    TORCH_CHECK(tensor.dim() == dim, op, ": expected ", name, " to have ", dim, " dimensions, but it has ",
                tensor.dim());
}

/** int8 activations, int32 sums. */
using IntProduct = gemmill::Gemm<int8_t, int32_t>;

/** The code of a type of floating-point elements: float32, float16 or bfloat16. */
inline int32_t float_code(const char *op, const char *name, at::ScalarType type) {
    switch (type) {
    case at::kFloat: return GEMMILL_TYPE_F32;
    case at::kHalf: return GEMMILL_TYPE_F16;
    case at::kBFloat16: return GEMMILL_TYPE_BF16;
    default: TORCH_CHECK(false, op, ": expected ", name, " to have dtype float, bfloat16 or half, but it has ", type);
    }
}

/** A layer's bias as float32. */
class Bias {
public:
    Bias(const char *op, const std::optional<at::Tensor> &bias, int64_t n) {
        if (!bias) return;
        check_cpu(op, "bias", *bias);
        float_code(op, "bias", bias->scalar_type());
        TORCH_CHECK(bias->dim() == 1 && bias->size(0) == n, op, ": expected bias to have shape [", n, "], but it has ",
                    bias->sizes());
        const bool usable = bias->scalar_type() == at::kFloat && bias->is_contiguous();
        values_ = usable ? *bias : bias->to(at::kFloat).contiguous();
        static const float none = 0;
        data_ = n > 0 ? values_.const_data_ptr<float>() : &none;
    }

    /** N elements, or null. */
    const float *data() const { return data_; }

private:
    at::Tensor values_;
    const float *data_ = nullptr;
};

/**
 * y = x W^T + bias, of the type of x, without copies of either: `find(type, threads)` gives the operation for x and y
 * of this gemmill_type, `run`, gemmill_gemm_run or gemmill_float_gemm_run, carries it out.
 */
template <class Find, class Run>
at::Tensor linear_of(const char *op, const at::Tensor &x, int64_t k, int64_t n, int64_t out_features,
                     Find find, Run run) {
    TORCH_CHECK(x.dim() >= 1, op, ": expected x to have at least one dimension");
    TORCH_CHECK(out_features == n, op, ": the weights have ", n, " output features, but out_features is ",
                out_features);
    TORCH_CHECK(x.size(-1) == k, op, ": expected x to have ", k, " features, but it has ", x.size(-1));
    const int32_t code = float_code(op, "x", x.scalar_type());
    // Leading dimensions become rows: a view, unless their strides have no common one.
    int64_t rows = 1;
    for (int64_t d = 0; d + 1 < x.dim(); d++) rows *= x.size(d);
    const Share share(rows, k, n);
    const auto operation = find(code, share.threads);
    const at::Tensor a = x.dim() == 2 ? x : x.reshape({rows, k});
    at::DimVector shape(x.sizes());
    shape.back() = n;
    at::Tensor y = at::detail::empty_cpu(shape, x.scalar_type());
    const int64_t size = x.element_size();
    const char *const from = static_cast<const char *>(a.const_data_ptr());
    char *const to = static_cast<char *>(y.mutable_data_ptr());
    share.run([&](int64_t first, int64_t count, const gemmill_run_options *options) {
        gemmill::check(run(operation->get(), count, from + first * a.stride(0) * size, a.stride(0), a.stride(1),
                           to + first * n * size, n, options));
    });
    return y;
}

/** An operation of C. Any thread may use it. */
template <class Gemm> class Operation {
public:
    explicit Operation(Gemm *gemm) : handle_(gemm) {}
    Gemm *get() const { return handle_.get(); }

private:
    gemmill::detail::Handle<Gemm> handle_;
};

/** Settings of packing: the calling thread packs alone. The library's own threads would not survive a fork. */
inline gemmill::Packing packing_here() {
    gemmill::Packing packing;
    packing.threads(GEMMILL_THREADS_MAX, 1);
    return packing;
}

/** How a layer with int8 weights is set up. */
struct LinearSettings {
    /** The gemmill_type of x and y. */
    int32_t type;
    int threads;
    /** Whether each row of x is quantized by its own range; otherwise by these. */
    bool per_row;
    float x_scale;
    int32_t x_zero_point;

    bool operator==(const LinearSettings &s) const {
        return type == s.type && threads == s.threads && per_row == s.per_row
            && (per_row || (x_scale == s.x_scale && x_zero_point == s.x_zero_point));
    }
};

/** Weights that were loaded from bytes, with the operations that were set up for them. Any thread may use them. */
class LoadedWeights {
public:
    explicit LoadedWeights(const std::vector<uint8_t> &bytes);
    ~LoadedWeights();

    int64_t in_features() const { return in_features_; }
    int64_t out_features() const { return out_features_; }

    /** The operation with these settings and this bias, or null, kept for the next time. */
    std::shared_ptr<const Operation<gemmill_gemm>> linear(const LinearSettings &settings, const float *bias);

    /** The product with int8 activations on at most so many threads, kept for the next time. */
    std::shared_ptr<const IntProduct> product(int threads);

private:
    struct Kept;

    gemmill::Weights weights_;
    int64_t in_features_;
    int64_t out_features_;
    gemmill_per scales_per_ = GEMMILL_PER_TENSOR;
    std::vector<float> scales_;
    std::unique_ptr<Kept> kept_;
};

/** Bytes as a tensor of their own. */
at::Tensor tensor_of(const std::vector<uint8_t> &bytes);

/** The weights whose bytes a tensor holds: loaded once for each tensor, and again when its bytes were replaced. */
std::shared_ptr<LoadedWeights> loaded(const char *op, const at::Tensor &packed);

} // namespace gemmill_torch
