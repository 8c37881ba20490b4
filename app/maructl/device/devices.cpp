#include "app/maructl/device/devices.hpp"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "app/maructl/device/rows.hpp"
#include "app/maructl/device/show.hpp"

namespace maru::ctl {

using nlohmann::json;

namespace {

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

void print_json(const json& value) { print(value.dump(2, ' ', false, json::error_handler_t::replace) + "\n"); }

result<exit_code> list(const command& c) {
  auto rows = device_rows(cxl::read_device_catalog(), "/", [](const std::string&) { return json(); });
  if (c.json)
    print_json({{"devices", rows}});
  else
    print(show_devices(rows));
  return exit_code::ok;
}

}  // namespace

result<exit_code> devices(const command& c) {
  switch (c.what) {
    default: return list(c);
  }
}

}  // namespace maru::ctl
