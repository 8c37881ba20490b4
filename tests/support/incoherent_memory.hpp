// Memory that several "hosts" of one process share without coherence between their caches, as on CXL 2 devices. Real
// machines hide a publish or acquire that is missing; here it shows.
//
// Each host has a private copy of all the memory: its cache, with room for everything. The copies meet the shared
// memory in whole lines of 64 bytes only, and only here:
//   publish   writes the host's dirty lines of a range out
//   copy      stores to a range and writes its lines out
//   acquire   flushes a range: dirty lines are written out, then all lines are fetched anew
//   disturb   the adversary: writes random dirty lines out, fetches random clean ones anew, as caches may at any time
// A line is dirty once it was stored to, also with what was there already. Nobody sees stores as such, so a test makes
// its own with store(); others are noticed where they make the line differ from what was last fetched or written out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cxl/device.hpp"
#include "cxl/visibility.hpp"
#include "tests/support/temp_folder.hpp"

namespace maru::test {

// What the hosts share: a file, mapped. No line is ever torn: they are copied one at a time.
class incoherent_memory {
public:
  static constexpr std::size_t line_bytes = 64;

  // Throws where the file cannot be mapped.
  explicit incoherent_memory(const std::string& path);
  const std::string& path() const { return path_; }
  std::span<std::byte> bytes() const { return memory_.bytes(); }
  std::mutex& mutex() { return mutex_; }

private:
  std::string path_;
  cxl::mapping memory_;
  std::mutex mutex_;
};

// One host: its visibility, its view of the device, and its adversary.
// Concurrency: a host's memory belongs to one thread, from which all of this is called too (between a check and a copy
// nobody may store); hosts may run at the same time.
class incoherent_host final : public cxl::visibility, public std::enable_shared_from_this<incoherent_host> {
public:
  incoherent_host(std::shared_ptr<incoherent_memory> memory, std::uint64_t seed);

  void publish(std::span<const std::byte> bytes) const override;
  void acquire(std::span<const std::byte> bytes) const override;
  void copy(std::span<std::byte> to, std::span<const std::byte> from) const override;
  // memcpy to memory of this host.
  void store(std::span<std::byte> to, std::span<const std::byte> from) const;
  // Picks `n` random lines.
  void disturb(std::size_t n);
  // The memory as programs of this host map it.
  std::unique_ptr<cxl::device> device();

private:
  class view;
  // The lines, first and past the last, of bytes in one of this host's mappings.
  std::pair<std::size_t, std::size_t> lines_of(std::span<const std::byte> bytes) const;
  bool dirty(std::size_t line) const;
  void write_out(std::size_t line) const;
  void fetch(std::size_t line) const;

  const std::shared_ptr<incoherent_memory> memory_;
  temp_folder folder_;
  std::unique_ptr<cxl::device> cache_file_;
  cxl::mapping cache_;
  mutable std::vector<std::byte> known_;           // the lines as they were last fetched or written out
  mutable std::vector<bool> stored_;               // a line since then
  std::map<const std::byte*, std::size_t> views_;  // where programs have the cache mapped: address to offset
  std::mt19937_64 random_;
};

}  // namespace maru::test
