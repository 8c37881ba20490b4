// The full pool that `maru-bench local` reads from: its marud, the keys that are kept there, and the writer that makes
// it evict.
#pragma once

#include <memory>

#include "app/bench/cell.hpp"
#include "app/bench/cell_worker.hpp"
#include "app/bench/server_process.hpp"
#include "net/client.hpp"

namespace maru::bench {

struct local_pool_options {
  std::uint64_t keys = 0;         // that reads choose among
  std::uint64_t writer_rate = 0;  // keys a second at most
  std::uint64_t spare_pages = 0;  // of keys that nobody reads: the writer's commits evict them, the oldest first
};

// Operation: `start` fills it; `begin_writing` and `end_writing` around what is measured beside a writer. Only the
// first cache line of each chunk is written. Owned by one thread.
class local_pool {
public:
  static result<local_pool> start(const local_pool_options& options);

  const std::string& address() const { return server_.address(); }
  pid_t server_pid() const { return server_.pid(); }
  std::uint64_t pages() const { return pages_; }

  // The writer is a process with a client of its own. It is started, and the keys that reads choose among are made
  // newer than what it wrote, where it could come to evict them within `seconds`.
  status begin_writing(double seconds);
  // Keys that it committed since.
  result<std::uint64_t> end_writing();

  // Reads the hot keys through this client and holds their bytes against what was written. `corrupt`: some are wrong.
  status check_bytes(client& through) const;

  status stop();

private:
  // Keys first ... first + count - 1 are there when it returns, and the newest of all.
  status keep(std::uint64_t first, std::uint64_t count);

  local_pool_options options_;
  std::uint64_t pages_ = 0;
  std::uint64_t evictable_ = 0;  // pages of keys that are older than those that reads choose among
  std::uint64_t written_ = 0;    // by the writer, in all
  server_process server_;
  std::unique_ptr<kv_target> keeper_;
  std::unique_ptr<cell> writer_;
};

}  // namespace maru::bench
