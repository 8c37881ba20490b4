// What the workers of all sessions hold by their own word, in the files that they write (cxl/held_pages.hpp). Shared between
// the actors: the pin_ledger adds and takes away, the store_workers look before a page is given up, the index_shards read
// what was used.
//
// Concurrency: any thread. A table is added before its session is opened and taken away when its worker is proven dead or
// said goodbye, so whoever looks after it marked a page sees every pin that counts.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <shared_mutex>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/types.hpp"
#include "cxl/held_pages.hpp"

namespace maru::actors {

class session_tables {
public:
  using table = std::shared_ptr<const cxl::held_pages_reader>;
  using hold = cxl::held_pages_reader::kinds;

  // `io`: the session's file cannot be opened.
  status add(session_id session, const std::string& path);
  // The same for a session of before a restart. A file that is there and cannot be opened holds everything, as one does
  // that cannot be read.
  status add_known(session_id session, const std::string& path);
  void remove(session_id session);
  table find(session_id session) const;
  std::vector<std::pair<session_id, table>> all() const;

  // How many sessions hold a page, as of now.
  std::size_t holders(page_ref page) const;
  // What is held of each page by anybody. REQUIRES, for an answer that stays true: the pages were marked before
  // (descriptor_table::announce_eviction); the fences are in here. A file that cannot be read holds them all.
  std::vector<hold> held(std::span<const page_ref> pages) const;

private:
  mutable std::shared_mutex mutex_;
  std::map<session_id, table> tables_;
};

}  // namespace maru::actors
