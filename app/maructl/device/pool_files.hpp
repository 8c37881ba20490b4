// Files below a folder that may hold a pool.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace maru::ctl {

// Regular files in the folder and the folders right in it that have metadata beside them (PATH.meta), or, where
// `metadata_inside`, all that could have it inside. Sorted; of a folder with very many entries only the first ones.
std::vector<std::string> pool_files(const std::filesystem::path& folder, bool metadata_inside);

}  // namespace maru::ctl
