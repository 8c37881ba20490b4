#include "net/tls.hpp"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <ctime>
#include <utility>

namespace maru::net {

namespace {

// -- the socket, as OpenSSL sees it: its own writes could raise SIGPIPE in a worker

int socket_of(BIO* bio) { return static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio))); }

int socket_write(BIO* bio, const char* data, int size) {
  BIO_clear_retry_flags(bio);
  auto n = ::send(socket_of(bio), data, static_cast<std::size_t>(size), MSG_NOSIGNAL);
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    BIO_set_retry_write(bio);
  return static_cast<int>(n);
}

int socket_read(BIO* bio, char* data, int size) {
  BIO_clear_retry_flags(bio);
  auto n = ::recv(socket_of(bio), data, static_cast<std::size_t>(size), 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    BIO_set_retry_read(bio);
  return static_cast<int>(n);
}

long socket_control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

const BIO_METHOD* socket_method() {
  static const BIO_METHOD* made = [] {
    auto* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket without signals");
    BIO_meth_set_write(m, socket_write);
    BIO_meth_set_read(m, socket_read);
    BIO_meth_set_ctrl(m, socket_control);
    BIO_meth_set_create(m, [](BIO* bio) {
      BIO_set_init(bio, 1);
      return 1;
    });
    return m;
  }();
  return made;
}

// -- words

// The newest error of this thread, in OpenSSL's words.
std::string newest_error() {
  auto code = ERR_peek_last_error();
  const char* words = ERR_reason_error_string(code);
  return words ? words : "the connection was closed";
}

std::string words_for(unsigned long code) {
  constexpr auto not_tls = "it does not speak TLS";
  if (ERR_GET_LIB(code) != ERR_LIB_SSL)
    return newest_error();
  switch (ERR_GET_REASON(code)) {
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: return "it showed no certificate";
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_UNEXPECTED_MESSAGE:
    case SSL_R_BAD_RECORD_TYPE: return not_tls;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION: return "it does not speak TLS 1.3";
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED: return "it asks for a certificate, and was shown none";
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA: return "it does not know the CA of the certificate it was shown";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED: return "it was shown a certificate that has expired";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED: return "it was shown a certificate that was revoked";
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN: return "it refuses the certificate it was shown";
    default: return newest_error();
  }
}

// The oldest one is the cause: what the system said, where a file cannot be opened.
error bad_files(const std::string& what) {
  auto first = ERR_peek_error();
  auto cause = ERR_SYSTEM_ERROR(first) ? std::string{std::strerror(ERR_GET_REASON(first))} : newest_error();
  ERR_clear_error();
  return {ec::bad_option, "failed to use TLS: " + what + ": " + cause};
}

// Seconds since 1970; 0 for a time that makes no sense.
std::int64_t unix_time_of(const ASN1_TIME* at) {
  tm parts = {};
  return at && ASN1_TIME_to_tm(at, &parts) == 1 ? ::timegm(&parts) : 0;
}

// Asked for a passphrase OpenSSL would read the terminal.
int no_passphrase(char*, int, int, void*) { return -1; }

bool is_address(const std::string& host) {
  unsigned char bytes[16];
  return ::inet_pton(AF_INET, host.c_str(), bytes) == 1 || ::inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

}  // namespace

// -- streams

void tls_stream::end::operator()(ssl_st* ssl) const { SSL_free(ssl); }

tls_stream::state tls_stream::state_of(int answer) {
  auto how = SSL_get_error(ssl_.get(), answer);
  switch (how) {
    case SSL_ERROR_NONE: return state::done;
    case SSL_ERROR_WANT_READ: return state::reading;
    case SSL_ERROR_WANT_WRITE: return state::writing;
    default: lost_ = how != SSL_ERROR_SSL; break;
  }
  auto verdict = SSL_get_verify_result(ssl_.get());
  if (!SSL_is_init_finished(ssl_.get()) && verdict != X509_V_OK)
    failure_ = std::string{"its certificate is no good: "} + X509_verify_cert_error_string(verdict);
  else
    failure_ = words_for(ERR_peek_last_error());
  ERR_clear_error();
  return state::failed;
}

tls_stream::state tls_stream::shake_hands() {
  ERR_clear_error();
  return state_of(SSL_do_handshake(ssl_.get()));
}

tls_stream::progress tls_stream::read(void* data, std::size_t size) {
  ERR_clear_error();
  auto n = SSL_read(ssl_.get(), data, static_cast<int>(std::min<std::size_t>(size, INT_MAX)));
  return n > 0 ? progress{state::done, static_cast<std::size_t>(n)} : progress{state_of(n), 0};
}

tls_stream::progress tls_stream::write(const void* data, std::size_t size) {
  ERR_clear_error();
  auto n = SSL_write(ssl_.get(), data, static_cast<int>(std::min<std::size_t>(size, INT_MAX)));
  return n > 0 ? progress{state::done, static_cast<std::size_t>(n)} : progress{state_of(n), 0};
}

std::size_t tls_stream::pending() const { return static_cast<std::size_t>(SSL_pending(ssl_.get())); }

std::string tls_stream::failure() const { return failure_; }

std::string tls_stream::peer_name() const {
  auto* certificate = SSL_get0_peer_certificate(ssl_.get());
  std::unique_ptr<BIO, decltype(&BIO_free)> text{BIO_new(BIO_s_mem()), BIO_free};
  if (!certificate || !text)
    return {};
  X509_NAME_print_ex(text.get(), X509_get_subject_name(certificate), 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB);
  char* bytes = nullptr;
  auto size = BIO_get_mem_data(text.get(), &bytes);
  return {bytes, static_cast<std::size_t>(std::max(size, 0L))};
}

// -- contexts

result<tls_context> tls_context::load(side which, const tls_files& files) {
  if (files.cert.empty() || files.key.empty() || files.ca.empty())
    return {ec::bad_option, "failed to use TLS: it takes a certificate, its key and the CA's certificates, all three"};
  ERR_clear_error();
  std::shared_ptr<SSL_CTX> made{SSL_CTX_new(which == side::server ? TLS_server_method() : TLS_client_method()),
                                SSL_CTX_free};
  if (!made)
    return bad_files("OpenSSL does not start");
  auto* c = made.get();
  SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION);
  SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_options(c, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_COMPRESSION);  // frames have lengths of their own
  SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(c, 0);
  SSL_CTX_set_default_passwd_cb(c, no_passphrase);
  SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  if (SSL_CTX_use_certificate_chain_file(c, files.cert.c_str()) != 1)
    return bad_files("failed to read the certificate in " + files.cert);
  if (SSL_CTX_use_PrivateKey_file(c, files.key.c_str(), SSL_FILETYPE_PEM) != 1)
    return bad_files("failed to read the key in " + files.key + ", or it is not that of " + files.cert);
  if (SSL_CTX_check_private_key(c) != 1)
    return bad_files("the key in " + files.key + " is not that of " + files.cert);
  if (SSL_CTX_load_verify_file(c, files.ca.c_str()) != 1)
    return bad_files("failed to read the CA's certificates in " + files.ca);
  tls_context out;
  const auto* end = X509_get0_notAfter(SSL_CTX_get0_certificate(c));
  out.not_after_ = unix_time_of(end);
  if (which == side::server && X509_cmp_current_time(end) <= 0) {
    char day[16] = {};
    auto over = static_cast<std::time_t>(out.not_after_);
    tm parts = {};
    std::strftime(day, sizeof day, "%Y-%m-%d", ::gmtime_r(&over, &parts));
    return {ec::bad_option, "failed to use TLS: the certificate in " + files.cert + " has expired on " + day};
  }
  out.side_ = which;
  out.context_ = std::move(made);
  return out;
}

