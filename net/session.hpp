// Opening a session: hello, the proof of life, and the pool's memory. Functions without state; connection.cpp decides
// when to call them.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/error.hpp"
#include "base/file_lock.hpp"
#include "base/key_hash.hpp"
#include "cxl/visibility.hpp"
#include "net/client.hpp"
#include "net/commit_queue.hpp"
#include "net/holdings.hpp"
#include "net/link.hpp"
#include "net/local_pool.hpp"
#include "net/pool_devices.hpp"
#include "net/region_map.hpp"
#include "net/session_holds.hpp"

namespace maru::net {

// A pool's contents as this process sees them.
struct mapped_pool {
  std::string id;    // 16 bytes
  std::string path;  // of its first device, here
  std::shared_ptr<pool_devices> devices;
  std::shared_ptr<region_map> regions;
  std::shared_ptr<const cxl::visibility> visible;
};

// What pages and views of a session keep as long as they live: the memory they lie in, and the proof that this process
// lives, without which marud would give the pages to others.
struct session_life {
  std::uint64_t tenure = 0;  // see holdings
  std::shared_ptr<const mapped_pool> pool;
  std::shared_ptr<file_lock> alive;  // null where marud runs on another host
  std::string lock_path;
  hash_secret secret{};
  std::uint64_t page_bytes = 0;
  std::chrono::milliseconds pin_age_max{};  // 0: pins by key may grow old
  payload_checksums checksums = payload_checksums::off;
  std::shared_ptr<session_holds> holds;     // null where there is no file for it
  std::shared_ptr<const local_pool> local;  // null where keys are looked up by message, and then:
  std::string why_not_local;
};

// A session over one connection. Never changes; a resumed session is a new object with the same id and tenure.
struct session {
  std::shared_ptr<link> wire;
  std::shared_ptr<commit_queue> commits;
  std::uint64_t wire_number = 0;  // see holdings
  std::uint64_t id = 0;
  std::string resume_secret;
  std::uint64_t epoch = 0;
  std::uint64_t index_word = 0;  // of the pool's devices as this session knows them
  std::chrono::milliseconds lease{};
  std::shared_ptr<const session_life> life;
};
using session_ptr = std::shared_ptr<const session>;

// What a client says of itself. `previous` may be null; then nothing is resumed.
hello introduce(const client_options& options, const std::string& token, const session* previous,
                const holdings::declaration& held);

// The request that ends these pins.
unpin_request unpin_of(std::span<const pin_id> pins);

// Sends hello and checks the reply. Errors: the reply's code and reason; unavailable, timeout; corrupt.
result<hello_reply> greet(link& wire, hello message, time_point deadline);

// Locks the file that proves that this process lives. An empty pointer where it cannot be opened: marud runs on
// another host. `in_use`: somebody else holds it.
result<std::shared_ptr<file_lock>> prove_alive(const std::string& path, time_point deadline);

// Maps the pool's index for reading, and has marud confirm that both sides see the same memory. Errors say why keys are
// looked up by message.
result<std::shared_ptr<const local_pool>> attach_locally(const client_options& options, const hello_reply& reply,
                                                         const pool_devices& devices, session_holds* holds, link& wire,
                                                         time_point deadline);

// Opens the pool's data where this process sees it. `io`: it cannot be opened. `unknown_contents`: it is something
// else. Both name the path and the option. `invalid`: this machine lacks the pool's mode of visibility.
result<std::shared_ptr<const mapped_pool>> map_pool(const client_options& options, const hello_reply& reply);
// Stands in for map_pool where memory and visibility are a test's own.
using pool_mapper = std::function<decltype(map_pool)>;

}  // namespace maru::net
