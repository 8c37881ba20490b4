// A worker of the adversary test: threads that read, pin, unpin and put again what is missing, as fast as they can, and hold
// every answer against what was promised.
//
//   reading_worker SERVER NAME SEED THREADS
//
// MARU_KILL_POINT arms a point in it. Prints "ready", and "local" or "by message"; then one line for each thing that is
// wrong. At the end of its input it ends, with a last line "done LOOKS HITS PINS PUTS".
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "base/kill_point.hpp"
#include "net/client.hpp"
#include "tests/crash/reading_worker.hpp"
#include "tests/system/content.hpp"

namespace maru::test {
namespace {

std::mutex output;
void complain(const std::string& what) {
  std::lock_guard lock{output};
  std::cout << what << std::endl;
}

struct totals {
  std::atomic<std::uint64_t> looks{0}, hits{0}, pins{0}, puts{0};
};

class reader {
public:
  reader(client& c, std::uint64_t seed, totals& counts) : client_(c), random_(seed), counts_(counts) {}

  void step() {
    switch (random_() % 4) {
      case 0: read_some(); break;
      case 1: hold(a_key()); break;
      case 2: look_at_a_view(); break;
      default: read_one(); break;
    }
  }

private:
  struct kept_view {
    std::string key;
    view bytes;
  };
  static constexpr std::size_t views_max = 12, batch_max = 24;

  std::string a_key() { return shared_key(random_() % shared_keys); }

  // Null: missing.
  void judge(const std::string& key, const view* v) {
    ++counts_.looks;
    if (v == nullptr) {
      put_again(key);
      return hold(key);
    }
    ++counts_.hits;
    judge_bytes(key, v->bytes());
  }
  void judge_bytes(const std::string& key, std::span<const std::byte> bytes) {
    auto wanted = content_of(key, shared_bytes);
    if (bytes.size() != wanted.size() || std::memcmp(bytes.data(), wanted.data(), wanted.size()) != 0)
      complain("wrong bytes of " + key);
  }
  template <class T>
  bool answered(const char* what, const result<T>& answer) {
    if (!answer)
      complain(std::string{what} + " failed: " + to_string(answer.error()));
    return bool{answer};
  }

  void put_again(const std::string& key) {
    auto bytes = content_of(key, shared_bytes);
    auto stored = client_.store(key, std::as_bytes(std::span{bytes}));
    if (!stored && stored.code() != ec::exists && stored.code() != ec::busy)
      complain("put of " + key + " failed: " + to_string(stored.error()));
    ++counts_.puts;
  }

  void read_one() {
    auto key = a_key();
    auto v = client_.retrieve(key);
    if (!v && v.code() != ec::missing)
      return complain("retrieve failed: " + to_string(v.error()));
    judge(key, v ? &*v : nullptr);
    if (!v)
      return;
    auto& place = views_.size() < views_max ? views_.emplace_back() : views_[random_() % views_max];
    place = {key, std::move(*v)};
  }

  void read_some() {
    std::vector<std::string> names;
    for (auto n = 1 + random_() % batch_max; n > 0; --n)
      names.push_back(a_key());
    std::vector<std::string_view> keys{names.begin(), names.end()};
    auto views = client_.retrieve_batch(keys);
    if (!answered("retrieve_batch", views))
      return;
    for (std::size_t i = 0; i < names.size(); ++i)
      judge(names[i], (*views)[i] ? &(*views)[i] : nullptr);
  }

  // What is pinned is there, at its place, with its bytes, until it is unpinned.
  void hold(const std::string& key) {
    std::vector<std::string_view> one{key};
    auto found = client_.lookup(one, {.pin = true});
    if (!answered("lookup", found) || !(*found)[0])
      return;
    ++counts_.pins;
    auto where = *(*found)[0];
    for (auto n = random_() % 16; n > 0; --n) {
      auto there = client_.exists(one);
      if (answered("exists", there) && !(*there)[0])
        complain(key + " is pinned and missing");
      auto again = client_.lookup(one);
      if (answered("lookup", again) && (!(*again)[0] || (*again)[0]->as_grant() != where.as_grant()))
        complain(key + " is pinned and not where it was");
    }
    auto bytes = client_.bytes(where);
    if (answered("bytes", bytes))
      judge_bytes(key, *bytes);
    auto ended = client_.unpin(one);
    if (answered("unpin", ended) && !(*ended)[0])
      complain(key + " was pinned, and unpin knows of no pin");
  }

  void look_at_a_view() {
    if (views_.empty())
      return;
    auto& v = views_[random_() % views_.size()];
    judge_bytes(v.key, v.bytes.bytes());
  }

  client& client_;
  std::mt19937_64 random_;
  totals& counts_;
  std::vector<kept_view> views_;
};

}  // namespace
}  // namespace maru::test

int main(int argc, char** argv) {
  using namespace maru;
  if (argc != 5 || !arm_kill_point(std::getenv("MARU_KILL_POINT")))
    return 2;
  auto c = client::open(
    {.server = argv[1], .instance = argv[2], .chunk_bytes = test::shared_bytes, .timeout = std::chrono::seconds{10}});
  std::cout << (c ? "ready" : to_string(c.error())) << std::endl;
  if (!c)
    return 1;
  std::cout << ((*c)->info().local_reads ? "local" : "by message") << std::endl;
  std::atomic<bool> stop{false};
  test::totals counts;
  std::vector<std::jthread> threads;
  for (std::uint64_t t = 0; t < std::stoull(argv[4]); ++t)
    threads.emplace_back([&, t] {
      test::reader one{**c, std::stoull(argv[3]) + t, counts};
      while (!stop)
        one.step();
    });
  for (char order; ::read(0, &order, 1) > 0;) {}
  stop = true;
  threads.clear();
  std::cout << "done " << counts.looks << " " << counts.hits << " " << counts.pins << " " << counts.puts << std::endl;
  (*c)->close();
  return 0;
}
