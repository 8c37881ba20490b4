// What a result was measured on, and how much room this machine has left.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace maru::bench {

struct machine {
  std::string cpu;
  unsigned cores = 0;  // that this process may use
  std::uint64_t memory_bytes = 0;
  std::string kernel;
  std::string system;  // PRETTY_NAME of os-release
};
machine this_machine();
std::string to_string(const machine& m);
nlohmann::json to_json(const machine& m);

// Bytes that can be taken without swapping: the least of the kernel's estimate and what the control group leaves.
std::uint64_t available_memory_bytes();
// Free bytes of the file system of `folder`; 0 where it cannot be asked.
std::uint64_t free_file_system_bytes(const std::string& folder);

}  // namespace maru::bench
