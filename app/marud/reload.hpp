// SIGHUP: the command line and the configuration file are read again. What may change while marud serves is taken up;
// what may not is named, and waits for the next start.
#pragma once

#include "base/options.hpp"

namespace maru::daemon {

// `running`: the options that are in force; afterwards with what was taken up: log-level and log-format.
// A file that cannot be used changes nothing; the log says why. What `maructl log-level` set is over.
void reload(int argc, const char* const* argv, marud_options& running);

// Makes the log as the options want it.
void set_up_log(const marud_options& options);

}  // namespace maru::daemon
