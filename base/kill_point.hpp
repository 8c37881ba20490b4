// Places where a test has marud die: the environment variable MARU_KILL_POINT=NAME:N[:SEED] arms one of them, and each
// time it is reached the process kills itself (SIGKILL: nothing is flushed, nobody is told) with chance 1 in N.
//
// marud reads the variable once, before it has threads; nothing arms a point later. Unarmed, a point costs one branch on a
// plain global. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace maru {

// Order is free; names are what to_string says: "after_grant", ...
enum class kill_at : std::uint8_t {
  // a session is shown a region
  region_chosen,    // its row is in the table, no session's record names it
  region_recorded,  // the record does, the reply is not sent
  // a put
  after_grant,        // the descriptors of a grant are written, the reply is not sent
  after_descriptors,  // of a group of commits, before the RocksDB write
  after_record,       // the RocksDB write is done
  before_insert,      // the index does not know of the group yet
  inside_bucket,      // a bucket of the index in the pool is half written
  before_reply,       // the index knows, the workers do not
  // a removal or an eviction
  after_announce,        // the descriptors say evicting, nobody has looked who holds the pages
  after_mark_evicting,   // nobody holds them, RocksDB has the records
  after_record_deleted,  // RocksDB has them no more, the descriptors still say evicting
  after_free,            // the descriptors are free, the pages are not returned yet
  // a pin that a worker takes without a message
  pin_named,    // its slot names the page, the page's state is not checked yet
  pin_checked,  // the pin is taken, the caller does not know yet
  // a session that comes back
  resume_grants,  // its grants are settled, its pins are not
  resume_reply,   // all is settled, the reply is not sent
  // a change of devices
  device_adopted,    // a new one says that it is the pool's, RocksDB does not know it
  device_forgotten,  // RocksDB knows one no more that says it is the pool's
  // a start
  between_superblocks,  // one copy has the next epoch (or generation), the other one does not
  recovery_entry,       // on each entry read
  recovery_page,        // on each page sorted
  before_repairs,       // pages are sorted, RocksDB has the entries that are dropped
  after_repairs,
  last_ = after_repairs,
};

std::string_view to_string(kill_at point);

// Arms what `text` says; nothing where it is null or empty. `bad_option`: no such point, or no chance.
// REQUIRES: no other thread runs.
status arm_kill_point(const char* text);

namespace detail {
extern bool kill_point_armed;
void reach_kill_point(kill_at point);
}  // namespace detail

inline void kill_point(kill_at point) {
  if (detail::kill_point_armed) [[unlikely]]
    detail::reach_kill_point(point);
}

}  // namespace maru
