// Maru as a system behind `kv_target`: one client process of a cell over the client library.
#pragma once

#include <memory>

#include "app/bench/cell_worker.hpp"
#include "base/bounds.hpp"

namespace maru::bench {

inline constexpr std::uint64_t cell_page_bytes = bounds::page_bytes_min;

// A client of the marud at job.server. A put commits pages of which the first job.value_bytes are the key's payload;
// the rest is left as it is. Reads go by message: this is what is measured here. `unavailable` as client::open.
result<std::unique_ptr<kv_target>> open_maru(const cell_job& job);

// How to start this program as a client process of a cell, and `clients` of them with one job.
child_options maru_client(const cell_job& job);
result<cell> start_maru_cell(unsigned clients, const cell_job& job);

// Such a process: serves the cell that its parent handed on. Its exit code.
int run_maru_client(const std::string& job);

}  // namespace maru::bench
