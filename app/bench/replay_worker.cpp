#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <span>
#include <thread>
#include <type_traits>
#include <vector>

#include "app/bench/child_process.hpp"
#include "app/bench/clock.hpp"
#include "app/bench/payload.hpp"
#include "app/bench/replay_shared.hpp"
#include "net/client.hpp"

namespace maru::bench {

using namespace std::chrono_literals;

namespace {

constexpr auto request_patience = 15s;  // eviction and grants may take their time on a full pool

class replay_worker {
public:
  replay_worker(const replay_job& job, const trace& t, client& pool, replay_control& control, replay_counts& counts)
      : job_(job), trace_(t), pool_(pool), control_(control), counts_(counts) {
    prefix_ = (job.trace_path.empty() ? "conversation-" + std::to_string(job.conversations.seed) : std::string{"trace"})
              + "/" + std::to_string(job.chunk_bytes) + "/";
  }

  void run() {
    while (control_.stop == 0) {
      auto i = control_.next_request++;
      if (i >= trace_.requests.size())
        return;
      serve(trace_.requests[i]);
      ++counts_.requests;
    }
  }

private:
  using names = std::span<const std::string_view>;

  void serve(const request& r) {
    text_.clear();
    keys_.clear();
    for (auto block : r.blocks)
      text_.push_back(prefix_ + std::to_string(block));
    keys_.assign(text_.begin(), text_.end());
    std::size_t hits = look_up_and_read();
    counts_.blocks += keys_.size();
    counts_.hit_blocks += hits;
    names all{keys_};
    // From the last group to the first, so that a prefix is newer than what follows it.
    for (auto end = all.size(); end > hits;) {
      auto begin = std::max(hits, end - std::min(end, bounds::batch_items_max));
      store(all.subspan(begin, end - begin));
      end = begin;
    }
    for (auto end = hits; end > 0;) {
      auto begin = end - std::min(end, bounds::batch_items_max);
      unpin(all.subspan(begin, end - begin));
      end = begin;
    }
  }

  // Length of the prefix that is there; its chunks are read and stay pinned.
  std::size_t look_up_and_read() {
    std::size_t hits = 0;
    while (hits < keys_.size()) {
      auto batch = names{keys_}.subspan(hits, std::min(keys_.size() - hits, bounds::batch_items_max));
      auto found = timed(step::lookup, [&] { return pool_.lookup(batch, {.pin = true, .prefix_stop = true}); });
      if (!found) {
        problem(found.error());
        break;
      }
      std::size_t n = 0;
      for (; n < found->size() && (*found)[n]; ++n)
        timed(step::read, [&] { read(batch[n], *(*found)[n]); });
      hits += n;
      if (n < batch.size())
        break;
    }
    return hits;
  }

  void read(std::string_view key, const location& where) {
    auto bytes = pool_.bytes(where);
    if (!bytes)
      return problem(bytes.error());
    auto seed = payload_seed(key);
    auto wrong = job_.verify ? wrong_payload_bytes(seed, *bytes) : wrong_payload_bytes_sampled(seed, *bytes);
    if (bytes->size() != job_.chunk_bytes)
      wrong += std::max(bytes->size(), job_.chunk_bytes) - std::min(bytes->size(), job_.chunk_bytes);
    counts_.wrong_bytes += wrong;
    counts_.read_bytes += bytes->size();
  }

  void store(names keys) {
    auto pages = timed(step::alloc, [&] { return pool_.alloc_batch(keys.size(), job_.chunk_bytes); });
    if (!pages)
      return problem(pages.error());
    for (std::size_t i = 0; i < keys.size(); ++i)
      timed(step::write, [&] { fill_payload(payload_seed(keys[i]), (*pages)[i].bytes()); });
    auto codes = timed(step::commit, [&] { return pool_.commit_batch(keys, *pages); });
    if (!codes)
      return problem(codes.error());
    for (auto code : *codes) {
      if (code == ec::ok) {
        ++counts_.written_chunks;
        counts_.written_bytes += job_.chunk_bytes;
      } else if (code == ec::exists) {  // another worker was first; the page goes back to the client's reserve
        ++counts_.exists;
      } else {
        problem({code, "failed to commit a chunk"});
      }
    }
  }

