#include "tests/support/incoherent_memory.hpp"

#include <cstring>
#include <iterator>
#include <stdexcept>

#include "tests/support/must.hpp"

namespace maru::test {

incoherent_memory::incoherent_memory(const std::string& path) : path_(path) {
  auto device = must(cxl::open_device({.path = path}));
  memory_ = must(device->map(0, device->size(), cxl::access::read_write));
}

// What a program of the host opens in place of the shared device: mappings show the host's copy.
class incoherent_host::view final : public cxl::device {
public:
  explicit view(std::shared_ptr<incoherent_host> host) : host_(std::move(host)) {}
  std::string kind() const override { return "shim"; }
  const std::string& path() const override { return host_->memory_->path(); }
  std::uint64_t size() const override { return host_->cache_file_->size(); }
  std::uint64_t align() const override { return host_->cache_file_->align(); }
  bool survives_reboot() const override { return false; }
  status reserve(std::uint64_t, std::uint64_t) override { return {}; }
  status release(std::uint64_t, std::uint64_t) override { return {}; }
  status sync() override { return {}; }

  result<cxl::mapping> map(std::uint64_t offset, std::uint64_t size, cxl::access mode) const override {
    auto made = host_->cache_file_->map(offset, size, mode);
    if (!made)
      return made;
    std::lock_guard lock(host_->memory_->mutex());
    // Mappings that began in here are gone, or the address would not have been given out again.
    auto& views = host_->views_;
    views.erase(views.lower_bound(made->data()), views.lower_bound(made->data() + size));
    views.emplace(made->data(), offset);
    return made;
  }

private:
  std::shared_ptr<incoherent_host> host_;
};

incoherent_host::incoherent_host(std::shared_ptr<incoherent_memory> memory, std::uint64_t seed)
    : memory_(std::move(memory)), random_(seed) {
  auto size = memory_->bytes().size();
  cache_file_ = must(cxl::open_device({.path = folder_ / "cache", .size = size, .create = true}));
  cache_ = must(cache_file_->map(0, size, cxl::access::read_write));
  known_.resize(size);
  stored_.resize(size / incoherent_memory::line_bytes);
  std::lock_guard lock(memory_->mutex());
  for (std::size_t line = 0; line < size / incoherent_memory::line_bytes; ++line)
    fetch(line);
}

std::unique_ptr<cxl::device> incoherent_host::device() { return std::make_unique<view>(shared_from_this()); }

void incoherent_host::publish(std::span<const std::byte> bytes) const {
  std::lock_guard lock(memory_->mutex());
  for (auto [line, end] = lines_of(bytes); line < end; ++line)
    if (dirty(line))
      write_out(line);
}

void incoherent_host::acquire(std::span<const std::byte> bytes) const {
  std::lock_guard lock(memory_->mutex());
  for (auto [line, end] = lines_of(bytes); line < end; ++line) {
    if (dirty(line))
      write_out(line);
    fetch(line);
  }
}

void incoherent_host::store(std::span<std::byte> to, std::span<const std::byte> from) {
  std::lock_guard lock(memory_->mutex());
  std::memcpy(to.data(), from.data(), from.size());
  for (auto [line, end] = lines_of(to.first(from.size())); line < end; ++line)
    stored_[line] = true;
}

void incoherent_host::disturb(std::size_t n) {
  std::uniform_int_distribution<std::size_t> any{0, stored_.size() - 1};
  std::lock_guard lock(memory_->mutex());
  for (; n > 0; --n)
    if (auto line = any(random_); dirty(line))
      write_out(line);
    else
      fetch(line);
}

std::pair<std::size_t, std::size_t> incoherent_host::lines_of(std::span<const std::byte> bytes) const {
  if (bytes.empty())
    return {0, 0};
  auto after = views_.upper_bound(bytes.data());
  if (after == views_.begin())
    throw std::logic_error{"these bytes are in no mapping of this host"};
  auto [at, offset] = *std::prev(after);
  auto first = offset + static_cast<std::size_t>(bytes.data() - at);
  constexpr auto line_bytes = incoherent_memory::line_bytes;
  return {first / line_bytes, (first + bytes.size() + line_bytes - 1) / line_bytes};
}

bool incoherent_host::dirty(std::size_t line) const {
  auto at = line * incoherent_memory::line_bytes;
  return stored_[line] || std::memcmp(cache_.data() + at, known_.data() + at, incoherent_memory::line_bytes) != 0;
}

void incoherent_host::write_out(std::size_t line) const {
  auto at = line * incoherent_memory::line_bytes;
  std::memcpy(memory_->bytes().data() + at, cache_.data() + at, incoherent_memory::line_bytes);
  std::memcpy(known_.data() + at, cache_.data() + at, incoherent_memory::line_bytes);
  stored_[line] = false;
}

void incoherent_host::fetch(std::size_t line) const {
  auto at = line * incoherent_memory::line_bytes;
  std::memcpy(cache_.data() + at, memory_->bytes().data() + at, incoherent_memory::line_bytes);
  std::memcpy(known_.data() + at, cache_.data() + at, incoherent_memory::line_bytes);
  stored_[line] = false;
}

}  // namespace maru::test
