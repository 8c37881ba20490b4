// A marud that a test holds in its hand: the front door and the sessions of the protocol over a plain model, with a
// file as the pool's data. Each kind of answer can be held back, lost or never made.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/key_hash.hpp"
#include "base/types.hpp"
#include "net/protocol.hpp"
#include "tests/support/temp_folder.hpp"

namespace maru::test {

enum class op {
  hello,
  grant,
  give_back,
  commit,
  lookup,
  exists,
  unpin,
  remove,
  renew,
  regions,
  show_region,
  usage,
  close,
  last_
};

enum class treat {
  answer,  // at once
  hold,    // serve, and answer when the test says release()
  lose,    // serve, never answer
  ignore,  // as if it had never come
  busy,    // refuse
};

// What the fake knows. Survives its actors, as RocksDB survives marud's.
class fake_pool {
public:
  static constexpr std::uint64_t page_bytes = 4096, region_bytes = 1 << 20, data_bytes = 4 << 20;

  fake_pool();

  // -- knobs
  void set(op what, treat how) { how_[static_cast<std::size_t>(what)] = how; }
  treat how(op what) const { return how_[static_cast<std::size_t>(what)]; }
  int count(op what) const { return counts_[static_cast<std::size_t>(what)]; }
  void seen(op what) { ++counts_[static_cast<std::size_t>(what)]; }
  std::atomic<std::uint32_t> lease_ms{10000};
  std::atomic<std::uint32_t> recall{0};
  std::atomic<std::uint8_t> refuse_hello{0};
  std::atomic<bool> forget_sessions{false};  // resume answers session_over
  std::atomic<std::uint32_t> pages_max{1000000};
  std::atomic<std::uint64_t> claimed_bytes{data_bytes};  // the size that hello_reply tells
  std::atomic<std::uint8_t> visibility{0};
  std::atomic<std::uint8_t> checksums{0};
  std::string told_folder;  // where pool and locks are said to be; empty: where they are. Set before clients come.
  std::atomic<std::uint8_t> refuse_regions{0};  // with this code

  // -- looking in
  std::string path() const { return folder_ / "pool"; }
  std::string folder() const { return folder_.path().string(); }
  std::size_t pins() const;     // of all sessions
  std::size_t granted() const;  // pages, of all sessions
  std::size_t entries() const;
  std::size_t sessions() const;
  bool knows(std::string_view key) const;
  void forget(std::string_view key);
  net::hello last_hello() const;
  net::grant_request last_grant() const;
  std::vector<region_share> shown(std::uint64_t session) const;
  std::vector<std::uint8_t> last_flags() const;
  bool leaving() const { return leaving_; }  // as the last renew said

  // -- serving: what the actors call
  net::hello_reply open(const net::hello& m);
  net::grant_reply grant(std::uint64_t session, const net::grant_request& m);
  net::codes_reply give_back(std::uint64_t session, const net::give_back_request& m);
  net::codes_reply commit(std::uint64_t session, const net::commit_request& m);
  net::found_reply lookup(std::uint64_t session, const net::lookup_request& m);
  net::codes_reply exists(const net::exists_request& m);
  net::codes_reply unpin(std::uint64_t session, const net::unpin_request& m);
  net::codes_reply remove(const net::remove_request& m);
  net::renew_reply renew(const net::renew_request& m);
  net::regions_reply regions(const net::regions_request& m);
  net::show_region_reply show_region(std::uint64_t session, const net::show_region_request& m);
  net::usage_reply usage(std::uint64_t session) const;
  net::close_reply close(std::uint64_t session);

private:
  struct session {
    std::string secret;
    std::unordered_map<pin_id, int> pins;
    std::map<page_ref, generation> grants;
    std::vector<region_share> shown;
  };
  net::hello_reply greeting(std::uint64_t id, const session& s) const;
  bool pinned(const key_hash& h) const;
  bool viewed(const location& where) const;

  temp_folder folder_;
  std::atomic<bool> leaving_{false};
  mutable std::mutex mutex_;
  std::array<std::atomic<treat>, static_cast<std::size_t>(op::last_)> how_{};
  std::array<std::atomic<int>, static_cast<std::size_t>(op::last_)> counts_{};
  hash_secret secret_{1, 2, 3};
  std::uint64_t next_session_ = 1;
  std::map<std::uint64_t, session> sessions_;
  std::map<key_hash, location> entries_;
  std::map<page_ref, generation> generations_;
  std::set<page_ref> taken_;
  net::hello last_hello_;
  net::grant_request last_grant_;
  std::vector<std::uint8_t> flags_;
};

// The actors, at a port of loopback.
class fake_marud {
public:
  explicit fake_marud(std::shared_ptr<fake_pool> pool = std::make_shared<fake_pool>());
  ~fake_marud();

  fake_pool& pool() { return *pool_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  // Sends what is held back.
  void release();
  // Ends the session actors; the front door stays.
  void kill_sessions();
  // The whole server goes: connections close, nothing listens.
  void stop();
  // Serves again, at the same port.
  void start();

private:
  struct machinery;
  std::shared_ptr<fake_pool> pool_;
  std::uint16_t port_ = 0;
  std::unique_ptr<machinery> machinery_;
};

}  // namespace maru::test
