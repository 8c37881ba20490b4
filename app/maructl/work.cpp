#include "app/maructl/work.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "app/maructl/key_text.hpp"
#include "app/maructl/pin_register.hpp"
#include "base/bounds.hpp"
#include "base/hex.hpp"
#include "net/client.hpp"

namespace maru::ctl {

namespace {

using nlohmann::json;

// One line a key for people, one document at the end for programs; the worst code decides how maructl ends.
class report {
public:
  explicit report(bool as_json) : json_(as_json) {}

  void add(const std::string& key, ec code, const char* done, const std::string& why = {}) {
    if (code != ec::ok && worst_ == ec::ok)
      worst_ = code;
    if (json_)
      rows_.push_back({{"key_hex", to_hex(key)}, {"result", to_string(code)}});
    else if (code == ec::ok)
      std::printf("%s %s\n", done, show_key(key).c_str());
    else
      std::fprintf(stderr, "maructl: %s\n", why.c_str());
  }
  exit_code finish() {
    if (json_)
      std::printf("%s\n", json{{"keys", rows_}}.dump(2).c_str());
    std::fflush(stdout);
    return exit_code_of(worst_);
  }

private:
  bool json_;
  ec worst_ = ec::ok;
  json rows_ = json::array();
};

result<std::shared_ptr<client>> connect(const command& c, std::uint64_t chunk_bytes = 0) {
  client_options options;
  options.server = c.server;
  options.instance = "maructl-" + std::to_string(::getpid());
  options.chunk_bytes = chunk_bytes;
  options.token_file = c.token.file;
  options.token = c.token.text;
  options.tls = c.tls;
  options.timeout = c.timeout;
  options.grant_batch = 1;  // whoever writes one chunk keeps no pages from others
  options.fetch_ahead = false;
  return client::open(options);
}

std::vector<std::string_view> views(const std::vector<std::string>& keys) { return {keys.begin(), keys.end()}; }

status write_whole(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    auto n = ::write(STDOUT_FILENO, bytes.data(), bytes.size());
    if (n < 0 && errno != EINTR)
      return errno_error("write to standard output", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
  }
  return {};
}

result<std::string> read_whole() {
  std::string all, part(1 << 20, '\0');
  for (;;) {
    auto n = ::read(STDIN_FILENO, part.data(), part.size());
    if (n == 0)
      return all;
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return errno_error("read standard input", errno);
    all.append(part, 0, static_cast<std::size_t>(n));
    if (all.size() > bounds::page_bytes_max)
      return {ec::too_large, "failed to put a chunk: standard input has more than 1 GiB"};
  }
}

result<exit_code> get(const command& c) {
  auto pool = connect(c);
  if (!pool)
    return pool.error();
  const auto& key = c.keys.front();
  auto view = (*pool)->retrieve(key);
  if (view.code() == ec::missing)
    return error{ec::missing, "failed to get " + show_key(key) + ": no such key"};
  if (!view)
    return view.error();
  if (auto done = write_whole(view->bytes()); !done)
    return done.error();
  if (!view->intact())
    return error{ec::memory_failed,
                 "failed to get " + show_key(key) + ": its memory failed, what was written is not it"};
  return exit_code::ok;
}

result<exit_code> put(const command& c) {
  auto bytes = read_whole();
  if (!bytes)
    return bytes.error();
  // Powers of two, since every other size would take a page size, of which a pool has few, for itself.
  auto pool = connect(c, std::bit_ceil(bytes->size()));
  if (!pool)
    return pool.error();
  const auto& key = c.keys.front();
  auto done = (*pool)->store(key, std::as_bytes(std::span{*bytes}));
  report r{c.json};
  if (done.code() == ec::exists)
    r.add(key, ec::exists, "",
          "failed to put " + show_key(key) + ": it was committed before, and the first commit stays");
  else if (!done)
    return done.error();
  else
    r.add(key, ec::ok, "put");
  return r.finish();
}

result<exit_code> remove(const command& c) {
  auto pool = connect(c);
  if (!pool)
    return pool.error();
  auto codes = (*pool)->remove(views(c.keys));
  if (!codes)
    return codes.error();
  report r{c.json};
  for (std::size_t i = 0; i < c.keys.size(); ++i) {
    auto code = (*codes)[i];
    auto why = code == ec::missing ? "no such key" : code == ec::pinned ? "it is pinned" : std::string{to_string(code)};
    r.add(c.keys[i], code, "removed", "failed to remove " + show_key(c.keys[i]) + ": " + why);
  }
  return r.finish();
}

// Waits for the next of the three signals, at most a second.
int next_signal() {
  sigset_t wanted;
  sigemptyset(&wanted);
  for (int s : {SIGINT, SIGTERM, SIGUSR1})
    sigaddset(&wanted, s);
  timespec second{.tv_sec = 1, .tv_nsec = 0};
  return ::sigtimedwait(&wanted, nullptr, &second);
}

// Until a signal ends it, or others let the last key go.
result<exit_code> hold(client& pool, pin_register& notes) {
  auto session = pool.info().session;
  bool connected = true;
  while (!notes.empty()) {
    int signal = next_signal();
    if (signal == SIGINT || signal == SIGTERM)
      break;
    for (const auto& key : notes.asked_for()) {
      std::vector<std::string_view> one = {key};
      if (auto done = pool.unpin(one); !done)
        return done.error();
      notes.ended(key);
      std::fprintf(stderr, "let go of %s\n", show_key(key).c_str());
    }
    auto now = pool.info();
    if (now.session != session)
      return error{ec::session_over, "failed to keep the pins: marud ended the session"};
    if (now.connected != connected)
      std::fprintf(stderr,
                   now.connected ? "connected again, the pins hold\n" : "marud does not answer, trying again\n");
    connected = now.connected;
  }
  return exit_code::ok;
}

result<exit_code> pin(const command& c) {
  auto pool = connect(c);
  if (!pool)
    return pool.error();
  auto notes = pin_register::open();
  if (!notes)
    return notes.error();
  auto pinned = (*pool)->pin(views(c.keys));
  if (!pinned)
    return pinned.error();
  report r{c.json};
  for (std::size_t i = 0; i < c.keys.size(); ++i) {
    if ((*pinned)[i])
      if (auto noted = notes->add(c.server, c.keys[i]); !noted)
        return noted.error();
    r.add(c.keys[i], (*pinned)[i] ? ec::ok : ec::missing, "pinned",
          "failed to pin " + show_key(c.keys[i]) + ": no such key");
  }
  auto outcome = r.finish();
  if (notes->empty())
    return outcome;
  std::fprintf(stderr, "Ctrl-C, or `maructl unpin KEY`, lets go\n");
  auto held = hold(**pool, *notes);
  return held ? result<exit_code>{outcome} : held;
}

result<exit_code> unpin(const command& c) {
  auto notes = pin_register::open();
  if (!notes)
    return notes.error();
  report r{c.json};
  for (const auto& key : c.keys) {
    auto done = notes->let_go(c.server, key);
    r.add(key, done.code(), "unpinned", done ? "" : done.error().message);
  }
  return r.finish();
}

}  // namespace

result<exit_code> work(const command& c) {
  switch (c.what) {
    case verb::get: return get(c);
    case verb::put: return put(c);
    case verb::rm: return remove(c);
    case verb::pin: return pin(c);
    default: return unpin(c);
  }
}

}  // namespace maru::ctl
