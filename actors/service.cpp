#include "actors/service.hpp"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <caf/all.hpp>
#include <caf/io/all.hpp>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "actors/admin.hpp"
#include "actors/door.hpp"
#include "actors/index_shard.hpp"
#include "actors/pin_ledger.hpp"
#include "actors/pool_facts.hpp"
#include "actors/pool_manager.hpp"
#include "actors/session_files.hpp"
#include "actors/store_worker.hpp"
#include "base/device_spec.hpp"
#include "base/log.hpp"
#include "base/server_address.hpp"
#include "base/version.hpp"
#include "net/transport.hpp"

namespace maru::actors {

namespace {

using namespace std::chrono_literals;

std::size_t shard_count(std::uint32_t wanted) {
  auto cores = std::max(1u, std::thread::hardware_concurrency());
  return wanted != 0 ? wanted : std::max(1u, cores / 4);
}

net::payload_checksums checksums_of(const std::string& word) {
  using net::payload_checksums;
  return word == "verify"     ? payload_checksums::verify
         : word == "on_write" ? payload_checksums::on_write
                              : payload_checksums::off;
}

// A mistyped --pool would make a new pool, and the entries of the right one would be dropped as lost with the old.
status check_pool_path(const marud_options& o, const storage::pool_record& known) {
  std::error_code failed;
  auto wanted = std::filesystem::weakly_canonical(o.pool, failed);
  if (failed || wanted == known.path || known.path.empty() || o.on_damage == "start-empty"
      || std::filesystem::exists(wanted, failed) || !std::filesystem::exists(known.path, failed))
    return {};
  return {ec::unknown_contents, "failed to start: the state directory " + o.state_dir + " belongs to the pool at "
                                  + known.path + ", and there is no pool at " + wanted.string() + ". Give --pool "
                                  + known.path + " or another --state-dir; --on-damage=start-empty drops its entries"};
}

// --durability=host promises more than memory can keep. Looked at before anything is made.
status check_lasting(const marud_options& o) {
  for (const auto& [what, path] : {std::pair{"pool", o.pool}, std::pair{"state directory", o.state_dir}}) {
    auto place = std::filesystem::absolute(path);
    std::error_code failed;
    while (!std::filesystem::exists(place, failed) && place.has_relative_path())
      place = place.parent_path();
    struct statfs fs = {};
    if (::statfs(place.c_str(), &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC))
      return {ec::bad_option, std::string{"failed to start: --durability=host needs a "} + what
                                + " that outlives a reboot, and " + path + " is on tmpfs"};
  }
  return {};
}

// The group that an option names; empty where it names none.
result<std::optional<gid_t>> group_of(const std::string& name) {
  auto ids = net::parse_gids(name);
  if (!ids)
    return ids.error();
  return ids->empty() ? std::optional<gid_t>{} : std::optional{ids->front()};
}

// Who may come in, and where. Names of users and groups are looked up here: one that nobody has stops the start.
result<net::door_options> door_options_of(const std::shared_ptr<environment>& env) {
  const auto& o = env->options;
  net::door_options out;
  auto listen = parse_server_addresses(o.listen);
  auto uids = net::parse_uids(o.allow_uids);
  auto gids = net::parse_gids(o.allow_gids);
  auto group = group_of(o.socket_group);
  if (!listen)
    return listen.error();
  if (!group)
    return group.error();
  for (auto* ids : {&uids, &gids})
    if (!*ids)
      return ids->error();
  out.listen = *std::move(listen);
  out.users = {*std::move(uids), *std::move(gids)};
  out.socket_file.mode = o.socket_mode;
  out.socket_file.group = *group;
  out.tls = {o.tls_cert, o.tls_key, o.tls_ca};
  out.connections_max = net::connections_within_limits(o.connections_max);
  out.per_peer_max = o.connections_per_peer;
  out.on_reject = [metrics = env->metrics](std::string_view reason) { metrics->rejected("actor_port", reason); };
  out.on_certificate = [metrics = env->metrics](std::int64_t not_after) { metrics->certificate_not_after(not_after); };
  out.on_event = [](net::door_event what, const std::string& line) {
    switch (what) {
      case net::door_event::entered: return log::debug("door_entered", "{}", line);
      case net::door_event::refused: return log::warn("door_refused", "{}", line);
      case net::door_event::tls_changed: return log::info("tls_changed", "{}", line);
      case net::door_event::tls_kept: return log::warn("tls_kept", "{}", line);
    }
  };
  return out;
}

// Beside the pool (its real path, however the option spells it), where files may lie there.
std::string lock_dir_of(const marud_options& o, const cxl::device& device) {
  if (!o.lock_dir.empty())
    return std::filesystem::absolute(o.lock_dir);
  if (!device.holds_metadata())
    return device.path() + ".locks";
  return "/dev/shm/maru-" + std::filesystem::path{device.path()}.filename().string() + ".locks";
}

status make_folder(const std::string& path, unsigned mode, std::optional<gid_t> group = {}) {
  std::error_code failed;
  std::filesystem::create_directories(path, failed);
  if (failed)
    return {ec::io, "failed to make folder " + path + ": " + failed.message()};
  if (group && ::chown(path.c_str(), static_cast<uid_t>(-1), *group) != 0)
    return errno_error("give " + path + " to group " + std::to_string(*group), errno);
  if (mode != 0)
    ::chmod(path.c_str(), mode);
  return {};
}

}  // namespace

service::service(const marud_options& options) : env_(std::make_shared<environment>()) {
  env_->options = options;
  env_->shards = shard_count(options.shards);
  env_->index_nonce = random_uuid();
  env_->durability_host = options.durability == "host";
  env_->checksums = checksums_of(options.payload_checksums);
  env_->regions = std::make_shared<region_directory>();
  env_->metrics = std::make_shared<metrics::registry>(version(), revision());
}

service::~service() { stop(); }

result<std::unique_ptr<service>> service::start(const marud_options& options) {
  std::unique_ptr<service> s{new service{options}};
  for (auto step : {&service::open_state, &service::open_pool, &service::start_actors, &service::publish})
    if (auto done = (s.get()->*step)(); !done)
      return done.error();
  return s;
}

status service::open_state() {
  const char* from_environment = std::getenv("MARU_TOKEN");
  auto tokens = accepted_tokens::load(env_->options.token_file, from_environment ? from_environment : "");
  if (!tokens)
    return tokens.error();
  *env_->tokens = *std::move(tokens);
  if (auto made = make_folder(env_->options.state_dir, 0); !made)
    return made;
  if (env_->durability_host)
    if (auto lasting = check_lasting(env_->options); !lasting)
      return lasting;
  storage::rocksdb_options options;
  options.path = env_->options.state_dir + "/db";
  options.write_buffer_bytes = env_->options.rocksdb_write_buffer;
  options.block_cache_bytes = env_->options.rocksdb_block_cache;
  auto store = storage::open_rocksdb(options);
  bool go_on = env_->options.rebuild || env_->options.on_damage == "start-empty";
  if (!store && store.code() == ec::corrupt && go_on) {
    auto aside = options.path + ".damaged-" + to_string(random_uuid());
    std::error_code failed;
    std::filesystem::rename(options.path, aside, failed);
    log::warn("metadata_damaged", "{}; starting with new metadata, the damaged files are kept at {}",
              store.error().message, aside);
    if (!failed)
      store = storage::open_rocksdb(options);
  }
  if (!store)
    return store.error();
  env_->store = std::move(*store);
  return {};
}

status service::open_pool() {
  auto record = env_->store->pool();
  if (!record)
    return record.error();
  store_knows_pool_ = record->has_value();
  std::optional<cxl::known_pool> known;
  const auto& o = env_->options;
  if (store_knows_pool_) {
    if (auto ok = check_pool_path(o, **record); !ok)
      return ok;
    known = cxl::known_pool{(*record)->pool, (*record)->incarnation};
    for (const auto& d : (*record)->devices) {
      auto spec = parse_device_spec(d.spec);
      if (!spec)
        return spec.error();
      known->more.push_back({d.index, d.device, d.incarnation, *std::move(spec), d.draining});
    }
  }
  cxl::pool_options options;
  options.path = o.pool;
  options.size = o.pool_size;
  if (options.size == 0 && !std::filesystem::exists(o.pool) && !std::filesystem::exists(o.pool + ".meta"))
    options.size = 256 * bounds::MiB;
  if (o.numa_node >= 0)
    options.node = o.numa_node;
  auto more = parse_device_specs(o.devices);
  auto without = parse_device_specs(o.without_devices);
  if (!more || !without)
    return more ? without.error() : more.error();
  options.more = *std::move(more);
  for (const auto& left_out : *without)
    options.without.push_back(left_out.path);
  options.page_min = o.page_min;
  options.extent_bytes = o.region_size;
  options.mode = o.visibility == "software" ? cxl::coherence::software : cxl::coherence::hardware;
  options.file_mode = o.pool_mode;
  auto group = group_of(o.pool_group);
  if (!group)
    return group.error();
  options.file_group = env_->pool_group = *group;
  options.contents_survive_reboot = env_->durability_host;
  options.format_foreign = o.format;
  options.all_devices = o.rebuild;
  // recover() looks again, but then this start has the pool's next epoch, and devices that were not given are left out for good.
  if (!store_knows_pool_)
    options.approve = [&o](const cxl::pool& found) {
      bool is_whole = found.members().size() >= found.super().device_count;  // else the others may hold something
      return refuse_unknown(o, std::max<std::uint64_t>(found.used_pages(), is_whole ? 0 : 1));
    };
  auto pool = cxl::pool::open(options, known);
  if (!pool)
    return pool.error();
  env_->pool = std::move(*pool);
  for (const auto& d : env_->pool->left_out())
    log::error("device_failed", "{}; {} is left out, and what was on it is lost", to_string(d.why.error()), d.path);
  for (const auto& m : env_->pool->members()) {
    auto& device = m->data();
    if (env_->durability_host && !device.survives_reboot())
      return {ec::bad_option, "failed to start: --durability=host needs a pool that outlives a reboot, and "
                                + device.path() + " is on " + device.kind()};
    if (o.prefault == "start")
      if (auto present = region_preparer::prefault_all(device); !present)
        return present;
  }
  auto further = env_->pool->members().size() - 1;
  serves_ =
    o.pool + (further == 0 ? "" : " and " + std::to_string(further) + " more device" + (further == 1 ? "" : "s"));
  env_->lock_dir = lock_dir_of(o, env_->pool->data_device());
  env_->metrics->server_epoch(env_->pool->epoch());
  // Workers whom the pool's mode lets in open their lock file here: by its name, so they need not list the folder.
  return make_folder(env_->lock_dir,
                     0700u | ((o.pool_mode & 0060) != 0 ? 0010u : 0u) | ((o.pool_mode & 0006) != 0 ? 0001u : 0u),
                     *group);
}

status service::start_actors() {
  auto state = recover(*env_, store_knows_pool_, begun_);
  if (!state)
    return state.error();
  remove_stale_session_files(env_->lock_dir, state->sessions);
  storage::write_batch batch;
  batch.set_pool(pool_record_of(*env_->pool));
  if (auto written = env_->store->write(std::move(batch), true); !written)
    return written;

  config_ = std::make_unique<caf::actor_system_config>();
  net::add_protocol_types(*config_);
  net::transport_options transport;
  transport.server = true;
  transport.connections_max = env_->options.connections_max;
  transport.admission_timeout = bounds::admission_timeout;
  transport.on_reject = [metrics = env_->metrics](std::string_view reason) {
    metrics->rejected("actor_port", reason);
    log::warn("peer_refused", "a connection to --listen is closed: {}", reason);
  };
  net::configure_transport(*config_, transport);
  system_ = std::make_unique<caf::actor_system>(*config_);

  env_->admit = [system = system_.get()](const caf::node_id& node) { net::admit(*system, node); };
  env_->peer_at = [system = system_.get()](const caf::node_id& node) { return net::peer_at(*system, node); };
  environment_ptr env = env_;
  bool grace = !state->sessions.empty();
  for (auto& entries : state->shards)
    shards_.push_back(
      system_->spawn<index_shard>(env, shards_.size(), entries, grace, std::move(state->keyless[shards_.size()])));
  preparer_ = system_->spawn<region_preparer, caf::detached>(env);
  pool_manager_ = system_->spawn<pool_manager>(env, state->table, std::move(state->shown), shards_, preparer_, grace,
                                               std::move(state->held));
  for (auto& shard : shards_) {
    workers_.push_back(system_->spawn<store_worker, caf::detached>(env, shard, pool_manager_));
    caf::anon_send(shard, wire_shard{workers_.back(), pool_manager_});
  }
  ledger_ = system_->spawn<pin_ledger>(env, shards_);
  session_neighbours neighbours{shards_, workers_, pool_manager_, ledger_, {}};
  admin_ = system_->spawn<admin, caf::detached>(env, neighbours);
  door_ = system_->spawn<door>(env, neighbours, admin_, std::move(state->sessions));
  caf::anon_send(admin_, wire_admin{door_});
  return {};
}

status service::publish() {
  auto options = door_options_of(env_);
  if (!options)
    return options.error();
  net::publish_door(*system_, caf::actor_cast<caf::strong_actor_ptr>(door_),
                    system_->message_types(caf::actor_cast<net::door_actor>(door_)));
  options->enter = [system = system_.get()](net::wire accepted) { net::enter(*system, std::move(accepted)); };
  metrics::http_routes routes;
  routes.metrics = [env = env_] { return env->metrics_text(); };
  routes.healthy = [this] { return healthy(); };
  routes.ready = [this] { return ready(); };
  routes.status_json = [this] { return status_json(); };
  heard_ = std::chrono::steady_clock::now();
  auto http = metrics::http_server::start(env_->options.http, std::move(routes));
  if (!http)
    return http.error();
  http_ = std::move(*http);
  pulse_ = std::make_unique<repeated>(bounds::pulse_interval, [this] {
    if (silent_actor(bounds::answer_max).empty())
      heard_ = std::chrono::steady_clock::now();
  });
  // Workers that come back may read by themselves from here on; those of before know another word.
  *env_->index_word = index_word_of(env_->pool->epoch(), 0);
  env_->pool->open_indexes(*env_->index_word, env_->index_nonce);
  // Last: whoever comes in finds a marud that stays.
  bool asks_for_token = env_->tokens->asked();  // from then on it is the door's
  auto doors = net::doors::open(*std::move(options));
  if (!doors)
    return doors.error();
  doors_ = *std::move(doors);
  log::info("doors_open", "{}; workers show {}; a port {}", listens_at(), asks_for_token ? "a token" : "no token",
            env_->options.tls_cert.empty() ? "takes plain text" : "asks for their certificate");
  ready_ = true;
  return {};
}

bool service::healthy() const { return std::chrono::steady_clock::now() - heard_.load() < bounds::hung_after; }

std::string service::listens_at() const {
  auto addresses = doors_ ? doors_->addresses() : std::vector<server_address>{};
  std::string text;
  for (const auto& one : addresses)
    if (one.is_unix())
      text += (text.empty() ? "at " : ", at ") + to_string(one);
  for (const auto& one : addresses)
    if (!one.is_unix())
      text += (text.empty() ? "on port " : ", on port ") + std::to_string(one.tcp.port);
  return text;
}

std::string service::status_json() const {
  caf::scoped_actor self{*system_};
  std::string body = "{}";
  self->request(admin_, 2s, net::admin_request{"status", "{\"local\":true}"})
    .receive([&](const net::admin_reply& r) { body = r.body; }, [](const caf::error&) {});
  return body;
}

std::string service::silent_actor(std::chrono::milliseconds within) const {
  caf::scoped_actor self{*system_};
  auto end = std::chrono::steady_clock::now() + within;
  std::string silent;
  auto try_one = [&](const char* name, const auto& handle, auto question, auto answered) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (!silent.empty())
      return;
    self->request(handle, std::max(left, 1ms), std::move(question)).receive(answered, [&](const caf::error&) {
      silent = name;
    });
  };
  try_one("door", door_, ask_sessions{}, [](const session_list&) {});
  try_one("pool_manager", pool_manager_, ask_pool_status{}, [](const pool_status&) {});
  try_one("pin_ledger", ledger_, ask_pins{session_id{1}}, [](const pin_counts&) {});  // of nobody: cheap
  for (const auto& shard : shards_)
    try_one("index_shard", shard, ask_shard_status{}, [](const shard_status&) {});
  for (const auto& worker : workers_)
    try_one("store_worker", worker, verify_payloads{}, [](const put_results&) {});
  return silent;
}

void service::stop() {
  if (std::exchange(stopped_, true) || !system_)
    return;
  ready_ = false;
  env_->stopping->store(true);
  http_.reset();
  pulse_.reset();
  {
    caf::scoped_actor self{*system_};
    doors_.reset();
    net::unpublish_door(*system_);
    self->request(door_, caf::duration{bounds::drain_max}, drain{})
      .receive([](const outcome&) {},
               [](const caf::error&) { log::warn("stop_incomplete", "requests still in flight are given up"); });
    // Sessions first, by the door's end; what they hold stays known for their resume.
    auto end = [&](auto& handle) {
      if (!handle)
        return;
      self->send_exit(handle, caf::exit_reason::user_shutdown);
      self->wait_for(handle);
      handle = nullptr;
    };
    end(door_);
    end(admin_);
    end(ledger_);
    end(pool_manager_);
    for (auto& worker : workers_)
      end(worker);
    for (auto& shard : shards_)
      end(shard);
    end(preparer_);
  }
  system_.reset();
  config_.reset();
  if (auto flushed = env_->store->flush(); !flushed)
    log::error("storage_failed", "{}", to_string(flushed.error()));
}

}  // namespace maru::actors
