// Goal: a page descriptor is read as what was written or not at all, whatever 64 bytes lie there
// (cxl/descriptor_table.hpp). Method: the bytes as a line, as they are and with a crc that fits, held against a crc
// computed here bit by bit; then the bytes as a descriptor.
#include "cxl/descriptor_table.hpp"

#include <algorithm>
#include <cstring>

#include "tests/fuzz/fuzz.hpp"

namespace maru::fuzz {

namespace {

using namespace cxl;

struct alignas(64) memory {
  std::byte bytes[3 * descriptor_bytes] = {};
  descriptor_table table{bytes, 3};
};
constexpr std::uint64_t slot = 1;  // of the three: a write must not reach the others

// CRC-32C by the book (RFC 3720): a second opinion on base/crc32c.hpp.
std::uint32_t slow_crc32c(const unsigned char* bytes, std::size_t size) {
  std::uint32_t crc = ~0u;
  for (std::size_t i = 0; i < size; ++i) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; ++bit)
      crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0u);
  }
  return ~crc;
}

// Over the generation as a number of 8 bytes, then the line's bytes up to the crc.
std::uint32_t crc_of(const unsigned char* line) {
  unsigned char covered[descriptor_bytes - 4] = {};
  std::memcpy(covered, line + 2, 6);
  std::memcpy(covered + 8, line + 8, sizeof covered - 8);
  return slow_crc32c(covered, sizeof covered);
}

void hold_neighbours(const memory& m) {
  must(m.table.read(0) == descriptor{} && m.table.read(2) == descriptor{}, "the lines beside it are untouched");
}

void try_line(const unsigned char* line) {
  memory m;
  std::memcpy(m.table.line(slot), line, descriptor_bytes);
  auto d = m.table.read(slot);
  bool zeros = std::all_of(line, line + descriptor_bytes, [](unsigned char c) { return c == 0; });
  std::uint32_t crc = 0;
  std::memcpy(&crc, line + descriptor_bytes - sizeof crc, sizeof crc);
  bool fits = crc == crc_of(line) && line[0] <= static_cast<unsigned char>(page_state::last_);
  must(d.has_value() == (zeros || fits), "a line is read if it is zeros or its crc and state fit, and only then");
  std::uint64_t word = 0;
  std::memcpy(&word, line, sizeof word);
  must(m.table.raw_generation(slot) == word >> 16, "the raw generation is the word's");
  if (!d || zeros)
    return;
  must(d->gen <= generation_max && d->gen == word >> 16, "the generation is the word's");
  m.table.set_state(slot, page_state::evicting);
  auto marked = *d;
  marked.state = page_state::evicting;
  must(m.table.read(slot) == marked, "a change of state changes nothing else");
  m.table.write(slot, *d);
  must(m.table.read(slot) == d, "what was read can be written again");
  hold_neighbours(m);
}

void try_descriptor(reader in) {
  descriptor d;
  d.state = static_cast<page_state>(in.number<std::uint8_t>() % (static_cast<unsigned>(page_state::last_) + 1));
  d.gen = in.number<std::uint64_t>() & generation_max;
  d.hash = in.hash();
  d.checksum = in.number<std::uint64_t>();
  d.session = session_id{in.number<std::uint64_t>()};
  d.length = in.number<std::uint32_t>();
  d.epoch = in.number<std::uint32_t>();
  memory m;
  m.table.write(slot, d);
  must(m.table.read(slot) == d, "a descriptor survives");
  must(m.table.raw_state(slot) == d.state && m.table.raw_generation(slot) == d.gen, "the word is the descriptor's");
  hold_neighbours(m);
}

}  // namespace

void try_input(std::string_view bytes) {
  unsigned char line[descriptor_bytes] = {};
  std::copy_n(bytes.begin(), std::min(bytes.size(), sizeof line), line);
  try_line(line);
  auto crc = crc_of(line);
  std::memcpy(line + descriptor_bytes - sizeof crc, &crc, sizeof crc);
  try_line(line);
  try_descriptor(reader{bytes});
}

}  // namespace maru::fuzz
