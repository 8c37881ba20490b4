// Certificates of a test, made by certificates.sh, which names them. Once a program: it takes a moment.
#pragma once

#include <cstdlib>
#include <stdexcept>
#include <string>

#include "net/tls.hpp"
#include "tests/support/temp_folder.hpp"

namespace maru::test {

class certificates {
public:
  static const certificates& made() {
    static const certificates one;
    return one;
  }

  std::string path(const std::string& file) const { return folder_ / file; }
  // What a side with this certificate uses that trusts `ca`.
  net::tls_files of(const std::string& name, const std::string& ca = "ca") const {
    return {path(name + ".pem"), path(name + ".key"), path(ca + ".pem")};
  }

private:
  certificates() {
    auto command = std::string{CERTIFICATES_SCRIPT} + " " + folder_.path().string();
    if (std::system(command.c_str()) != 0)
      throw std::runtime_error("failed to make certificates");
  }
  temp_folder folder_;
};

}  // namespace maru::test
