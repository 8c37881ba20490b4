// `maructl top` on a terminal, until somebody ends it.
#pragma once

#include "app/maructl/command_line.hpp"
#include "app/maructl/exit_code.hpp"
#include "app/maructl/top/cells.hpp"
#include "base/error.hpp"

namespace maru::ctl {

// The signals that `watch` waits for. REQUIRES: no other thread exists yet.
void block_watch_signals();

// Ends by the key q, SIGINT, SIGTERM, SIGHUP or SIGQUIT, and leaves the terminal as it was. REQUIRES: the signals above
// are blocked in every thread. An error: no terminal, or marud did not answer the very first time; one that goes away
// later is shown, and waited for.
result<exit_code> watch(const command& c, look l);

}  // namespace maru::ctl
