// One mappable range of memory that several processes share: a Device-DAX character device, or a file on FS-DAX, hugetlbfs,
// tmpfs or any file system.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "cxl/fault_guard.hpp"

namespace maru::cxl {

enum class access : std::uint8_t { read, read_write };

// A mapped range of a device. Unmaps when it goes. Movable, not copyable. Never inherited by a forked child
// (MADV_DONTFORK).
class mapping {
public:
  mapping() = default;
  mapping(std::byte* data, std::size_t size, access mode) : data_(data), size_(size), mode_(mode) {}
  mapping(mapping&& other) noexcept;
  mapping& operator=(mapping&& other) noexcept;
  ~mapping();

  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::span<std::byte> bytes() const { return {data_, size_}; }
  explicit operator bool() const { return data_ != nullptr; }

  // Makes physical pages present for [offset, offset + size) (MADV_POPULATE_WRITE); blocks, 0.85 ms per MiB on tmpfs.
  // Leaves the bytes as they are, whoever writes them meanwhile. `invalid`: past the end, or mapped for reading only.
  // `memory_failed`: a page of it is poisoned, or the device ends before it.
  status populate(std::size_t offset, std::size_t size) const;
  // Brings the range to stable storage (msync); quick and without effect on tmpfs and Device-DAX.
  status flush(std::size_t offset, std::size_t size) const;

  // From here on a touch of memory that fails does not end the process, and `faulted` tells of it: see fault_guard.hpp.
  // `unit`: the device's align(), smaller pieces cannot be replaced.
  void guard(std::size_t unit, survives what = survives::every_touch) { guard_ = fault_guard{bytes(), unit, what}; }
  std::vector<failed_piece> failed() const { return guard_.failed(); }
  // Reads through all of it: `memory_failed` where some of it fails, in whose place there are zeros from then on. REQUIRES: it
  // is not guarded.
  status probe(std::size_t unit);

private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  access mode_ = access::read_write;
  fault_guard guard_;
};

// What populate() does where the kernel lacks MADV_POPULATE_WRITE (before 5.14): one write access a page that leaves
// the byte as it is. REQUIRES: writable memory.
void touch_pages(std::span<std::byte> bytes);
// Reads at least a byte of everything that can fail by itself, up to the first that does: false then. For guarded memory.
bool read_through(std::span<const std::byte> bytes);

// Threading: const members may be called from any thread; `reserve` from one at a time.
class device {
public:
  virtual ~device() = default;

  // "devdax", "fsdax", "hugetlbfs", "tmpfs", "file": for people and logs.
  virtual std::string kind() const = 0;
  virtual const std::string& path() const = 0;
  // Usable bytes.
  virtual std::uint64_t size() const = 0;
  // Offsets and lengths of mappings are multiples of this.
  virtual std::uint64_t align() const = 0;
  // True where the contents can outlive a reboot of the host.
  virtual bool survives_reboot() const = 0;
  // True where a pool's metadata lies on the device, in front of the data: where no file can lie beside it, or a small one
  // would take a huge page.
  virtual bool holds_metadata() const = 0;
  // Takes storage for [offset, offset + size), so that a later touch cannot fail with SIGBUS (fallocate on files).
  // `no_space` where there is none; harmless when repeated.
  virtual status reserve(std::uint64_t offset, std::uint64_t size) = 0;
  // Gives the storage of a range back where the device can (hole punching on files); contents are lost.
  virtual status release(std::uint64_t offset, std::uint64_t size) = 0;
  // Brings all that was written through any mapping, of any process, to stable storage; blocks. Without effect on tmpfs.
  virtual status sync() = 0;
  // Maps a range; the mapping may outlive the device object. `offset` is a multiple of align().
  virtual result<mapping> map(std::uint64_t offset, std::uint64_t size, access mode) const = 0;
};

struct device_options {
  std::string path;
  std::uint64_t size = 0;  // bytes wanted; 0: as large as it is
  bool create = false;     // make the file (and its parent folders) where missing, and grow it to `size`
  access mode = access::read_write;
  unsigned file_mode = 0600;
  std::uint64_t headroom = 0;            // with create: bytes of its file system that something else is about to take
  std::optional<gid_t> file_group = {};  // of a file that is made; empty: the process's own
  std::optional<int> node = {};          // NUMA node whose memory the file takes (tmpfs and hugetlbfs)
};

// Opens what lies at the path: a character device as Device-DAX, else a file. `missing`: nothing is there, and it was not
// asked to make a file. `invalid`: neither of them, or a device that is not in the mode for it (the message names the
// command). `no_space`: it cannot hold `size` bytes (the message names both numbers).
result<std::unique_ptr<device>> open_device(const device_options& options);

}  // namespace maru::cxl
