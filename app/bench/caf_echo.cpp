#include "app/bench/caf_echo.hpp"

#include <atomic>
#include <caf/actor_companion.hpp>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/io/middleman.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/send.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <condition_variable>
#include <cstdio>
#include <exception>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "app/bench/cell.hpp"
#include "app/bench/clock.hpp"
#include "app/bench/interrupt.hpp"
#include "net/transport.hpp"

namespace maru::bench {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t request_bytes = 17;  // flags and one hash, as a lookup of one key has them
constexpr std::size_t reply_bytes = 33;    // code and one location
constexpr auto reply_patience = 5s;
constexpr auto warm_up = 300ms;

// Written by the server (port) and the client (the rest).
struct echo_shared {
  std::atomic<std::uint32_t> port;
  std::atomic<std::uint32_t> failed;
  std::uint64_t measured_ns;
  histogram latency;
};

struct echo_config : caf::actor_system_config {
  explicit echo_config(bool server) {
    net::transport_options options;
    options.server = server;
    net::configure_transport(*this, options);
  }
};

caf::behavior echo() {
  return {[](const std::string&) { return std::string(reply_bytes, 'r'); }};
}

// Ends the client's time: warm-up first, then the measured part.
class stopwatch {
public:
  stopwatch(echo_shared& shared, std::chrono::milliseconds time)
      : shared_(shared),
        measure_from_(monotonic_ns() + static_cast<std::uint64_t>(std::chrono::nanoseconds{warm_up}.count())),
        end_(measure_from_ + static_cast<std::uint64_t>(std::chrono::nanoseconds{time}.count())) {}

  // Counts one request; false when the time is over.
  bool add(std::uint64_t begin, std::uint64_t end) {
    if (begin >= measure_from_) {
      shared_.latency.add(end - begin);
      shared_.measured_ns = end - measure_from_;
    }
    return end < end_;
  }

private:
  echo_shared& shared_;
  std::uint64_t measure_from_, end_;
};

// A blocking actor asks and receives.
bool ask_scoped(caf::actor_system& system, const caf::actor& server, stopwatch watch) {
  caf::scoped_actor self{system};
  bool good = true;
  for (bool more = true; more && good;) {
    auto begin = monotonic_ns();
    self->request(server, reply_patience, std::string(request_bytes, 'q'))
      .receive([](const std::string&) {}, [&](const caf::error&) { good = false; });
    more = watch.add(begin, monotonic_ns());
  }
  return good;
}

// The caller's thread hands its request to the I/O thread and sleeps until that has the reply: no actor is scheduled.
bool ask_companion(caf::actor_system& system, const caf::actor& server, stopwatch watch) {
  std::mutex mutex;
  std::condition_variable changed;
  bool answered = false;
  auto companion = system.spawn<caf::actor_companion, caf::hidden>();
  auto self = caf::actor_cast<caf::strong_actor_ptr>(companion);
  auto& body = *caf::actor_cast<caf::actor_companion*>(companion);
  body.on_enqueue([&](caf::mailbox_element_ptr) {
    {
      std::lock_guard lock(mutex);
      answered = true;
    }
    changed.notify_one();
  });
  auto target = caf::actor_cast<caf::strong_actor_ptr>(server);
  bool good = true;
  std::uint64_t id = 0;
  for (bool more = true; more && good;) {
    auto begin = monotonic_ns();
    target->enqueue(self, caf::make_message_id(++id), caf::make_message(std::string(request_bytes, 'q')), nullptr);
    std::unique_lock lock(mutex);
    good = changed.wait_for(lock, reply_patience, [&] { return answered; });
    answered = false;
    lock.unlock();
    more = watch.add(begin, monotonic_ns());
  }
  body.on_enqueue({});  // CAF 0.17 declares disconnect() for these two and does not define it
  body.cleanup(caf::exit_reason::normal, nullptr);
  return good;
}

int serve_echo(echo_shared& shared) {
  echo_config config(true);
  caf::actor_system system{config};
  auto server = system.spawn(echo);
  auto port = system.middleman().publish(server, 0, "127.0.0.1");
  if (!port) {
    shared.failed = 1;
    return 2;
  }
  shared.port = *port;
  while (!interrupted())
    pause_for(100ms);
  system.middleman().unpublish(server, *port);
  caf::anon_send_exit(server, caf::exit_reason::user_shutdown);
  return 0;
}

int ask_echo(echo_shared& shared, const std::string& way, std::chrono::milliseconds time) {
  echo_config config(false);
  caf::actor_system system{config};
  auto server = system.middleman().remote_actor("127.0.0.1", static_cast<std::uint16_t>(shared.port.load()));
  stopwatch watch(shared, time);
  bool good =
    server && (way == "echo-scoped" ? ask_scoped(system, *server, watch) : ask_companion(system, *server, watch));
  if (!good)
    shared.failed = 1;
  return good ? 0 : 1;
}

// Runs `body` of a hidden subcommand on the memory that the parent handed on.
template <class F>
int with_shared(F body) {
  auto memory = shared_memory::attach(inherited_fd, sizeof(echo_shared));
  if (!memory) {
    std::fprintf(stderr, "maru-bench: %s\n", to_string(memory.error()).c_str());
    return 2;
  }
  try {
    return body(memory->at<echo_shared>(0));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "maru-bench: failed to exchange messages: %s\n", e.what());
    return 2;
  }
}

result<child_process> start_part(const char* part, const std::string& job, const shared_memory& memory) {
  return child_process::start(
    {.program = own_program(), .arguments = {part, job}, .log_path = {}, .hand_on_fd = memory.fd()});
}

result<row> measure_way(const std::string& way, std::chrono::milliseconds time) {
  auto memory = shared_memory::create(sizeof(echo_shared));
  if (!memory)
    return memory.error();
  auto& shared = memory->at<echo_shared>(0);
  auto server = start_part("echo-server", "{}", *memory);
  if (!server)
    return server.error();
  for (int i = 0; i < 1000 && shared.port == 0 && shared.failed == 0; ++i)
    pause_for(10ms);
  auto client = start_part("echo-client", nlohmann::json{{"way", way}, {"ms", time.count()}}.dump(), *memory);
  if (!client)
    return client.error();
  auto code = client->wait(time + 20s);
  if (interrupted())
    return interrupt_error();
  if (code != 0 || shared.failed != 0)
    return error{ec::unavailable, "failed to exchange messages with a bare CAF server"};
  const auto& h = shared.latency;
  row r{.system = "caf", .op = way};
  r.seconds = static_cast<double>(shared.measured_ns) * 1e-9;
  r.ops_per_s = r.keys_per_s = static_cast<double>(h.count()) / r.seconds;
  r.p50_us = h.quantile_ns(0.5) / 1e3;
  r.p99_us = h.quantile_ns(0.99) / 1e3;
  r.p999_us = h.quantile_ns(0.999) / 1e3;
  return r;
}

}  // namespace

result<std::vector<row>> measure_echo(std::chrono::milliseconds time) {
  std::vector<row> rows;
  for (const char* way : {"echo-scoped", "echo-companion"}) {
    auto r = measure_way(way, time);
    if (!r)
      return r.error();
    rows.push_back(*std::move(r));
  }
  return rows;
}

int run_echo_server(const std::string&) {
  catch_interrupts();
  return with_shared(serve_echo);
}

int run_echo_client(const std::string& job) {
  return with_shared([&](echo_shared& shared) {
    auto o = nlohmann::json::parse(job);
    return ask_echo(shared, o.at("way"), std::chrono::milliseconds{o.at("ms").get<std::int64_t>()});
  });
}

}  // namespace maru::bench
