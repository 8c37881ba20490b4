#include "net/wire.hpp"

#include <caf/actor_system.hpp>
#include <caf/io/middleman.hpp>
#include <caf/io/network/default_multiplexer.hpp>
#include <caf/io/network/stream_impl.hpp>
#include <caf/policy/tcp.hpp>
#include <string>
#include <utility>

namespace maru::net {

namespace {

namespace network = caf::io::network;

// How a CAF stream reads and writes a wire.
class wire_policy {
public:
  explicit wire_policy(tls_stream tls) : tls_(std::move(tls)) {}

  network::rw_state read_some(std::size_t& done, network::native_socket fd, void* data, std::size_t size) {
    if (!tls_)
      return caf::policy::tcp::read_some(done, fd, data, size);
    auto got = tls_.read(data, size);
    done = got.bytes;
    return rw_state_of(got);
  }

  network::rw_state write_some(std::size_t& done, network::native_socket fd, const void* data, std::size_t size) {
    if (!tls_)
      return caf::policy::tcp::write_some(done, fd, data, size);
    done = 0;
    if (size == 0)
      return network::rw_state::indeterminate;
    tls_stream::progress last;
    do {  // a record at a time
      last = tls_.write(static_cast<const char*>(data) + done, size - done);
      done += last.bytes;
    } while (last.now == tls_stream::state::done && done < size);
    return rw_state_of(last);
  }

  bool must_read_more(network::native_socket, std::size_t) { return tls_ && tls_.pending() > 0; }

private:
  static network::rw_state rw_state_of(const tls_stream::progress& p) {
    return p.now == tls_stream::state::failed ? network::rw_state::failure : network::rw_state::success;
  }

  tls_stream tls_;
};

class wire_scribe final : public caf::io::scribe {
public:
  wire_scribe(network::default_multiplexer& loop, wire connected)
      : scribe(network::conn_hdl_from_socket(connected.socket.get())),
        ticket_(std::move(connected.ticket)),
        from_(std::move(connected.from)),
        stream_(loop, connected.socket.release(), std::move(connected.tls)) {}

  void configure_read(caf::io::receive_policy::config config) override {
    stream_.configure_read(config);
    if (!std::exchange(launched_, true))
      stream_.start(this);
  }
  void ack_writes(bool enable) override { stream_.ack_writes(enable); }
  std::vector<char>& wr_buf() override { return stream_.wr_buf(); }
  std::vector<char>& rd_buf() override { return stream_.rd_buf(); }
  void graceful_shutdown() override {
    stream_.graceful_shutdown();
    detach(&stream_.backend(), false);
  }
  void flush() override { stream_.flush(this); }
  std::string addr() const override { return from_; }
  std::uint16_t port() const override { return 0; }
  void add_to_loop() override { stream_.activate(this); }
  void remove_from_loop() override { stream_.passivate(); }

private:
  const std::shared_ptr<const void> ticket_;
  const std::string from_;
  network::stream_impl<wire_policy> stream_;
  bool launched_ = false;
};

}  // namespace

caf::io::scribe_ptr make_scribe(caf::actor_system& system, wire connected) {
  auto& loop = static_cast<network::default_multiplexer&>(system.middleman().backend());
  return caf::make_counted<wire_scribe>(loop, std::move(connected));
}

}  // namespace maru::net
