#include "actors/session_files.hpp"

#include <charconv>
#include <filesystem>
#include <set>

#include "base/file_lock.hpp"

namespace maru::actors {

namespace {

namespace fs = std::filesystem;

// Paths of all session files; none where the folder is not there.
result<std::vector<fs::path>> session_files(const std::string& lock_dir) {
  std::vector<fs::path> out;
  std::error_code failed;
  if (!fs::exists(lock_dir, failed) && !failed)
    return out;
  for (fs::directory_iterator file{lock_dir, failed}, end; !failed && file != end; file.increment(failed))
    if (file->path().extension() == ".lock")
      out.push_back(file->path());
  if (failed)
    return {ec::io, "failed to look for living workers in " + lock_dir + ": " + failed.message()};
  return out;
}

session_id id_of(const fs::path& file) {
  auto stem = file.stem().string();
  std::uint64_t id = 0;
  auto [end, code] = std::from_chars(stem.data(), stem.data() + stem.size(), id);
  return code == std::errc{} && end == stem.data() + stem.size() ? session_id{id} : session_id::none;
}

}  // namespace

result<std::vector<storage::session_record>> living_sessions(const std::string& lock_dir) {
  std::vector<storage::session_record> out;
  auto files = session_files(lock_dir);
  if (!files)
    return files.error();
  for (const auto& file : *files) {
    auto id = id_of(file);
    if (id == session_id::none || file_lock::acquire_existing(file))  // whoever can take the lock proves the end
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
  auto files = session_files(lock_dir);
  for (const auto& file : files ? *files : std::vector<fs::path>{}) {
    std::error_code failed;
    if (!wanted.contains(file.filename()))
      fs::remove(file, failed);
  }
}

}  // namespace maru::actors
