// The client behind the public handles: connection, holdings, and the thread that tends both.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "net/client.hpp"
#include "net/connection.hpp"
#include "net/deadline_mutex.hpp"
#include "net/exchange.hpp"
#include "net/failure_reports.hpp"
#include "net/holdings.hpp"
#include "net/lifeline.hpp"
#include "net/records.hpp"

namespace maru::net {

// Operation: callers' threads send their requests and wait for the answers themselves (operations.cpp); the
// housekeeping thread renews, reconnects, refills the reserve, ends the pins of views that are gone, and settles what
// came too late for its caller.
// Concurrency: public members from any thread, `settle_late` from the housekeeping thread only.
// Limits: must not be destroyed on one of its own threads; so nothing that runs there owns it.
class client_impl : public std::enable_shared_from_this<client_impl> {
public:
  // A client whose pool's memory and visibility come from `map`: net::map_pool, or a test's own.
  static result<std::shared_ptr<client>> open_client(client_options options, pool_mapper map);
  ~client_impl();
  void close();

  const client_options& options() const { return options_; }
  connection& wire() { return connection_; }
  holdings& held() { return held_; }
  time_point deadline() const { return std::chrono::steady_clock::now() + options_.timeout; }
  // ok, or `session_over`: after close, and in a child of the process that opened the client.
  status open_for_calls() const;
  client_info info() const;

  result<page_buffer> alloc(std::size_t size);
  result<std::vector<page_buffer>> alloc(std::size_t n, std::size_t size);
  result<std::span<const std::byte>> bytes(const location& where);
  // Regions: client_regions.cpp
  result<shown_region> show_region(std::size_t pages);
  result<pool_usage> usage(bool totals);
  result<region_info> region(region_id id);
  result<region_memory> region_bytes(region_id id, std::uint64_t first, std::uint64_t pages);
  // Maps the regions of these pages, as far as they exist.
  status map_regions(const session_life& life, std::span<const page_ref> pages, time_point deadline);
  // The same of the views that lie in the pool as it is now; whether a view does.
  status map_regions_of(std::span<const view> views, time_point deadline);
  bool is_current(const view& v) const;
  // REQUIRES: the view's pin is in the book, or in the session's table where `pinned` says.
  static view make_view(lifeline_ptr line, const key_hash& hash, const location& where, const local_pin& pinned);
  // Gives a view its bytes; `missing`: map_regions was not asked for its page, or there is none. `corrupt` where they do not
  // fit their checksum, `memory_failed` where they are lost; marud is told.
  status show(view& v);
  static bool intact(const view& v);
  // What was written to the page is lost: it is never used again by this client, and marud is told. Empties the handle.
  void give_up(page_buffer& page);
  bool is_sound(std::span<const std::byte> bytes) const;

  // Keeps the client from being ended while pages and views are made, and is what they keep. `session_over` after close, in
  // a child of the process that opened the client, and where there is no session yet.
  result<lifeline_ptr> line();
  // Of lifelines: the session is not ended before the last is released.
  void take_hold() { ++holds_; }
  void release_hold();

  // What handles do when they go.
  static void let_go(page_buffer& page);
  static void let_go(view& v);
  // The page was committed, is gone or in doubt: empties the handle, the reserve knows the rest.
  static void empty(page_buffer& page);
  // The page's bytes from `first` on, before its commit, and before anybody else may be granted it: see
  // cxl/visibility.hpp. Nothing to do where `fill` wrote them.
  static void publish(const page_buffer& page, std::size_t first = 0);
  static void fill(page_buffer& page, std::span<const std::byte> chunk);
  static std::uint64_t checksum_of(const page_buffer& page);
  static const session_life* life_of(const page_buffer& page) { return page.line_ ? page.line_->life.get() : nullptr; }
  bool owns(const page_buffer& page) const { return page.line_ && page.line_->owner.get() == this; }

  void wake() { jobs_->wake(); }
  // The outcome of a commit that nobody waits for.
  void settle_late(doubtful_commit commit, outcome& o);

private:
  static result<std::shared_ptr<client_impl>> open(client_options options, pool_mapper map);
  client_impl(client_options options, server_address server, std::shared_ptr<runtime> owner, pool_mapper map);
  void keep_house();
  time_point tend_holdings(const session& s);
  void send_unpins(const session& s);
  void end_old_pins(const session& s);
  void end_key_pins(const session& s);
  void give_back(const session& s, std::size_t n);
  void refill(const session& s);
  // Grants that came without a caller: maps their regions and puts them into the reserve, then calls `done`.
  void receive_grants(std::uint64_t wire_number, outcome& o, const std::function<void()>& done);
  void keep_grants(const session& s, std::vector<page_grant> grants);
  status show_again(const session& s, time_point deadline);
  status show_all(const session& s, time_point deadline);
  result<shown_region> ask_to_show(const session& s, std::size_t pages, time_point deadline);
  static pool_usage usage_of(const usage_reply& reply, const grant_reserve::use_by_region& held);
  result<std::shared_ptr<const mapped_pool>> pool_with(region_id id);
  status fetch(std::size_t n, time_point deadline);
  status ask_for_pages(std::size_t n, time_point deadline);
  void end_fetch();
  static std::vector<page_ref> pages_of(std::span<const page_grant> grants);
  // The line, where the lease runs and pages hold so much. `until`: the call's deadline, once it had to wait.
  result<lifeline_ptr> line_for(std::size_t size, std::optional<time_point>& until);
  time_point begun(std::optional<time_point>& until) const;
  status find_bytes(page_buffer& page, std::size_t size);
  result<std::vector<page_buffer>> make_pages(const lifeline_ptr& line, const holdings::taken& taken, std::size_t size);
  // Before bytes are shown: `corrupt`, and reported, where checksums are verified and they do not fit theirs;
  // `memory_failed`.
  status check(const session_life& life, const location& where, std::span<const std::byte> bytes);
  void report_failed_memory(const session& s);
  session_ptr session_of(std::uint64_t wire_number) const;

  const client_options options_;
  const std::shared_ptr<job_queue> jobs_;
  const std::shared_ptr<runtime> runtime_;
  holdings held_;
  connection connection_;
  std::atomic<std::size_t> holds_{0};  // lifelines
  lifelines lines_;

  // Held while regions are shown, messages included. `shows_`: of the session `showing_tenure_`, as marud counts them.
  deadline_mutex show_mutex_;
  std::vector<std::size_t> wanted_pages_;  // of every region that the caller was shown, in order
  std::uint64_t showing_tenure_ = 0;
  std::uint32_t shows_ = 0;
  std::size_t shows_again_ = 0;                 // of wanted_pages_, how many the session was asked for
  std::atomic<std::uint64_t> shown_tenure_{0};  // the session that was shown all of them

  std::mutex fetch_mutex_;
  std::condition_variable fetched_;
  bool fetching_ = false;
  std::atomic<std::uint64_t> damaged_{0};
  std::atomic<bool> ahead_{false};  // pages are in demand: keep the reserve filled

  std::mutex finish_mutex_;
  std::condition_variable finish_changed_;
  bool finished_ = false;

  // Of the housekeeping thread
  std::optional<time_point> unpins_sent_;
  time_point unpins_after_{};
  time_point old_pins_after_{};
  time_point resend_after_{};
  time_point refill_after_{};
  failure_reports failures_;
  time_point reports_after_{};  // marud was busy
  std::unique_ptr<std::thread> keeper_;
};

}  // namespace maru::net
