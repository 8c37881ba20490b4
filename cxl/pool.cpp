#include "cxl/pool.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <system_error>
#include <utility>

#include "cxl/device_catalog.hpp"
#include "cxl/pool_identity.hpp"

namespace maru::cxl {

namespace {

namespace fs = std::filesystem;

constexpr auto no_such_device = "there is no such device; 'maructl device list' shows those that are there";

status check_options(const pool_options& o) {
  if (o.page_min != 0
      && (o.page_min < bounds::page_bytes_min || o.page_min > bounds::page_bytes_max
          || o.page_min % bounds::page_bytes_min != 0))
    return refusal(
      o, ec::bad_option,
      "the smallest page, " + std::to_string(o.page_min) + " bytes, is not a multiple of 4 KiB up to 1 GiB");
  if (o.extent_bytes % bounds::layout_align != 0)
    return refusal(o, ec::bad_option,
                   "the region size, " + std::to_string(o.extent_bytes) + " bytes, is not a multiple of 2 MiB");
  if (std::max(o.size, o.extent_bytes) > INT64_MAX)
    return refusal(o, ec::bad_option, "no pool can be that large");
  return {};
}

// Whether a path that somebody gave is this real one, by whatever links.
bool is_path(const std::string& given, const std::string& real) {
  std::error_code failed;
  return given == real || fs::weakly_canonical(given, failed) == real;
}

// One name for one pool, whatever links lead to it: lock and metadata lie beside the real file.
result<pool_options> with_real_path(pool_options o) {
  auto spec = with_real_path(device_spec{o.path, o.size, o.node});
  if (!spec)
    return refusal(o, spec.code(), o.path.empty() ? "the path is empty" : spec.error().message);
  std::error_code code;
  auto parent = fs::path{spec->path}.parent_path();
  fs::create_directories(parent, code);
  if (code)
    return refusal(o, ec::io, "failed to make folder " + parent.string() + ": " + code.message());
  o.path = spec->path;
  return o;
}

std::uint64_t unix_seconds() {
  using namespace std::chrono;
  return static_cast<std::uint64_t>(duration_cast<seconds>(system_clock::now().time_since_epoch()).count());
}

// Of a pool that is formatted, under the name that is known.
superblock superblock_of_new(const pool_options& o, const std::optional<known_pool>& known) {
  superblock fresh;
  fresh.slot_bytes = o.page_min;
  fresh.mode = o.mode;
  fresh.pool = known ? known->pool : random_uuid();
  fresh.device = random_uuid();
  fresh.incarnation = random_uuid();
  if (o.secret)
    fresh.secret = *o.secret;
  else
    random_bytes(fresh.secret.data(), fresh.secret.size());
  // Workers of a pool that was lost with its superblock must not meet the epoch they knew: start above all that can
  // have been.
  fresh.epoch = known ? unix_seconds() : 0;
  return fresh;
}

}  // namespace

pool::~pool() {
  if (is_ours())
    for (const auto& m : members_)
      m->end_beat();
}

// REQUIRES: super_mutex_ is held, or nobody else has the pool.
bool pool::is_ours() const {
  return std::all_of(members_.begin(), members_.end(), [](const auto& m) { return m->is_ours(); });
}

bool pool::beat() {
  std::lock_guard lock{super_mutex_};
  if (serving_ && !is_ours())
    return false;
  for (const auto& m : members_)
    m->beat();
  return true;
}

result<std::unique_ptr<pool>> pool::open(const pool_options& options, const std::optional<known_pool>& known) {
  if (auto ok = check_options(options); !ok)
    return ok.error();
  auto o = with_real_path(options);
  if (!o)
    return o.error();
  std::unique_ptr<pool> p{new pool{*o}};
  if (auto ok = p->open_first(known); !ok)
    return ok.error();
  if (auto ok = p->open_more(known); !ok)
    return ok.error();
  if (o->approve && p->how_ == opened_as::opened)
    if (auto ok = o->approve(*p); !ok)
      return ok.error();
  if (auto ok = p->take_over(); !ok)
    return ok.error();
  return p;
}

member_options pool::options_of(const device_spec& spec) const {
  return {spec, options_.extent_bytes, options_.file_mode, options_.file_group, options_.contents_survive_reboot};
}

// The device that the pool has its name of: the rules of identity.
status pool::open_first(const std::optional<known_pool>& known) {
  auto o = options_;
  auto of_device = options_of({o.path, o.size, o.node});
  auto advised = [&](error e) {
    if (e.code == ec::memory_failed)
      e.message += "; give the pool another path, on memory that is sound, with --format: what it held is lost";
    return e;
  };
  inspection found;
  std::optional<error> objected;
  auto look = [&]() -> status {
    auto now = inspect(o.path);
    if (!now)
      return refusal(o, now.code(), advised(now.error()).message);
    found = *std::move(now);
    bool is_pool = found.top.kind == head_kind::valid;
    o.page_min = options_.page_min != 0 ? options_.page_min
                 : is_pool              ? found.top.super.slot_bytes
                                        : bounds::page_bytes_default;
    if (known && !o.format_foreign && (!is_pool || found.top.super.pool != known->pool))
      if (auto there = find_first_device(known->pool, o.path); !there.empty())
        return unknown_contents(o, "pool " + to_string(known->pool) + " is on " + there + " now: give that path");
    if (!found.exists && is_device_path(o.path))
      return refusal(o, ec::missing, no_such_device);
    objected = o.format_foreign ? std::nullopt : objection(o, found, known);
    return {};
  };
  if (auto ok = look(); !ok)
    return ok;
  bool is_pool = found.top.kind == head_kind::valid;
  if (objected && !is_pool)  // before a lock file is made beside what is somebody's
    return *objected;
  auto lock = member::lock(of_device);
  if (!lock)
    return lock.error();
  if (auto ok = look(); !ok)  // nobody changes it any more
    return ok;
  is_pool = found.top.kind == head_kind::valid;
  if (auto ok = nobody_serves(found); !ok)
    return ok;
  if (objected)
    return *objected;
  bool fits = is_pool && !objection(o, found, known);
  result<std::unique_ptr<member>> opened{error{}};
  if (!fits) {
    how_ = known ? opened_as::contents_lost : opened_as::formatted;
    opened = member::format(of_device, *std::move(lock), superblock_of_new(o, known));
  } else {
    const auto& sb = found.top.super;
    rebooted_ = sb.boot_id != host_boot_id();
    damaged_superblock_ = found.top.one_damaged;
    bool lost = (rebooted_ && !o.contents_survive_reboot) || !found.exists || found.bytes == 0
                || (known && known->incarnation != sb.incarnation);
    opened = member::adopt(of_device, *std::move(lock), sb, lost);
    if (opened)
      how_ = (*opened)->contents_lost() ? opened_as::contents_lost : opened_as::opened;
  }
  if (!opened)
    return advised(opened.error());
  take_in(*std::move(opened));
  return {};
}

// The others: those that it had, and those that it is to have.
status pool::open_more(const std::optional<known_pool>& known) {
  const auto& o = options_;
  auto is_without = [&](const std::string& path) {
    return std::any_of(o.without.begin(), o.without.end(), [&](const auto& p) { return is_path(p, path); });
  };
  for (const auto& device : known ? known->more : std::vector<known_device>{}) {
    if (is_without(device.spec.path))
      continue;
    if (auto ok = open_known(device); !ok && !leave_out(device.spec.path, ok, device))
      return ok;
  }
  for (const auto& spec : o.more) {
    bool is_left_out =
      std::any_of(left_out_.begin(), left_out_.end(), [&](const auto& d) { return is_path(spec.path, d.path); });
    auto real = with_real_path(spec);
    if (is_left_out || is_without(real ? real->path : spec.path))
      continue;
    if (!known && is_path(spec.path, o.path))
      return refusal(o, ec::bad_option, "it is given among its further devices, too");
    auto joined = join(spec, true);
    if (!joined && !leave_out(spec.path, joined.error(), {}))
      return joined.error();
    if (!joined || !*joined)
      continue;
    rebooted_ |= !(*joined)->contents_lost() && (*joined)->super().boot_id != host_boot_id();
    take_in(*std::move(joined));
  }
  auto found = std::count_if(members_.begin(), members_.end(), [](const auto& m) { return !m->contents_lost(); });
  auto given = static_cast<std::size_t>(found) + o.without.size();
  if (!known && o.all_devices && how_ == opened_as::opened && given < super().device_count)
    return refusal(
      o, ec::bad_option,
      "it has " + std::to_string(super().device_count) + " devices, and " + std::to_string(given)
        + " were found: name the further ones with --devices, or with --without-devices, which gives up what they "
          "hold");
  return {};
}

// A device whose memory fails, or that vanished, takes nothing along but what was on it. Where chunks are to outlive the host it
// may be a mount that comes later: that is for an operator to say.
bool pool::leave_out(const std::string& path, const status& cause, const std::optional<known_device>& known) {
  bool is_gone = cause.code() == ec::gone || (cause.code() == ec::missing && !options_.contents_survive_reboot);
  if (!is_gone && cause.code() != ec::memory_failed)
    return false;
  left_out_.push_back({path, cause, known});
  // The pool begins anew, and numbers regions anew: what the device held is nobody's.
  if (known && how_ != opened_as::opened)
    left_out_.back().known->incarnation = random_uuid();
  return true;
}

bool pool::forget_left_out(const std::string& path) {
  return std::erase_if(left_out_, [&](const auto& d) { return d.path == path; }) > 0;
}

// One that is left out keeps its number.
bool pool::is_taken(std::uint32_t index) const {
  return find_member(index) != nullptr || std::any_of(left_out_.begin(), left_out_.end(), [index](const auto& d) {
           return d.known && d.known->index == index;
         });
}

// A device that was the pool's when it was served last.
status pool::open_known(const known_device& known) {
  auto spec = known.spec;
  if (auto there = find_device(known.device, spec.path); !there.empty())
    spec.path = there;
  auto of_device = options_of(spec);
  inspection found;
  auto look = [&]() -> result<standing> {
    auto now = inspect(spec.path);
    if (!now)
      return error{now.code(),
                   "failed to open device " + spec.path + " of pool " + options_.path + ": " + now.error().message};
    found = *std::move(now);
    return standing_of(options_, how_, super(), known, found);
  };
  if (auto is = look(); !is)  // before a lock file is made beside what is not the pool's
    return is.error();
  auto lock = member::lock(of_device);
  if (!lock)
    return lock.error();
  auto is = look();  // nobody changes it any more
  if (!is)
    return is.error();
  if (auto ok = nobody_serves(found); !ok)
    return ok;
  result<std::unique_ptr<member>> opened{error{}};
  if (*is == standing::to_be_made) {
    opened = member::format(of_device, *std::move(lock), superblock_for(known.index, known.device));
  } else {
    const auto& sb = found.top.super;
    rebooted_ |= sb.boot_id != host_boot_id();
    damaged_superblock_ |= found.top.one_damaged;
    opened = member::adopt(of_device, *std::move(lock), sb, *is == standing::lost);
  }
  if (!opened)
    return opened.error();
  (*opened)->draining = known.draining;
  take_in(*std::move(opened));
  return {};
}

result<std::unique_ptr<member>> pool::prepare_device(const device_spec& spec) const {
  auto joined = join(spec, false);
  if (joined && !*joined)
    return {ec::exists, "failed to add device " + spec.path + ": the pool has it"};
  return joined;
}

// Makes a device one of the pool's; null where it is already. `keep`: one that says so but is not known (an add that was cut
// off, or metadata that was lost) keeps its contents.
result<std::unique_ptr<member>> pool::join(const device_spec& wanted, bool keep) const {
  auto spec = with_real_path(wanted);
  auto refuse = [&](ec code, const std::string& cause) {
    return error{code, "failed to add device " + wanted.path + " to pool " + options_.path + ": " + cause};
  };
  if (!spec)
    return spec.error();
  std::uint32_t free = 0;
  for (const auto& m : members_)
    if (m->spec().path == spec->path)
      return std::unique_ptr<member>{};
  while (free < bounds::devices_max && is_taken(free))
    ++free;
  if (free == bounds::devices_max)
    return refuse(ec::no_space,
                  "it has " + std::to_string(bounds::devices_max) + " devices, which is as many as may be");
  auto of_device = options_of(*spec);
  inspection found;
  bool is_ours = false;
  auto look = [&]() -> status {
    auto now = inspect(spec->path);
    if (!now)
      return refuse(now.code(), now.error().message);
    found = *std::move(now);
    if (!found.exists && is_device_path(spec->path))
      return refuse(ec::missing, no_such_device);
    if (!found.exists && spec->size == 0)
      return refuse(keep ? ec::missing : ec::bad_option,
                    "it is not there, and a file that is made needs a size: " + spec->path + ",size=SIZE");
    if (!found.exists && !fs::exists(fs::path{spec->path}.parent_path()))
      return refuse(ec::missing, "its folder is not there; make that first");
    const auto& sb = found.top.super;
    auto kind = found.top.kind;
    is_ours = kind == head_kind::valid && sb.pool == super().pool && sb.slot_bytes == slot_bytes()
              && sb.mode == super().mode && sb.secret == super().secret;
    bool is_blank = kind == head_kind::unfinished || (kind == head_kind::blank && found.data_blank);
    if (!is_ours && !is_blank && !options_.format_foreign)
      return refuse(ec::unknown_contents, "it holds something else; 'maructl device format " + spec->path
                                            + "' says what, and makes it blank with --yes");
    return {};
  };
  if (auto ok = look(); !ok)  // before a lock file is made beside what is somebody's
    return ok.error();
  auto lock = member::lock(of_device);
  if (!lock)
    return lock.error();
  if (auto ok = look(); !ok)  // nobody changes it any more
    return ok.error();
  if (auto ok = nobody_serves(found); !ok)
    return ok.error();
  const auto& sb = found.top.super;
  bool holds = found.exists && (sb.boot_id == host_boot_id() || options_.contents_survive_reboot)
               && sb.epoch >= super().epoch;  // else the pool was served without it
  if (keep && is_ours && !is_taken(sb.device_index) && holds)
    return member::adopt(of_device, *std::move(lock), sb, false);
  return member::format(of_device, *std::move(lock), superblock_for(free, random_uuid()));
}

// What a device that is made the pool's says; it was served by nobody yet.
superblock pool::superblock_for(std::uint32_t index, const uuid& device) const {
  std::lock_guard lock{super_mutex_};  // generations go on meanwhile
  auto fresh = super();
  fresh.device = device;
  fresh.device_index = index;
  fresh.boot_id = {};
  fresh.incarnation = random_uuid();
  return fresh;
}

// The pool has it from here on.
void pool::take_in(std::unique_ptr<member> m) {
  std::lock_guard lock{super_mutex_};
  descriptors_.set(m->index(), m->descriptors());
  indexes_.set(m->index(), m->index_for_readers());
  here_[m->index()].store(m.get());
  members_.push_back(std::move(m));
}

status pool::adopt(std::unique_ptr<member> prepared) {
  if (find_member(prepared->index()))
    return {ec::invalid, "failed to add a device: another one has its number"};
  forget_left_out(prepared->spec().path);
  take_in(std::move(prepared));
  load_regions(*members_.back());
  std::lock_guard lock{super_mutex_};
  return write_superblocks();
}

status pool::remove_device(std::uint32_t index) {
  auto at = std::find_if(members_.begin(), members_.end(), [index](const auto& m) { return m->index() == index; });
  bool used = std::any_of(regions_.begin(), regions_.end(), [index](const auto& row) { return row.device == index; });
  if (at == members_.end() || at == members_.begin() || used)
    return {ec::invalid, "failed to remove device " + std::to_string(index) + ": it is the first, or has regions"};
  std::lock_guard lock{super_mutex_};
  if (!is_ours())
    return {ec::in_use, "failed to remove device " + std::to_string(index) + ": another marud serves the pool by now"};
  here_[index].store(nullptr);
  index_writer::close((*at)->index_for_readers());
  auto erased = (*at)->erase();
  gone_.push_back(std::move(*at));
  members_.erase(at);
  auto written = write_superblocks();
  return erased ? written : erased;
}

std::uint64_t pool::data_bytes() const {
  std::uint64_t sum = 0;
  for (std::uint32_t i = 0; i < here_.size(); ++i)
    if (auto* m = find_member(i))
      sum += m->super().data_bytes;
  return sum;
}

std::uint64_t pool::used_pages() const {
  std::uint64_t used = 0;
  for (const auto& m : members_)
    for (std::uint64_t slot = 0; slot < m->descriptors().slots(); ++slot) {
      auto state = m->descriptors().raw_state(slot);
      used += state != page_state::free && state != page_state::retired ? 1 : 0;
    }
  return used;
}

std::vector<known_device> pool::known_devices() const {
  std::vector<known_device> out;
  for (const auto& m : members_)
    if (m != members_.front() && !m->leaving)
      out.push_back({m->index(), m->super().device, m->super().incarnation, m->spec(), m->draining});
  for (const auto& d : left_out_)
    if (d.known)
      out.push_back(*d.known);
  return out;
}

pool_reader pool::attach_reader(const uuid& nonce) const {
  pool_reader all;
  for (std::uint32_t i = 0; i < here_.size(); ++i)
    if (auto* m = find_member(i))
      if (auto reader = m->attach_reader(nonce))
        all.add(i, *reader, m->descriptors());
  return all;
}

void pool::clear_indexes(std::uint64_t shards) {
  for (const auto& m : members_)
    index_writer::clear(m->index_for_readers(), shards);
}

void pool::open_indexes(std::uint64_t word, const uuid& nonce) {
  for (const auto& m : members_)
    index_writer::open(m->index_for_readers(), word, nonce);
}

status pool::sync() {
  status all;
  for (std::uint32_t i = 0; i < here_.size(); ++i)
    if (auto* m = find_member(i))
      if (auto ok = m->sync(); !ok)
        all = ok;
  return all;
}

// The last step of every open: the next epoch, on the devices before anybody is served. What the devices have in common is
// what the one says that was written last: a kill may have come between them.
status pool::take_over() {
  for (const auto& m : members_) {
    const auto& sb = m->super();
    epoch_ = std::max(epoch_, sb.epoch);
    next_region_ = std::max(next_region_, sb.next_region);
    recorded_highest_ = std::max(recorded_highest_, sb.highest);
  }
  for (const auto& m : members_)
    m->super().secret = super().secret;  // the first one may have been formatted anew
  ++epoch_;
  highest_.store(recorded_highest_, std::memory_order_relaxed);
  beat();
  if (auto ok = write_superblocks(); !ok)
    return ok;
  serving_ = true;
  for (const auto& m : members_)
    load_regions(*m);
  return {};
}

}  // namespace maru::cxl
