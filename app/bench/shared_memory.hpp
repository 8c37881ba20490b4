// A piece of anonymous memory that the benchmark's parent shares with the processes it starts: they count in it, it
// reads along. Made with memfd_create, handed on as an inherited descriptor.
#pragma once

#include <cstddef>
#include <new>

#include "base/error.hpp"

namespace maru::bench {

// Owns descriptor and mapping. Starts as zeros. Movable, not copyable.
class shared_memory {
public:
  shared_memory() = default;
  shared_memory(shared_memory&& other) noexcept;
  shared_memory& operator=(shared_memory&& other) noexcept;
  ~shared_memory();

  static result<shared_memory> create(std::size_t bytes);
  // Maps what a parent handed on under this descriptor. `invalid` where it is smaller than `bytes`.
  static result<shared_memory> attach(int fd, std::size_t bytes);

  int fd() const { return fd_; }
  std::size_t size() const { return size_; }

  // The object at `offset`. T is a type of plain values and lock-free atomics of which all zeros is a valid start.
  template <class T>
  T& at(std::size_t offset) const {
    return *std::launder(reinterpret_cast<T*>(static_cast<std::byte*>(data_) + offset));
  }

private:
  shared_memory(int fd, void* data, std::size_t size) : fd_(fd), data_(data), size_(size) {}
  static result<shared_memory> map(int fd, std::size_t bytes);
  int fd_ = -1;
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace maru::bench
