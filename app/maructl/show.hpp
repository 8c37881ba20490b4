// marud's JSON answers as text for people. Throws nlohmann::json::exception where an answer is not as agreed; the
// caller turns that into an error.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace maru::ctl {

std::string show_status(const nlohmann::json& answer, const std::string& server);
std::string show_entry(const nlohmann::json& answer, const std::string& key);
// `entries`: an array of rows, as `ls` answers them.
std::string show_entries(const nlohmann::json& entries);
std::string show_sessions(const nlohmann::json& answer);
std::string show_pool_devices(const nlohmann::json& answer);
std::string show_evicted(const nlohmann::json& answer);
std::string show_log_level(const nlohmann::json& answer);
// `problems` and `counts`, gathered over all answers of one audit.
std::string show_audit(const nlohmann::json& problems, const nlohmann::json& counts);

}  // namespace maru::ctl
