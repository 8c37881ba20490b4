#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <string>
#include <utility>

#include "base/size.hpp"
#include "cxl/device.hpp"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14
#endif

namespace maru::cxl {

namespace {

std::size_t page_bytes() {
  static const auto bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

status failed_memory(const std::string& what) {
  return {ec::memory_failed, "failed to " + what + ": its memory failed"};
}

}  // namespace

mapping::mapping(mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      mode_(other.mode_),
      guard_(std::move(other.guard_)) {}

mapping& mapping::operator=(mapping&& other) noexcept {
  if (this != &other) {
    mapping old{std::move(*this)};
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    mode_ = other.mode_;
    guard_ = std::move(other.guard_);
  }
  return *this;
}

mapping::~mapping() {
  guard_ = {};  // first: the next mapping may get the same addresses
  if (data_ != nullptr)
    ::munmap(data_, size_);
}

status mapping::populate(std::size_t offset, std::size_t size) const {
  if (offset > size_ || size > size_ - offset)
    return {ec::invalid, "failed to populate a mapping: the range ends past it"};
  if (mode_ != access::read_write)
    return {ec::invalid, "failed to populate a mapping: it is mapped for reading only"};
  if (size == 0)
    return {};
  auto first = align_down(offset, page_bytes());
  auto bytes = offset + size - first;
  while (::madvise(data_ + first, bytes, MADV_POPULATE_WRITE) != 0) {
    if (errno == EHWPOISON || errno == EFAULT)  // the second: a touch would raise SIGBUS for another reason
      return failed_memory("populate " + format_size(size) + " of a mapping");
    if (errno == EINVAL) {
      touch_pages({data_ + first, bytes});
      return faulted({data_ + first, bytes}) ? failed_memory("populate " + format_size(size) + " of a mapping")
                                             : status{};
    }
    if (errno != EINTR && errno != EAGAIN)
      return errno_error("populate " + format_size(size) + " of a mapping", errno);
  }
  return {};
}

status mapping::probe(std::size_t unit) {
  guard(unit);
  bool sound = read_through(bytes());
  guard_ = {};
  return sound ? status{} : failed_memory("read through a mapping");
}

status mapping::flush(std::size_t offset, std::size_t size) const {
  if (offset > size_ || size > size_ - offset)
    return {ec::invalid, "failed to flush a mapping: the range ends past it"};
  auto first = align_down(offset, page_bytes());
  // A device of the dax bus has nothing to be written back to, and says so with EINVAL.
  if (size > 0 && ::msync(data_ + first, offset + size - first, MS_SYNC) != 0 && errno != EINVAL)
    return errno_error("flush " + format_size(size) + " of a mapping", errno);
  return {};
}

void touch_pages(std::span<std::byte> bytes) {
  for (std::size_t at = 0; at < bytes.size(); at += page_bytes()) {
    std::atomic_ref<std::byte> byte{bytes[at]};
    auto value = byte.load(std::memory_order_relaxed);
    // A compare-exchange with the same value is a write to the page table and none to the data. When it fails, another
    // thread has just written the page, which is as good.
    byte.compare_exchange_strong(value, value, std::memory_order_relaxed);
  }
}

bool read_through(std::span<const std::byte> bytes) {
  constexpr std::size_t line_bytes = 64;  // memory fails in lines at least
  constexpr std::size_t piece_bytes = 1024 * line_bytes;
  for (; !bytes.empty(); bytes = bytes.subspan(std::min(piece_bytes, bytes.size()))) {
    auto piece = bytes.first(std::min(piece_bytes, bytes.size()));
    for (std::size_t at = 0; at < piece.size(); at += line_bytes)
      (void)*reinterpret_cast<const volatile std::byte*>(piece.data() + at);
    if (faulted(piece))
      return false;
  }
  return true;
}

}  // namespace maru::cxl
