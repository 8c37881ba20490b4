#include "tests/crash/loads.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "base/hex.hpp"
#include "cxl/descriptor_table.hpp"
#include "cxl/layout.hpp"

namespace maru::test {

namespace fs = std::filesystem;

// -- load_worker

load_worker::load_worker(const marud& m, std::string name, std::uint64_t seed, const std::string& folder, int pause_ms)
    : name_(std::move(name)),
      log_(folder + "/" + name_ + ".log"),
      process_({LOAD_WORKER_PATH, m.address(), name_, std::to_string(seed), log_, std::to_string(pause_ms)}) {}

load_report load_worker::report() const {
  load_report out;
  std::ifstream in{log_};
  for (std::string line; std::getline(in, line);) {
    if (line == "armed")
      out.armed = true;
    else if (line.starts_with("+"))
      out.kept.insert(line.substr(1));
    else if (line.starts_with("-"))
      out.kept.erase(line.substr(1));
    else if (line.starts_with("="))
      out.sessions.push_back(line.substr(1));
    else if (line.starts_with("wrong "))
      out.wrong.push_back(line.substr(6));
    else if (line.starts_with("!"))
      ++out.failed[line.substr(1)];
    else
      out.wrong.push_back("a line that makes no sense: " + line);
  }
  return out;
}

// -- observer

observer::observer(const marud& m) : address_(m.address()) {
  auto file = cxl::open_device({.path = m.pool() + ".meta", .mode = cxl::access::read});
  if (!file)
    return;
  metadata_ = std::move(*file);
  if (auto map = metadata_->map(0, metadata_->size(), cxl::access::read))
    map_ = std::move(*map);
}

nlohmann::json observer::ask(const std::string& verb, const nlohmann::json& arguments) {
  // Again on a new connection, once: marud closes those that it heard nothing from while it stood still.
  for (int tries = 0; tries < 2; ++tries) {
    if (!admin_)
      if (auto opened = net::admin::open(address_, 10s))
        admin_ = std::move(*opened);
    if (auto answer = admin_ ? admin_->ask(verb, arguments.dump(), 5s) : result<std::string>{ec::unavailable, ""})
      return nlohmann::json::parse(*answer, nullptr, false);
    admin_.reset();
  }
  return {};
}

std::optional<std::uint64_t> observer::session_of(const std::string& instance) {
  auto answer = ask("sessions");
  for (const auto& s : answer["sessions"])
    if (s["instance"] == instance)
      return s["id"].get<std::uint64_t>();
  return std::nullopt;
}

int observer::pins_on(const std::string& key) {
  auto entry = ask("stat", {{"key_hex", to_hex(key)}});
  return entry.value("found", false) ? entry["pins"].get<int>() : -1;
}

std::size_t observer::pages_of(std::uint64_t session) {
  cxl::descriptor_table table{map_.data() + cxl::descriptors_offset,
                              (map_.size() - cxl::descriptors_offset) / cxl::descriptor_bytes};
  std::size_t held = 0;
  for (std::uint64_t slot = 0; slot < table.slots(); ++slot) {
    auto d = table.read(slot);
    held += d && value_of(d->session) == session
            && (d->state == cxl::page_state::granted || d->state == cxl::page_state::quarantined);
  }
  return held;
}

std::string observer::unaccounted() {
  auto s = ask("status");
  if (s.is_null())
    return "nobody answers";
  std::string out;
  auto& p = s["pages"];
  auto expect = [&](const char* what, std::uint64_t is, std::uint64_t wanted) {
    if (is != wanted)
      out += std::string{what} + " " + std::to_string(is) + " instead of " + std::to_string(wanted) + "; ";
  };
  expect("sessions", s["sessions"], 0);
  expect("pins", s["pins"], 0);
  expect("held pins", s["pins_held_dead"], 0);
  expect("granted", p["granted"], 0);
  expect("quarantined", p["quarantined"], 0);
  expect("evicting", p["evicting"], 0);
  expect("entries", s["entries"], p["committed"]);
  auto page = s["pool"]["page_min"].get<std::uint64_t>();
  expect("bytes of all pages",
         (p["free"].get<std::uint64_t>() + p["committed"].get<std::uint64_t>()) * page
           + s["pool"]["unassigned_bytes"].get<std::uint64_t>(),
         s["pool"]["bytes"]);
  return out;
}

// -- what is measured

usage usage_of(pid_t pid) {
  usage out;
  auto proc = "/proc/" + std::to_string(pid);
  std::ifstream in{proc + "/status"};
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("RssAnon:"))
      out.heap_bytes = std::stoull(line.substr(8)) * 1024;
  std::error_code ignored;
  for (const auto& fd : fs::directory_iterator{proc + "/fd", ignored})
    out.descriptors += fs::read_symlink(fd.path(), ignored).parent_path().filename() != "db";
  return out;
}

std::size_t lock_files_of(const marud& m) {
  std::error_code ignored;
  return static_cast<std::size_t>(
    std::distance(fs::directory_iterator{m.pool() + ".locks", ignored}, fs::directory_iterator{}));
}

double distribution::at(double part) const {
  if (values_.empty())
    return 0;
  auto sorted = values_;
  auto nth = static_cast<std::ptrdiff_t>(part * static_cast<double>(sorted.size() - 1) + 0.5);
  std::nth_element(sorted.begin(), sorted.begin() + nth, sorted.end());
  return sorted[static_cast<std::size_t>(nth)];
}

std::string distribution::text() const {
  char out[128];
  std::snprintf(out, sizeof out, "n %zu, p50 %.3f ms, p99 %.3f ms, p99.9 %.3f ms, max %.3f ms", size(), at(0.5),
                at(0.99), at(0.999), at(1));
  return out;
}

}  // namespace maru::test
