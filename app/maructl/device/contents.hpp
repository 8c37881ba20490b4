// What lies on a device, as JSON for programs; show.hpp makes text of it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "app/maructl/exit_code.hpp"

namespace maru::ctl {

// An object with "state":
//   pool           of Maru's, which this version can serve, with what its superblock says
//   blank          zeros: marud formats it
//   missing        nothing is there: marud makes a file of that name
//   unfinished     a format that did not end: marud starts it again
//   damaged        a pool, of whose superblocks neither is whole
//   other_version  a pool of another version's layout
//   foreign        something else
//   unreadable     it cannot be opened; "why" says more, "code" is the error's name
// and, of all but the last, "served" (null: nobody can tell), "inside" (metadata lies on it), "bytes".
nlohmann::json contents_of(const std::string& path);

// How `device probe` ends: ok for a pool that nobody serves, not_found where marud would make one, foreign for what it would
// refuse, in_use where it is served.
exit_code exit_code_of_contents(const nlohmann::json& contents);

}  // namespace maru::ctl
