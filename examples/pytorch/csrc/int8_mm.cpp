// int8_mm: the product of two plain int8 tensors. B has to be packed first, which takes longer than many a product: the
// packed form is kept, together with a copy of B, and used again while B still has the copy's content.

#include "common.hpp"

#include <ATen/EmptyTensor.h>
#include <torch/library.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <list>
#include <map>
#include <mutex>

namespace gemmill_torch {
namespace {

/** B[k][j] is data[k * row_stride + j * col_stride]. */
struct Matrix {
    const int8_t *data;
    int64_t k, n, row_stride, col_stride;

    bool is_at(const Matrix &other) const {
        return data == other.data && k == other.k && n == other.n && row_stride == other.row_stride
            && col_stride == other.col_stride;
    }

    /** Calls f(offset, source, count) for all runs of elements that lie side by side, until it gives false. */
    template <class F> bool all_runs(F f) const {
        const bool rows = col_stride == 1;
        const int64_t runs = rows ? k : n, length = rows ? n : k, stride = rows ? row_stride : col_stride;
        if (stride == length) return f(0, data, static_cast<std::size_t>(runs * length));
        for (int64_t i = 0; i < runs; i++)
            if (!f(i * length, data + i * stride, static_cast<std::size_t>(length))) return false;
        return true;
    }

    bool has_runs() const { return col_stride == 1 || row_stride == 1; }
};

/** Whether so many bytes are the same; torch's threads share them. */
bool are_equal(const int8_t *left, const int8_t *right, int64_t count) {
    constexpr int64_t BYTES_PER_THREAD = 256 << 10;
    if (count < 2 * BYTES_PER_THREAD)
        return count == 0 || std::memcmp(left, right, static_cast<std::size_t>(count)) == 0;
    std::atomic<bool> equal{true};
    at::parallel_for(0, count, BYTES_PER_THREAD, [&](int64_t begin, int64_t end) {
        if (std::memcmp(left + begin, right + begin, static_cast<std::size_t>(end - begin)) != 0) equal = false;
    });
    return equal;
}

/** B, packed, with operations by their number of threads. */
class PackedMatrix {
public:
    explicit PackedMatrix(const Matrix &b)
        : weights_(b.data, b.k, b.n, b.row_stride, b.col_stride, packing_here().effort(GEMMILL_EFFORT_QUICK)) {}

    std::shared_ptr<const IntProduct> product(int threads) {
        std::lock_guard<std::mutex> lock(mutex_);
        auto &product = products_[threads];
        if (!product) {
            auto made = std::make_shared<IntProduct>(weights_);
            made->threads(GEMMILL_THREADS_MAX, threads);
            product = made;
        }
        return product;
    }

    int64_t bytes() const { return weights_.size_in_bytes(); }

private:
    gemmill::Weights weights_;
    std::mutex mutex_;
    std::map<int, std::shared_ptr<const IntProduct>> products_;
};

/** Packed matrices with the content that they were packed from. */
class Cache {
public:
    std::shared_ptr<PackedMatrix> get(const Matrix &b) {
        const int64_t elements = b.k * b.n;
        if (!b.has_runs() || 2 * elements > limit()) return std::make_shared<PackedMatrix>(b);
        const auto known = find(b);
        if (known && known->is_copy_of(b)) return known->packed;
        auto entry = std::make_shared<Entry>(b);
        keep(entry);
        return entry->packed;
    }

    void set_limit(int64_t bytes) {
        std::lock_guard<std::mutex> lock(mutex_);
        limit_ = bytes;
        shrink();
    }

private:
    struct Entry {
        Matrix matrix;
        std::vector<int8_t> copy;
        std::shared_ptr<PackedMatrix> packed;

        explicit Entry(const Matrix &b) : matrix(b), copy(static_cast<std::size_t>(b.k * b.n)) {
            b.all_runs([this](int64_t at, const int8_t *from, std::size_t count) {
                std::memcpy(copy.data() + at, from, count);
                return true;
            });
            // The copy is what is packed: B may be written to by another thread, whose product is then undefined, but
            // not later ones.
            Matrix from = b;
            from.data = copy.data();
            if (b.col_stride == 1) from.row_stride = b.n;
            else from.col_stride = b.k;
            packed = std::make_shared<PackedMatrix>(from);
        }

        bool is_copy_of(const Matrix &b) const {
            return b.all_runs([this](int64_t at, const int8_t *from, std::size_t count) {
                return are_equal(copy.data() + at, from, static_cast<int64_t>(count));
            });
        }

        int64_t bytes() const { return static_cast<int64_t>(copy.size()) + packed->bytes(); }
    };

    int64_t limit() {
        std::lock_guard<std::mutex> lock(mutex_);
        return limit_;
    }

    std::shared_ptr<Entry> find(const Matrix &b) {
        std::lock_guard<std::mutex> lock(mutex_);
        const auto found = std::find_if(entries_.begin(), entries_.end(),
                                        [&](const auto &e) { return e->matrix.is_at(b); });
        if (found == entries_.end()) return nullptr;
        entries_.splice(entries_.begin(), entries_, found);
        return *found;
    }

