// Every bound and default of the product in one place, units in the names. What can be set by the operator has
// its option in base/options.cpp, which reads its default here.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace maru::bounds {

using namespace std::chrono_literals;

inline constexpr std::size_t KiB = 1024, MiB = 1024 * KiB, GiB = 1024 * MiB;

// Requests
inline constexpr std::size_t key_bytes_max = 1024;
inline constexpr std::size_t batch_items_max = 4096;
inline constexpr std::size_t message_bytes_max = 4 * MiB;       // payload of one BASP message is capped at twice this
inline constexpr std::size_t reported_pages_max = 64;           // whose bytes marud is asked to check by one message
inline constexpr std::uint64_t reported_bytes_max = 256 * MiB;  // of those: what is more waits, but for one page
inline constexpr std::size_t requests_in_flight_max = 256;      // a session
inline constexpr std::size_t name_bytes_max = 256;              // instance id, token, paths in hello

// Sessions
inline constexpr std::size_t sessions_max = 1024;
inline constexpr std::size_t grants_max = 4096;                  // a session, default
inline constexpr std::size_t pins_max = message_bytes_max / 16;  // a session: a resume names all in one message
inline constexpr std::size_t shown_regions_max = 1024;           // a session
inline constexpr auto lease = 10s;
inline constexpr auto renew_interval = 500ms;  // also how soon unused grants are recalled: well within grant_wait_max
inline constexpr auto resume_grace = 30s;
inline constexpr auto death_check_interval = 200ms;  // how often a suspect session's lock is tried

// Pool
inline constexpr std::size_t page_bytes_min = 4 * KiB;
inline constexpr std::size_t page_bytes_max = 1 * GiB;
inline constexpr std::size_t page_bytes_default = 64 * KiB;
inline constexpr std::size_t layout_align = 2 * MiB;
inline constexpr std::size_t regions_per_pool = 64;  // a region is this fraction of the pool, see cxl/layout.hpp
inline constexpr std::uint32_t region_id_max = 0x7fffffff;
inline constexpr std::size_t open_step_max = 64 * MiB;  // of a region at a time: 55 ms on tmpfs
inline constexpr std::uint32_t devices_max = 16;        // of a pool at the same time
inline constexpr std::size_t page_sizes_max = 16;       // different page sizes in use at the same time

// Actors
inline constexpr std::size_t condemned_share = 8;  // one page in so many may be in quarantine for its bytes
inline constexpr std::size_t slice_pages = 256;    // no handler sweeps more pages than this
inline constexpr auto grant_wait_max = 1s;         // a grant that nothing can serve is refused after this

// Client
inline constexpr auto request_timeout = 2s;
inline constexpr std::chrono::milliseconds timeout_max{0x7fffffff};  // of a client's calls
inline constexpr auto admission_timeout = 10s;  // a connection that by then showed no token that fits is closed
inline constexpr std::size_t admin_arguments_bytes_max = 64 * KiB;
inline constexpr std::size_t questions_max = 16;  // of operators, at the same time
inline constexpr std::size_t grant_batch = 64;    // pages fetched ahead by one grant request
inline constexpr std::size_t commits_apart = 2;   // messages under way before further commits wait to be joined
inline constexpr auto commit_delay_max = 200us;   // how long they wait at most

// Metrics
inline constexpr std::size_t run_scan_pages = 1 << 20;  // looked at for the longest free run, a second

// Log
inline constexpr std::size_t log_burst = 20;  // lines of one event in a window; further ones are counted
inline constexpr auto log_window = 10s;
inline constexpr std::size_t log_events_max = 256;  // different ones that are counted apart

// Shutdown
inline constexpr auto drain_max = 4s;

// Service manager (systemd)
inline constexpr auto pulse_interval = 5s;       // how often all actors are asked whether they still answer
inline constexpr auto hung_after = 20s;          // and without an answer from all of them marud is not healthy
inline constexpr auto answer_max = 5s;           // the watchdog takes an actor that is silent for longer as stuck
inline constexpr auto start_sign_interval = 5s;  // how often a long start says that it goes on
inline constexpr auto start_extension = 30s;     // which each of these signs asks for

}  // namespace maru::bounds
