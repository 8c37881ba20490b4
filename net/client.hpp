// The remote actor client: how a worker process uses a pool. Public API.
//
//   auto pool = maru::client::open({.server = "127.0.0.1:5555", .chunk_bytes = 64 << 10});
//   auto page = (*pool)->alloc(chunk.size());                 // no message while grants are in reserve
//   std::memcpy(page->bytes().data(), chunk.data(), chunk.size());
//   (*pool)->commit("model/layer0/abc", *page);               // visible to every worker when it returns
//   auto view = (*pool)->retrieve("model/layer0/abc");        // bytes in place, there while `view` lives
//
// Shapes: keys are 1 to 1024 opaque bytes, batches at most 4096 items; answers have one item per key, in order.
// Units: bytes and milliseconds. Errors: see each call; `timeout` when marud did not answer before the deadline,
// `unavailable` when there is no connection and none came up before it. No call throws.
// Restarts: a call whose connection is lost under way goes on over the next one, until its deadline.
// Threading: every member of `client` from any thread. `page_buffer` and `view` belong to one thread at a time.
// A process that forks opens its client after the fork: one opened before refuses with `session_over`.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bounds.hpp"
#include "base/error.hpp"
#include "base/types.hpp"
#include "net/tls_options.hpp"

namespace maru {

struct client_options {
  std::string server = "127.0.0.1:5555";  // or unix:/PATH, see base/server_address.hpp
  std::string instance;                   // a name for people and logs; empty: host and process id
  std::uint64_t chunk_bytes = 0;          // largest chunk this client writes; 0: the pool's smallest page
  tls_options tls;
  std::string token;  // the secret that marud asks for
  std::string
    token_file;  // a file whose first line is it, read at each connect; with neither: MARU_TOKEN_FILE, MARU_TOKEN
  std::string pool_path;  // where this process sees the pool's data; empty: MARU_POOL_PATH, else by `path_map`
  // {marud's path, this process's path} of files and folders: the longest one that fits replaces the head of a path that
  // marud names. None fits: marud's path.
  std::vector<std::pair<std::string, std::string>> path_map;
  std::chrono::milliseconds timeout = bounds::request_timeout;  // for open and for every call
  std::size_t grant_batch = bounds::grant_batch;                // pages fetched ahead by one message
  bool verify_payloads = false;  // hold chunks against their checksums also where marud does not ask for it
  bool fetch_ahead = true;       // refill grants in the background before they run out
  bool local_reads = true;  // look keys up and pin them in the pool itself, without a message, where this process may;
                            // MARU_LOCAL_READS=0 turns it off, too
  // Memory of the pool that fails (SIGBUS) is an error of the call that meets it, in any case. What the program itself touches
  // in place, by a view or in a page: true survives that too, and the program must ask `intact` after its last touch; false
  // ends it, as memory of its own would, and each call looks at the pages that it hands out first. MARU_GUARD_MEMORY=0 makes it
  // false.
  bool guard_memory = true;
};

namespace net {
class client_impl;
struct lifeline;
struct local_pin;
struct session_life;
template <class T>
struct pending;
}  // namespace net

// A granted page to write a chunk into. Give it to `commit` or let it go: an uncommitted page returns to the client's
// reserve when the object is destroyed.
class page_buffer {
public:
  page_buffer() = default;
  page_buffer(page_buffer&&) noexcept;
  page_buffer& operator=(page_buffer&&) noexcept;
  ~page_buffer();

  // The bytes to write: as many as `alloc` was asked for.
  std::span<std::byte> bytes() const { return bytes_; }
  // Only the first `size` bytes are the chunk's. REQUIRES: size <= bytes().size().
  void shrink(std::size_t size);
  // Copies a whole chunk to the page, in the way that costs least with its pool; `bytes` are the chunk's from then on.
  // REQUIRES: chunk.size() <= bytes().size(); nothing else was or will be written to the page.
  void fill(std::span<const std::byte> chunk);
  const page_grant& grant() const { return grant_; }
  // False when empty, moved from or committed.
  explicit operator bool() const { return line_ != nullptr; }

private:
  friend class net::client_impl;
  friend class client;
  std::shared_ptr<const net::lifeline> line_;
  page_grant grant_;
  std::span<std::byte> bytes_;
  bool filled_ = false;    // by `fill`: published already
  std::uint64_t sum_ = 0;  // the payload checksum, where `fill` made it
};

// A chunk's bytes in place. Until it is destroyed its page is not evicted and not used again; the key may be removed, and
// even committed anew, meanwhile: the bytes stay. Letting go never blocks and sends nothing by itself.
class view {
public:
  view() = default;
  view(view&&) noexcept;
  view& operator=(view&&) noexcept;
  ~view();

