// A marud of the benchmark's own: on a temporary pool in tmpfs and free loopback ports, gone without a trace after.
#pragma once

#include <cstdint>
#include <string>

#include "app/bench/child_process.hpp"
#include "base/error.hpp"

namespace maru::bench {

struct server_options {
  std::uint64_t pages = 0;          // the pool's data is exactly so many pages
  std::uint64_t page_bytes = 0;     // a power of two, 4 KiB or more
  std::uint64_t reserve_pages = 0;  // that eviction keeps free
  std::uint64_t grants_max = 4096;  // a session
  std::string prefault = "background";
  std::string durability = "process";  // with "host" the pool is a file in the temporary folder, not in tmpfs
  std::string checksums = "off";
  std::string log_level = "warn";
  bool unix_socket = false;  // listen on a socket beside the pool, not on a port
};

// A folder that goes with everything in it when the object does.
class temporary_folder {
public:
  temporary_folder() = default;
  temporary_folder(temporary_folder&& other) noexcept;
  temporary_folder& operator=(temporary_folder&& other) noexcept;
  ~temporary_folder();
  // `parent`/maru-bench-XXXXXX
  static result<temporary_folder> create(const std::string& parent);
  const std::string& path() const { return path_; }

private:
  std::string path_;
};

// Owns the child, its pool (under /dev/shm) and its state directory (under $TMPDIR, on a real file system).
class server_process {
public:
  // Starts the marud beside this program and waits until it is ready. `no_space`: the pool does not fit into what is
  // free of tmpfs and memory, both numbers named. `unavailable`: it ended or was not ready in time; its last words.
  static result<server_process> start(const server_options& options);

  const std::string& address() const { return listen_; }
  pid_t pid() const { return child_.pid(); }
  // SIGTERM; `io` where it did not end with code 0.
  status stop();

private:
  status wait_ready();

  temporary_folder pool_;
  temporary_folder state_;
  child_process child_;  // declared last: stops before the folders go
  std::string listen_, http_;
};

// Bytes that a pool may take here: what is free of tmpfs and memory, less what the rest of the machine needs.
std::uint64_t pool_bytes_available();

}  // namespace maru::bench
