#include "app/bench/maru_target.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "app/bench/payload.hpp"
#include "net/client.hpp"

namespace maru::bench {

using namespace std::chrono_literals;

namespace {

class maru_target final : public kv_target {
public:
  maru_target(std::shared_ptr<client> pool, std::size_t value_bytes)
      : pool_(std::move(pool)), value_bytes_(value_bytes) {}

  result<std::size_t> lookup(std::span<const std::string_view> keys) override {
    auto found = pool_->lookup(keys);
    if (!found)
      return found.error();
    return static_cast<std::size_t>(std::count_if(found->begin(), found->end(), [](auto& x) { return x.has_value(); }));
  }
  result<std::size_t> exists(std::span<const std::string_view> keys) override { return count(pool_->exists(keys)); }
  result<std::size_t> pin_unpin(std::span<const std::string_view> keys) override {
    auto pinned = count(pool_->pin(keys));
    return pinned ? count(pool_->unpin(keys)) : pinned;
  }
  result<std::size_t> put(std::span<const std::string_view> keys) override {
    auto pages = pool_->alloc_batch(keys.size(), cell_page_bytes);
    if (!pages)
      return pages.error();
    if (value_bytes_ != 0)
      for (std::size_t i = 0; i < keys.size(); ++i)
        fill_payload(payload_seed(keys[i]), (*pages)[i].bytes().first(value_bytes_));
    return count(pool_->commit_batch(keys, *pages));
  }
  result<std::size_t> remove(std::span<const std::string_view> keys) override { return count(pool_->remove(keys)); }

private:
  static result<std::size_t> count(const result<std::vector<bool>>& answers) {
    if (!answers)
      return answers.error();
    return static_cast<std::size_t>(std::count(answers->begin(), answers->end(), true));
  }
  static result<std::size_t> count(const result<std::vector<ec>>& codes) {
    if (!codes)
      return codes.error();
    return static_cast<std::size_t>(std::count(codes->begin(), codes->end(), ec::ok));
  }

  std::shared_ptr<client> pool_;
  std::size_t value_bytes_;
};

}  // namespace

result<std::unique_ptr<kv_target>> open_maru(const cell_job& job) {
  client_options options;
  options.server = job.server;
  options.instance = "maru-bench-" + std::to_string(job.index);
  options.chunk_bytes = cell_page_bytes;
  options.timeout = 15s;
  options.grant_batch = std::max<std::size_t>(bounds::grant_batch, std::size_t{4} * job.batch);
  options.local_reads = false;
  auto pool = client::open(options);
  if (!pool)
    return pool.error();
  return std::unique_ptr<kv_target>{std::make_unique<maru_target>(*std::move(pool), job.value_bytes)};
}

child_options maru_client(const cell_job& job) {
  return {.program = own_program(), .arguments = {"rpc-client", to_text(job)}, .log_path = {}};
}

result<cell> start_maru_cell(unsigned clients, const cell_job& job) {
  return cell::start(clients, [&](unsigned index) {
    auto mine = job;
    mine.index = index;
    return maru_client(mine);
  });
}

int run_maru_client(const std::string& text) {
  auto job = read_cell_job(text);
  if (!job) {
    std::fprintf(stderr, "maru-bench: %s\n", to_string(job.error()).c_str());
    return 2;
  }
  return run_cell_client(*job, open_maru(*job));
}

}  // namespace maru::bench
