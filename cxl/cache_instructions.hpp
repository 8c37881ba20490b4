// What a processor has to get cache lines out of its caches: the tools of software visibility.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

namespace maru::cxl {

// Does something to every line of [line, end). REQUIRES: `line` is the first byte of one.
struct line_action {
  std::string_view instruction;
  void (*run)(const std::byte* line, const std::byte* end);
};

// Copies whole lines and writes them back. REQUIRES: `to` is the first byte of a line, `size` a multiple of lines.
struct line_copy {
  std::string_view instruction;
  void (*run)(std::byte* to, const std::byte* from, std::size_t size);
};

// Each list has what this processor can do, the best first, and is not empty. None of it is done before finish_*.
// cache_instructions_x86.cpp and cache_instructions_arm.cpp have the reasons, with the manuals that they are from.
struct cache_instructions {
  std::size_t line_bytes = 0;           // of the smallest line of any data cache
  std::vector<line_action> write_back;  // what was stored to the lines goes to memory
  std::vector<line_action> drop;        // and the next load comes from there
  std::vector<line_copy> copy;

  // Empty on architectures that are not supported.
  static const std::optional<cache_instructions>& of_this_processor();
};

// What was written back or copied before is in memory before anything that is stored after.
void finish_write_backs();
// No load before is late, what was dropped before is dropped, and no load after is early.
void finish_drops();

}  // namespace maru::cxl