  void unpin(names keys) {
    auto done = timed(step::unpin, [&] { return pool_.unpin(keys); });
    if (!done)
      return problem(done.error());
    auto lost = std::count(done->begin(), done->end(), false);
    if (lost != 0)
      problem({ec::not_pinned, "failed to unpin " + std::to_string(lost) + " chunks"});
  }

  template <class F>
  std::invoke_result_t<F> timed(step s, F&& f) {
    struct stopwatch {
      histogram& into;
      std::uint64_t begin = monotonic_ns();
      ~stopwatch() { into.add(monotonic_ns() - begin); }
    } watch{counts_.steps[static_cast<std::size_t>(s)]};
    return f();
  }

  void problem(const error& e) {
    ++counts_.errors;
    if (counts_.problem[0] == '\0')
      std::snprintf(counts_.problem, sizeof counts_.problem, "%s", to_string(e).c_str());
  }

  const replay_job& job_;
  const trace& trace_;
  client& pool_;
  replay_control& control_;
  replay_counts& counts_;
  std::string prefix_;
  std::vector<std::string> text_;
  std::vector<std::string_view> keys_;
};

int fail(const error& e) {
  std::fprintf(stderr, "maru-bench worker: %s\n", to_string(e).c_str());
  return 2;
}

}  // namespace

std::string to_text(const replay_job& job) {
  const auto& c = job.conversations;
  return nlohmann::json{{"index", job.index},
                        {"server", job.server},
                        {"trace", job.trace_path},
                        {"requests", job.requests},
                        {"chunk_bytes", job.chunk_bytes},
                        {"verify", job.verify},
                        {"spare_grants", job.spare_grants},
                        {"messages", job.messages},
                        {"seed", c.seed},
                        {"generate", c.requests}}
    .dump();
}

result<replay_job> read_replay_job(const std::string& text) {
  try {
    auto o = nlohmann::json::parse(text);
    replay_job job{.index = o.at("index"),
                   .server = o.at("server"),
                   .trace_path = o.at("trace"),
                   .conversations = {},
                   .requests = o.at("requests"),
                   .chunk_bytes = o.at("chunk_bytes"),
                   .verify = o.at("verify"),
                   .spare_grants = o.at("spare_grants"),
                   .messages = o.at("messages")};
    job.conversations.seed = o.at("seed");
    job.conversations.requests = o.at("generate");
    return job;
  } catch (const nlohmann::json::exception& e) {
    return error{ec::invalid, std::string{"failed to read a worker's job: "} + e.what()};
  }
}

result<trace> load_trace(const std::string& trace_path, const conversation_options& conversations,
                         std::size_t requests) {
  if (!trace_path.empty())
    return read_trace(trace_path, requests);
  auto options = conversations;
  if (requests != 0)
    options.requests = std::min(requests, trace_requests_max);
  return generate_conversations(options);
}

int run_replay_worker(const std::string& text) {
  auto job = read_replay_job(text);
  if (!job)
    return fail(job.error());
  auto memory = shared_memory::attach(inherited_fd, replay_counts_offset(job->index + 1));
  if (!memory)
    return fail(memory.error());
  auto t = load_trace(job->trace_path, job->conversations, job->requests);
  if (!t)
    return fail(t.error());
  client_options options;
  options.server = job->server;
  options.instance = "maru-bench-" + std::to_string(job->index);
  options.chunk_bytes = job->chunk_bytes;
  options.timeout = request_patience;
  options.grant_batch = job->spare_grants ? 1 : grants_ahead(job->chunk_bytes);
  options.fetch_ahead = !job->spare_grants;
  options.local_reads = !job->messages;
  auto pool = client::open(options);
  if (!pool)
    return fail(pool.error());
  auto& control = memory->at<replay_control>(0);
  auto& counts = memory->at<replay_counts>(replay_counts_offset(job->index));
  counts.ready = 1;
  while (control.go == 0 && control.stop == 0)
    std::this_thread::sleep_for(1ms);
  replay_worker(*job, *t, **pool, control, counts).run();
  counts.local_reads = (*pool)->info().local_reads ? 1 : 0;
  (*pool)->close();
  return 0;
}

}  // namespace maru::bench
