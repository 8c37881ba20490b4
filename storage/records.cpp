#include "storage/records.hpp"

#include "base/bounds.hpp"
#include "base/codec.hpp"
#include "base/crc32c.hpp"

namespace maru::storage {

namespace {

constexpr std::size_t path_bytes_max = 4096;  // PATH_MAX

status too_large(std::string_view what, std::string_view field, std::size_t size, std::size_t max) {
  return {ec::too_large, "failed to encode " + std::string{what} + ": " + std::string{field} + " of "
                           + std::to_string(size) + " is over the bound of " + std::to_string(max)};
}

void begin(std::string& out) {
  out.clear();
  writer{out}.number(record_version);
}

void seal(std::string& out) { writer{out}.number(crc32c(out.data(), out.size())); }

error corrupt(std::string_view what, std::string_view cause) {
  return {ec::corrupt, "failed to decode " + std::string{what} + " record: " + std::string{cause}};
}

// Checks version and checksum; gives the fields between them. The version is looked at first, since a newer format
// may place its checksum elsewhere.
result<std::string_view> fields_of(std::string_view what, std::string_view bytes) {
  if (bytes.size() < 1 + sizeof(std::uint32_t))
    return corrupt(what, "truncated");
  auto version = static_cast<std::uint8_t>(bytes.front());
  if (version != record_version)
    return corrupt(what, "version " + std::to_string(version) + " is not known to this program");
  auto body = bytes.substr(0, bytes.size() - sizeof(std::uint32_t));
  if (reader{bytes.substr(body.size())}.number<std::uint32_t>() != crc32c(body.data(), body.size()))
    return corrupt(what, "checksum mismatch");
  return body.substr(1);
}

uuid take_uuid(reader& in) {
  uuid id;
  in.raw(id.bytes.data(), id.bytes.size());
  return id;
}

}  // namespace

status encode(const entry_record& record, std::string& out) {
  if (record.key.size() > bounds::key_bytes_max)
    return too_large("entry", "key", record.key.size(), bounds::key_bytes_max);
  if (record.owner.size() > bounds::name_bytes_max)
    return too_large("entry", "owner", record.owner.size(), bounds::name_bytes_max);
  begin(out);
  writer{out}
    .text(record.key)
    .number(value_of(record.where.page.region))
    .number(value_of(record.where.page.page))
    .number(record.where.length)
    .number(record.where.gen)
    .number(record.where.checksum)
    .number(record.committed_ms)
    .text(record.owner);
  seal(out);
  return {};
}

status encode(const session_record& record, std::string& out) {
  if (record.host.size() > bounds::name_bytes_max)
    return too_large("session", "host", record.host.size(), bounds::name_bytes_max);
  if (record.instance.size() > bounds::name_bytes_max)
    return too_large("session", "instance", record.instance.size(), bounds::name_bytes_max);
  if (record.lock_path.size() > path_bytes_max)
    return too_large("session", "lock path", record.lock_path.size(), path_bytes_max);
  if (record.shown.size() > bounds::shown_regions_max)
    return too_large("session", "list of regions", record.shown.size(), bounds::shown_regions_max);
  begin(out);
  writer{out}
    .number(value_of(record.id))
    .raw(record.resume_secret.bytes.data(), record.resume_secret.bytes.size())
    .raw(record.boot_id.bytes.data(), record.boot_id.bytes.size())
    .text(record.host)
    .text(record.instance)
    .text(record.lock_path)
    .number(record.page_bytes)
    .number(record.opened_ms);
  for (const auto& share : record.shown)
    writer{out}.number(value_of(share.region)).number(share.pages).number(static_cast<std::uint8_t>(share.shared));
  seal(out);
  return {};
}

std::string encode(const pool_record& record) {
  std::string out;
  begin(out);
  writer{out}
    .raw(record.pool.bytes.data(), record.pool.bytes.size())
    .raw(record.incarnation.bytes.data(), record.incarnation.bytes.size())
    .text(record.path.size() <= path_bytes_max ? record.path : std::string{});
  for (const auto& d : record.devices)
    writer{out}
      .number(d.index)
      .raw(d.device.bytes.data(), d.device.bytes.size())
      .raw(d.incarnation.bytes.data(), d.incarnation.bytes.size())
      .text(d.spec)
      .number(static_cast<std::uint8_t>(d.draining));
  seal(out);
  return out;
}

result<entry_record> decode_entry(std::string_view bytes) {
  auto fields = fields_of("entry", bytes);
  if (!fields)
    return fields.error();
  reader in{*fields};
  entry_record r;
  r.key = in.text();
  r.where.page.region = region_id{in.number<std::uint32_t>()};
  r.where.page.page = page_index{in.number<std::uint32_t>()};
  r.where.length = in.number<std::uint32_t>();
  r.where.gen = in.number<std::uint64_t>();
  r.where.checksum = in.number<std::uint64_t>();
  r.committed_ms = in.number<std::uint64_t>();
  r.owner = in.text();
  if (!in.ok() || !in.at_end())
    return corrupt("entry", "fields do not fill it");
  return r;
}

result<session_record> decode_session(std::string_view bytes) {
  auto fields = fields_of("session", bytes);
  if (!fields)
    return fields.error();
  reader in{*fields};
  session_record r;
  r.id = session_id{in.number<std::uint64_t>()};
  r.resume_secret = take_uuid(in);
  r.boot_id = take_uuid(in);
  r.host = in.text();
  r.instance = in.text();
  r.lock_path = in.text();
  r.page_bytes = in.number<std::uint64_t>();
  r.opened_ms = in.number<std::uint64_t>();
  while (in.ok() && !in.at_end()) {  // none in a record of before there were any
    auto& share = r.shown.emplace_back();
    share.region = region_id{in.number<std::uint32_t>()};
    share.pages = in.number<std::uint32_t>();
    auto shared = in.number<std::uint8_t>();
    if (shared > 1 || r.shown.size() > bounds::shown_regions_max)
      return corrupt("session", "it has regions that nobody was shown");
    share.shared = shared == 1;
  }
  if (!in.ok() || !in.at_end())
    return corrupt("session", "fields do not fill it");
  return r;
}

result<pool_record> decode_pool(std::string_view bytes) {
  auto fields = fields_of("pool", bytes);
  if (!fields)
    return fields.error();
  reader in{*fields};
  pool_record r;
  r.pool = take_uuid(in);
  r.incarnation = take_uuid(in);
  r.path = in.text();
  while (in.ok() && !in.at_end()) {  // none in a record of before there were any
    auto& d = r.devices.emplace_back();
    d.index = in.number<std::uint32_t>();
    d.device = take_uuid(in);
    d.incarnation = take_uuid(in);
    d.spec = in.text();
    auto draining = in.number<std::uint8_t>();
    d.draining = draining == 1;
    if (draining > 1 || d.index >= bounds::devices_max || r.devices.size() > bounds::devices_max)
      return corrupt("pool", "it has devices that no pool can have");
  }
  if (!in.ok() || !in.at_end())
    return corrupt("pool", "fields do not fill it");
  return r;
}

std::array<char, 16> entry_key(const key_hash& hash) {
  std::array<char, 16> out;
  std::memcpy(out.data(), &hash.low, 8);
  std::memcpy(out.data() + 8, &hash.high, 8);
  return out;
}

std::optional<key_hash> parse_entry_key(std::string_view bytes) {
  if (bytes.size() != 16)
    return std::nullopt;
  return reader{bytes}.hash();
}

std::array<char, 8> session_key(session_id id) {
  std::array<char, 8> out;
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<char>(value_of(id) >> (56 - 8 * i));
  return out;
}

}  // namespace maru::storage
