#include "cxl/pool_identity.hpp"

#include <filesystem>

#include "base/size.hpp"
#include "cxl/visibility.hpp"

namespace maru::cxl {

namespace {

std::string heads_path(const pool_options& o, const inspection& f) {
  return f.is_inside ? o.path : metadata_path(o.path);
}

// Why the found pool is not the one that was asked for; empty where it is.
std::optional<error> mismatch(const pool_options& o, const inspection& f, const std::optional<known_pool>& known) {
  const auto& sb = f.top.super;
  if (sb.device_index != 0)
    return refusal(
      o, ec::unknown_contents,
      "it is a further device of pool " + to_string(sb.pool)
        + ": give the path of that pool's first one. --format overwrites this one, and what the pool keeps on it");
  if (known && known->pool != sb.pool)
    return unknown_contents(
      o, "it is pool " + to_string(sb.pool) + ", and the state directory belongs to pool " + to_string(known->pool));
  if (o.page_min != sb.slot_bytes)
    return refusal(o, ec::bad_option,
                   "it was formatted for pages of at least " + format_size(sb.slot_bytes) + ", and "
                     + format_size(o.page_min) + " was asked for; leave the page size out, or --format it anew");
  if (o.size != 0 && align_down(o.size, sb.slot_bytes) != sb.data_bytes)
    return refusal(o, ec::bad_option,
                  "it has " + format_size(sb.data_bytes) + ", and " + format_size(o.size)
                    + " was asked for; a device of a pool keeps its size: leave the size out, add another device ('maructl device add'), or --format it anew");
  if (o.extent_bytes != 0 && o.extent_bytes != sb.extent_bytes)
    return refusal(o, ec::bad_option,
                   "it has regions of " + format_size(sb.extent_bytes) + ", and " + format_size(o.extent_bytes)
                     + " was asked for; leave the region size out, or --format it anew");
  // Bytes that were published for one mode are not where readers of the other one look.
  if (o.mode != sb.mode)
    return refusal(o, ec::bad_option,
                   "it was formatted for " + std::string{to_string(sb.mode)} + " visibility, and "
                     + std::string{to_string(o.mode)} + " was asked for; give --visibility "
                     + std::string{to_string(sb.mode)} + ", or --format it anew");
  auto meta = index_offset(sb.data_bytes, sb.slot_bytes);  // what is behind is made anew by each start
  if (f.metadata_bytes < meta)
    return refusal(o, ec::corrupt,
                   "its metadata was truncated to " + format_size(f.metadata_bytes) + " of " + format_size(meta)
                     + "; --format starts it empty");
  if (f.exists && f.data_bytes > 0 && f.data_bytes < sb.data_bytes)
    return refusal(o, ec::corrupt,
                   "its data was truncated to " + format_size(f.data_bytes) + " of " + format_size(sb.data_bytes)
                     + "; --format starts it empty");
  return std::nullopt;
}

}  // namespace

error refusal(const pool_options& o, ec code, const std::string& cause) {
  return {code, "failed to open pool " + o.path + ": " + cause};
}

error unknown_contents(const pool_options& o, const std::string& cause) {
  return refusal(o, ec::unknown_contents, cause + "; --format overwrites it");
}

std::optional<error> objection(const pool_options& o, const inspection& f, const std::optional<known_pool>& known) {
  // What is to outlive the host may be on a mount that comes later.
  bool has_data = f.exists && f.bytes != 0;
  if (known && o.contents_survive_reboot && (!has_data || f.top.kind == head_kind::blank))
    return refusal(o, ec::missing,
                   std::string{has_data ? "its metadata" : "its data"}
                     + " is not there, and --durability=host keeps it: bring it back (is its file system mounted?), or "
                       "--format starts empty");
  switch (f.top.kind) {
    case head_kind::valid: return mismatch(o, f, known);
    case head_kind::blank: {
      // A pool that lost its metadata file is told from somebody's file by its exact size.
      bool ours = known && (f.has_metadata || f.data_bytes == align_down(o.size, o.page_min));
      if (f.data_blank || ours)
        return std::nullopt;
      return unknown_contents(o, "the file holds something that is not a Maru pool");
    }
    case head_kind::unfinished: return std::nullopt;
    case head_kind::damaged:
      return refusal(o, ec::corrupt,
                     "both superblocks in " + heads_path(o, f) + " are damaged; --format starts it empty");
    case head_kind::other_version:
      return unknown_contents(o, "its layout has version " + std::to_string(f.top.major) + ", this marud reads version "
                                   + std::to_string(layout_major));
    case head_kind::foreign: break;
  }
  return unknown_contents(o, heads_path(o, f) + " holds something that is not a Maru pool");
}

result<standing> standing_of(const pool_options& o, opened_as how, const superblock& first, const known_device& known,
                             const inspection& found) {
  auto refuse = [&](ec code, const std::string& cause) {
    return error{code, "failed to open device " + found.path + " of pool " + o.path + ": " + cause};
  };
  bool survives = o.contents_survive_reboot;
  auto kind = found.top.kind;
  bool is_pool = kind == head_kind::valid;
  bool is_blank = kind == head_kind::blank && found.data_blank;
  const auto& sb = found.top.super;
  bool is_it = is_pool && sb.pool == first.pool && sb.device == known.device;
  auto advice = "; bring it back, or start with --without-devices=" + found.path + ", which gives up what it held";
  auto given_up = survives ? advice : "";
  // Served without it, marud gave its pages up, and nobody knows what workers of then still do there.
  if (is_it && how == opened_as::opened && sb.epoch < first.epoch)
    return refuse(ec::gone, "the pool was served without it; 'maructl device add' takes it back, empty");
  if (is_it && survives && (!found.exists || found.bytes == 0))
    return refuse(ec::missing, "its data is not there" + given_up);
  if (is_it && sb.slot_bytes == first.slot_bytes && sb.mode == first.mode) {
    bool rebooted = sb.boot_id != host_boot_id() && !survives;
    bool lost =
      rebooted || !found.exists || found.bytes == 0 || sb.incarnation != known.incarnation || how != opened_as::opened;
    if ((!lost || found.is_inside) && found.data_bytes < sb.data_bytes)
      return refuse(ec::missing, "its data was cut to " + format_size(found.data_bytes) + " of "
                                   + format_size(sb.data_bytes) + "; 'maructl device add' takes it back, empty"
                                   + given_up);
    return lost ? standing::lost : standing::kept;
  }
  // A file in memory that went with the host is made again, and a device that is all zeros began anew with the pool; a size is
  // known of files alone. What is to outlive the host may be on a mount that comes later.
  bool was_in_memory = !survives && !is_pool && !found.has_metadata && !found.exists && known.spec.size != 0
                       && std::filesystem::exists(std::filesystem::path{found.path}.parent_path());
  bool was_emptied = found.exists && found.is_inside && is_blank && how != opened_as::opened;
  if (is_it || was_in_memory || was_emptied)
    return standing::to_be_made;
  if (!found.exists)
    return refuse(ec::missing, "it is not there" + given_up);
  // Somebody made it blank, or began to make it the pool's once more (a device add that was cut off).
  if (is_blank || kind == head_kind::unfinished || (is_pool && sb.pool == first.pool))
    return refuse(ec::missing, "it is not what it was; 'maructl device add' takes it back, empty" + given_up);
  return refuse(ec::unknown_contents, "it holds something else now" + advice);
}

status nobody_serves(const inspection& found) {
  auto elsewhere = is_served_elsewhere(found);
  if (!elsewhere)
    return elsewhere.error();
  return *elsewhere ? status{ec::in_use, "failed to open pool " + found.path
                                           + ": a marud of another host, or of a container with a node of its own of the "
                                             "device, serves it; stop that one first"}
                    : status{};
}

}  // namespace maru::cxl
