// The commands that maructl does as a worker of the pool: get, put, rm, pin, unpin.
#pragma once

#include "app/maructl/command_line.hpp"
#include "app/maructl/exit_code.hpp"
#include "base/error.hpp"

namespace maru::ctl {

// REQUIRES: one of the commands above; for pin: SIGINT, SIGTERM and SIGUSR1 blocked in every thread.
// How maructl ends, or why it could not do it.
result<exit_code> work(const command& c);

}  // namespace maru::ctl
