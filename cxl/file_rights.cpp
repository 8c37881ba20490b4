#include "cxl/file_rights.hpp"

#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>

#include <string_view>
#include <vector>

namespace maru::cxl {

namespace {

constexpr std::size_t record_bytes = 16384;  // of a user or group; one with more members goes by its number

std::string user_name(uid_t id) {
  std::vector<char> room(record_bytes);
  passwd record = {}, *found = nullptr;
  ::getpwuid_r(id, &record, room.data(), room.size(), &found);
  return found ? found->pw_name : std::to_string(id);
}

std::string group_name(gid_t id) {
  std::vector<char> room(record_bytes);
  group record = {}, *found = nullptr;
  ::getgrgid_r(id, &record, room.data(), room.size(), &found);
  return found ? found->gr_name : std::to_string(id);
}

}  // namespace

std::optional<file_rights> rights_of(const std::filesystem::path& path) {
  struct stat now = {};
  if (::stat(path.c_str(), &now) != 0)
    return std::nullopt;
  return file_rights{now.st_mode & 07777u, user_name(now.st_uid), group_name(now.st_gid)};
}

std::string to_string(const file_rights& rights) {
  constexpr std::string_view letters = "rwxrwxrwx";
  std::string out;
  for (std::size_t i = 0; i < letters.size(); ++i)
    out += (rights.mode >> (letters.size() - 1 - i) & 1) != 0 ? letters[i] : '-';
  return out + " " + rights.owner + ":" + rights.group;
}

}  // namespace maru::cxl
