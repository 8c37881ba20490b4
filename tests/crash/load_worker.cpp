// A worker for the fault tests that does everything at once until it is killed: commits under way, half-written pages,
// pins by key, and views whose bytes it compares again and again.
//
//   load_worker SERVER NAME SEED LOG PAUSE_MS
//
// LOG gets one line an event, each by one write, so that a kill loses none:
//   armed      it holds half-written pages, and pins on NAME/anchor
//   +KEY       the commit of KEY was acknowledged
//   -KEY       KEY is about to be removed
//   =SESSION   the session it has now
//   wrong KEY  bytes that do not belong to KEY
//   !WHAT CODE a call failed
#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <deque>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "net/client.hpp"
#include "tests/system/content.hpp"

namespace {

using maru::ec;
using maru::test::content_of;

constexpr std::size_t page_bytes = 4096, batch = 8, keys_max = 200, views_max = 16, half_written = 8;
constexpr std::size_t shared_keys = 500;

class load {
public:
  load(maru::client& c, std::string name, std::uint64_t seed, int log)
      : client_(c), name_(std::move(name)), random_(seed), log_(log) {}

  void arm() {
    auto anchor = name_ + "/anchor";
    auto bytes = content_of(anchor, page_bytes);
    for (;;) {
      if (auto stored = client_.store(anchor, std::as_bytes(std::span{bytes})); stored || stored.code() == ec::exists)
        break;
      else
        failed("store", stored.code());
    }
    tell("+" + anchor);
    std::vector<std::string_view> five(5, anchor);
    if (auto pinned = client_.pin(five); !pinned)
      failed("pin", pinned.code());
    write_halves();
    tell("armed");
  }

  void step() {
    if (auto now = client_.info().session; now != session_) {
      session_ = now;
      tell("=" + std::to_string(now));
    }
    auto keys = next_keys();
    std::vector<std::string_view> names{keys.begin(), keys.end()};
    auto pages = client_.alloc_batch(batch, page_bytes);
    if (pages) {
      for (std::size_t i = 0; i < batch; ++i)
        fill((*pages)[i], keys[i]);
      auto commits = client_.commit_async(names, *pages);
      read_shared();
      acknowledge(keys, commits.get());
    } else {
      failed("alloc", pages.code());
    }
    check_views();
    write_halves();
    remove_oldest();
  }

private:
  struct kept_view {
    std::string key;
    maru::view bytes;
  };

  // One write, so that no kill leaves half a line between two others.
  void tell(const std::string& line) {
    auto text = line + "\n";
    (void)!::write(log_, text.data(), text.size());
  }
  void failed(const std::string& what, ec code) { tell("!" + what + " " + std::string{to_string(code)}); }

  static void fill(maru::page_buffer& page, const std::string& key) {
    auto bytes = content_of(key, page_bytes);
    std::memcpy(page.bytes().data(), bytes.data(), bytes.size());
  }

  std::vector<std::string> next_keys() {
    std::vector<std::string> keys;
    for (std::size_t i = 0; i < batch; ++i)
      keys.push_back(name_ + "/" + std::to_string(next_++));
    return keys;
  }

  void acknowledge(const std::vector<std::string>& keys, const maru::result<std::vector<ec>>& codes) {
    if (!codes)
      return failed("commit", codes.code());
    for (std::size_t i = 0; i < keys.size(); ++i)
      if ((*codes)[i] == ec::ok) {
        tell("+" + keys[i]);
        mine_.push_back(keys[i]);
      } else {
        failed("commit", (*codes)[i]);
      }
  }

  // Reads what all workers store, and keeps the view.
  void read_shared() {
    auto key = "shared/" + std::to_string(random_() % shared_keys);
    auto v = client_.retrieve(key);
    if (v) {
      compare(key, *v);
      if (views_.size() < views_max)
        views_.push_back({key, *std::move(v)});
      else
        views_[random_() % views_max] = {key, *std::move(v)};
    } else if (v.code() == ec::missing) {
      auto bytes = content_of(key, page_bytes);
      auto stored = client_.store(key, std::as_bytes(std::span{bytes}));
      if (!stored && stored.code() != ec::exists)
        failed("store", stored.code());
    } else {
      failed("retrieve", v.code());
    }
  }

  void check_views() {
    for (const auto& v : views_)
      compare(v.key, v.bytes);
  }

  void compare(const std::string& key, const maru::view& v) {
    auto wanted = content_of(key, page_bytes);
    if (v.bytes().size() != wanted.size() || std::memcmp(v.bytes().data(), wanted.data(), wanted.size()) != 0)
      tell("wrong " + key);
  }

  // Pages that are granted and never finished: written again at every step, also after their session is over. Now and
  // then one is let go and another one taken.
  void write_halves() {
    if (half_.size() == half_written && random_() % 8 == 0)
      half_.erase(half_.begin() + static_cast<std::ptrdiff_t>(random_() % half_written));
    while (half_.size() < half_written) {
      auto page = client_.alloc(page_bytes);
      if (!page)
        return failed("alloc", page.code());
      half_.push_back(*std::move(page));
    }
    for (auto& page : half_)
      std::memset(page.bytes().data(), 0xAB, page_bytes / 2);
  }

  void remove_oldest() {
    if (mine_.size() <= keys_max)
      return;
    std::vector<std::string> keys;
    for (std::size_t i = 0; i < batch; ++i) {
      keys.push_back(mine_.front());
      mine_.pop_front();
      tell("-" + keys.back());
    }
    std::vector<std::string_view> names{keys.begin(), keys.end()};
    if (auto removed = client_.remove(names); !removed)
      failed("remove", removed.code());
  }

  maru::client& client_;
  const std::string name_;
  std::mt19937_64 random_;
  const int log_;
  std::uint64_t session_ = 0;
  std::uint64_t next_ = 0;
  std::deque<std::string> mine_;
  std::vector<kept_view> views_;
  std::vector<maru::page_buffer> half_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6)
    return 2;
  int log = ::open(argv[4], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  auto c = maru::client::open(
    {.server = argv[1], .instance = argv[2], .chunk_bytes = page_bytes, .timeout = std::chrono::seconds{30}});
  if (log < 0 || !c)
    return 1;
  load work{**c, argv[2], std::stoull(argv[3]), log};
  work.arm();
  for (;;) {
    work.step();
    std::this_thread::sleep_for(std::chrono::milliseconds{std::stol(argv[5])});
  }
}
