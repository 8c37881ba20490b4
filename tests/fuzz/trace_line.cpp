// Goal: a line of a request trace is a request or refused with its number (app/bench/trace.hpp). Method: the bytes as a
// line, and as the numbers of a request: one is the same when it is written as a line and read, and within its bounds.
#include <nlohmann/json.hpp>

#include "app/bench/trace.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace maru::fuzz {

namespace {

using namespace bench;

constexpr std::size_t number = 4711;

void hold_survives(const request& r) {
  nlohmann::json line = {{"timestamp", r.timestamp_ms},
                         {"input_length", r.input_tokens},
                         {"output_length", r.output_tokens},
                         {"hash_ids", r.blocks}};
  auto again = parse_request(line.dump(), number);
  must(again && *again == r, "a request survives");
}

void try_line(std::string_view bytes) {
  auto r = parse_request(bytes, number);
  if (!r) {
    must(r.code() == ec::invalid && r.error().message.find("line 4711: ") != std::string::npos,
         "a refusal names the line");
    return;
  }
  must(r->blocks.size() <= trace_blocks_max, "a request has no more blocks than the bound");
  hold_survives(*r);
}

void try_numbers(reader in) {
  request r;
  r.timestamp_ms = in.number<std::uint64_t>();
  r.input_tokens = in.number<std::uint64_t>();
  r.output_tokens = in.number<std::uint64_t>();
  while (!in.at_end() && r.blocks.size() < trace_blocks_max)
    r.blocks.push_back(in.number<std::uint64_t>());
  hold_survives(r);
}

}  // namespace

void try_input(std::string_view bytes) {
  try_line(bytes);
  try_numbers(reader{bytes});
}

}  // namespace maru::fuzz
