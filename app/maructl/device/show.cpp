#include "app/maructl/device/show.hpp"

#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "app/maructl/table.hpp"
#include "base/size.hpp"

namespace maru::ctl {

using nlohmann::json;

namespace {

constexpr auto left = table::align::left;
constexpr auto right = table::align::right;

std::string size_text(const json& value) { return value.is_null() ? "" : format_size(value.get<std::uint64_t>()); }
std::string number_text(const json& value) { return value.is_null() ? "" : std::to_string(value.get<int>()); }

std::string text(const json& object, const char* name) { return object.at(name).get<std::string>(); }
std::uint64_t number(const json& object, const char* name) { return object.at(name).get<std::uint64_t>(); }

std::string line(const char* name, const std::string& value) {
  std::string out = name;
  out.resize(12, ' ');
  return value.empty() ? "" : out + value + "\n";
}

std::string hex_text(std::uint64_t n) {
  char out[32];
  std::snprintf(out, sizeof out, "0x%llx", static_cast<unsigned long long>(n));
  return out;
}

std::string device_of(const json& contents) {
  return "device " + std::to_string(number(contents, "index") + 1) + " of " + std::to_string(number(contents, "count"));
}

std::string chunks_of(const json& contents) {
  return contents.at("chunks").is_null() ? "an unknown number of" : grouped(number(contents, "chunks"));
}

const char* serving(const json& contents) {
  const auto& served = contents.at("served");
  return served.is_null() ? "nobody can tell whether a marud serves it" : served == true ? "served by a marud" : "";
}

// Words for what is no pool that can be served.
std::string plain_state(const json& contents) {
  auto state = text(contents, "state");
  if (state == "foreign")
    return "something that is not Maru's";
  if (state == "unfinished")
    return "a format that did not end";
  if (state == "damaged")
    return "a damaged pool";
  if (state == "other_version")
    return "a pool of layout " + std::to_string(number(contents, "layout"));
  return state == "missing" ? "nothing" : state;
}

std::string where_from(const json& row) {
  if (!row.contains("origin"))
    return "";
  std::string out = text(row, "origin") + ", driver " + (text(row, "driver").empty() ? "none" : text(row, "driver"));
  for (const auto& range : row.at("ranges"))
    out += ", " + hex_text(number(range, "start")) + "-" + hex_text(number(range, "end"));
  return out;
}

std::string superblock_lines(const json& c) {
  auto out = line("pool", text(c, "pool") + ", " + device_of(c) + ", " + text(c, "device"));
  out += line("", size_text(c.at("data_bytes")) + " for chunks, smallest page " + size_text(c.at("slot_bytes"))
                    + ", regions of " + size_text(c.at("region_bytes")) + ", visibility " + text(c, "visibility"));
  out += line("chunks", chunks_of(c) + " committed" + (c.at("data_missing") == true ? "; their file is gone" : ""));
  out +=
    line("last served", "epoch " + grouped(number(c, "epoch"))
                          + (c.at("rebooted") == true ? ", before the host was booted: with --durability=process the "
                                                        "chunks count as lost"
                                                      : ", since the host was booted"));
  out += line("superblocks",
              c.at("damaged_copy") == true ? "one of two is damaged; the next start writes it anew" : "whole");
  return out;
}

}  // namespace

std::string show_contents(const json& contents) {
  if (contents.is_null())
    return "";
  auto state = text(contents, "state");
  if (state == "unreadable")
    return state;
  auto out = state == "pool" ? "pool " + text(contents, "pool").substr(0, 8) : plain_state(contents);
  if (state == "pool" && number(contents, "count") > 1)
    out += ", " + device_of(contents);
  return contents.at("served") == true ? out + ", served" : out;
}

std::string show_device(const json& row) {
  auto out = line("device", text(row, "path") + ", " + text(row, "kind") + (text(row, "mode").empty() ? "" : ", mode ")
                              + text(row, "mode"));
  std::string size = size_text(row.at("size"));
  if (!row.at("align").is_null())
    size += (size.empty() ? "align " : ", align ") + size_text(row.at("align"));
  if (!row.at("node").is_null())
    size += ", NUMA node " + number_text(row.at("node"));
  out += line("memory", size) + line("made by", where_from(row)) + line("access", text(row, "access"));
  const auto& contents = row.at("contents");
  if (contents.is_null())
    return out + line("first", text(row, "first"));
  auto state = text(contents, "state");
  if (state == "unreadable")
    return out + line("contents", text(contents, "why"));
  out += state == "pool" ? superblock_lines(contents) : line("contents", plain_state(contents));
  return out + line("serving", serving(contents)) + line("options", text(row, "options"))
         + line("first", text(row, "first"));
}

std::string show_loss(const json& row) {
  const auto& contents = row.at("contents");
  auto state = text(contents, "state");
  auto path = text(row, "path");
  if (state == "blank")
    return path + " is blank: there is nothing to destroy\n";
  auto what = state == "pool" ? device_of(contents) + " of pool " + text(contents, "pool") + ", with "
                                  + chunks_of(contents) + " committed chunks"
                              : plain_state(contents);
  return "on " + path + " this destroys " + what + "\n";
}

std::string show_devices(const json& rows) {
  table out{{{"path", left},
             {"kind", left},
             {"size", right},
             {"free", right},
             {"align", right},
             {"node", right},
             {"mode", left},
             {"access", left},
             {"contents", left},
             {"options of marud, or what comes first", left}}};
  for (const auto& r : rows) {
    auto path = r.at("path").get<std::string>();
    auto first = r.at("first").get<std::string>();
    out.add({r.contains("in") ? "  " + path : path, r.at("kind").get<std::string>(), size_text(r.at("size")),
             size_text(r.at("free")), size_text(r.at("align")), number_text(r.at("node")),
             r.at("mode").get<std::string>(), r.at("access").get<std::string>(), show_contents(r.at("contents")),
             first.empty() ? r.at("options").get<std::string>() : "first: " + first});
  }
  return out.empty() ? "nothing on this machine can hold a pool\n" : out.text();
}

}  // namespace maru::ctl
