// Device-DAX: memory as a character device (Linux: drivers/dax). What is not as with a file: fstat knows no size, so sizes
// are read in sysfs; read, write, ftruncate, fsync and msync fail; offset, length and address of a mapping are multiples of
// the device's alignment; a mapping past the end is given and kills who touches it. A device of several physical ranges is
// one range to a mapping.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <utility>

#include "base/size.hpp"
#include "base/unique_fd.hpp"
#include "cxl/device_kinds.hpp"
#include "cxl/kernel_files.hpp"

namespace maru::cxl {

namespace {

class dax_device final : public device {
public:
  dax_device(unique_fd fd, std::string path, std::uint64_t size, std::uint64_t align, access mode)
      : fd_(std::move(fd)), path_(std::move(path)), size_(size), align_(align), mode_(mode) {}

  std::string kind() const override { return "devdax"; }
  const std::string& path() const override { return path_; }
  std::uint64_t size() const override { return size_; }
  std::uint64_t align() const override { return align_; }
  // Whether it is persistent memory or not: nothing here could order its caches' write-back, FS-DAX can.
  bool survives_reboot() const override { return false; }
  bool holds_metadata() const override { return true; }

  // All of it is there.
  status reserve(std::uint64_t offset, std::uint64_t size) override {
    if (offset > size_ || size > size_ - offset)
      return {ec::invalid, "failed to reserve " + format_size(size) + " of " + path_ + ": the range ends past it"};
    return {};
  }
  status release(std::uint64_t, std::uint64_t) override {
    return {ec::invalid, "failed to release a part of " + path_ + ": a device keeps its memory"};
  }
  status sync() override { return {}; }

  result<mapping> map(std::uint64_t offset, std::uint64_t size, access mode) const override {
    return map_shared(*this, fd_.get(), offset, size, mode, mode_, MAP_SHARED);
  }

private:
  unique_fd fd_;
  std::string path_;
  std::uint64_t size_, align_;
  access mode_;
};

}  // namespace

result<std::unique_ptr<device>> open_dax_device(const device_options& o, const struct stat& node) {
  auto refuse = [&](ec code, const std::string& cause) {
    return error{code, "failed to open device " + o.path + ": " + cause};
  };
  std::filesystem::path about{"/sys/dev/char/" + std::to_string(major(node.st_rdev)) + ":"
                              + std::to_string(minor(node.st_rdev))};
  std::error_code failed;
  auto bus = std::filesystem::read_symlink(about / "subsystem", failed).filename();
  if (failed || bus != "dax")
    return refuse(ec::invalid, "it is neither a regular file nor a Device-DAX device");
  if (o.node)
    return refuse(ec::invalid, "a device has the NUMA node that it has; leave node= out");
  int flags = (o.mode == access::read ? O_RDONLY : O_RDWR) | O_CLOEXEC;
  unique_fd fd{::open(o.path.c_str(), flags)};
  if (!fd && errno == ENXIO)
    return refuse(ec::invalid, "it is not in devdax mode; 'daxctl reconfigure-device --mode=devdax --force "
                                 + std::filesystem::path{o.path}.filename().string() + "' changes that");
  if (!fd)
    return errno_error("open device " + o.path, errno);
  auto size = read_number(about / "size").value_or(0);
  auto align = read_number(about / "align").value_or(0);
  if (size == 0 || align == 0 || (align & (align - 1)) != 0)
    return refuse(ec::io, "sysfs gives no size and alignment for it in " + about.string());
  if (size < o.size)
    return refuse(ec::no_space, "it has " + format_size(size) + ", " + format_size(o.size) + " are wanted");
  size = align_down(size, align);
  return std::unique_ptr<device>{std::make_unique<dax_device>(std::move(fd), o.path, size, align, o.mode)};
}

}  // namespace maru::cxl
