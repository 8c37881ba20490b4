// Mutual TLS: both sides show a certificate, and each checks the other's. Hides OpenSSL from the rest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/error.hpp"
#include "base/file_stamp.hpp"

struct ssl_st;
struct ssl_ctx_st;

namespace maru::net {

// PEM files. All empty: no TLS.
struct tls_files {
  std::string cert;  // this side's certificate, and those up to the CA
  std::string key;   // of `cert`, without a passphrase
  std::string ca;    // who may sign the other side's

  bool wanted() const { return !cert.empty() || !key.empty() || !ca.empty(); }
};

// A connection's TLS over its socket, which it does not own.
// Concurrency: one thread at a time.
class tls_stream {
public:
  enum class state { done, reading, writing, failed };  // reading, writing: call again when the socket is ready for it
  struct progress {
    state now = state::failed;
    std::size_t bytes = 0;  // done: how many, at least one
  };

  tls_stream() = default;
  explicit operator bool() const { return ssl_ != nullptr; }

  // Goes on with the handshake.
  state shake_hands();
  progress read(void* data, std::size_t size);
  progress write(const void* data, std::size_t size);
  // Bytes that came with the last record and were not read: no event of the socket tells of them.
  std::size_t pending() const;
  // Why the last call failed, as half a sentence about the other side: "its certificate has expired".
  std::string failure() const;
  // Whether the last call failed because the connection is gone, and not because either side refused the other.
  bool lost() const { return lost_; }
  // Whom the other side's certificate names: "CN = worker-7, O = ...".
  std::string peer_name() const;

private:
  friend class tls_context;
  struct end {
    void operator()(ssl_st* ssl) const;
  };
  state state_of(int answer);

  std::unique_ptr<ssl_st, end> ssl_;
  std::string failure_;
  bool lost_ = false;
};

// One side's certificate and whom it trusts. TLS 1.3 only, no session is resumed: every connection's certificates are
// checked.
// Concurrency: any thread.
class tls_context {
public:
  enum class side { server, client };

  // `bad_option`: a file cannot be read, the key is not the certificate's, or a server's certificate is over.
  static result<tls_context> load(side which, const tls_files& files);

  // When this side's certificate ends, in seconds since 1970.
  std::int64_t not_after() const { return not_after_; }

  // Over a connected, non-blocking socket. For a client `server_name` is the name or address that marud's certificate
  // must have. `io`: no memory.
  result<tls_stream> start(int socket, const std::string& server_name = {}) const;

private:
  side side_ = side::server;
  std::shared_ptr<ssl_ctx_st> context_;
  std::int64_t not_after_ = 0;
};

// A server's context that is loaded again when one of its files has changed. Connections keep what they began with.
// Concurrency: one thread.
class tls_server {
public:
  static result<tls_server> load(const tls_files& files);
  std::int64_t not_after() const { return context_.not_after(); }

  // The context for the next connection. Where changed files cannot be used: the one of before, and once for each such
  // change a sentence in `trouble`. `renewed`: set where new files were taken up.
  const tls_context& current(std::string& trouble, bool& renewed);

private:
  struct stamps {
    file_stamp cert, key, ca;
    friend bool operator==(const stamps&, const stamps&) = default;
  };
  static stamps stamps_of(const tls_files& files);

  tls_files files_;
  stamps seen_;
  tls_context context_;
};

// What a server sends as soon as it has accepted the client's certificate. TLS 1.3 lets a client's handshake end before
// that, so a client waits for this byte, and hears of a refusal in its place.
inline constexpr char tls_welcome = '+';

}  // namespace maru::net
