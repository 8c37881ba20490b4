// The client as a Python object: what a MaruHandler calls.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "net/client.hpp"
#include "python/module/page_book.hpp"
#include "python/module/service_pins.hpp"

namespace maru::python {

// Batches have at most bounds::batch_items_max keys. Calls that can wait for marud do so without the GIL; they throw
// `failure` when the call as a whole failed, and TypeError for keys of a wrong type, before anything is sent.
// Concurrency: all members from any thread that has the GIL.
class client_object {
public:
  explicit client_object(client_options options);

  // Ends the session and gives pages and pins back; views stay. Later calls fail with `session_over`.
  void close();

  // (region_id, page_index, memoryview of `size` bytes); None when `budget` pages are allocated already.
  // REQUIRES: size <= the chunk's size that the client was opened with.
  pybind11::object alloc(std::size_t size, std::optional<std::size_t> budget);
  // Copies a bytes-like object to a page that was allocated and that nobody else writes to, as the whole chunk. ValueError:
  // there is no such page, or it is smaller.
  void fill(std::uint32_t region, std::uint32_t page, const pybind11::object& source);
  // What happened to the page: "freed", or the state it stays in: "committed", "doubtful", "unknown".
  std::string free(std::uint32_t region, std::uint32_t page);
  // One bool per key, and whether some False only means that no answer came. `handles` have _region_id, _page_index and
  // _size: AttributeError for what has not, ValueError for a size that no page of this client has; then nothing was
  // done.
  pybind11::tuple store(const pybind11::list& keys, const pybind11::list& handles);

  // An instance of `info_class`, with view, region_id and page_index in its __slots__, per key that is there, else None.
  pybind11::list retrieve(const pybind11::list& keys, const pybind11::type& info_class);
  pybind11::list exists(const pybind11::list& keys);
  // True per key that is pinned now: none after the first miss.
  pybind11::list pin(const pybind11::list& keys);
  pybind11::list unpin(const pybind11::list& keys);
  // Ends one pin by key on what lies on the page, later and without waiting. False: none is held.
  bool release_pin(std::uint32_t region, std::uint32_t page);
  // "ok", "missing" or "pinned" per key.
  pybind11::list remove(const pybind11::list& keys);

  // (memoryview, bytes of a page) of a region, None where there is none of that id.
  pybind11::object region(std::uint32_t id);
  // (region_id, pages) of one more region that this client's pages are to come from; none is taken yet.
  pybind11::tuple show_region(std::size_t pages);
  // The shown regions, as (region_id, pages); a count of committed pages, which makes `allocated` exact; and with
  // `totals` the pool's numbers.
  pybind11::dict usage(bool totals);
  // How many pages count as allocated: in all, and for each region.
  std::size_t allocated() const { return book_.allocated(); }
  std::map<std::uint32_t, std::size_t> allocated_by_region() const { return book_.allocated_by_region(); }
  pybind11::dict info() const;

private:
  // Declared in this order: what is held of the client goes before it does.
  std::chrono::milliseconds timeout_;
  std::size_t chunk_bytes_;
  std::shared_ptr<client> client_;
  page_book book_;
  service_pins pins_;
};

void add_client_type(pybind11::module_& module);

}  // namespace maru::python
