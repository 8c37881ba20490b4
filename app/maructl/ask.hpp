// The commands that marud answers as a whole: status, stat, ls, evict, sessions, check.
#pragma once

#include "app/maructl/command_line.hpp"
#include "app/maructl/exit_code.hpp"
#include "base/error.hpp"

namespace maru::ctl {

// REQUIRES: one of the commands above. Prints the answer; how maructl ends, or why there is no answer.
result<exit_code> ask(const command& c);

}  // namespace maru::ctl
