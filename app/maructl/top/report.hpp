// What `maructl top --json` writes: one object a sample.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "app/maructl/top/sample.hpp"

namespace maru::ctl {

// Times in seconds, rates a second, shares from 0 to 1; null where nothing was measured.
nlohmann::json report(const std::string& server, const sample& now, const change& since);
nlohmann::json report_of_silence(const std::string& server, const std::string& trouble);

}  // namespace maru::ctl
