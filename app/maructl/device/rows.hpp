// What this machine has to hold a pool, a JSON object a device or place: what `maructl device list --json` prints.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "cxl/device_catalog.hpp"

namespace maru::ctl {

// Looks at what lies on a device or in a file, and answers with a JSON object that has at least its "state"; see
// contents.hpp.
using look_at = std::function<nlohmann::json(const std::string& path)>;

// Each row has path, kind, size, free, align (bytes, null: not known), node (null: not known), mode, access, contents
// (null: there is nothing to look at), options and first (see advice.hpp). Files of pools come right after the mount they
// lie in, and have its path as "in". Paths are looked up below `root`.
nlohmann::json device_rows(const cxl::device_catalog& catalog, const std::filesystem::path& root, const look_at& look);

// The file or device that a path of the machine means, below `root`.
std::filesystem::path below(const std::filesystem::path& root, const std::string& path);

}  // namespace maru::ctl