    void keep(const std::shared_ptr<Entry> &entry) {
        std::lock_guard<std::mutex> lock(mutex_);
        entries_.remove_if([&](const auto &e) { return e->matrix.is_at(entry->matrix); });
        entries_.push_front(entry);
        shrink();
    }

    /** Forgets what was used longest ago. */
    void shrink() {
        int64_t bytes = 0;
        auto entry = entries_.begin();
        while (entry != entries_.end() && (bytes += (*entry)->bytes()) <= limit_) ++entry;
        entries_.erase(entry, entries_.end());
    }

    std::mutex mutex_;
    /** The one used last comes first. */
    std::list<std::shared_ptr<Entry>> entries_;
    int64_t limit_ = 64 << 20;
};

Cache &cache() {
    // Never destroyed: operators may still run when static objects are.
    static Cache *const cache = new Cache;
    return *cache;
}

/** A times packed weights of n columns, by what `weights.product(threads)` gives. */
template <class Weights> at::Tensor multiplied(const at::Tensor &a, Weights &weights, int64_t n) {
    const int64_t m = a.size(0);
    at::Tensor c = at::detail::empty_cpu({m, n}, at::kInt);
    const Share share(m, a.size(1), n);
    const auto product = weights.product(share.threads);
    const int8_t *const from = a.const_data_ptr<int8_t>();
    int32_t *const to = c.mutable_data_ptr<int32_t>();
    share.run([&](int64_t first, int64_t count, const gemmill_run_options *options) {
        gemmill::check(gemmill_gemm_run(product->get(), count, from + first * a.stride(0), a.stride(0), a.stride(1),
                                        to + first * n, n, options));
    });
    return c;
}

/** C = A B in i32, modulo 2^32. */
at::Tensor int8_mm(const at::Tensor &a, const at::Tensor &b) {
    static constexpr const char *op = "int8_mm";
    check_cpu(op, "a", a);
    check_cpu(op, "b", b);
    check_type(op, "a", a, at::kChar);
    check_type(op, "b", b, at::kChar);
    check_dim(op, "a", a, 2);
    check_dim(op, "b", b, 2);
    const int64_t m = a.size(0), n = b.size(1), k = a.size(1);
    TORCH_CHECK(b.size(0) == k, op, ": expected a and b with the same inner size, but they are ", m, "x", k, " and ",
                b.size(0), "x", n);
    return refused_as_torch_error(op, [&] {
        const Matrix matrix{b.const_data_ptr<int8_t>(), k, n, b.stride(0), b.stride(1)};
        return multiplied(a, *cache().get(matrix), n);
    });
}

/** B, K x N with any strides, as gemmill's bytes. */
at::Tensor pack_int8(const at::Tensor &b) {
    static constexpr const char *op = "pack_int8";
    check_cpu(op, "b", b);
    check_type(op, "b", b, at::kChar);
    check_dim(op, "b", b, 2);
    return refused_as_torch_error(op, [&] {
        const gemmill::Weights weights(b.const_data_ptr<int8_t>(), b.size(0), b.size(1), b.stride(0), b.stride(1),
                                       packing_here());
        return tensor_of(weights.to_bytes());
    });
}

/** int8_mm with a packed B of n columns. */
at::Tensor int8_mm_packed(const at::Tensor &a, const at::Tensor &packed, int64_t n) {
    static constexpr const char *op = "int8_mm_packed";
    check_cpu(op, "a", a);
    check_type(op, "a", a, at::kChar);
    check_dim(op, "a", a, 2);
    return refused_as_torch_error(op, [&] {
        const auto weights = loaded(op, packed);
        TORCH_CHECK(n == weights->out_features(), op, ": B has ", weights->out_features(), " columns, but n is ", n);
        TORCH_CHECK(a.size(1) == weights->in_features(), op, ": expected a with ", weights->in_features(),
                    " columns, but it has ", a.size(1));
        return multiplied(a, *weights, n);
    });
}

void set_int8_mm_cache(int64_t bytes) {
    TORCH_CHECK(bytes >= 0, "set_int8_mm_cache: expected a size of at least 0, but it is ", bytes);
    cache().set_limit(bytes);
}

} // namespace

TORCH_LIBRARY_FRAGMENT(gemmill, m) {
    m.def("int8_mm(Tensor a, Tensor b) -> Tensor", {at::Tag::pt2_compliant_tag});
    m.def("pack_int8(Tensor b) -> Tensor", {at::Tag::pt2_compliant_tag});
    m.def("int8_mm_packed(Tensor a, Tensor packed, int n) -> Tensor", {at::Tag::pt2_compliant_tag});
    m.def("set_int8_mm_cache(int bytes) -> ()", &set_int8_mm_cache);
}

TORCH_LIBRARY_IMPL(gemmill, CPU, m) {
    m.impl("int8_mm", &int8_mm);
    m.impl("pack_int8", &pack_int8);
    m.impl("int8_mm_packed", &int8_mm_packed);
}

} // namespace gemmill_torch
