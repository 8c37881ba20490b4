#include "metrics/process_stats.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

namespace maru::metrics {

namespace {

// The first line of a file of /proc that begins with `name`, behind it.
std::string line_of(const char* path, const std::string& name) {
  std::ifstream in{path};
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(name))
      return line.substr(name.size());
  return {};
}

// Since the boot of the host: the 22nd field of /proc/self/stat, of which the second, in brackets, may hold blanks.
double start_since_boot() {
  auto stat = line_of("/proc/self/stat", "");
  std::istringstream in{stat.substr(std::min(stat.size(), stat.rfind(')') + 1))};
  std::string word;
  for (int field = 3; field <= 22 && in >> word; ++field)
    ;
  return std::atof(word.c_str()) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

}  // namespace

process_stats read_process_stats() {
  process_stats out;
  // Once: btime moves when the clock is set, and would look like another start.
  static const double start = std::atof(line_of("/proc/stat", "btime ").c_str()) + start_since_boot();
  out.start_seconds = start;
  out.resident_bytes = std::strtoull(line_of("/proc/self/status", "VmRSS:").c_str(), nullptr, 10) * 1024;
  std::error_code failed;
  using std::filesystem::directory_iterator;
  out.open_fds = static_cast<std::uint64_t>(std::distance(directory_iterator{"/proc/self/fd", failed}, {}));
  struct rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0)
    out.max_fds = limit.rlim_cur;
  return out;
}

}  // namespace maru::metrics
