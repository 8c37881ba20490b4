#include "app/bench/cell_worker.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>

#include "app/bench/clock.hpp"
#include "app/bench/random.hpp"

namespace maru::bench {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t digits = 16;
constexpr std::string_view key_prefix = "maru-bench/some-model-70b/layer-00/tp-0/kv-/";
static_assert(key_prefix.size() + digits == key_bytes);

constexpr std::size_t fill_batch = 128;

void note_problem(cell_client& shared, std::string_view text) {
  if (shared.problem[0] == '\0')
    std::snprintf(shared.problem, sizeof shared.problem, "%.*s", static_cast<int>(text.size()), text.data());
}

class cell_loop {
public:
  cell_loop(const cell_job& job, kv_target& target, cell_control& control, cell_client& shared)
      : job_(job),
        target_(target),
        control_(control),
        shared_(shared),
        random_(0x6d617275 + job.index),
        batch_(job.batch),
        next_put_(job.keys + (std::uint64_t{job.index} + 1) * 1'000'000'000'000) {}

  void run() {
    std::uint64_t step = 1;
    for (auto what = command::none; what != command::stop;) {
      shared_.step_done = step;
      while (control_.step == step)
        std::this_thread::sleep_for(50us);
      step = control_.step;
      what = static_cast<command>(control_.what.load());
      shared_.begin_ns = monotonic_ns();
      do_step(what);
      shared_.end_ns = monotonic_ns();
    }
    shared_.step_done = step;
  }

private:
  void do_step(command what) {
    if (what == command::fill)
      fill();
    else if (what == command::remove)
      remove_round();
    else if (what == command::warm || what == command::measure)
      work(what == command::measure);
  }

  bool halted() const { return control_.halt.load(std::memory_order_relaxed) != 0; }

  // Counts a finished batch; false for one that failed.
  bool account(const result<std::size_t>& done, std::size_t wanted) {
    if (done && (*done == wanted || job_.op == "lookup-any"))
      return true;
    ++shared_.errors;
    note_problem(shared_, done ? job_.op + ": " + std::to_string(*done) + " of " + std::to_string(wanted) + " keys"
                               : to_string(done.error()));
    return false;
  }

  void fill() {
    key_batch batch(fill_batch);
    for (std::uint64_t at = job_.index * job_.round_keys, end = std::min(at + job_.round_keys, job_.keys); at < end;) {
      auto n = std::min<std::uint64_t>(fill_batch, end - at);
      for (std::size_t i = 0; i < n; ++i)
        batch.set(i, at + i);
      auto begin = monotonic_ns();
      if (!account(target_.put(batch.first(n)), n))
        return;
      shared_.latency.add(monotonic_ns() - begin);
      shared_.keys += n;
      at += n;
    }
  }

  void remove_round() {
    key_batch batch(fill_batch);
    while (first_put_ < next_put_) {
      auto n = std::min<std::uint64_t>(fill_batch, next_put_ - first_put_);
      for (std::size_t i = 0; i < n; ++i)
        batch.set(i, first_put_ + i);
      account(target_.remove(batch.first(n)), n);
      first_put_ += n;
    }
  }

  void work(bool counted) {
    bool puts = job_.op == "put";
    std::uint64_t put_end = job_.round_keys == 0 ? UINT64_MAX : next_put_ + job_.round_keys;
    auto step_begin = monotonic_ns(), put_begin = next_put_;
    while (!halted() && !(puts && next_put_ + job_.batch > put_end)) {
      for (std::size_t i = 0; i < job_.batch; ++i)
        batch_.set(i, puts ? next_put_ + i : random_.below(std::max<std::uint64_t>(job_.keys, 1)));
      auto begin = monotonic_ns();
      bool good = account(call(), job_.batch);
      auto end = monotonic_ns();
      if (puts) {
        next_put_ += job_.batch;
        keep_rate(step_begin, next_put_ - put_begin);
      }
      if (!counted || !good)
        continue;
      shared_.latency.add(end - begin);
      shared_.keys += job_.batch;
      if (auto second = (end - step_begin) / 1'000'000'000; second < cell_seconds_max)
        shared_.per_second[second] += job_.batch;
    }
  }

  // Waits until `keys` put since `begin_ns` are no more than job_.rate a second.
  void keep_rate(std::uint64_t begin_ns, std::uint64_t keys) const {
    if (job_.rate == 0)
      return;
    auto due = begin_ns + keys * 1'000'000'000 / job_.rate;
    for (auto now = monotonic_ns(); now < due && !halted(); now = monotonic_ns())
      std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(std::chrono::nanoseconds{due - now}, 10ms));
  }

  result<std::size_t> call() {
    if (job_.op == "lookup" || job_.op == "lookup-any")
      return target_.lookup(batch_.keys());
    if (job_.op == "exists")
      return target_.exists(batch_.keys());
    if (job_.op == "pin+unpin")
      return target_.pin_unpin(batch_.keys());
    return target_.put(batch_.keys());
  }

  const cell_job& job_;
  kv_target& target_;
  cell_control& control_;
  cell_client& shared_;
  random_source random_;
  key_batch batch_;
  std::uint64_t next_put_;
  std::uint64_t first_put_ = next_put_;
};

}  // namespace

key_batch::key_batch(std::size_t size) : text_(size * key_bytes, '_') {
  for (std::size_t i = 0; i < size; ++i) {
    std::memcpy(text_.data() + i * key_bytes, key_prefix.data(), key_prefix.size());
    views_.emplace_back(text_.data() + i * key_bytes, key_bytes);
    set(i, 0);
  }
}

void key_batch::set(std::size_t position, std::uint64_t number) {
  constexpr char hex[] = "0123456789abcdef";
  char* end = text_.data() + (position + 1) * key_bytes;
  for (std::size_t i = 1; i <= digits; ++i, number >>= 4)
    end[-static_cast<std::ptrdiff_t>(i)] = hex[number & 15];
}

void serve_cell(const cell_job& job, kv_target& target, cell_control& control, cell_client& shared) {
  cell_loop(job, target, control, shared).run();
}

int run_cell_client(const cell_job& job, result<std::unique_ptr<kv_target>> target) {
  auto memory = shared_memory::attach(inherited_fd, cell_memory_bytes(job.index + 1));
  if (!memory) {
    std::fprintf(stderr, "%s\n", to_string(memory.error()).c_str());
    return 2;
  }
  auto& shared = memory->at<cell_client>(cell_client_offset(job.index));
  if (!target) {
    note_problem(shared, to_string(target.error()));
    return 1;
  }
  serve_cell(job, **target, memory->at<cell_control>(0), shared);
  return 0;
}

}  // namespace maru::bench
