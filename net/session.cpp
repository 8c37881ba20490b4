#include "net/session.hpp"

#include <unistd.h>

#include <array>
#include <cstring>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>

#include "base/uuid.hpp"
#include "base/version.hpp"
#include "cxl/device.hpp"
#include "net/records.hpp"

namespace maru::net {

namespace {

std::string bytes_of(const uuid& id) { return {reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()}; }

std::string instance_name(const client_options& options) {
  if (!options.instance.empty())
    return options.instance;
  std::array<char, 65> host{};
  gethostname(host.data(), host.size() - 1);
  return std::string{host.data()} + ":" + std::to_string(getpid());
}

// A session's file has its name: no other is locked or written because whoever answers says so.
bool sound_lock_path(const hello_reply& reply) {
  return reply.lock_path.empty() || reply.lock_path.ends_with("/" + std::to_string(reply.session) + ".lock");
}

bool sound(const hello_reply& reply) {
  return sound_lock_path(reply) && reply.pool.size() == 16 && reply.incarnation.size() == 16
         && reply.secret.size() == 16 && reply.handle && reply.session != 0 && reply.lease_ms > 0
         && reply.page_bytes >= bounds::page_bytes_min && reply.page_bytes <= bounds::page_bytes_max
         && !reply.devices.empty() && reply.checksums <= static_cast<std::uint8_t>(payload_checksums::verify)
         && reply.visibility <= static_cast<std::uint8_t>(cxl::coherence::software);
}

// Pins by key as hashes, and those of views.
std::pair<std::string, std::string> encode_pins(std::span<const pin_id> pins) {
  std::vector<key_hash> by_key;
  std::vector<pin_id> by_view;
  for (auto& pin : pins)
    if (pin.by_view())
      by_view.push_back(pin);
    else
      by_key.push_back(pin.hash);
  return {encode_hashes(by_key), encode_view_pins(by_view)};
}

}  // namespace

unpin_request unpin_of(std::span<const pin_id> pins) {
  unpin_request out;
  std::tie(out.hashes, out.viewed) = encode_pins(pins);
  return out;
}

hello introduce(const client_options& options, const std::string& token, const session* previous,
                const holdings::declaration& held) {
  hello message;
  message.client_version = "c++ " + std::string{version()};
  message.instance = instance_name(options);
  message.host = host_id();
  message.boot_id = bytes_of(host_boot_id());
  message.page_bytes = options.chunk_bytes;
  message.token = token;
  message.wire = held.wire;
  if (previous) {
    message.resume_session = previous->id;
    message.resume_secret = previous->resume_secret;
    std::tie(message.pinned, message.viewed) = encode_pins(held.pins);
    message.grants = encode_grants(held.grants);
  }
  return message;
}

result<hello_reply> greet(link& wire, hello message, time_point deadline) {
  auto sent = wire.send(std::move(message));
  if (!sent)
    return {ec::unavailable, "failed to open a session: the connection was lost"};
  if (!sent->wait_until(deadline)) {
    sent->abandon([](outcome&) {});
    return {ec::timeout, "failed to open a session: marud took the connection but did not answer in time"};
  }
  auto& o = sent->result();
  if (o.code == ec::version_mismatch)
    return {ec::version_mismatch, "failed to open a session: the server does not speak this protocol"};
  if (o.code != ec::ok)
    return {ec::unavailable, "failed to open a session: the connection was lost"};
  auto& reply = std::get<hello_reply>(o.reply);
  if (reply.code > static_cast<std::uint8_t>(ec::last_))
    return {ec::corrupt, "failed to open a session: marud answered with an unknown code"};
  if (auto code = static_cast<ec>(reply.code); code != ec::ok)
    return {code, "failed to open a session: " + (reply.reason.empty() ? std::string{to_string(code)} : reply.reason)};
  if (!sound(reply))
    return {ec::corrupt, "failed to open a session: marud's answer makes no sense"};
  return std::move(reply);
}

result<std::shared_ptr<file_lock>> prove_alive(const std::string& path, time_point deadline) {
  std::shared_ptr<file_lock> none;
  if (path.empty())
    return none;
  for (;;) {
    auto lock = file_lock::acquire_existing(path);
    if (lock)
      return std::make_shared<file_lock>(*std::move(lock));
    // Without its lock this process would look dead to marud, and its pages would be given away under it.
    if (lock.code() != ec::in_use)
      return {ec::io, lock.error().message + " (marud keeps it beside the pool: this process must see that folder)"};
    // marud tries the lock for a moment when it suspects a session to be dead.
    if (std::chrono::steady_clock::now() >= deadline)
      return lock.error();
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
}

result<std::shared_ptr<const local_pool>> attach_locally(const client_options& options, const hello_reply& reply,
                                                         const pool_devices& devices, session_holds* holds, link& wire,
                                                         time_point deadline) {
  if (!options.local_reads)
    return {ec::bad_option, "this client was told not to (local_reads, MARU_LOCAL_READS)"};
  uuid nonce;
  if (reply.index_nonce.size() != nonce.bytes.size() || holds == nullptr)
    return {ec::unavailable, "marud runs on another host, or does not offer it"};
  std::memcpy(nonce.bytes.data(), reply.index_nonce.data(), nonce.bytes.size());
  auto local = local_pool::open(devices, reply.devices, reply.slot_bytes, nonce, reply.index_word);
  if (!local)
    return local;
  auto mine = random_uuid();
  holds->table()->write_nonce(mine);
  auto sent = wire.send(attach_request{bytes_of(mine)});
  if (!sent || !sent->wait_until(deadline)) {
    if (sent)
      sent->abandon([](outcome&) {});
    return {ec::timeout, "marud did not confirm in time that both see the same memory"};
  }
  auto& o = sent->result();
  if (o.code != ec::ok || std::get<codes_reply>(o.reply).code != static_cast<std::uint8_t>(ec::ok))
    return {ec::invalid, "marud does not see what this process writes: the session's file here is another one"};
  return local;
}

result<std::shared_ptr<const mapped_pool>> map_pool(const client_options& options, const hello_reply& reply) {
  auto devices = std::make_shared<pool_devices>(options);
  if (auto known = devices->know(reply.devices); !known)
    return known.error();
  auto visible = cxl::make_visibility(static_cast<cxl::coherence>(reply.visibility));
  if (!visible)
    return visible.error();
  auto pool = std::make_shared<mapped_pool>();
  pool->id = reply.pool;
  pool->path = devices->path_of(reply.devices.front());
  pool->devices = devices;
  pool->regions = std::make_shared<region_map>(
    std::move(devices), options.guard_memory ? cxl::survives::every_touch : cxl::survives::looks);
  pool->visible = *std::move(visible);
  return std::shared_ptr<const mapped_pool>{std::move(pool)};
}

}  // namespace maru::net
