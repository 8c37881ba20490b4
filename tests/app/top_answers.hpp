// Answers of a marud as `maructl top` gets them, for its tests to change.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "app/maructl/top/sample.hpp"

namespace maru::ctl {

struct answers {
  nlohmann::json status = nlohmann::json::parse(R"({
    "version": "0.1.0", "server_epoch": 3, "uptime_ms": 60000, "ready": true,
    "pool": {"path": "/dev/shm/maru/pool", "bytes": 2147483648, "unassigned_bytes": 436207616},
    "pages": {"free": 899, "granted": 12, "committed": 25213, "evicting": 3, "quarantined": 0, "retired": 0},
    "page_sizes": [{"page_bytes": 65536, "free": 899, "granted": 12, "committed": 25213, "evicting": 3,
                    "quarantined": 0, "retired": 0}],
    "pins": 5, "pins_held_dead": 0, "lookups": {"hit": 75, "miss": 25}, "evicted": 10})");
  nlohmann::json sessions = nlohmann::json::parse(R"({"sessions": [
    {"id": 7, "instance": "worker-1", "host": "node", "state": "active", "committed_bytes": 1048576, "grants": 12,
     "pins": 5, "requests": 1000, "lease_left_ms": 9500}]})");
  std::string metrics;

  sample read() const { return read_sample(status, sessions, metrics); }
};

}  // namespace maru::ctl
