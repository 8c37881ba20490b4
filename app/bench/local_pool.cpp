#include "app/bench/local_pool.hpp"

#include <algorithm>

#include "app/bench/interrupt.hpp"
#include "app/bench/local_loop.hpp"
#include "app/bench/maru_target.hpp"
#include "app/bench/payload.hpp"

namespace maru::bench {

using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t line_bytes = 64;               // of a chunk that are written
constexpr std::uint64_t spare_keys = absent_keys * 2;  // behind all that cells ask for
constexpr std::uint64_t writer_keys = absent_keys * 4;
constexpr unsigned keep_batch = 128;
constexpr unsigned writer_batch = 16;
constexpr std::uint64_t reserve = 256;       // pages that eviction keeps free
constexpr std::uint64_t idle_grants = 4096;  // pages that may lie granted with the clients

cell_job job_of(const std::string& address, unsigned batch) {
  return {
    .system = "maru", .op = "put", .server = address, .batch = batch, .keys = writer_keys, .value_bytes = line_bytes};
}

}  // namespace

result<local_pool> local_pool::start(const local_pool_options& options) {
  local_pool out;
  out.options_ = options;
  out.pages_ = options.keys + options.spare_pages + reserve + idle_grants;
  auto server = server_process::start({.pages = out.pages_,
                                       .page_bytes = cell_page_bytes,
                                       .reserve_pages = reserve,
                                       .prefault = "start",
                                       .unix_socket = true});
  if (!server)
    return server.error();
  out.server_ = *std::move(server);
  auto keeper = open_maru(job_of(out.address(), keep_batch));
  if (!keeper)
    return keeper.error();
  out.keeper_ = *std::move(keeper);
  // More than the pool holds, those that reads choose among last: the pool is full, and what was evicted is not theirs.
  auto older = out.pages_ - options.keys;
  if (auto kept = out.keep(spare_keys, older); !kept)
    return kept.error();
  if (auto kept = out.keep(0, options.keys); !kept)
    return kept.error();
  out.evictable_ = options.spare_pages;
  return out;
}

status local_pool::keep(std::uint64_t first, std::uint64_t count) {
  key_batch batch(keep_batch);
  for (std::uint64_t at = 0; at < count;) {
    if (interrupted())
      return interrupt_error();
    auto n = std::min<std::uint64_t>(keep_batch, count - at);
    for (std::size_t i = 0; i < n; ++i)
      batch.set(i, first + at + i);
    auto found = keeper_->lookup(batch.first(n));
    if (!found)
      return found.error();
    auto put = *found == n ? result<std::size_t>{0} : keeper_->put(batch.first(n));
    if (!put)
      return put.error();
    if (*found + *put != n)
      return {ec::io, "failed to fill the pool: " + std::to_string(*put) + " of " + std::to_string(n - *found)
                        + " keys were stored"};
    at += n;
  }
  return {};
}

status local_pool::begin_writing(double seconds) {
  auto coming = static_cast<std::uint64_t>(seconds * static_cast<double>(options_.writer_rate)) + writer_batch;
  // Eviction is not exact: half of the way is left.
  if (coming > evictable_ / 2) {
    if (auto kept = keep(0, options_.keys); !kept)
      return kept;
    evictable_ = options_.spare_pages;
  }
  if (!writer_) {
    auto job = job_of(address(), writer_batch);
    job.rate = options_.writer_rate;
    auto started = start_maru_cell(1, job);
    if (!started)
      return started.error();
    writer_ = std::make_unique<cell>(*std::move(started));
  }
  writer_->begin_step(command::measure);
  return {};
}

result<std::uint64_t> local_pool::end_writing() {
  if (auto ended = writer_->end_step(0ms); !ended)
    return ended.error();
  if (writer_->errors() != 0)
    return error{ec::io, "failed to write beside the reads: " + writer_->problem()};
  auto committed = writer_->keys() - written_;
  written_ += committed;
  evictable_ -= std::min(evictable_, committed);
  return committed;
}

status local_pool::check_bytes(client& through) const {
  loop_job all{.keys = options_.keys, .hot = true};
  key_batch one(1);
  for (std::uint64_t pick = 0; pick < loop_choices(all); ++pick) {
    one.set(0, loop_key(all, pick));
    auto key = one.keys().front();
    auto found = through.retrieve(key);
    if (!found)
      return found.error();
    if (found->bytes().size() != cell_page_bytes
        || wrong_payload_bytes(payload_seed(key), found->bytes().first(line_bytes)) != 0)
      return {ec::corrupt, "failed to read " + std::string{key} + ": its bytes are not those that were written"};
  }
  return {};
}

status local_pool::stop() {
  if (writer_)
    if (auto done = writer_->finish(); !done)
      return done;
  writer_.reset();
  keeper_.reset();
  return server_.stop();
}

}  // namespace maru::bench