result<tls_stream> tls_context::start(int socket, const std::string& server_name) const {
  tls_stream out;
  out.ssl_.reset(SSL_new(context_.get()));
  auto* bio = BIO_new(socket_method());
  if (!out.ssl_ || !bio) {
    BIO_free(bio);
    return {ec::io, "failed to start TLS: no memory"};
  }
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<std::intptr_t>(socket)));
  SSL_set_bio(out.ssl_.get(), bio, bio);
  if (side_ == side::server) {
    SSL_set_accept_state(out.ssl_.get());
    return out;
  }
  SSL_set_connect_state(out.ssl_.get());
  bool named = false;
  if (is_address(server_name)) {
    named = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(out.ssl_.get()), server_name.c_str()) == 1;
  } else {
    SSL_set_hostflags(out.ssl_.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    named = !server_name.empty() && SSL_set1_host(out.ssl_.get(), server_name.c_str()) == 1
            && SSL_set_tlsext_host_name(out.ssl_.get(), server_name.c_str()) == 1;
  }
  if (!named)
    return {ec::bad_option, "failed to start TLS: '" + server_name + "' is no name of a server"};
  return out;
}

// -- reloading

tls_server::stamps tls_server::stamps_of(const tls_files& files) {
  return {stamp_of(files.cert), stamp_of(files.key), stamp_of(files.ca)};
}

result<tls_server> tls_server::load(const tls_files& files) {
  tls_server out;
  out.files_ = files;
  out.seen_ = stamps_of(files);
  auto context = tls_context::load(tls_context::side::server, files);
  if (!context)
    return context.error();
  out.context_ = *std::move(context);
  return out;
}

const tls_context& tls_server::current(std::string& trouble, bool& renewed) {
  renewed = false;
  auto now = stamps_of(files_);
  if (now == seen_)
    return context_;
  seen_ = now;
  if (auto fresh = tls_context::load(tls_context::side::server, files_)) {
    context_ = *std::move(fresh);
    renewed = true;
  } else {
    trouble = fresh.error().message + "; new connections still get the one of before";
  }
  return context_;
}

}  // namespace maru::net
