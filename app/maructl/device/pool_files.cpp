#include "app/maructl/device/pool_files.hpp"

#include <algorithm>
#include <system_error>

namespace maru::ctl {

namespace fs = std::filesystem;

namespace {

constexpr int entries_max = 1024;  // looked at, of each folder
constexpr int depth_max = 1;

bool may_be_pool(const fs::directory_entry& entry, bool metadata_inside) {
  std::error_code none;
  if (!entry.is_regular_file(none))
    return false;
  auto name = entry.path().string();
  if (name.ends_with(".meta") || name.ends_with(".lock"))
    return false;
  return metadata_inside || fs::is_regular_file(name + ".meta", none);
}

void search(const fs::path& folder, int depth, bool metadata_inside, std::vector<std::string>& found) {
  std::error_code none;
  int left = entries_max;
  for (fs::directory_iterator entry{folder, none}, end; !none && entry != end && left-- > 0; entry.increment(none)) {
    std::error_code ignored;
    if (may_be_pool(*entry, metadata_inside))
      found.push_back(entry->path().string());
    else if (depth < depth_max && entry->is_directory(ignored) && !entry->is_symlink(ignored)
             && !entry->path().string().ends_with(".locks"))
      search(entry->path(), depth + 1, metadata_inside, found);
  }
}

}  // namespace

std::vector<std::string> pool_files(const fs::path& folder, bool metadata_inside) {
  std::vector<std::string> found;
  search(folder, 0, metadata_inside, found);
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace maru::ctl
