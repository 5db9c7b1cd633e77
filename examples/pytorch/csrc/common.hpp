// What the operators share: errors in torch's manner, the number of threads, packed weights by their bytes.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <gemmill.hpp>

#include <algorithm>
#include <memory>
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

/** Options of runs on so many of torch's threads, this thread's own. The library's would compete with torch's, which spin for a while. */
const gemmill::RunOptions &on_torch_threads(int threads);

/**
 * How a product is shared out among torch's threads. Where there are enough rows, each takes some and runs a product of its own,
 * with all that goes with it. Otherwise they carry out the parts of one product, which the library cuts by columns too.
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
    TORCH_CHECK(tensor.layout() == at::kStrided, op, ": expected ", name, " to be a strided tensor, but it is ", tensor.layout());
}

inline void check_type(const char *op, const char *name, const at::Tensor &tensor, at::ScalarType type) {
    TORCH_CHECK(tensor.scalar_type() == type, op, ": expected ", name, " to have dtype ", type, ", but it has ", tensor.scalar_type());
}

inline void check_dim(const char *op, const char *name, const at::Tensor &tensor, int64_t dim) {
    TORCH_CHECK(tensor.dim() == dim, op, ": expected ", name, " to have ", dim, " dimensions, but it has ", tensor.dim());
}

/** int8 activations, int32 sums. */
using IntProduct = gemmill::Gemm<int8_t, int32_t>;

/** How a linear layer is set up: all that its operation keeps. */
struct LinearSettings {
    /** Quantization of activations that is fixed; null for one per row. */
    const float *x_scale;
    int32_t x_zero_point;
    /** N elements, or null. */
    const float *bias;
    int threads;
};

/** Weights that were loaded from bytes, with the operations that were set up for them. Any thread may use them. */
class LoadedWeights {
public:
    explicit LoadedWeights(const std::vector<uint8_t> &bytes);
    ~LoadedWeights();

    int64_t in_features() const { return in_features_; }
    int64_t out_features() const { return out_features_; }

    /** The operation with these settings, kept for the next time. */
    std::shared_ptr<const gemmill::Gemm<float, float>> linear(const LinearSettings &settings);

    /** The product with int8 activations on at most so many threads, kept for the next time. */
    std::shared_ptr<const IntProduct> product(int threads);

private:
    struct Operations;

    gemmill::Weights weights_;
    int64_t in_features_;
    int64_t out_features_;
    gemmill_per scales_per_ = GEMMILL_PER_TENSOR;
    std::vector<float> scales_;
    std::unique_ptr<Operations> operations_;
};

/** Bytes as a tensor of their own. */
at::Tensor tensor_of(const std::vector<uint8_t> &bytes);

/** The weights whose bytes a tensor holds: loaded once for each tensor, and again when its bytes were replaced. */
std::shared_ptr<LoadedWeights> loaded(const char *op, const at::Tensor &packed);

} // namespace gemmill_torch