  std::span<const std::byte> bytes() const { return bytes_; }
  // Ask after reading: whether all that was read were the chunk's bytes. False: memory of the page failed, and other bytes
  // stood in for it; what was read is to be thrown away, and the key counts as missing. marud is told.
  bool intact() const;
  const location& where() const { return where_; }
  explicit operator bool() const { return line_ != nullptr; }

private:
  friend class net::client_impl;
  friend class client;
  static constexpr std::uint32_t by_message = UINT32_MAX;
  std::shared_ptr<const net::lifeline> line_;
  pin_id pin() const { return pin_of(holding::view, hash_, where_); }
  key_hash hash_;
  location where_;
  std::uint32_t held_ = by_message;  // where in the session's table
  std::uint32_t slot_ = 0;           // of the page's descriptor
  bool alone_ = false;               // asked for by itself
  std::span<const std::byte> bytes_;
};

// The answer to come of an asynchronous call. `get` waits until the client's deadline for that call; it may be called
// once. Dropping a future leaves nothing behind: a pin that arrives late is released.
template <class T>
class future {
public:
  future();
  explicit future(std::unique_ptr<net::pending<T>> p);
  future(future&&) noexcept;
  future& operator=(future&&) noexcept;
  ~future();

  bool ready() const;
  result<T> get();

private:
  std::unique_ptr<net::pending<T>> pending_;
};

struct lookup_flags {
  bool pin = false;          // take a pin on every hit
  bool prefix_stop = false;  // all after the first miss are misses, and not pinned
};

// What a lookup tells of one key: its location, or empty for a miss.
using lookup_result = std::vector<std::optional<location>>;

struct client_info {
  std::uint64_t session = 0;
  std::uint64_t epoch = 0;
  std::uint64_t page_bytes = 0;  // what a page of this client holds
  std::string pool;              // UUID
  std::string pool_path;
  std::size_t grants_in_reserve = 0;
  std::uint64_t damaged = 0;       // chunks read whose bytes did not fit their checksum: each was a miss
  std::size_t pages_in_doubt = 0;  // commits whose answer never came: never reused by this client
  bool connected = false;
  bool local_reads = false;  // keys are looked up in the pool itself, without a message
  std::string why_not_local;
  std::chrono::milliseconds pin_age_max{};  // pins by key that are older end; 0: none does
};

// A region of the pool.
struct region_info {
  region_id id = region_id::none;
  std::uint64_t pages = 0, page_bytes = 0;
};
// Its memory as this process has it mapped.
struct region_memory {
  std::span<std::byte> bytes;
  std::shared_ptr<const void> keeps;  // `bytes` stay mapped as long as this lives
};
// A region that this client was shown: grants come from its first `pages` pages first. `shared`: the pool had no room for
// one of its own; other sessions use its pages too.
struct shown_region {
  region_id id = region_id::none;
  std::uint64_t pages = 0, page_bytes = 0;
  bool shared = false;
};
// The pages of a region, as far as this client uses them; all others count as free.
struct region_use {
  region_id region = region_id::none;
  std::uint64_t pages = 0, page_bytes = 0;  // what was shown of it; all of it where nothing was
  bool shown = false, shared = false;
  std::uint64_t allocated = 0;   // in page_buffers, or in doubt
  std::uint64_t in_reserve = 0;  // granted and free
  std::uint64_t committed = 0;   // by this session, and neither removed nor evicted since
};
struct pool_usage {
  std::vector<region_use> regions;  // those shown, in that order; then others where this client has pages
  // Of the whole pool; all 0 but the shown regions' where totals were not asked for.
  std::uint64_t entries = 0, entry_bytes = 0;        // in the index
  std::uint64_t sessions = 0;                        // connected
  std::uint64_t shown_regions = 0, shown_bytes = 0;  // regions shown to anybody, and those that hold entries
  std::uint64_t pool_bytes = 0,
                pool_free_bytes = 0;  // free: granted to nobody, in no entry, or in this client's reserve
};

class client {
public:
  // Connects, opens a session and checks the pool's identity. Tries again until `options.timeout` is over.
  //   unavailable: nobody answers. refused: wrong token or certificate. version_mismatch. io / unknown_contents: this
  //   process cannot map the pool (the message names the path and the option).
  static result<std::shared_ptr<client>> open(client_options options);

  // Ends the session: its pins and grants end with it; committed entries stay. Later calls, and those under way, answer
  // `session_over`.
  // What a page_buffer or view that still lives holds is kept until it is destroyed: its memory must not get another
  // use before.
  void close();
  ~client();

