#include "tests/crash/board.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace maru::test {

// Zeros are the start: every slot is absent, in incarnation 0, and nothing was counted.
board::board(const std::string& path) {
  static_assert(std::atomic<slot_word>::is_always_lock_free);
  int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ::ftruncate(fd, sizeof(memory)) != 0)
    throw std::system_error{errno, std::system_category(), "open " + path};
  auto* address = ::mmap(nullptr, sizeof(memory), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::close(fd);
  if (address == MAP_FAILED)
    throw std::system_error{errno, std::system_category(), "mmap " + path};
  memory_ = static_cast<memory*>(address);
}

board::~board() { ::munmap(memory_, sizeof(memory)); }

std::string contradiction(std::uint32_t slot, slot_word before, slot_word after, std::uint64_t incarnation, bool hit,
                          bool evicts) {
  if (incarnation < before.incarnation && hit)
    return key_of(slot, incarnation) + " was removed and came back";
  if (incarnation != before.incarnation || !(before == after))
    return {};
  if (before.state() == expected::absent && hit)
    return key_of(slot, incarnation) + " is there and was removed, or never put";
  if (before.state() == expected::present && !hit && !evicts)
    return key_of(slot, incarnation) + " was acknowledged and is missing";
  return {};
}

}  // namespace maru::test
