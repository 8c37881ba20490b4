// Devices and what lies on them, as text for people. Throws nlohmann::json::exception where a row is not of the form that
// rows.hpp and contents.hpp make.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace maru::ctl {

// `rows`: as device_rows() makes them.
std::string show_devices(const nlohmann::json& rows);
// What lies on a device, in a few words: "pool 3f2a1b2c, served"; empty where nobody looked.
std::string show_contents(const nlohmann::json& contents);

}  // namespace maru::ctl
