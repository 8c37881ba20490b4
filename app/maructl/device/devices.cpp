#include "app/maructl/device/devices.hpp"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "app/maructl/device/advice.hpp"
#include "app/maructl/device/contents.hpp"
#include "app/maructl/device/rows.hpp"
#include "app/maructl/device/show.hpp"
#include "base/device_spec.hpp"
#include "cxl/inspection.hpp"
#include "cxl/wipe.hpp"

namespace maru::ctl {

using nlohmann::json;

namespace {

constexpr auto root = "/";

// At once: what it says of a loss comes before what went wrong then.
void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void print_json(const json& value) { print(value.dump(2, ' ', false, json::error_handler_t::replace) + "\n"); }

result<exit_code> list(const command& c) {
  auto rows = device_rows(cxl::read_device_catalog(root), root, contents_of);
  if (c.json)
    print_json({{"devices", rows}});
  else
    print(show_devices(rows));
  return exit_code::ok;
}

// The row of the device that the command line names.
result<json> named_row(const command& c) {
  auto spec = parse_device_spec(c.device);
  auto real = spec ? with_real_path(*std::move(spec)) : spec;
  if (!real)
    return real.error();
  return device_row(cxl::read_device_catalog(root), root, real->path, contents_of);
}

result<exit_code> probe(const command& c) {
  auto row = named_row(c);
  if (!row)
    return row.error();
  if (c.json)
    print_json(*row);
  else
    print(show_device(*row));
  const auto& contents = row->at("contents");
  return contents.is_null() ? exit_code::other : exit_code_of_contents(contents);
}

// Why it is not to be formatted, whatever --yes says; `ok` where it may be.
status may_format(const json& row) {
  auto path = row.at("path").get<std::string>();
  auto refuse = [&](ec code, const std::string& why) { return error{code, "failed to format " + path + ": " + why}; };
  const auto& contents = row.at("contents");
  if (contents.is_null())
    return refuse(ec::invalid, "it is in mode " + row.at("mode").get<std::string>()
                                 + "; first: " + row.at("first").get<std::string>());
  auto state = contents.at("state").get<std::string>();
  if (state == "unreadable")
    return refuse(ec::io, contents.at("why").get<std::string>());
  if (state == "missing")
    return refuse(ec::missing, "nothing is there; marud makes a file of that name by itself");
  if (contents.at("served") == true)
    return refuse(ec::in_use, "a marud serves it; 'maructl device drain' takes a device out of a pool that runs");
  return contents.at("served").is_null()
           ? refuse(ec::io, "whether a marud serves it cannot be told; be its owner or root")
           : status{};
}

result<exit_code> format(const command& c) {
  auto row = named_row(c);
  if (!row)
    return row.error();
  if (auto may = may_format(*row); !may)
    return may.error();
  auto path = row->at("path").get<std::string>();
  if (!c.json)
    print(show_loss(*row));
  bool blank = row->at("contents").at("state") == "blank";
  if (!c.yes && !blank)
    return error{ec::refused, "failed to format " + path + ": --yes was not given; nothing was changed"};
  if (!blank) {
    auto found = cxl::inspect(path);
    auto wiped = found ? cxl::wipe(*found) : status{found.error()};
    if (!wiped)
      return wiped.error();
  }
  if (c.json)
    print_json({{"path", path}, {"was", row->at("contents")}, {"formatted", !blank}});
  return exit_code::ok;
}

}  // namespace

result<exit_code> devices(const command& c) {
  try {
    switch (c.what) {
      case verb::device_list: return list(c);
      case verb::device_probe: return probe(c);
      default: return format(c);
    }
  } catch (const json::exception& e) {
    return {ec::corrupt, std::string{"failed to show a device: "} + e.what()};
  }
}

}  // namespace maru::ctl
