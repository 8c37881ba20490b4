#include "app/maructl/device/contents.hpp"

#include <nlohmann/json.hpp>

#include "base/uuid.hpp"
#include "cxl/inspection.hpp"
#include "cxl/visibility.hpp"

namespace maru::ctl {

using nlohmann::json;

namespace {

const char* state_of(const cxl::inspection& found) {
  switch (found.top.kind) {
    case cxl::head_kind::valid: return "pool";
    case cxl::head_kind::blank:
      return !found.exists && !found.has_metadata ? "missing" : found.data_blank ? "blank" : "foreign";
    case cxl::head_kind::unfinished: return "unfinished";
    case cxl::head_kind::damaged: return "damaged";
    case cxl::head_kind::other_version: return "other_version";
    case cxl::head_kind::foreign: break;
  }
  return "foreign";
}

json unreadable(const error& e) { return {{"state", "unreadable"}, {"code", to_string(e.code)}, {"why", e.message}}; }

void add_superblock(const cxl::inspection& found, json& out) {
  const auto& sb = found.top.super;
  out["pool"] = to_string(sb.pool);
  out["device"] = to_string(sb.device);
  out["incarnation"] = to_string(sb.incarnation);
  out["index"] = sb.device_index;
  out["count"] = sb.device_count;
  out["data_bytes"] = sb.data_bytes;
  out["slot_bytes"] = sb.slot_bytes;
  out["region_bytes"] = sb.extent_bytes;
  out["visibility"] = cxl::to_string(sb.mode);
  out["epoch"] = sb.epoch;
  out["host_boot_id"] = to_string(sb.boot_id);
  out["rebooted"] = sb.boot_id != host_boot_id();
  out["damaged_copy"] = found.top.one_damaged;
  out["data_missing"] = !found.exists;
  auto chunks = cxl::committed_chunks(found);
  out["chunks"] = chunks ? json(*chunks) : json();
}

}  // namespace

json contents_of(const std::string& path) {
  auto found = cxl::inspect(path);
  if (!found)
    return unreadable(found.error());
  auto served = cxl::is_served(path);
  if (served && !*served)
    served = cxl::is_served_elsewhere(*found);
  json out = {{"state", state_of(*found)},
              {"served", served ? json(*served) : json()},
              {"inside", found->is_inside},
              {"bytes", found->bytes}};
  if (found->top.kind == cxl::head_kind::valid)
    add_superblock(*found, out);
  if (found->top.kind == cxl::head_kind::other_version)
    out["layout"] = found->top.major;
  return out;
}

exit_code exit_code_of_contents(const json& contents) {
  auto state = contents.at("state").get<std::string>();
  if (state == "unreadable")
    return exit_code::other;
  if (contents.at("served") == true)
    return exit_code::in_use;
  if (state == "pool")
    return exit_code::ok;
  return state == "blank" || state == "missing" || state == "unfinished" ? exit_code::not_found : exit_code::foreign;
}

}  // namespace maru::ctl
