#include "cxl/visibility.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace maru::cxl {

// GCC warns that ThreadSanitizer does not understand fences. There is nothing here for it to miss: the other side is
// another process, which it cannot see.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif

void hardware_visibility::publish(std::span<const std::byte>) const {
  std::atomic_thread_fence(std::memory_order_release);
}

void hardware_visibility::acquire(std::span<const std::byte>) const {
  std::atomic_thread_fence(std::memory_order_acquire);
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

void hardware_visibility::copy(std::span<std::byte> to, std::span<const std::byte> from) const {
  std::copy(from.begin(), from.end(), to.begin());
  publish(to);
}

software_visibility::software_visibility(const cache_instructions& have)
    : line_bytes_(have.line_bytes),
      write_back_(have.write_back.front()),
      drop_(have.drop.front()),
      copy_(have.copy.front()) {}

void software_visibility::for_lines_of(std::span<const std::byte> bytes, const line_action& action) const {
  if (!bytes.empty())
    action.run(bytes.data() - reinterpret_cast<std::uintptr_t>(bytes.data()) % line_bytes_,
               bytes.data() + bytes.size());
}

void software_visibility::publish(std::span<const std::byte> bytes) const {
  for_lines_of(bytes, write_back_);
  finish_write_backs();
}

// The first keeps the drops after the load of the answer that told of the chunk, the second the reader's loads after the
// drops.
void software_visibility::acquire(std::span<const std::byte> bytes) const {
  finish_drops();
  for_lines_of(bytes, drop_);
  finish_drops();
}

// Lines that are copied in part, at both ends, are stored to and written back as usual.
void software_visibility::copy(std::span<std::byte> to, std::span<const std::byte> from) const {
  auto past_line = reinterpret_cast<std::uintptr_t>(to.data()) % line_bytes_;
  auto head = std::min(to.size(), (line_bytes_ - past_line) % line_bytes_);
  auto lines = (to.size() - head) / line_bytes_ * line_bytes_;
  auto end = [&](std::size_t at, std::size_t size) {
    std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(at), size, to.begin() + static_cast<std::ptrdiff_t>(at));
    for_lines_of(to.subspan(at, size), write_back_);
  };
  end(0, head);
  if (lines > 0)
    copy_.run(to.data() + head, from.data() + head, lines);
  end(head + lines, to.size() - head - lines);
  finish_write_backs();
}

std::string_view to_string(coherence mode) { return mode == coherence::software ? "software" : "hardware"; }

result<std::shared_ptr<const visibility>> make_visibility(coherence mode) {
  if (mode == coherence::hardware)
    return std::shared_ptr<const visibility>{std::make_shared<hardware_visibility>()};
  auto& have = cache_instructions::of_this_processor();
  if (!have)
    return {ec::invalid,
            "failed to make software visibility: it is there for x86-64 and Arm64 only, use a pool with hardware"};
  return std::shared_ptr<const visibility>{std::make_shared<software_visibility>(*have)};
}

const visibility& between_hosts() {
  static const auto of_software = make_visibility(coherence::software);
  static const hardware_visibility of_hardware;
  return of_software ? **of_software : static_cast<const visibility&>(of_hardware);
}

}  // namespace maru::cxl
