#include "cxl/descriptor_table.hpp"

#include <algorithm>
#include <array>
#include <atomic>

#include "base/crc32c.hpp"
#include "cxl/pin_handshake.hpp"

namespace maru::cxl {

namespace {

// A line as eight 64-bit words, each read and written as one atomic, so that a reader that meets a writer sees old or
// new words and the crc tells it whether they belong together.
using line_words = std::array<std::uint64_t, descriptor_bytes / sizeof(std::uint64_t)>;
enum : std::size_t { w_state, w_hash_low, w_hash_high, w_checksum, w_session, w_length_epoch, w_page, w_crc };

constexpr int generation_shift = 16;
constexpr std::uint64_t state_mask = 0xff;

std::atomic_ref<std::uint64_t> word(std::byte* line, std::size_t i) {
  return std::atomic_ref<std::uint64_t>{reinterpret_cast<std::uint64_t*>(line)[i]};
}

// Over the generation in place of the word, then all fields before the crc itself, which is the line's last 4 bytes.
std::uint32_t crc_of(line_words words) {
  words[w_state] >>= generation_shift;
  return crc32c(words.data(), descriptor_bytes - sizeof(std::uint32_t));
}

}  // namespace

std::optional<descriptor> descriptor_table::read(std::uint64_t slot) const {
  auto* at = line(slot);
  line_words words;
  words[w_state] = word(at, w_state).load(std::memory_order_acquire);
  for (std::size_t i = 1; i < words.size(); ++i)
    words[i] = word(at, i).load(std::memory_order_relaxed);
  if (std::all_of(words.begin(), words.end(), [](std::uint64_t w) { return w == 0; }))
    return descriptor{};
  auto state = words[w_state] & state_mask;
  if (static_cast<std::uint32_t>(words[w_crc] >> 32) != crc_of(words)
      || state > static_cast<std::uint64_t>(page_state::last_))
    return std::nullopt;
  descriptor d;
  d.state = static_cast<page_state>(state);
  d.gen = words[w_state] >> generation_shift;
  d.hash = {words[w_hash_low], words[w_hash_high]};
  d.checksum = words[w_checksum];
  d.session = session_id{words[w_session]};
  d.length = static_cast<std::uint32_t>(words[w_length_epoch]);
  d.epoch = static_cast<std::uint32_t>(words[w_length_epoch] >> 32);
  d.page = unpacked(words[w_page]);
  return d;
}

page_state descriptor_table::raw_state(std::uint64_t slot) const {
  return static_cast<page_state>(word(line(slot), w_state).load(std::memory_order_acquire) & state_mask);
}

generation descriptor_table::raw_generation(std::uint64_t slot) const {
  return word(line(slot), w_state).load(std::memory_order_acquire) >> generation_shift;
}

std::atomic_ref<std::uint64_t> descriptor_table::state_word(std::uint64_t slot) const {
  return word(line(slot), w_state);
}

std::uint64_t descriptor_table::word_of(const descriptor& d) {
  return (d.gen << generation_shift) | static_cast<std::uint64_t>(d.state);
}

void descriptor_table::write(std::uint64_t slot, const descriptor& d) {
  line_words words{};
  words[w_state] = word_of(d);
  words[w_hash_low] = d.hash.low;
  words[w_hash_high] = d.hash.high;
  words[w_checksum] = d.checksum;
  words[w_session] = value_of(d.session);
  words[w_length_epoch] = (std::uint64_t{d.epoch} << 32) | d.length;
  words[w_page] = packed(d.page);
  words[w_crc] = std::uint64_t{crc_of(words)} << 32;
  auto* at = line(slot);
  for (std::size_t i = 1; i < words.size(); ++i)
    word(at, i).store(words[i], std::memory_order_relaxed);
  word(at, w_state).store(words[w_state], std::memory_order_release);
}

void descriptor_table::announce_eviction(std::span<const std::uint64_t> slots) {
  for (auto slot : slots) {
    auto w = state_word(slot);
    announce(w, (w.load(std::memory_order_relaxed) & ~state_mask) | static_cast<std::uint64_t>(page_state::evicting));
  }
}

void descriptor_table::set_state(std::uint64_t slot, page_state state) {
  auto w = word(line(slot), w_state);
  w.store((w.load(std::memory_order_relaxed) & ~state_mask) | static_cast<std::uint64_t>(state),
          std::memory_order_release);
}

}  // namespace maru::cxl
