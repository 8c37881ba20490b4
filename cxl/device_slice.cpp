#include "cxl/device_slice.hpp"

#include <utility>

#include "base/size.hpp"

namespace maru::cxl {

namespace {

class device_slice final : public device {
public:
  device_slice(std::shared_ptr<device> whole, std::uint64_t offset, std::uint64_t size)
      : whole_(std::move(whole)), offset_(offset), size_(size) {}

  std::string kind() const override { return whole_->kind(); }
  const std::string& path() const override { return whole_->path(); }
  std::uint64_t size() const override { return size_; }
  std::uint64_t align() const override { return whole_->align(); }
  bool survives_reboot() const override { return whole_->survives_reboot(); }
  bool holds_metadata() const override { return whole_->holds_metadata(); }

  status reserve(std::uint64_t offset, std::uint64_t size) override {
    auto fits = check(offset, size);
    return fits ? whole_->reserve(offset_ + offset, size) : fits;
  }
  status release(std::uint64_t offset, std::uint64_t size) override {
    auto fits = check(offset, size);
    return fits ? whole_->release(offset_ + offset, size) : fits;
  }
  status sync() override { return whole_->sync(); }
  result<mapping> map(std::uint64_t offset, std::uint64_t size, access mode) const override {
    if (auto fits = check(offset, size); !fits)
      return fits.error();
    return whole_->map(offset_ + offset, size, mode);
  }

private:
  status check(std::uint64_t offset, std::uint64_t size) const {
    if (offset > size_ || size > size_ - offset)
      return {ec::invalid,
              "failed to use " + format_size(size) + " of a part of " + path() + ": the range ends past it"};
    return {};
  }

  std::shared_ptr<device> whole_;
  std::uint64_t offset_, size_;
};

}  // namespace

std::unique_ptr<device> slice(std::shared_ptr<device> whole, std::uint64_t offset, std::uint64_t size) {
  return std::make_unique<device_slice>(std::move(whole), offset, size);
}

}  // namespace maru::cxl
