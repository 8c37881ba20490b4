// A fixed-capacity array whose memory the kernel gives as it is touched: a table sized for the largest pool costs
// nothing until it is used, and never has to be copied to grow, so no request waits for a rehash.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

namespace maru::actors {

// Elements start as all-zero bytes. Not copyable. Throws std::bad_alloc where the address space is not to be had.
template <class T>
class lazy_array {
  static_assert(std::is_trivially_copyable_v<T>);

public:
  explicit lazy_array(std::size_t capacity) : capacity_(capacity) {
    if (capacity == 0)
      return;
    void* p =
      ::mmap(nullptr, capacity * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
      throw std::bad_alloc{};
    data_ = static_cast<T*>(p);
  }
  lazy_array(lazy_array&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), capacity_(std::exchange(other.capacity_, 0)) {}
  lazy_array& operator=(lazy_array&&) = delete;
  ~lazy_array() {
    if (data_)
      ::munmap(data_, capacity_ * sizeof(T));
  }

  T& operator[](std::size_t i) { return data_[i]; }
  const T& operator[](std::size_t i) const { return data_[i]; }
  std::size_t capacity() const { return capacity_; }
  void prefetch(std::size_t i) const { __builtin_prefetch(data_ + i); }

private:
  T* data_ = nullptr;
  std::size_t capacity_ = 0;
};

}  // namespace maru::actors
