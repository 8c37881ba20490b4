#include "net/local_pool.hpp"

#include <algorithm>
#include <utility>

#include "base/size.hpp"
#include "cxl/layout.hpp"

namespace maru::net {

namespace {

constexpr int attempts_max = 3;  // where the page is another one's by the time it is held

}  // namespace

result<std::shared_ptr<const local_pool>> local_pool::open(const pool_devices& devices,
                                                           std::span<const device_row> rows, std::uint64_t slot_bytes,
                                                           const uuid& nonce, std::uint64_t word) {
  std::shared_ptr<local_pool> made{new local_pool{word}};
  for (const auto& row : rows) {
    if (slot_bytes < bounds::page_bytes_min || row.size < slot_bytes || row.size > INT64_MAX)
      return {ec::invalid, "the pool's sizes make no sense"};
    auto path = devices.metadata_of(row);
    auto device = cxl::open_device({path, 0, false, cxl::access::read});
    if (!device)
      return device.error();
    auto bytes = align_up(cxl::metadata_bytes(row.size, slot_bytes), (*device)->align());
    auto memory = (*device)->map(0, bytes, cxl::access::read);
    if (!memory)
      return memory.error();
    memory->guard((*device)->align());
    auto slots = row.size / slot_bytes;
    auto index =
      cxl::index_reader::attach(memory->bytes().subspan(cxl::index_offset(row.size, slot_bytes)), slots, nonce);
    if (!index || index->open_word() != word)
      return {ec::invalid, path + " is not the metadata of the marud that answered"};
    made->reader_.add(row.index, *index, {memory->data() + cxl::descriptors_offset, slots});
    made->memory_.push_back(*std::move(memory));
  }
  return std::shared_ptr<const local_pool>{std::move(made)};
}

bool local_pool::has_failed() const {
  return std::any_of(memory_.begin(), memory_.end(), [](const auto& m) { return cxl::faulted(m.bytes()); });
}

cxl::sight local_pool::find(const key_hash& hash, cxl::descriptor& d, std::uint64_t& slot) const {
  auto seen = reader_.find(hash, d, slot);
  // This thread may have stood still until the next marud emptied the index, the pool got another device, or it read zeros in
  // place of them.
  return seen == cxl::sight::miss && !is_open() ? cxl::sight::unclear : seen;
}

cxl::sight local_pool::look(const key_hash& hash, location& where, std::uint64_t& slot) const {
  cxl::descriptor d;
  auto seen = find(hash, d, slot);
  if (seen == cxl::sight::hit)
    where = {d.page, d.length, d.gen, d.checksum};
  return seen;
}

cxl::sight local_pool::pin(const key_hash& hash, bool by_view, cxl::held_pages& table, location& where,
                           local_pin& pinned) const {
  for (int attempt = 0; attempt < attempts_max; ++attempt) {
    cxl::descriptor d;
    auto seen = find(hash, d, pinned.slot);
    if (seen != cxl::sight::hit)
      return seen;
    auto held = table.pin({d.page, by_view}, reader_.state_word(pinned.slot), cxl::descriptor_table::word_of(d));
    if (held == cxl::held_pages::none)
      break;
    if (held == cxl::held_pages::refused)
      continue;
    pinned.held = held;
    where = {d.page, d.length, d.gen, d.checksum};
    return cxl::sight::hit;
  }
  return cxl::sight::unclear;
}

}  // namespace maru::net
