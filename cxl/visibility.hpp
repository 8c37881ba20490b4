// Making a chunk's bytes visible to readers: a contract of its own, with a mode per pool.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "base/error.hpp"
#include "cxl/cache_instructions.hpp"
#include "cxl/layout.hpp"

namespace maru::cxl {

// How bytes get from a writer to readers. Rules for both modes:
//   * the writer publishes after its last store to a chunk and before it commits;
//   * a reader acquires after its lookup and before its first load from the chunk;
//   * who was granted a page and does not commit it publishes what it may have written before anybody else can be
//     granted the page: a dirty line is written back some day, and must not fall on the bytes of the next writer;
//   * a line has one writer: nobody else stores to a page between its grant and its reuse.
// The service reads a payload only to look at one that was reported as damaged, and acquires it first, as everybody does. Of
// the metadata, which it alone writes, only who serves the device is read by other hosts: see between_hosts().
// Concurrency: all members from any thread.
class visibility {
public:
  virtual ~visibility() = default;
  virtual void publish(std::span<const std::byte> bytes) const = 0;
  virtual void acquire(std::span<const std::byte> bytes) const = 0;
  // memcpy and publish in one, which costs less than both. REQUIRES: as many bytes, that do not overlap.
  virtual void copy(std::span<std::byte> to, std::span<const std::byte> from) const = 0;
};

// Writer and readers share one coherence domain (one host, or CXL 3 back-invalidate): ordering is all that is needed.
// The messages that carry the commit order it across processes too.
class hardware_visibility final : public visibility {
public:
  void publish(std::span<const std::byte> bytes) const override;
  void acquire(std::span<const std::byte> bytes) const override;
  void copy(std::span<std::byte> to, std::span<const std::byte> from) const override;
};

// Several hosts without coherence between their caches: publish writes the lines back to the device, acquire drops the
// reader's copies of them, copy writes past the caches. x86-64 and Arm64.
// Limits: a coherent machine behaves the same without any of it, so what is forgotten shows only in the tests over
// tests/support/incoherent_memory.hpp. The dirty lines of a process that is killed stay in its host's caches: see
// docs/architecture.md.
class software_visibility final : public visibility {
public:
  // Takes the first of each list.
  explicit software_visibility(const cache_instructions& have);
  void publish(std::span<const std::byte> bytes) const override;
  void acquire(std::span<const std::byte> bytes) const override;
  void copy(std::span<std::byte> to, std::span<const std::byte> from) const override;

private:
  void for_lines_of(std::span<const std::byte> bytes, const line_action& action) const;

  const std::size_t line_bytes_;
  const line_action write_back_, drop_;
  const line_copy copy_;
};

// "hardware", "software"
std::string_view to_string(coherence mode);

// What brings bytes to other hosts and back whatever a pool's mode is; where the processor has no instructions for it, its
// hosts are coherent.
const visibility& between_hosts();

// The visibility of a pool with this mode. `invalid`: this machine has no such mode.
result<std::shared_ptr<const visibility>> make_visibility(coherence mode);

}  // namespace maru::cxl
