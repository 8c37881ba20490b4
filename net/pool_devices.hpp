// The devices of a pool as this process sees them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "base/error.hpp"
#include "cxl/device.hpp"
#include "net/client.hpp"
#include "net/protocol.hpp"

namespace maru::net {

// Where this process sees a path that marud names.
std::string local_path(const client_options& options, const std::string& path);

// Opens devices as marud tells of them. Concurrency: all members from any thread.
class pool_devices {
public:
  explicit pool_devices(const client_options& options) : options_(options) {}
  // For tests with memory of their own: it is device 0.
  explicit pool_devices(std::shared_ptr<const cxl::device> first) { devices_[0].data = std::move(first); }

  // Opens those that are not known. `io`: one cannot be opened. `unknown_contents`: it is something else. Both name the path
  // and the option.
  status know(std::span<const device_row> rows);
  // True where none of those that are known is another one, or was emptied, by these rows.
  bool still(std::span<const device_row> rows) const;
  // Its data; null where it is not known.
  std::shared_ptr<const cxl::device> find(std::uint32_t index) const;

  // Paths here: of the data, and of what begins with the metadata. Of a device that is known: where it was found.
  std::string path_of(const device_row& row) const;
  std::string metadata_of(const device_row& row) const;

private:
  struct known_device {
    std::string id, incarnation;
    std::string path;  // where it was found, if not where it was expected
    std::shared_ptr<const cxl::device> data;
  };
  std::string expected_path(const device_row& row) const;
  // Where the device is that was expected at `path`; `unknown_contents` where another one is.
  result<std::string> locate(const device_row& row, const std::string& path) const;
  result<std::shared_ptr<const cxl::device>> open(const device_row& row, const std::string& path) const;

  client_options options_;
  mutable std::mutex mutex_;
  std::map<std::uint32_t, known_device> devices_;
};

}  // namespace maru::net
