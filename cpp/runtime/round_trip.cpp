#include "runtime/round_trip.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>

#include "runtime/thread_pool.h"

namespace opq {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kTrips = 2000, kRounds = 15;
constexpr std::chrono::milliseconds kPatience{20};

// The threads take turns: the first writes even numbers as odd ones, the second odd ones as even ones.
class Trips {
 public:
  // False where the other thread did not answer.
  bool run(int side) {
    const auto deadline = Clock::now() + kPatience;
    for (int i = 0; i < kTrips; ++i) {
      const int awaited = 2 * i + side;
      for (int spins = 1; line_.load(std::memory_order_acquire) != awaited; ++spins) {
        if (spins % 1024 == 0 && Clock::now() > deadline) return false;
      }
      line_.store(awaited + 1, std::memory_order_release);
    }
    return true;
  }

 private:
  alignas(64) std::atomic<int> line_{0};
};

}  // namespace

std::optional<double> round_trip_seconds() {
  ThreadPool pool(2);
  std::array<double, kRounds> seconds{};
  for (double& of_round : seconds) {
    Trips trips;
    std::atomic<bool> answered{true};
    const auto begin = Clock::now();
    // A thread takes one task; where the other one is not there, it takes both, and the first waits in vain.
    pool.parallel_for(2, [&](int task, int) {
      if (answered && !trips.run(task)) answered = false;
    });
    if (!answered) return std::nullopt;
    of_round = std::chrono::duration<double>(Clock::now() - begin).count() / kTrips;
  }
  std::nth_element(seconds.begin(), seconds.begin() + kRounds / 2, seconds.end());
  return seconds[kRounds / 2];
}

}  // namespace opq
