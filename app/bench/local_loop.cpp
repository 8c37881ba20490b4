#include "app/bench/local_loop.hpp"

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "app/bench/cell_worker.hpp"
#include "app/bench/interrupt.hpp"
#include "app/bench/random.hpp"

namespace maru::bench {

using namespace std::chrono_literals;

namespace {

enum class stage { warm, measure, stop };

constexpr auto warm_up_min = 20ms;

// What one thread does and counts; its own until it has ended.
class loop_thread {
public:
  loop_thread(const loop_job& job, const loop_call& call, const cycle_clock* clock, unsigned index)
      : job_(job),
        call_(call),
        clock_(clock),
        choices_(loop_choices(job)),
        random_(0x6c6f63616c + index),
        batch_(job.batch) {}

  void run(const std::atomic<stage>& now) {
    // On a busy machine a thread may sleep through the whole measured time: it makes one measured call then.
    auto seen = stage::warm;
    while (seen != stage::stop || calls_ + failures_ == 0) {
      for (std::size_t i = 0; i < job_.batch; ++i)
        batch_.set(i, loop_key(job_, random_.below(choices_)));
      call_once(seen != stage::warm);
      auto next = now.load(std::memory_order_relaxed);
      if (seen == stage::warm && next != stage::warm)
        begin_ns_ = monotonic_ns();
      seen = next;
    }
    end_ns_ = monotonic_ns();
  }

  void add_to(loop_totals& sum, std::uint64_t& begin_ns, std::uint64_t& end_ns) const {
    sum.latency.merge(latency_);
    sum.calls += calls_;
    sum.keys += keys_;
    sum.wrong += wrong_;
    sum.failures += failures_;
    begin_ns = std::min(begin_ns, begin_ns_);
    end_ns = std::max(end_ns, end_ns_);
  }

private:
  void call_once(bool counted) {
    auto begin = clock_ ? clock_->begin() : 0;
    auto good = call_(batch_.keys());
    auto end = clock_ ? clock_->end() : 0;
    if (!counted)
      return;
    if (!good) {
      ++failures_;
      return;
    }
    ++calls_;
    keys_ += *good;
    wrong_ += job_.batch - *good;
    if (clock_)
      latency_.add(clock_->ns(begin, end));
  }

  const loop_job& job_;
  const loop_call& call_;
  const cycle_clock* clock_;
  std::uint64_t choices_;
  random_source random_;
  key_batch batch_;
  histogram latency_;
  std::uint64_t calls_ = 0, keys_ = 0, wrong_ = 0, failures_ = 0;
  std::uint64_t begin_ns_ = 0, end_ns_ = 0;
};

}  // namespace

std::uint64_t loop_choices(const loop_job& job) { return job.hot ? std::min(job.keys, hot_keys) : job.keys; }

std::uint64_t loop_key(const loop_job& job, std::uint64_t pick) {
  auto number = job.hot ? pick * (job.keys / loop_choices(job)) : pick;
  return job.absent ? absent_keys + number : number;
}

loop_totals run_loop(const loop_job& job, const loop_call& call, const cycle_clock* clock) {
  std::atomic<stage> now{stage::warm};
  std::vector<std::unique_ptr<loop_thread>> work;
  for (unsigned i = 0; i < job.threads; ++i)
    work.push_back(std::make_unique<loop_thread>(job, call, clock, i));
  std::vector<std::jthread> threads;
  for (auto& one : work)
    threads.emplace_back([&now, &one = *one] { one.run(now); });
  pause_for(std::max<std::chrono::milliseconds>(job.time / 10, warm_up_min));
  now = stage::measure;
  pause_for(job.time);
  now = stage::stop;
  threads.clear();  // joins

  loop_totals sum;
  std::uint64_t begin_ns = UINT64_MAX, end_ns = 0;
  for (const auto& one : work)
    one->add_to(sum, begin_ns, end_ns);
  sum.seconds = static_cast<double>(end_ns - begin_ns) * 1e-9;
  return sum;
}

}  // namespace maru::bench
