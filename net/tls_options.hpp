// A client's side of TLS.
#pragma once

#include <string>

#include "base/or_variable.hpp"

namespace maru {

// What is empty when a client is opened comes from the environment then: MARU_TLS_CA, MARU_TLS_CERT, MARU_TLS_KEY,
// MARU_TLS_SERVER_NAME. The three files (PEM) come together; with none of them a connection over TCP is plain. Unix sockets
// need no TLS and ignore it.
// Files are read at each connect, so that new certificates are taken up.
struct tls_options {
  std::string ca;           // who may sign marud's certificate
  std::string cert;         // this client's certificate, and those up to the CA
  std::string key;          // of `cert`, without a passphrase
  std::string server_name;  // what marud's certificate must be for; empty: the host that is connected to

  tls_options or_environment() const {
    return {or_variable(ca, "MARU_TLS_CA"), or_variable(cert, "MARU_TLS_CERT"), or_variable(key, "MARU_TLS_KEY"),
            or_variable(server_name, "MARU_TLS_SERVER_NAME")};
  }
};

}  // namespace maru
