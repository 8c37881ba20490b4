// The commands that look at this machine's memory themselves, without a marud: device list, probe, format.
#pragma once

#include "app/maructl/command_line.hpp"
#include "app/maructl/exit_code.hpp"
#include "base/error.hpp"

namespace maru::ctl {

// REQUIRES: one of the commands above. How maructl ends, or why it could not do it.
result<exit_code> devices(const command& c);

}  // namespace maru::ctl
