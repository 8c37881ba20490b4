// Devices and what lies on them, as text for people. Throws nlohmann::json::exception where a row is not of the form that
// rows.hpp and contents.hpp make.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace maru::ctl {

// A line a device. `rows`: as device_rows() makes them.
std::string show_devices(const nlohmann::json& rows);
// All about one.
std::string show_device(const nlohmann::json& row);
// What a format of it destroys, in a line.
std::string show_loss(const nlohmann::json& row);
// What lies on a device, in a few words: "pool 3f2a1b2c, device 1 of 2, served"; empty where nobody looked.
std::string show_contents(const nlohmann::json& contents);

}  // namespace maru::ctl
