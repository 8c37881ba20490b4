// Request traces: the format published by the Mooncake project with its FAST'25 paper (one JSON object a line), and a
// seeded generator of multi-turn conversations in the same shape.
//
//   {"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1, 2]}
//
// `hash_ids` name the prompt's prefix blocks of 512 tokens in order: the same id means the same tokens after the same
// prefix, so a block is one KV chunk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace maru::bench {

inline constexpr std::size_t block_tokens = 512;
inline constexpr std::size_t trace_line_bytes_max = 4 << 20;
inline constexpr std::size_t trace_blocks_max = 1 << 16;  // a request
inline constexpr std::size_t trace_requests_max = 10'000'000;

struct request {
  std::uint64_t timestamp_ms = 0;
  std::uint64_t input_tokens = 0;
  std::uint64_t output_tokens = 0;
  std::vector<std::uint64_t> blocks;
  friend bool operator==(const request&, const request&) = default;
};

struct trace {
  std::vector<request> requests;

  std::size_t block_count() const;
  std::size_t distinct_blocks() const;
  // Blocks of the longest request.
  std::size_t longest() const;
};

// One line. `invalid`, with the line's number, where it is not such an object.
result<request> parse_request(std::string_view line, std::size_t line_number);

// The first `requests_max` requests of a file (0: all). `missing`: no such file. `invalid`: a bad line.
result<trace> read_trace(const std::string& path, std::size_t requests_max = 0);

// Chat with a few shared system prompts: conversations come and go, a turn's prompt is everything said so far plus the
// new question. Full blocks of a prompt keep their id in later turns; its last, partly filled one does not.
struct conversation_options {
  std::uint64_t seed = 1;
  std::size_t requests = 2000;
  std::size_t open_conversations = 48;        // at the same time
  double turns_mean = 4;                      // geometric
  std::size_t system_prompts = 4;             // the first is chosen half of the time, the next a quarter, ...
  std::size_t system_blocks = 6;              // each
  double question_tokens_mean = 900;          // exponential, at least 1
  double answer_tokens_mean = 350;            // exponential, at least 1
  std::size_t prompt_tokens_max = 64 * 1024;  // a conversation that grows past this ends
  double gap_ms_mean = 300;                   // between requests
};
trace generate_conversations(const conversation_options& options);

}  // namespace maru::bench
