// Products on torch's threads.

#include "common.hpp"

namespace gemmill_torch {
namespace {

/** gemmill_parallel_for by torch's: task i is always the same thread of OpenMP. What throws here ends the process. */
void parallel_for(void *, int64_t tasks, gemmill_task task, void *argument) noexcept {
    at::parallel_for(0, tasks, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++) task(argument, i);
    });
}

} // namespace

const gemmill::RunOptions &on_torch_threads(int threads) {
    struct Kept {
        gemmill::RunOptions options;
        int threads = 0;
    };
    thread_local Kept kept;
    if (kept.threads != threads) {
        kept.options.parallel_for(&parallel_for, nullptr, threads);
        kept.threads = threads;
    }
    return kept.options;
}

} // namespace gemmill_torch
