#include "app/bench/server_process.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>
#include <utility>

#include "app/bench/interrupt.hpp"
#include "app/bench/machine.hpp"
#include "base/bounds.hpp"
#include "base/size.hpp"

namespace maru::bench {

using namespace std::chrono_literals;

namespace {

constexpr auto shared_folder = "/dev/shm";
constexpr auto ready_max = 60s;  // a large pool may be touched page by page first
constexpr int start_tries = 3;   // a free port may be taken by someone else before marud takes it
constexpr std::uint64_t memory_left_free = 512 * bounds::MiB;

// Owns a socket.
struct socket_handle {
  int fd = -1;
  ~socket_handle() {
    if (fd >= 0)
      ::close(fd);
  }
};

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

result<std::uint16_t> free_port() {
  socket_handle s{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  auto address = loopback(0);
  socklen_t size = sizeof address;
  if (s.fd < 0 || ::bind(s.fd, reinterpret_cast<sockaddr*>(&address), size) != 0
      || ::getsockname(s.fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return errno_error("find a free port", errno);
  return ntohs(address.sin_port);
}

// True when GET /readyz answers 200.
bool ready(std::uint16_t port) {
  socket_handle s{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  timeval limit{.tv_sec = 1, .tv_usec = 0};
  ::setsockopt(s.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(s.fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  auto address = loopback(port);
  if (::connect(s.fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return false;
  constexpr std::string_view question = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  if (::send(s.fd, question.data(), question.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(question.size()))
    return false;
  std::string answer(64, '\0');
  auto n = ::recv(s.fd, answer.data(), answer.size(), 0);
  return n > 12 && answer.starts_with("HTTP/1.") && answer.substr(9, 3) == "200";
}

std::string last_lines(const std::string& path) {
  constexpr std::size_t shown = 2000;
  std::ifstream file(path);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  return text.size() > shown ? text.substr(text.size() - shown) : text;
}

std::string temporary_parent() {
  std::error_code ignored;
  auto parent = std::filesystem::temp_directory_path(ignored).string();
  return parent.empty() ? "/tmp" : parent;
}

}  // namespace

temporary_folder::temporary_folder(temporary_folder&& other) noexcept { *this = std::move(other); }

temporary_folder& temporary_folder::operator=(temporary_folder&& other) noexcept {
  std::swap(path_, other.path_);
  return *this;
}

temporary_folder::~temporary_folder() {
  std::error_code ignored;
  if (!path_.empty())
    std::filesystem::remove_all(path_, ignored);
}

result<temporary_folder> temporary_folder::create(const std::string& parent) {
  auto path = parent + "/maru-bench-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr)
    return errno_error("make a folder in " + parent, errno);
  temporary_folder folder;
  folder.path_ = path;
  return folder;
}

std::uint64_t pool_bytes_available() {
  auto memory = available_memory_bytes();
  memory -= std::min(memory, memory_left_free);
  return align_down(std::min(memory, free_file_system_bytes(shared_folder)), bounds::layout_align);
}

result<server_process> server_process::start(const server_options& options) {
  server_process out;
  auto bytes = options.pages * options.page_bytes;
  // One descriptor of 64 bytes a page, and the rest of the metadata, lie beside the data.
  auto needed = bytes + options.pages * 64 + 4 * bounds::layout_align;
  bool on_disk = options.durability == "host";
  auto available = on_disk ? free_file_system_bytes(temporary_parent()) : pool_bytes_available();
  if (needed > available)
    return error{ec::no_space, "failed to start marud: its pool needs " + format_size(needed) + ", but only "
                                 + format_size(available) + " of " + (on_disk ? "disk" : "tmpfs and memory")
                                 + " are free"};
  auto pool = temporary_folder::create(on_disk ? temporary_parent() : shared_folder);
  if (!pool)
    return pool.error();
  out.pool_ = *std::move(pool);
  auto state = temporary_folder::create(temporary_parent());
  if (!state)
    return state.error();
  out.state_ = *std::move(state);

  auto region = align_up(std::max<std::uint64_t>(bytes / bounds::regions_per_pool, bounds::layout_align),
                         std::max<std::uint64_t>(options.page_bytes, bounds::layout_align));
  status ready_now;
  for (int i = 0; i < start_tries; ++i) {
    auto port = free_port(), http_port = free_port();
    if (!port || !http_port)
      return (port ? http_port : port).error();
    out.listen_ = options.unix_socket ? "unix:" + out.pool_.path() + "/socket" : "127.0.0.1:" + std::to_string(*port);
    out.http_ = "127.0.0.1:" + std::to_string(*http_port);
    auto child = child_process::start({
      .program = program_beside("marud"),
      .arguments = {"--pool",
                    out.pool_.path() + "/pool",
                    "--pool-size",
                    std::to_string(bytes),
                    "--page-min",
                    std::to_string(options.page_bytes),
                    "--region-size",
                    std::to_string(std::min(region, bytes)),
                    "--state-dir",
                    out.state_.path() + "/state",
                    "--listen",
                    out.listen_,
                    "--http",
                    out.http_,
                    "--reserve-pages",
                    std::to_string(options.reserve_pages),
                    "--grants-max",
                    std::to_string(options.grants_max),
                    "--prefault",
                    options.prefault,
                    "--durability",
                    options.durability,
                    "--payload-checksums",
                    options.checksums,
                    "--log-level",
                    options.log_level},
      .log_path = out.state_.path() + "/marud.log",
    });
    if (!child)
      return child.error();
    out.child_ = *std::move(child);
    ready_now = out.wait_ready();
    if (ready_now || interrupted() || !out.child_.exit_code())
      break;
  }
  if (!ready_now)
    return ready_now.error();
  return out;
}

status server_process::wait_ready() {
  auto port = static_cast<std::uint16_t>(std::strtoul(http_.c_str() + http_.rfind(':') + 1, nullptr, 10));
  auto deadline = std::chrono::steady_clock::now() + ready_max;
  while (!ready(port)) {
    if (interrupted())
      return interrupt_error();
    auto code = child_.exit_code();
    if (code || std::chrono::steady_clock::now() > deadline)
      return {ec::unavailable,
              "failed to start marud: "
                + (code ? "it ended with code " + std::to_string(*code) : std::string{"not ready after 60 s"}) + "\n"
                + last_lines(state_.path() + "/marud.log")};
    std::this_thread::sleep_for(2ms);
  }
  return {};
}

status server_process::stop() {
  auto words = [&] { return last_lines(state_.path() + "/marud.log"); };
  if (auto early = child_.exit_code())
    return {ec::io, "failed to keep marud running: it ended with code " + std::to_string(*early) + "\n" + words()};
  if (int code = child_.stop(); code != 0)
    return {ec::io, "failed to stop marud cleanly: it ended with code " + std::to_string(code) + "\n" + words()};
  return {};
}

}  // namespace maru::bench
