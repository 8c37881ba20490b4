#include "app/bench/machine.hpp"

#include <sched.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/size.hpp"

namespace maru::bench {

namespace {

// The rest of the first line of `path` that starts with `name`, without blanks, separators and quotes around it.
std::string find_line(const std::string& path, const std::string& name) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (!line.starts_with(name))
      continue;
    auto first = line.find_first_not_of(" \t:=\"", name.size());
    auto last = line.find_last_not_of(" \t\"");
    return first == line.npos ? std::string{} : line.substr(first, last - first + 1);
  }
  return {};
}

std::uint64_t kilobytes(const std::string& text) { return std::strtoull(text.c_str(), nullptr, 10) * 1024; }

// Content of a control group file as a number; the largest number for "max" and for no file.
std::uint64_t group_bytes(const std::string& path) {
  std::ifstream file(path);
  std::uint64_t value = 0;
  return file >> value ? value : UINT64_MAX;
}

}  // namespace

machine this_machine() {
  machine m;
  m.cpu = find_line("/proc/cpuinfo", "model name");
  cpu_set_t allowed;
  if (::sched_getaffinity(0, sizeof allowed, &allowed) == 0)
    m.cores = static_cast<unsigned>(CPU_COUNT(&allowed));
  m.memory_bytes = kilobytes(find_line("/proc/meminfo", "MemTotal:"));
  utsname names{};
  if (::uname(&names) == 0)
    m.kernel = names.release;
  m.system = find_line("/etc/os-release", "PRETTY_NAME");
  return m;
}

std::string to_string(const machine& m) {
  return (m.cpu.empty() ? "unknown processor" : m.cpu) + ", " + std::to_string(m.cores) + " cores, "
         + format_size(m.memory_bytes) + ", Linux " + m.kernel + ", " + m.system;
}

nlohmann::json to_json(const machine& m) {
  return {
    {"cpu", m.cpu}, {"cores", m.cores}, {"memory_bytes", m.memory_bytes}, {"kernel", m.kernel}, {"system", m.system}};
}

std::uint64_t available_memory_bytes() {
  auto available = kilobytes(find_line("/proc/meminfo", "MemAvailable:"));
  auto limit = group_bytes("/sys/fs/cgroup/memory.max");
  auto used = group_bytes("/sys/fs/cgroup/memory.current");
  if (limit != UINT64_MAX && used != UINT64_MAX)
    available = std::min(available, limit - std::min(limit, used));
  return available;
}

std::uint64_t free_file_system_bytes(const std::string& folder) {
  struct statvfs facts {};
  if (::statvfs(folder.c_str(), &facts) != 0)
    return 0;
  return std::uint64_t{facts.f_bavail} * facts.f_frsize;
}

}  // namespace maru::bench
