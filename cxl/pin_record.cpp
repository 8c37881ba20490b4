#include "cxl/pin_record.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>

namespace maru::cxl {

namespace {

constexpr std::size_t slot_words = 4, slot_bytes = slot_words * sizeof(std::uint64_t);
constexpr std::size_t record_bytes_max = bounds::pins_max * slot_bytes;
constexpr std::uint32_t slots_first = 2048;  // then doubled

}  // namespace

result<std::unique_ptr<pin_record>> pin_record::open(const std::string& path) {
  auto what = "open session file " + path;
  // Whoever says that he is marud names the path: no other file than a session's may lose its contents here.
  int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  struct stat file = {};
  if (fd < 0)
    return errno_error(what, errno);
  if (::fstat(fd, &file) != 0 || !S_ISREG(file.st_mode) || file.st_nlink > 1) {
    ::close(fd);
    return {ec::unknown_contents, "failed to " + what + ": it is no file of a session"};
  }
  // Mapped whole at once: no address changes as the file grows, and nothing beyond its end is touched.
  void* at = MAP_FAILED;
  if (::ftruncate(fd, 0) == 0)
    at = ::mmap(nullptr, record_bytes_max, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) {
    auto cause = errno_error(what, errno);
    ::close(fd);
    return cause;
  }
  ::madvise(at, record_bytes_max, MADV_DONTFORK);
  std::unique_ptr<pin_record> record{new pin_record{fd, static_cast<std::uint64_t*>(at)}};
  (void)record->grow();
  return record;
}

pin_record::~pin_record() {
  ::munmap(words_, record_bytes_max);
  ::close(fd_);
}

bool pin_record::grow() {
  auto wanted = std::min<std::uint32_t>(std::max(slots_first, 2 * slots_), bounds::pins_max);
  // Storage first: a store to a page of a full tmpfs would kill the worker with SIGBUS.
  auto from = static_cast<off_t>(slots_ * slot_bytes), size = static_cast<off_t>((wanted - slots_) * slot_bytes);
  if (wanted == slots_ || ::posix_fallocate(fd_, from, size) != 0)
    return false;
  slots_ = wanted;
  return true;
}

std::uint32_t pin_record::add(const pin_id& pin) {
  std::uint32_t slot = none;
  if (!free_.empty()) {
    slot = free_.back();
    free_.pop_back();
  } else if (used_ < slots_ || grow()) {
    slot = used_++;
  } else {
    return none;
  }
  word(slot, 1).store(pin.hash.high, std::memory_order_relaxed);
  word(slot, 2).store(packed(pin.page.page), std::memory_order_relaxed);
  word(slot, 3).store(pin.page.gen, std::memory_order_relaxed);
  word(slot, 0).store(pin.hash.low, std::memory_order_release);  // last: with it the slot counts
  return slot;
}

void pin_record::drop(std::uint32_t slot) {
  if (slot == none)
    return;
  word(slot, 0).store(0, std::memory_order_release);
  free_.push_back(slot);
}

std::vector<pin_id> read_pin_record(const std::string& path) {
  std::vector<pin_id> out;
  std::ifstream in{path, std::ios::binary};
  std::array<std::uint64_t, slot_words> w{};
  for (std::size_t n = 0; n < bounds::pins_max && in.read(reinterpret_cast<char*>(w.data()), slot_bytes); ++n)
    if (w[0] != 0)
      out.push_back({{w[0], w[1]}, {unpacked(w[2]), w[3]}});
  return out;
}

}  // namespace maru::cxl
