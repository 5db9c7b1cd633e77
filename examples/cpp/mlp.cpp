/*
 * Two requantized layers of 8 bits in a row, on threads of the program's own: each takes a share of the rows.
 *
 *     c++ -std=c++11 mlp.cpp $(pkg-config --cflags --libs gemmill) -pthread && ./a.out
 */
#include <gemmill.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <thread>
#include <vector>

namespace {

constexpr int64_t inputs = 256, hidden = 320, outputs = 10, rows = 200;

std::vector<int8_t> random_weights(int64_t count, std::mt19937 &random) {
    std::vector<int8_t> weights(static_cast<std::size_t>(count));
    for (auto &w : weights) w = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
    return weights;
}

/* A network that any number of threads may use at once. */
class Network {
public:
    Network(const std::vector<int8_t> &first, const std::vector<int8_t> &second)
        : first_(gemmill::Weights(first.data(), inputs, hidden)), second_(gemmill::Weights(second.data(), hidden, outputs)) {
        first_.a_zero_point(128).multiplier(1e-3f).c_zero_point(0).relu().threads(GEMMILL_THREADS_MAX, 1).prepare();
        second_.a_scale(1.0f).b_scale(1e-4f).threads(GEMMILL_THREADS_MAX, 1).prepare();
    }

    void run(int64_t count, const uint8_t *in, float *out) const {
        std::vector<uint8_t> between(static_cast<std::size_t>(count * hidden));
        first_.run(count, in, between.data());
        second_.run(count, between.data(), out);
    }

private:
    gemmill::Gemm<uint8_t, uint8_t> first_;
    gemmill::Gemm<uint8_t, float> second_;
};

/* The same by the formulas of gemmill.h. */
float expected(const std::vector<int8_t> &first, const std::vector<int8_t> &second, const uint8_t *in, int64_t output) {
    int32_t sum = 0;
    for (int64_t j = 0; j < hidden; j++) {
        int32_t raw = 0;
        for (int64_t k = 0; k < inputs; k++) raw += (in[k] - 128) * first[static_cast<std::size_t>(k * hidden + j)];
        const float scaled = std::min(std::max(static_cast<float>(raw) * 1e-3f, 0.0f), 255.0f);
        sum += static_cast<int32_t>(std::nearbyint(scaled)) * second[static_cast<std::size_t>(j * outputs + output)];
    }
    return static_cast<float>(sum) * 1e-4f;
}

} // namespace

int main() try {
    std::mt19937 random(11);
    const auto first = random_weights(inputs * hidden, random), second = random_weights(hidden * outputs, random);
    std::vector<uint8_t> in(static_cast<std::size_t>(rows * inputs));
    for (auto &x : in) x = static_cast<uint8_t>(random());
    std::vector<float> out(static_cast<std::size_t>(rows * outputs));

    const Network network(first, second);
    constexpr int64_t share = rows / 4;
    std::vector<std::thread> threads;
    for (int64_t row = 0; row < rows; row += share) {
        threads.emplace_back([&, row] { network.run(share, &in[row * inputs], &out[row * outputs]); });
    }
    for (auto &thread : threads) thread.join();

    int64_t wrong = 0;
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < outputs; j++) {
            wrong += out[i * outputs + j] != expected(first, second, &in[i * inputs], j);
        }
    }
    std::printf("%lld x %lld outputs on %s: %lld wrong\n", static_cast<long long>(rows), static_cast<long long>(outputs),
                gemmill::tier_name(gemmill::best_tier()), static_cast<long long>(wrong));

    // What is refused says why.
    try {
        gemmill::Gemm<uint8_t, int8_t>(gemmill::Weights(first.data(), inputs, hidden)).multiplier(-1.0f).prepare();
        return 1;
    } catch (const gemmill::Error &error) {
        std::printf("refused, as it should be: %s\n", error.what());
    }
    return wrong == 0 ? 0 : 1;
} catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
