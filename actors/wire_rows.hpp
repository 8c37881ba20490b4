// Regions and devices as workers are told of them.
#pragma once

#include <string>

#include "cxl/member.hpp"
#include "net/protocol.hpp"

namespace maru::actors {

inline net::region_row to_net(const cxl::region_row& r) {
  return {value_of(r.id), r.device, r.offset, r.length, r.page_bytes};
}

inline net::device_row to_net(const cxl::member& m) {
  auto bytes_of = [](const uuid& id) {
    return std::string{reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()};
  };
  const auto& sb = m.super();
  return {m.index(),       bytes_of(sb.device), bytes_of(sb.incarnation), m.data().path(), m.metadata_path(),
          m.data_offset(), sb.data_bytes};
}

}  // namespace maru::actors
