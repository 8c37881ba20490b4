// Structs with every field set, for tests that must see each field survive.
#pragma once

#include "cxl/layout.hpp"

namespace maru::cxl::samples {

inline superblock a_superblock(std::uint64_t sequence = 7) {
  superblock sb;
  sb.sequence = sequence;
  sb.pool.bytes.fill(0xa1);
  sb.device.bytes.fill(0xa2);
  sb.incarnation.bytes.fill(0xa3);
  sb.device_index = 1;
  sb.device_count = 3;
  sb.data_bytes = 256 * bounds::MiB;
  sb.slot_bytes = 64 * bounds::KiB;
  sb.extent_bytes = 4 * bounds::MiB;
  sb.mode = coherence::software;
  sb.secret.fill(0xa4);
  sb.boot_id.bytes.fill(0xa5);
  sb.epoch = 0x1122334455667788;
  sb.next_region = 0x7ffffffe;
  sb.highest = generation_max;
  return sb;
}

inline region_row a_row() { return {region_id{42}, 3, 128 * bounds::MiB, 4 * bounds::MiB, 256 * bounds::KiB}; }

inline descriptor a_descriptor(generation gen = 0x123456789abc) {
  descriptor d;
  d.state = page_state::committed;
  d.gen = gen;
  d.hash = {0x1111111111111111, 0x2222222222222222};
  d.checksum = 0x3333333333333333;
  d.session = session_id{0x4444444444444444};
  d.length = 0x55555555;
  d.epoch = 0x66666666;
  return d;
}

}  // namespace maru::cxl::samples
