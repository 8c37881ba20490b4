// `maructl top`: watches a marud in a terminal, or reports what it sees to a program.
#pragma once

#include "app/maructl/command_line.hpp"
#include "app/maructl/exit_code.hpp"
#include "base/error.hpp"

namespace maru::ctl {

// REQUIRES: the command is top, and no other thread exists yet. How maructl ends, or why there is nothing to see.
result<exit_code> top(const command& c);

}  // namespace maru::ctl
