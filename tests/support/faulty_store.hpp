// A metadata_store in memory that misbehaves on order: it fails or holds the n-th write, and forgets what was not
// synced, as a host does that loses its power.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "storage/metadata_store.hpp"

namespace maru::test {

// Threading: all members from any thread. A drop_entries() counts as a write.
class faulty_store final : public storage::metadata_store {
public:
  enum class stored : std::uint8_t { no, yes };

  // The `n`-th write from now (1 is the next one) returns `e`. With stored::yes it takes effect all the same: the case
  // of an answer that got lost, which a caller must not take for "nothing happened".
  void fail_write(std::uint64_t n, error e, stored effect = stored::no) {
    std::lock_guard guard{mutex_};
    failures_[writes_ + n] = {std::move(e), effect};
  }

  // Writes from the `n`-th from now on wait until release_writes().
  void hold_writes(std::uint64_t n = 1) {
    std::lock_guard guard{mutex_};
    hold_from_ = writes_ + n;
  }
  void release_writes() {
    std::lock_guard guard{mutex_};
    hold_from_.reset();
    changed_.notify_all();
  }
  // True once `n` writes wait, false if the limit comes first.
  bool wait_for_held(std::size_t n, std::chrono::milliseconds limit = std::chrono::seconds{5}) {
    std::unique_lock lock{mutex_};
    return changed_.wait_for(lock, limit, [&] { return held_ >= n; });
  }

  // `look` runs before and after each write, in the thread that writes.
  void watch_writes(std::function<void()> look) { look_ = std::move(look); }

  // What is in it now, and back to that. No failure that was ordered is left. No write may be under way.
  std::shared_ptr<storage::metadata_store> copy() const { return copy_of(*live()); }
  void go_back_to(const storage::metadata_store& then) {
    std::lock_guard guard{mutex_};
    live_ = copy_of(then);
    unsynced_.clear();
    failures_.clear();
  }

  // Back to what the last synced write or flush left. No write may be under way.
  void forget_unsynced() {
    std::lock_guard guard{mutex_};
    live_ = copy_of(*durable_);
    unsynced_.clear();
  }

  std::uint64_t writes() const {
    std::lock_guard guard{mutex_};
    return writes_;
  }

  status write(storage::write_batch batch, bool sync) override {
    look_();
    auto s = write_unwatched(std::move(batch), sync);
    look_();
    return s;
  }

  result<std::optional<storage::entry_record>> entry(const key_hash& hash) const override {
    return live()->entry(hash);
  }
  status scan_entries(const key_hash& from,
                      const std::function<bool(const key_hash&, const storage::entry_record&)>& visit,
                      const std::function<void(const key_hash&)>& damaged = {}) const override {
    return live()->scan_entries(from, visit, damaged);
  }
  result<std::vector<storage::session_record>> sessions() const override { return live()->sessions(); }
  result<std::optional<storage::pool_record>> pool() const override { return live()->pool(); }
  storage::store_stats stats() const override { return live()->stats(); }

  status drop_entries() override {
    std::unique_lock lock{mutex_};
    auto failure = next_write(lock);
    if (failure && failure->effect == stored::no)
      return failure->cause;
    if (auto s = live_->drop_entries(); !s)
      return s;
    auto s = settle();
    if (s)
      s = durable_->drop_entries();
    return failure ? failure->cause : s;
  }

  status flush() override {
    std::lock_guard guard{mutex_};
    return settle();
  }

private:
  struct failure_plan {
    error cause;
    stored effect = stored::no;
  };

  status write_unwatched(storage::write_batch batch, bool sync) {
    std::unique_lock lock{mutex_};
    auto failure = next_write(lock);
    if (failure && failure->effect == stored::no)
      return failure->cause;
    if (auto s = live_->write(batch, sync); !s)
      return s;
    unsynced_.push_back(std::move(batch));
    auto s = sync ? settle() : status{};
    return failure ? failure->cause : s;
  }

  // Counts the write, waits if it is to be held, and tells how it is to fail.
  std::optional<failure_plan> next_write(std::unique_lock<std::mutex>& lock) {
    auto number = ++writes_;
    if (hold_from_ && number >= *hold_from_) {
      ++held_;
      changed_.notify_all();
      changed_.wait(lock, [&] { return !hold_from_ || number < *hold_from_; });
      --held_;
    }
    auto planned = failures_.extract(number);
    return planned ? std::optional{std::move(planned.mapped())} : std::nullopt;
  }

  // Everything written so far becomes durable: a log is synced as a whole.
  status settle() {
    for (auto& batch : unsynced_)
      if (auto s = durable_->write(std::move(batch), true); !s)
        return s;
    unsynced_.clear();
    return {};
  }

  static std::shared_ptr<storage::metadata_store> copy_of(const storage::metadata_store& from) {
    storage::write_batch all;
    // What memory stored a moment ago can be read back.
    static_cast<void>(from.scan_entries({}, [&](const key_hash& hash, const storage::entry_record& record) {
      all.put_entry(hash, record);
      return true;
    }));
    auto sessions = from.sessions();
    for (auto& session : *sessions)
      all.put_session(session);
    if (auto pool = *from.pool())
      all.set_pool(*pool);
    std::shared_ptr<storage::metadata_store> to = storage::make_memory_store();
    static_cast<void>(to->write(std::move(all), true));
    return to;
  }

  std::shared_ptr<storage::metadata_store> live() const {
    std::lock_guard guard{mutex_};
    return live_;
  }

  std::function<void()> look_ = [] {};
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<storage::metadata_store> live_ = storage::make_memory_store();
  std::unique_ptr<storage::metadata_store> durable_ = storage::make_memory_store();
  std::vector<storage::write_batch> unsynced_;
  std::map<std::uint64_t, failure_plan> failures_;
  std::optional<std::uint64_t> hold_from_;
  std::uint64_t writes_ = 0;
  std::size_t held_ = 0;
};

}  // namespace maru::test
