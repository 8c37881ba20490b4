#include "net/pool_devices.hpp"

#include <cstring>
#include <string_view>
#include <utility>

#include "base/size.hpp"
#include "base/uuid.hpp"
#include "cxl/device_slice.hpp"
#include "cxl/inspection.hpp"

namespace maru::net {

namespace {

constexpr auto advice = " (set pool_path or MARU_POOL_PATH to where this process sees the pool's data)";

bool is(const uuid& id, const std::string& bytes) {
  return bytes.size() == id.bytes.size() && std::memcmp(id.bytes.data(), bytes.data(), bytes.size()) == 0;
}

}  // namespace

std::string local_path(const client_options& options, const std::string& path) {
  auto without_slash = [](std::string_view folder) {
    return folder.substr(0, folder.ends_with('/') ? folder.size() - 1 : folder.size());
  };
  std::string_view from, to;
  bool found = false;
  for (const auto& [server, local] : options.path_map) {
    auto head = without_slash(server);
    bool fits = !server.empty() && path.starts_with(head) && (path.size() == head.size() || path[head.size()] == '/');
    if (!fits || (found && head.size() < from.size()))
      continue;
    found = true;
    from = head;
    to = without_slash(local);
  }
  return found ? std::string{to} + path.substr(from.size()) : path;
}

std::string pool_devices::path_of(const device_row& row) const {
  std::lock_guard lock(mutex_);
  auto at = devices_.find(row.index);
  bool is_known = at != devices_.end() && !at->second.path.empty() && at->second.id == row.id;
  return is_known ? at->second.path : expected_path(row);
}

std::string pool_devices::expected_path(const device_row& row) const {
  return row.index == 0 && !options_.pool_path.empty() ? options_.pool_path : local_path(options_, row.path);
}

std::string pool_devices::metadata_of(const device_row& row) const {
  return row.metadata.starts_with(row.path) ? path_of(row) + row.metadata.substr(row.path.size())
                                            : local_path(options_, row.metadata);
}

// A device says in its metadata which one it is: in front of its data, or in a file beside it, which this process need not be
// able to read.
result<std::string> pool_devices::locate(const device_row& row, const std::string& path) const {
  uuid device;
  if (row.id.size() != device.bytes.size())
    return path;
  std::memcpy(device.bytes.data(), row.id.data(), row.id.size());
  if (row.offset != 0) {
    if (auto there = cxl::find_device(device, path); !there.empty())
      return there;
  } else {
    auto found = cxl::inspect(path);
    if (!found || found->top.kind != cxl::head_kind::valid)
      return path;
    const auto& sb = found->top.super;
    if (sb.device == device && is(sb.incarnation, row.incarnation))
      return path;
  }
  return {ec::unknown_contents, "failed to map the pool: " + path + " is not the device of marud's pool" + advice};
}

result<std::shared_ptr<const cxl::device>> pool_devices::open(const device_row& row, const std::string& path) const {
  auto opened = cxl::open_device({path});
  if (!opened)
    return {ec::io, "failed to map the pool: " + opened.error().message + advice};
  std::shared_ptr<cxl::device> whole{*std::move(opened)};
  auto size = align_up(row.size, whole->align());
  if (row.offset % whole->align() != 0 || row.offset > INT64_MAX || row.size > INT64_MAX
      || whole->size() < row.offset + row.size)
    return {ec::unknown_contents, "failed to map the pool: " + path + " has " + std::to_string(whole->size())
                                    + " bytes, marud's pool has " + std::to_string(row.size) + " from byte "
                                    + std::to_string(row.offset) + " on" + advice};
  if (row.offset == 0)
    return std::shared_ptr<const cxl::device>{std::move(whole)};
  return std::shared_ptr<const cxl::device>{cxl::slice(std::move(whole), row.offset, size)};
}

status pool_devices::know(std::span<const device_row> rows) {
  for (const auto& row : rows) {
    std::lock_guard lock(mutex_);
    auto at = devices_.find(row.index);
    bool is_known = at != devices_.end() && at->second.id == row.id && at->second.incarnation == row.incarnation;
    if (is_known || (at != devices_.end() && at->second.id.empty()))  // a test's own
      continue;
    auto expected = expected_path(row);
    auto path = locate(row, expected);
    if (!path)
      return path.error();
    auto opened = open(row, *path);
    if (!opened)
      return opened.error();
    devices_[row.index] = {row.id, row.incarnation, *path == expected ? "" : *path, *std::move(opened)};
  }
  return {};
}

bool pool_devices::still(std::span<const device_row> rows) const {
  std::lock_guard lock(mutex_);
  for (const auto& row : rows) {
    auto at = devices_.find(row.index);
    if (at != devices_.end() && at->second.id == row.id && at->second.incarnation != row.incarnation)
      return false;
  }
  return true;
}

std::shared_ptr<const cxl::device> pool_devices::find(std::uint32_t index) const {
  std::lock_guard lock(mutex_);
  auto at = devices_.find(index);
  return at == devices_.end() ? nullptr : at->second.data;
}

}  // namespace maru::net