  // -- puts
  // A page of `size` bytes (0 <= size <= page_bytes). Sends nothing while grants are in reserve.
  //   too_large: over the page size. out_of_memory: nothing free, nothing can be evicted. busy: grant bound reached.
  result<page_buffer> alloc(std::size_t size);
  // `n` pages of `size` bytes, all or none.
  result<std::vector<page_buffer>> alloc_batch(std::size_t n, std::size_t size);
  // Makes the bytes visible under `key`. ok: mine. exists: an earlier commit stays; the page is kept by `page` for
  // another try. timeout: in doubt; the page stays out of use, and the outcome is settled in the background. memory_failed:
  // what was written is lost, and the page is never used again: write it to another one. gone: the
  // page is no longer this client's; after a lost connection that is so, too, where the commit was done and its entry
  // has been evicted or removed since.
  status commit(std::string_view key, page_buffer& page);
  // One code per key, as above. REQUIRES: keys.size() == pages.size().
  result<std::vector<ec>> commit_batch(std::span<const std::string_view> keys, std::span<page_buffer> pages);
  // Takes the pages (they are empty when it returns); one whose key was not committed goes back to the reserve.
  future<std::vector<ec>> commit_async(std::span<const std::string_view> keys, std::span<page_buffer> pages);
  // alloc + copy + commit.
  status store(std::string_view key, std::span<const std::byte> bytes);

  // -- reads
  // Pins: `busy` where the session has as many as marud's --pins-max allows. Those by key end with `unpin`, with the
  // client, and where marud has a --pin-age-max-ms, when nobody took them again for so long. Those of a session that is
  // over (see Restarts) stay held until the client closes, but are not known to `unpin` any more.
  result<lookup_result> lookup(std::span<const std::string_view> keys, lookup_flags flags = {});
  future<lookup_result> lookup_async(std::span<const std::string_view> keys, lookup_flags flags = {});
  // True per key that is there. Does not count as use.
  result<std::vector<bool>> exists(std::span<const std::string_view> keys);
  future<std::vector<bool>> exists_async(std::span<const std::string_view> keys);
  // lookup with pins, without locations: true per key that is pinned now.
  result<std::vector<bool>> pin(std::span<const std::string_view> keys, bool prefix_stop = false);
  future<std::vector<bool>> pin_async(std::span<const std::string_view> keys, bool prefix_stop = false);
  // True per key of which a pin of this session ended.
  result<std::vector<bool>> unpin(std::span<const std::string_view> keys);
  future<std::vector<bool>> unpin_async(std::span<const std::string_view> keys);
  // unpin for those who must not wait: sends nothing itself; pins that were taken by message end by the client's next message
  // of this kind, others at once.
  status unpin_later(std::span<const std::string_view> keys);
  // The bytes of a location that a lookup of this client found and pinned. Maps the region on first use.
  //   missing: no such region or page any more, or its bytes are damaged. memory_failed: they are lost. Who must know of
  //   memory that fails later takes a view.
  result<std::span<const std::byte>> bytes(const location& where);
  // Pins and maps in one step. missing: no such key. memory_failed: its bytes are lost.
  result<view> retrieve(std::string_view key);
  // One per key; empty views for misses (all after the first miss with prefix_stop), and for chunks whose bytes are lost.
  result<std::vector<view>> retrieve_batch(std::span<const std::string_view> keys, bool prefix_stop = false);
  future<std::vector<view>> retrieve_async(std::span<const std::string_view> keys, bool prefix_stop = false);

  // -- regions
  // A region with `pages` pages is this client's from now on: grants come from it before they come from anywhere else, and
  // pages fetched ahead, or with others, come from such regions only. No page and no memory of it is taken yet. Where the
  // pool has no room for it, a region that others use as well is shown (`shared`). After a restart of marud it is still
  // this client's. Where the session itself is over, and the client goes on with a new one, regions of the same sizes are
  // shown again before the next alloc, usage or show_region: usage() tells their ids; entries in the old ones stay.
  // After a `timeout` the region that was asked for may be the one that the next call gets.
  //   out_of_memory: no room, and no region of this page size. too_large: bounds::shown_regions_max. invalid: no pages.
  result<shown_region> show_region(std::size_t pages);
  // What this client uses, exact as of the call; `totals`: and what all use, which asks more of marud.
  result<pool_usage> usage(bool totals = true);
  // Any region of the pool, whoever's. Sends a message on first use. `missing`: there is none.
  result<region_info> region(region_id id);
  // The memory of `pages` whole pages from `first` on. Whether it may be read or written is for grants and pins to say.
  //   missing: no such region, or it has fewer pages.
  result<region_memory> region_bytes(region_id id, std::uint64_t first, std::uint64_t pages);

  // -- the rest
  // ok (removed), missing or pinned per key; views do not keep a key. Where the connection was lost under way it is
  // carried out again: a key that was removed before answers `missing`, one that somebody committed in between is
  // removed as well.
  result<std::vector<ec>> remove(std::span<const std::string_view> keys);
  future<std::vector<ec>> remove_async(std::span<const std::string_view> keys);
  client_info info() const;
  // Whether there is a connection now: one of info's answers, at less cost.
  bool connected() const;

private:
  friend class net::client_impl;
  explicit client(std::shared_ptr<net::client_impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<net::client_impl> impl_;
};

}  // namespace maru
