#include "actors/session_files.hpp"

#include <charconv>
#include <filesystem>
#include <set>

#include "base/file_lock.hpp"

namespace maru::actors {

namespace {

namespace fs = std::filesystem;

// Paths of all session files; none where the folder is not there.
std::vector<fs::path> session_files(const std::string& lock_dir) {
  std::vector<fs::path> out;
  std::error_code failed;
  for (const auto& file : fs::directory_iterator{lock_dir, failed})
    if (file.path().extension() == ".lock")
      out.push_back(file.path());
  return out;
}

session_id id_of(const fs::path& file) {
  auto stem = file.stem().string();
  std::uint64_t id = 0;
  auto [end, code] = std::from_chars(stem.data(), stem.data() + stem.size(), id);
  return code == std::errc{} && end == stem.data() + stem.size() ? session_id{id} : session_id::none;
}

}  // namespace

std::vector<storage::session_record> living_sessions(const std::string& lock_dir) {
  std::vector<storage::session_record> out;
  for (const auto& file : session_files(lock_dir)) {
    auto id = id_of(file);
    if (id == session_id::none || file_lock::acquire_existing(file).code() != ec::in_use)
      continue;
    storage::session_record s;
    s.id = id;
    s.resume_secret = random_uuid();
    s.boot_id = host_boot_id();
    s.instance = "unknown";
    s.lock_path = file;
    out.push_back(std::move(s));
  }
  return out;
}

void remove_stale_session_files(const std::string& lock_dir, const std::vector<recovered_session>& sessions) {
  std::set<std::string> wanted;
  for (const auto& s : sessions)
    wanted.insert(fs::path{s.record.lock_path}.filename());
  for (const auto& file : session_files(lock_dir)) {
    std::error_code failed;
    if (!wanted.contains(file.filename()))
      fs::remove(file, failed);
  }
}

}  // namespace maru::actors
