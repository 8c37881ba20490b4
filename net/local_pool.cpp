#include "net/local_pool.hpp"

#include <utility>

#include "cxl/layout.hpp"

namespace maru::net {

namespace {

constexpr int attempts_max = 3;  // where the page is another one's by the time it is held

}  // namespace

result<std::shared_ptr<const local_pool>> local_pool::open(const std::string& path, std::uint64_t data_bytes,
                                                           std::uint64_t slot_bytes, const uuid& nonce,
                                                           std::uint64_t epoch, bool guarded) {
  if (slot_bytes < bounds::page_bytes_min || data_bytes < slot_bytes || data_bytes > INT64_MAX)
    return {ec::invalid, "the pool's sizes make no sense"};
  cxl::device_options wanted;
  wanted.path = path + ".meta";
  wanted.mode = cxl::access::read;
  auto device = cxl::open_device(wanted);
  if (!device)
    return device.error();
  auto bytes = cxl::metadata_bytes(data_bytes, slot_bytes);
  auto memory = (*device)->map(0, bytes, cxl::access::read);
  if (!memory)
    return memory.error();
  if (guarded)
    memory->guard((*device)->align());
  auto slots = data_bytes / slot_bytes;
  auto index =
    cxl::index_reader::attach(memory->bytes().subspan(cxl::index_offset(data_bytes, slot_bytes)), slots, nonce);
  if (!index || index->open_epoch() != epoch)
    return {ec::invalid, wanted.path + " is not the metadata of the marud that answered"};
  cxl::descriptor_table descriptors{memory->data() + cxl::descriptors_offset, slots};
  return std::shared_ptr<const local_pool>{new local_pool{*std::move(memory), *index, descriptors, epoch}};
}

cxl::sight local_pool::find(const key_hash& hash, cxl::descriptor& d, std::uint64_t& slot) const {
  auto seen = index_.find(hash, descriptors_, d, slot);
  // This thread may have stood still until the next marud emptied the index, or have read zeros in place of it.
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
    auto held = table.pin({d.page, by_view}, descriptors_.state_word(pinned.slot), cxl::descriptor_table::word_of(d));
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
