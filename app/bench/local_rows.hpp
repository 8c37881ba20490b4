// The rows of `maru-bench local` as a table, and held against what is promised of local reads.
#pragma once

#include <string>
#include <vector>

#include "app/bench/rows.hpp"

namespace maru::bench {

// Systems of its rows.
inline constexpr auto local_system = "maru-local";        // the client as it is: in the pool itself where it may
inline constexpr auto messages_system = "maru-messages";  // the client told to ask by message
inline constexpr auto map_system = "map";                 // std::unordered_map by the key's bytes
inline constexpr auto hash_map_system = "map-siphash";    // the same by the key's hash, which is computed
inline constexpr auto loop_system = "loop";               // what the loop itself costs
// Operations that promises are about.
inline constexpr auto pinned_op = "retrieve+drop";  // look up, pin and map one key; let go
inline constexpr auto alloc_op = "alloc";           // of a page that is granted already
inline constexpr auto idle_op = "idle";             // no call: the server beside an open client

// Names in row::extra.
inline constexpr auto keys_extra = "keys";                  // that were there
inline constexpr auto server_cpu_extra = "server_cpu_s";    // user and system, in `seconds`
inline constexpr auto reads_locally_extra = "local_reads";  // 1: the client said so
inline constexpr auto missed_extra = "missed";              // keys that were evicted when they were asked for
inline constexpr auto writer_extra = "writer_keys_per_s";   // that the writer committed

// One line a row, of any system: times in ns, the server's CPU time as cores.
std::string local_table_of(const std::vector<row>& rows);

// What is promised of local reads, as targets_of. A cold index is judged with a million keys or more.
std::string local_targets_of(const std::vector<row>& rows);

}  // namespace maru::bench
