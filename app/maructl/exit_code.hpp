// How maructl ends; --help documents it and scripts rely on it.
#pragma once

#include "base/error.hpp"

namespace maru::ctl {

enum class exit_code : int {
  ok = 0,
  not_found = 1,    // no such key, pin or pool, or check found problems
  usage = 2,        // the command line is wrong
  unreachable = 3,  // marud does not answer
  refused = 4,      // marud answered no, or a confirmation is missing
  other = 5,        // this side failed: a file, memory, an answer that cannot be read
  foreign = 6,      // the device holds what marud refuses to serve
  in_use = 7,       // another process serves the device
};

exit_code exit_code_of(ec code);

}  // namespace maru::ctl
