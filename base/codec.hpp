// Little-endian fixed-width fields in byte strings: the one way records are written to RocksDB, to the pool's
// metadata and into message blobs.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "base/types.hpp"

namespace maru {

static_assert(std::endian::native == std::endian::little, "records are little-endian in place");

// Appends fields to a string.
class writer {
public:
  explicit writer(std::string& out) : out_(out) {}

  template <std::unsigned_integral T>
  writer& number(T value) {
    out_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  writer& hash(const key_hash& h) { return number(h.low).number(h.high); }
  writer& raw(const void* data, std::size_t size) {
    out_.append(static_cast<const char*>(data), size);
    return *this;
  }
  // 16-bit length, then the bytes. REQUIRES: text.size() < 65536.
  writer& text(std::string_view text) {
    number(static_cast<std::uint16_t>(text.size()));
    out_.append(text);
    return *this;
  }

private:
  std::string& out_;
};

// Takes fields off a view. After a read past the end `ok()` is false and every value zero or empty.
class reader {
public:
  explicit reader(std::string_view in) : in_(in) {}

  template <std::unsigned_integral T>
  T number() {
    T value = 0;
    raw(&value, sizeof value);
    return value;
  }
  key_hash hash() {
    key_hash h;
    h.low = number<std::uint64_t>();
    h.high = number<std::uint64_t>();
    return h;
  }
  void raw(void* data, std::size_t size) {
    if (size > in_.size()) {
      ok_ = false;
      in_ = {};
      return;
    }
    std::memcpy(data, in_.data(), size);
    in_.remove_prefix(size);
  }
  std::string_view bytes(std::size_t size) {
    if (size > in_.size()) {
      ok_ = false;
      in_ = {};
      return {};
    }
    auto out = in_.substr(0, size);
    in_.remove_prefix(size);
    return out;
  }
  std::string_view text() { return bytes(number<std::uint16_t>()); }

  bool ok() const { return ok_; }
  bool at_end() const { return in_.empty(); }
  std::size_t remaining() const { return in_.size(); }

private:
  std::string_view in_;
  bool ok_ = true;
};

}  // namespace maru
