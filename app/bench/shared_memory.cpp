#include "app/bench/shared_memory.hpp"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace maru::bench {

shared_memory::shared_memory(shared_memory&& other) noexcept { *this = std::move(other); }

shared_memory& shared_memory::operator=(shared_memory&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

shared_memory::~shared_memory() {
  if (data_ != nullptr)
    ::munmap(data_, size_);
  if (fd_ >= 0)
    ::close(fd_);
}

result<shared_memory> shared_memory::map(int fd, std::size_t bytes) {
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED)
    return errno_error("map memory shared between the benchmark's processes", errno);
  return shared_memory{fd, data, bytes};
}

result<shared_memory> shared_memory::create(std::size_t bytes) {
  int fd = ::memfd_create("maru-bench", MFD_CLOEXEC);
  if (fd < 0)
    return errno_error("make memory shared between the benchmark's processes", errno);
  if (::ftruncate(fd, static_cast<off_t>(bytes)) != 0) {
    auto e = errno_error("size memory shared between the benchmark's processes", errno);
    ::close(fd);
    return e;
  }
  return map(fd, bytes);
}

result<shared_memory> shared_memory::attach(int fd, std::size_t bytes) {
  struct stat facts {};
  if (::fstat(fd, &facts) != 0)
    return errno_error("look at the memory inherited from maru-bench", errno);
  if (static_cast<std::size_t>(facts.st_size) < bytes)
    return error{ec::invalid, "failed to map the memory inherited from maru-bench: it is too small"};
  return map(fd, bytes);
}

}  // namespace maru::bench
