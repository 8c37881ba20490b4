// The twin for tests. It keeps the encoded bytes, so that it accepts and refuses exactly what RocksDB does.
#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "storage/metadata_store.hpp"
#include "storage/records.hpp"

namespace maru::storage {

namespace {

class memory_store final : public metadata_store {
public:
  status write(write_batch batch, bool) override {
    // All or nothing: encode everything before the first change.
    std::vector<std::optional<std::string>> entries, sessions;
    std::string bytes;
    for (auto& change : batch.entries) {
      if (change.record)
        if (auto s = encode(*change.record, bytes); !s)
          return s;
      entries.push_back(change.record ? std::optional{bytes} : std::nullopt);
    }
    for (auto& change : batch.sessions) {
      if (change.record)
        if (auto s = encode(*change.record, bytes); !s)
          return s;
      sessions.push_back(change.record ? std::optional{bytes} : std::nullopt);
    }
    std::lock_guard guard{mutex_};
    for (std::size_t i = 0; i < entries.size(); ++i)
      apply(entries_, std::string{view(entry_key(batch.entries[i].hash))}, std::move(entries[i]));
    for (std::size_t i = 0; i < sessions.size(); ++i)
      apply(sessions_, std::string{view(session_key(batch.sessions[i].id))}, std::move(sessions[i]));
    if (batch.pool)
      pool_ = encode(*batch.pool);
    return {};
  }

  result<std::optional<entry_record>> entry(const key_hash& hash) const override {
    std::lock_guard guard{mutex_};
    auto i = entries_.find(std::string{view(entry_key(hash))});
    if (i == entries_.end())
      return std::optional<entry_record>{};
    auto record = decode_entry(i->second);
    if (!record)
      return record.error();
    return std::optional{*std::move(record)};
  }

  status scan_entries(const key_hash& from, const std::function<bool(const key_hash&, const entry_record&)>& visit,
                      const std::function<void(const key_hash&)>& damaged) const override {
    // A copy, because a scan sees the store as it was at its start, and `visit` may call back into it.
    std::vector<std::pair<std::string, std::string>> snapshot;
    {
      std::lock_guard guard{mutex_};
      snapshot.assign(entries_.lower_bound(std::string{view(entry_key(from))}), entries_.end());
    }
    for (auto& [key, bytes] : snapshot) {
      auto hash = *parse_entry_key(key);
      auto record = decode_entry(bytes);
      if (record) {
        if (!visit(hash, *record))
          break;
      } else if (damaged) {
        damaged(hash);
      }
    }
    return {};
  }

  result<std::vector<session_record>> sessions() const override {
    std::lock_guard guard{mutex_};
    std::vector<session_record> out;
    for (auto& [key, bytes] : sessions_) {
      auto record = decode_session(bytes);
      if (!record)
        return record.error();
      out.push_back(*std::move(record));
    }
    return out;
  }

  result<std::optional<pool_record>> pool() const override {
    std::lock_guard guard{mutex_};
    if (!pool_)
      return std::optional<pool_record>{};
    auto record = decode_pool(*pool_);
    if (!record)
      return record.error();
    return std::optional{*record};
  }

  status drop_entries() override {
    std::lock_guard guard{mutex_};
    entries_.clear();
    sessions_.clear();
    return {};
  }

  status flush() override { return {}; }

  store_stats stats() const override {
    std::lock_guard guard{mutex_};
    return {.estimated_keys = entries_.size()};
  }

private:
  using table = std::map<std::string, std::string>;  // char_traits compares bytes as unsigned, as RocksDB does

  static void apply(table& rows, std::string key, std::optional<std::string> bytes) {
    if (bytes)
      rows.insert_or_assign(std::move(key), *std::move(bytes));
    else
      rows.erase(key);
  }

  mutable std::mutex mutex_;
  table entries_;
  table sessions_;
  std::optional<std::string> pool_;
};

}  // namespace

std::unique_ptr<metadata_store> make_memory_store() { return std::make_unique<memory_store>(); }

}  // namespace maru::storage
