// The systems that Maru is measured beside.
#pragma once

#include <memory>

#include "app/bench/cell_worker.hpp"

namespace maru::bench {

// `unavailable`: nobody answers at job.server, HOST:PORT or unix:/PATH.
result<std::unique_ptr<kv_target>> open_redis(const cell_job& job);
result<std::unique_ptr<kv_target>> open_memcached(const cell_job& job);

}  // namespace maru::bench
